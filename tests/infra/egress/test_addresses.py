"""Which URLs and addresses are blocked, and which are allowed."""

from ipaddress import ip_network
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import pytest

from infra.egress import BlockedURL, EgressClient, EgressPolicy
from tests.infra.egress.hostile_receivers import FakeResolver

BLOCKED = {
    # loopback and this machine, in every spelling
    "https://127.0.0.1/": "a loopback address",
    "https://127.255.255.254/": "a loopback address",
    "https://[::1]/": "a loopback address",
    "https://[0:0:0:0:0:0:0:1]/": "a loopback address",
    "https://localhost/": "the machine of the service itself",
    "https://LOCALHOST/": "the machine of the service itself",
    "https://a.b.localhost/": "the machine of the service itself",
    "https://localhost./": "ends with a dot",
    "https://127.1/": "unusual form",
    "https://127.0.1/": "unusual form",
    "https://2130706433/": "unusual form",
    "https://0x7f000001/": "unusual form",
    "https://0x7f.0.0.1/": "unusual form",
    "https://0X7F.1/": "unusual form",
    "https://017700000001/": "unusual form",
    "https://0177.0.0.1/": "not a valid name",
    "https://127.000.000.001/": "not a valid name",
    "https://127.0.0.1./": "ends with a dot",
    "https://127。0。0。1/": "a loopback address",
    "https://\uff11\uff12\uff17.0.0.1/": "not a valid name",
    "https://134744072/": "unusual form",
    "https://8.8/": "unusual form",
    "https://1.2.3.4.5/": "unusual form",
    "https://0/": "unusual form",
    "https://0x/": "unusual form",
    "https://256.1.1.1/": "not a valid name",
    "https://0.0.0.0/": "an unspecified address",
    "https://0.1.2.3/": "an unspecified address",
    "https://[::]/": "an unspecified address",
    # private, shared, link-local, metadata
    "https://10.0.0.1/": "a private address",
    "https://172.16.0.1/": "a private address",
    "https://172.31.255.255/": "a private address",
    "https://192.168.1.1/": "a private address",
    "https://100.64.0.1/": "a carrier's private address",
    "https://100.127.255.255/": "a carrier's private address",
    "https://169.254.1.1/": "a link-local address",
    "https://169.254.169.254/latest/meta-data/": "a cloud's metadata address",
    "https://169.254.170.2/": "a cloud's metadata address",
    "https://100.100.100.200/": "a cloud's metadata address",
    "https://168.63.129.16/": "a cloud's metadata address",
    "https://192.0.0.192/": "a cloud's metadata address",
    "https://[fd00:ec2::254]/": "a cloud's metadata address",
    "https://[fd20:ce::254]/": "a cloud's metadata address",
    "https://[fc00::1]/": "a private address",
    "https://[fd12:3456::1]/": "a private address",
    "https://[fe80::1]/": "a link-local address",
    "https://[fec0::1]/": "a site-local address",
    "https://[fe80::1%eth0]/": "host or port of the URL is missing or malformed",
    "https://[fe80::1%25eth0]/": "host or port of the URL is missing or malformed",
    # reserved
    "https://192.0.0.8/": "a reserved address",
    "https://192.0.2.1/": "an address for documentation",
    "https://198.51.100.1/": "an address for documentation",
    "https://203.0.113.1/": "an address for documentation",
    "https://192.88.99.1/": "a reserved address",
    "https://198.18.0.1/": "an address for benchmarks",
    "https://198.19.255.255/": "an address for benchmarks",
    "https://224.0.0.1/": "a multicast address",
    "https://239.255.255.250/": "a multicast address",
    "https://240.0.0.1/": "a reserved address",
    "https://255.255.255.255/": "the broadcast address",
    "https://[ff02::1]/": "a multicast address",
    "https://[2001:db8::1]/": "an address for documentation",
    "https://[3fff::1]/": "an address for documentation",
    "https://[2001:2::1]/": "a reserved address",
    "https://[2001:20::1]/": "a reserved address",
    "https://[100::1]/": "a reserved address",
    "https://[5f00::1]/": "a reserved address",
    "https://[4000::1]/": "a reserved address",
    # any IPv4 address inside IPv6
    "https://[::ffff:127.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[::ffff:7f00:1]/": "an IPv6 form of an IPv4 address",
    "https://[::ffff:8.8.8.8]/": "an IPv6 form of an IPv4 address",
    "https://[::127.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[::ffff:0:10.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[64:ff9b::10.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[64:ff9b::808:808]/": "an IPv6 form of an IPv4 address",
    "https://[64:ff9b:1::10.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[2002:a00:1::1]/": "an IPv6 form of an IPv4 address",
    "https://[2002:808:808::1]/": "an IPv6 form of an IPv4 address",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/": "an IPv6 form of an IPv4 address",
    "https://[2a00:1450::5efe:10.0.0.1]/": "an IPv6 form of an IPv4 address",
    "https://[2a00:1450::200:5efe:8.8.8.8]/": "an IPv6 form of an IPv4 address",
    # spelling
    "": "not of the form",
    "hooks.example.com": "not of the form",
    "//hooks.example.com/": "not of the form",
    "https:/hooks.example.com/": "not of the form",
    "https:hooks.example.com": "not of the form",
    "https://": "host or port of the URL is missing or malformed",
    "https:///hook": "host or port of the URL is missing or malformed",
    "http://hooks.example.com/": "must begin with https://",
    "ftp://hooks.example.com/": "must begin with https://",
    "file:///etc/passwd": "must begin with https://",
    "gopher://hooks.example.com/": "must begin with https://",
    "javascript://hooks.example.com/": "must begin with https://",
    "https://user:secret@hooks.example.com/": "user name or password",
    "https://user@hooks.example.com/": "user name or password",
    "https://@hooks.example.com/": "user name or password",
    "https://hooks.example.com@10.0.0.1/": "user name or password",
    "https://10.0.0.1#@hooks.example.com/": "fragment",
    "https://hooks.example.com/#top": "fragment",
    "https://hooks.example.com/#": "fragment",
    "https://hooks.example.com\\@10.0.0.1/": "backslash",
    "https:\\\\hooks.example.com/": "backslash",
    "https://hooks.example.com/a b": "a space",
    " https://hooks.example.com/": "a space",
    "https://hooks.example.com/\r\nX: y": "control character",
    "https://hooks.example.com/\0": "control character",
    "https://hooks.exam\u200bple.com/": "control character",
    "https://hooks.example.com/\u2028": "a space",
    "https://hooks.example.com./": "ends with a dot",
    "https://./": "ends with a dot",
    "https://hooks..example.com/": "not a valid name",
    "https://.example.com/": "not a valid name",
    "https://-a.example.com/": "not a valid name",
    "https://hooks%2eexample.com/": "not a valid name",
    "https://127%2e0.0.1/": "not a valid name",
    "https://hooks'.example.com/": "not a valid name",
    "https://" + "a" * 64 + ".example.com/": "not a valid name",
    "https://" + "a." * 127 + "com/": "not a valid name",
    "https://xn--a/": "not a valid name",
    "https://hooks.example.com/" + "a" * 2_048: "longer than 2048",
    "https://[::1/": "host or port of the URL is missing or malformed",
    "https://::1/": "host or port of the URL is missing or malformed",
    "https://[1.2.3.4]/": "not a valid name",
    "https://[:::1]/": "not a valid name",
    "https://[2a00:1450::1]x/": "host or port of the URL is missing or malformed",
    "https://[v1.a]/": "host or port of the URL is missing or malformed",
    # ports
    "https://hooks.example.com:0/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:0443/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:-1/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:+443/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:\uff14\uff14\uff13/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:4_4/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:443:443/": "host or port of the URL is missing or malformed",
    "https://hooks.example.com:65536/": "Port 65536",
    "https://hooks.example.com:22/": "Port 22",
    "https://hooks.example.com:25/": "Port 25",
    "https://hooks.example.com:6667/": "Port 6667",
}

ALLOWED = [
    "https://hooks.example.com",
    "https://hooks.example.com/",
    "HTTPS://Hooks.Example.COM/Hook",
    "https://hooks.example.com:443/",
    "https://hooks.example.com:8443/",
    "https://hooks.example.com:65535/",
    "https://hooks.example.com?query@only",
    "https://hooks.example.com/a/../b?c=d&e=%20@:",
    "https://hooks.example.com/ünï",
    "https://hooks_1.example.com/",
    "https://intranet/",
    "https://1.example.com/",
    "https://127.0.0.1.nip.example/",
    "https://0x7f.example.com/",
    "https://localhost.example.com/",
    "https://notlocalhost/",
    "https://bücher.example.com/",
    "https://xn--bcher-kva.example.com/",
    "https://hooks。example.com/",
    "https://8.8.8.8/",
    "https://1.1.1.1:8443/",
    "https://11.0.0.1/",
    "https://172.15.0.1/",
    "https://172.32.0.1/",
    "https://100.63.255.255/",
    "https://100.128.0.1/",
    "https://169.253.0.1/",
    "https://192.0.1.1/",
    "https://198.17.255.255/",
    "https://198.20.0.1/",
    "https://223.255.255.255/",
    "https://[2606:4700:4700::1111]/",
    "https://[2A00:1450:4001:82A:0:0:0:200E]:8443/",
    "https://[2003::1]/",
]

# A name, what it resolves to, and why it is refused.
RESOLVED = [
    ("hooks.example.com", ["10.0.0.1"], "a private address"),
    ("one.bad.example.com", ["8.8.8.8", "1.1.1.1", "127.0.0.1"], "a loopback address"),
    ("mapped.example.com", ["::ffff:127.0.0.1"], "an IPv6 form"),
    ("metadata.google.internal", ["169.254.169.254"], "a cloud's metadata address"),
    ("db.internal", ["fd00::1"], "a private address"),
    ("zone.example.com", ["fe80::1%2"], "a link-local address"),
    ("127.0.0.1.nip.example", ["127.0.0.1"], "a loopback address"),
]


def build_client(policy: EgressPolicy, names: FakeResolver) -> EgressClient:
    """Build a client that trusts no certificate, since loading the usual ones is slow."""
    return EgressClient(policy, lookup=names, ssl_context=SSLContext(PROTOCOL_TLS_CLIENT))


@pytest.mark.parametrize(
    ("url", "reason"), [pytest.param(*row, id=ascii(row[0])[:60]) for row in BLOCKED.items()]
)
async def test_refused(url: str, reason: str) -> None:
    names = FakeResolver()
    egress = build_client(EgressPolicy(), names)
    with pytest.raises(BlockedURL) as error:
        egress.check_url(url)
    assert reason in error.value.reason
    with pytest.raises(BlockedURL):
        await egress.check(url)
    with pytest.raises(BlockedURL):
        await egress.post(url, body=b"", headers={})
    assert names.lookups == []


@pytest.mark.parametrize("url", [pytest.param(url, id=ascii(url)) for url in ALLOWED])
def test_allowed(url: str) -> None:
    build_client(EgressPolicy(), FakeResolver()).check_url(url)


@pytest.mark.parametrize(("host", "addresses", "kind"), [pytest.param(*row, id=row[0]) for row in RESOLVED])
async def test_names_are_checked_by_all_their_addresses(host: str, addresses: list[str], kind: str) -> None:
    egress = build_client(EgressPolicy(), FakeResolver({host: [addresses]}))
    egress.check_url(f"https://{host}/")
    with pytest.raises(BlockedURL) as error:
        await egress.check(f"https://{host}/")
    assert error.value.reason == f"{host} resolves to {error.value.reason.partition(' to ')[2]}"
    assert kind in error.value.reason
    assert addresses[-1] not in error.value.reason.removeprefix(host)
    with pytest.raises(BlockedURL):
        await egress.post(f"https://{host}/", body=b"", headers={})


@pytest.mark.parametrize(
    ("networks", "host", "passes"),
    [
        pytest.param(["10.0.0.0/8"], "10.1.2.3", True, id="inside"),
        pytest.param(["10.0.0.0/8"], "11.1.2.3", True, id="public all the same"),
        pytest.param(["10.0.0.0/8"], "192.168.0.1", False, id="another private one"),
        pytest.param(["10.0.0.0/8"], "[::ffff:10.1.2.3]", False, id="mapped, its form not allowed"),
        pytest.param(["::ffff:0:0/96"], "[::ffff:10.1.2.3]", False, id="mapped, its address not allowed"),
        pytest.param(["::ffff:0:0/96", "10.0.0.0/8"], "[::ffff:10.1.2.3]", True, id="mapped, both allowed"),
        pytest.param(["64:ff9b::/96"], "[64:ff9b::808:808]", True, id="NAT64 of a public address"),
        pytest.param(["64:ff9b::/96"], "[64:ff9b::a01:203]", False, id="NAT64 of a private address"),
        pytest.param(["64:ff9b:1::/48"], "[64:ff9b:1::808:808]", True, id="local NAT64"),
        pytest.param(["64:ff9b:1::/48"], "[64:ff9b:1::c0a8:1]", False, id="local NAT64, private"),
        pytest.param(["2002::/16"], "[2002:808:808::1]", True, id="6to4 of a public address"),
        pytest.param(["2002::/16"], "[2002:7f00:1::1]", False, id="6to4 of loopback"),
        pytest.param(["2001::/32"], "[2001:0:808:808::f7f7:f7f7]", True, id="Teredo of public ones"),
        pytest.param(["2001::/32"], "[2001:0:808:808::80ff:fffe]", False, id="Teredo of loopback"),
        pytest.param(["2001::/32"], "[2001:0:a00:1::f7f7:f7f7]", False, id="Teredo over a private server"),
        pytest.param(["::/0"], "[2a00:1450::5efe:a00:1]", False, id="ISATAP of a private address"),
        pytest.param(["::/0"], "[2a00:1450::5efe:808:808]", True, id="ISATAP of a public address"),
        pytest.param(["::/0"], "[::127.0.0.1]", False, id="compatible, of loopback"),
        pytest.param(["::/0"], "[::1]", True, id="loopback is no compatible address"),
        pytest.param(["fd00::/8"], "[fd12::1]", True, id="unique local"),
        pytest.param(["fd00::/8"], "[fd00:ec2::254]", False, id="metadata within"),
        pytest.param(["0.0.0.0/0"], "169.254.169.254", False, id="metadata, though all is allowed"),
        pytest.param(["169.254.169.254/32"], "169.254.169.254", True, id="metadata by its name"),
        pytest.param(["127.0.0.0/8"], "localhost", True, id="localhost over IPv4"),
        pytest.param(["::1/128"], "localhost", True, id="localhost over IPv6"),
        pytest.param(["10.0.0.0/8"], "localhost", False, id="localhost"),
    ],
)
def test_operators_allow_networks(networks: list[str], host: str, passes: bool) -> None:
    egress = build_client(EgressPolicy(tuple(ip_network(network) for network in networks)), FakeResolver())
    if passes:
        egress.check_url(f"https://{host}/")
    else:
        with pytest.raises(BlockedURL):
            egress.check_url(f"https://{host}/")


async def test_localhost_is_never_resolved() -> None:
    names = FakeResolver({"localhost": [["8.8.8.8"]]})
    with pytest.raises(BlockedURL):
        await build_client(EgressPolicy(), names).check("https://localhost/")
    assert names.lookups == []


def test_only_the_policy_allows_http() -> None:
    egress = build_client(EgressPolicy(allow_http=True), FakeResolver())
    egress.check_url("http://hooks.example.com/")
    with pytest.raises(BlockedURL, match="http:// or https://"):
        egress.check_url("ws://hooks.example.com/")


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("10.0.0.1", "by adding 10.0.0.1/32 to allowed_networks"),
        ("localhost", "by adding 127.0.0.1/32 to allowed_networks"),
        ("[fd12::1]", "by adding fd12::1/128 to allowed_networks"),
        ("db.internal", "by adding its network to allowed_networks"),
        ("169.254.169.254", None),
        ("metadata.internal", None),
        ("[::ffff:10.0.0.1]", None),
    ],
)
async def test_the_reason_names_the_setting_where_that_is_safe(host: str, hint: str | None) -> None:
    names = FakeResolver({"db.internal": [["10.0.0.1"]], "metadata.internal": [["169.254.169.254"]]})
    with pytest.raises(BlockedURL) as error:
        await build_client(EgressPolicy(), names).check(f"https://{host}/")
    assert (hint or "allowed.") in error.value.reason
    assert ("adding" in error.value.reason) is (hint is not None)

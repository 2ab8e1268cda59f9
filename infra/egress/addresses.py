"""Decide which addresses may be connected to; pure.

Only public unicast is allowed. The standard library does not suffice: `ipaddress.is_global` is True for NAT64, 6to4,
site-local and multicast addresses. Sources: the IANA special-purpose registries for IPv4 and IPv6, and the metadata
addresses that clouds document.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from infra.egress.results import Address, Network

METADATA: Final = "a cloud's metadata address"
_TRANSITION: Final = "an IPv6 form of an IPv4 address"

_BLOCKED: Final = tuple(
    (ip_network(text), kind)
    for text, kind in [
        ("169.254.169.254/32", METADATA),
        ("169.254.170.2/32", METADATA),  # containers on ECS
        ("169.254.170.23/32", METADATA),  # pods on EKS
        ("100.100.100.200/32", METADATA),  # Alibaba
        ("168.63.129.16/32", METADATA),  # Azure: a public address that every machine there reaches
        ("192.0.0.192/32", METADATA),  # Oracle
        ("fd00:ec2::254/128", METADATA),
        ("fd00:ec2::23/128", METADATA),
        ("fd20:ce::254/128", METADATA),  # Google
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier's private address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::/96", _TRANSITION),  # IPv4-compatible
        ("::ffff:0:0/96", _TRANSITION),  # IPv4-mapped
        ("::ffff:0:0:0/96", _TRANSITION),  # IPv4-translated
        ("64:ff9b::/96", _TRANSITION),  # NAT64
        ("64:ff9b:1::/48", _TRANSITION),  # NAT64, local use
        ("2001::/32", _TRANSITION),  # Teredo
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "an address for documentation"),
        ("2002::/16", _TRANSITION),  # 6to4
        ("3fff::/20", "an address for documentation"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    ]
)
_PUBLIC_IPV6: Final = ip_network("2000::/3")
_LOW_32_BITS: Final = tuple(
    ip_network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def find_block_reason(address: Address, allowed: Sequence[Network]) -> str | None:
    """Return what is wrong with an address, such as "a private address"; None if allowed.

    An address in one of the `allowed` networks is allowed, with two exceptions. An IPv4 address embedded in an IPv6
    address must be allowed as well. A metadata address must be listed by itself (/32 or /128): an operator who allows
    10.0.0.0/8 or everything did not mean it.
    """
    kind = _block_kind(address)
    if kind is not None and not _is_listed(address, allowed, exactly=kind == METADATA):
        return kind
    for embedded in _extract_ipv4(address):
        kind = find_block_reason(embedded, allowed)
        if kind is not None:
            return kind
    return None


def _is_listed(address: Address, allowed: Sequence[Network], *, exactly: bool) -> bool:
    return any(address in network and (not exactly or network.num_addresses == 1) for network in allowed)


def _block_kind(address: Address) -> str | None:
    for network, kind in _BLOCKED:
        if address in network:
            return kind
    if isinstance(address, IPv4Address):
        return None
    if _is_isatap(address):
        return _TRANSITION
    return None if address in _PUBLIC_IPV6 else "a reserved address"


def _extract_ipv4(address: Address) -> Iterator[IPv4Address]:
    if isinstance(address, IPv4Address) or int(address) <= 1:  # `::` and `::1` embed nothing
        return
    if _is_isatap(address) or any(address in network for network in _LOW_32_BITS):
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP

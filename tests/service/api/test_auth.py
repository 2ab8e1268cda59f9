"""Only a valid token, cookie or ticket gives access, and no input crashes the check."""

import base64
import json
import time
from datetime import datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from service.api.access.tokens import SharedSecretVerifier
from service.api.auth import MAX_TICKET_SECONDS, Access, Authenticator
from service.problems import Unauthenticated
from tests.service.conftest import JWT_SECRET, token
from tests.support.app_harness import AppHarness

TICKET_KEY = b"t" * 32
SHARED = Authenticator(SharedSecretVerifier(JWT_SECRET, audience=None, issuer=None), TICKET_KEY)
STRICT = Authenticator(
    SharedSecretVerifier(JWT_SECRET, audience="framehook", issuer="https://issuer"), TICKET_KEY
)


def request_with(bearer: str | None = None, *, cookie: str = "", query: str = "") -> HTTPConnection[Any]:
    headers = [(b"cookie", cookie.encode("latin-1"))]
    if bearer is not None:
        headers.append((b"authorization", bearer.encode("latin-1")))
    return HTTPConnection({"type": "http", "headers": headers, "query_string": query.encode(), "path": "/"})


async def test_without_a_verifier_there_is_one_local_user() -> None:
    assert await Authenticator(None, TICKET_KEY).user(request_with("Bearer anything")) == "local"


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param(request_with(f"Bearer {token('ada')}"), id="bearer"),
        pytest.param(request_with(f"bearer {token('ada')}"), id="bearer in lower case"),
        pytest.param(request_with(cookie=f"other=1; framehook_token={token('ada')}"), id="cookie"),
    ],
)
async def test_a_valid_token_names_its_user(connection: HTTPConnection[Any]) -> None:
    assert await SHARED.user(connection) == "ada"


@pytest.mark.parametrize("seconds", [{"iat": 20}, {"nbf": 20}, {"exp": -20}], ids=str)
async def test_the_clock_of_the_issuer_may_be_half_a_minute_off(seconds: dict[str, int]) -> None:
    claims: dict[str, Any] = {name: int(time.time()) + offset for name, offset in seconds.items()}
    assert await SHARED.user(request_with(f"Bearer {token('ada', **claims)}")) == "ada"


@pytest.mark.parametrize("seconds", [{"iat": 60}, {"nbf": 60}, {"exp": -60}], ids=str)
async def test_the_clock_of_the_issuer_may_not_be_a_minute_off(seconds: dict[str, int]) -> None:
    claims: dict[str, Any] = {name: int(time.time()) + offset for name, offset in seconds.items()}
    with pytest.raises(Unauthenticated):
        await SHARED.user(request_with(f"Bearer {token('ada', **claims)}"))


async def test_a_stream_has_no_leeway_so_that_it_is_not_opened_again_when_its_token_has_ended() -> None:
    with pytest.raises(Unauthenticated) as refused:
        await SHARED.stream_access(request_with(f"Bearer {token('ada', exp=int(time.time()) - 1)}"))
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("expiry", [10**11, 10**400], ids=["far away", "beyond all numbers"])
async def test_a_token_may_end_at_any_time(expiry: int) -> None:
    access = await SHARED.stream_access(request_with(f"Bearer {token('ada', exp=expiry)}"))
    assert access.seconds_left(time.time()) > 10**9


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(None, id="none"),
        pytest.param("Bearer", id="empty"),
        pytest.param("Bearer a.b.c", id="garbage"),
        pytest.param("Bearer \xe9\xe8.\xff.\xb2", id="not ASCII"),
        pytest.param(f"Basic {token()}", id="another scheme"),
        pytest.param(f"Bearer {token(exp=int(time.time()) - 40)}", id="expired"),
        pytest.param(f"Bearer {token(exp=None)}", id="that never expires"),
        pytest.param(f"Bearer {token(exp='soon')}", id="that expires at no time"),
        pytest.param(f"Bearer {token(exp=float('inf'))}", id="that expires in eternity"),
        pytest.param(f"Bearer {token(nbf=int(time.time()) + 3_600)}", id="not valid yet"),
        pytest.param(f"Bearer {token(None)}", id="without a user"),
        pytest.param(f"Bearer {token('')}", id="of an empty name"),
        pytest.param(f"Bearer {token(sub=7)}", id="of a number"),
        pytest.param(f"Bearer {token('a' * 201)}", id="of a very long name"),
        pytest.param(f"Bearer {token(chr(0xD800))}", id="of a name that is no text"),
        pytest.param(f"Bearer {token('a' + chr(0))}", id="of a name with a NUL"),
        pytest.param(
            f"Bearer {token(secret='another secret, which is as long as it has to be')}",
            id="signed by another",
        ),
        pytest.param(f"Bearer {token(algorithm='HS512')}", id="signed in another way"),
        pytest.param(f"Bearer {token(algorithm='none')}", id="not signed"),
        pytest.param(f"Bearer {token()[:-6]}", id="cut short"),
    ],
)
async def test_any_other_token_is_rejected(bad: str | None) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await SHARED.user(request_with(bad))
    assert refused.value.headers.get("WWW-Authenticate", "Bearer").startswith("Bearer")


@pytest.mark.parametrize(
    ("claims", "welcome"),
    [
        pytest.param({"aud": "framehook", "iss": "https://issuer"}, True, id="both right"),
        pytest.param({"aud": ["other", "framehook"], "iss": "https://issuer"}, True, id="one of several"),
        pytest.param({"aud": "other", "iss": "https://issuer"}, False, id="for another"),
        pytest.param({"iss": "https://issuer"}, False, id="without an audience"),
        pytest.param({"aud": "framehook", "iss": "https://other"}, False, id="from another"),
        pytest.param({"aud": "framehook"}, False, id="without an issuer"),
    ],
)
async def test_audience_and_issuer_must_match_the_settings(claims: dict[str, Any], welcome: bool) -> None:
    connection = request_with(f"Bearer {token('ada', **claims)}")
    if welcome:
        assert await STRICT.user(connection) == "ada"
        return
    with pytest.raises(Unauthenticated):
        await STRICT.user(connection)


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@hypothesis.given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.dictionaries(
                st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "sub", "exp", "aud"]),
                st.none()
                | st.integers()
                | st.text(max_size=9)
                | st.lists(st.text(), max_size=2)
                | st.booleans(),
            ).map(lambda value: json.dumps(value).encode()),
        ).map(part),
        min_size=1,
        max_size=5,
    )
)
@hypothesis.example([part(b"[" * 5_000), "e30", ""])
@hypothesis.example([part(b'{"alg":' + b"9" * 5_000 + b"}"), "e30", ""])
@hypothesis.example([part(b'{"alg":"HS256","crit":["b64"],"b64":false}'), "e30", "e30"])
async def test_no_token_crashes_the_check(parts: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        await SHARED.user(request_with("Bearer " + ".".join(parts)))


async def test_a_ticket_opens_streams_many_times_for_an_hour() -> None:
    ticket, _ = SHARED.create_ticket(Access("ada"), now=time.time())
    for _ in range(2):
        access = await SHARED.stream_access(request_with(query=f"ticket={ticket}"))
        assert access.user_id == "ada"
        assert MAX_TICKET_SECONDS - 60 < access.seconds_left(time.time()) <= MAX_TICKET_SECONDS


@pytest.mark.parametrize(
    "ticket",
    [
        pytest.param(
            SHARED.create_ticket(Access("ada"), now=time.time() - MAX_TICKET_SECONDS - 1)[0], id="old"
        ),
        pytest.param(
            Authenticator(None, b"x" * 32).create_ticket(Access("ada"), now=time.time())[0],
            id="of another service",
        ),
        pytest.param(token("ada"), id="a bearer token"),
        pytest.param("", id="empty"),
        pytest.param(part(b"[" * 5_000) + ".e30.", id="very deep"),
    ],
)
async def test_any_other_ticket_is_rejected(ticket: str) -> None:
    with pytest.raises(Unauthenticated):
        await SHARED.stream_access(request_with(query=f"ticket={ticket}"))


async def test_a_ticket_expires_with_the_token_that_requested_it() -> None:
    now = int(time.time())
    ticket, expires_at = SHARED.create_ticket(Access("ada", now + 90), now=now)
    assert expires_at == now + 90
    assert await SHARED.stream_access(request_with(query=f"ticket={ticket}")) == Access("ada", now + 90)


async def test_an_expired_token_within_its_leeway_gets_no_ticket() -> None:
    now = time.time()
    with pytest.raises(Unauthenticated):
        SHARED.create_ticket(Access("ada", int(now) - 1), now=now)


async def test_a_ticket_is_no_token() -> None:
    ticket, _ = SHARED.create_ticket(Access("ada"), now=time.time())
    with pytest.raises(Unauthenticated):
        await SHARED.user(request_with(f"Bearer {ticket}", query=f"ticket={ticket}"))


async def test_the_service_requires_a_token_and_issues_tickets(multi_user_app: AppHarness) -> None:
    client = multi_user_app.client
    bare = await client.get("/api/exports")
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, "Bearer")
    assert "`Authorization: Bearer <token>`" in bare.json()["detail"]
    assert bare.headers["content-type"] == "application/problem+json"
    given = await client.post("/api/stream-tickets", headers={"authorization": f"Bearer {token('ada')}"})
    assert given.status_code == 201
    assert (await client.post("/api/stream-tickets")).status_code == 401
    ticket = given.json()["ticket"]
    unknown = await client.get(f"/api/exports/nothing/events?ticket={ticket}")
    assert unknown.status_code == 404
    assert (await client.get(f"/api/exports?ticket={ticket}")).status_code == 401


@pytest.mark.parametrize("path", ["/api/exports", "/api/exports/nothing", "/api/exports/events"])
@pytest.mark.parametrize(
    ("authorization", "query"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param("Basic YTpi", "", id="another scheme"),
        pytest.param(token("ada"), "", id="no scheme"),
        pytest.param("Bearer a.b.c", "", id="no token"),
        pytest.param(f"Bearer {token('ada', exp=1)}", "", id="an old token"),
        pytest.param(f"Bearer {token('')}", "", id="a token without a user"),
        pytest.param(None, "?ticket=x", id="no ticket"),
    ],
)
async def test_a_401_says_what_to_send(
    multi_user_app: AppHarness, path: str, authorization: str | None, query: str
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    refused = await multi_user_app.client.get(path + query, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert "`Authorization: Bearer <token>`" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "lifetime"),
    [
        pytest.param(None, 3_600, id="no body"),
        pytest.param({}, 3_600, id="nothing said"),
        pytest.param({"expires_in": 5}, 5, id="seconds"),
    ],
)
async def test_a_ticket_says_when_it_expires(
    multi_user_app: AppHarness, body: dict[str, int] | None, lifetime: int
) -> None:
    headers = {"authorization": f"Bearer {token('ada', exp=int(time.time()) + 86_400)}"}
    before = int(time.time())
    answer = await multi_user_app.client.post("/api/stream-tickets", headers=headers, json=body)
    after = int(time.time())
    assert (answer.status_code, answer.json()["expires_in"]) == (201, lifetime)
    expires_at = datetime.fromisoformat(answer.json()["expires_at"]).timestamp()
    assert before + lifetime <= expires_at <= after + lifetime


async def test_a_ticket_lasts_no_longer_than_the_token(multi_user_app: AppHarness) -> None:
    headers = {"authorization": f"Bearer {token('ada', exp=int(time.time()) + 100)}"}
    answer = await multi_user_app.client.post("/api/stream-tickets", headers=headers)
    assert 90 <= answer.json()["expires_in"] <= 100


@pytest.mark.parametrize("expires_in", [0, -1, 3_601, "x", None, 1.5])
async def test_a_ticket_with_an_invalid_lifetime_is_rejected(
    multi_user_app: AppHarness, expires_in: object
) -> None:
    headers = {"authorization": f"Bearer {token('ada')}"}
    answer = await multi_user_app.client.post(
        "/api/stream-tickets", headers=headers, json={"expires_in": expires_in}
    )
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["expires_in"])

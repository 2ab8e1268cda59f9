"""Links to the portal, their tokens, and the page."""

import time

import jwt
import pytest

from service.api.auth import PORTAL_PREFIX, Access, Authenticator
from service.settings import Settings
from tests.service.api import test_access_matrix
from tests.service.api.test_access_matrix import (
    OF_PORTAL,
    WITH_TOKEN,
    Need,
    Service,
    claim,
    list_rows,
)
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem

service = test_access_matrix.service
"""The fixture: two users, of whom `ada` has one object of each kind."""


async def create_link(app: AppHarness, **body: object) -> dict[str, str]:
    response = await app.client.post("/api/webhooks/portal-link", json=body, headers=bearer("ada"))
    assert response.status_code == 201, response.text
    link: dict[str, str] = response.json()
    return link


def token_of(link: dict[str, str]) -> str:
    return link["url"].partition("#token=")[2]


async def list_webhooks(app: AppHarness, token: str) -> int:
    response = await app.client.get("/api/webhooks", headers={"authorization": f"Bearer {token}"})
    if response.status_code != 200:
        assert_problem(response, response.status_code)
    return response.status_code


async def test_a_link_has_a_bounded_life_and_its_token_in_the_fragment(multi_user_app: AppHarness) -> None:
    app = multi_user_app
    for body, seconds in (({}, 3_600), ({"expires_in": 60}, 60), ({"expires_in": 86_400}, 86_400)):
        claims = jwt.decode(
            token_of(await create_link(app, **body)).removeprefix(PORTAL_PREFIX),
            options={"verify_signature": False},
        )
        assert (claims["sub"], claims["scope"]) == ("ada", "webhooks")
        assert claims["exp"] == pytest.approx(time.time() + seconds, abs=60)
    for expires_in in (59, 86_401, "60", 90.5):
        response = await app.client.post(
            "/api/webhooks/portal-link", json={"expires_in": expires_in}, headers=bearer("ada")
        )
        assert_problem(response, 422)


async def test_only_a_token_that_this_service_signed_and_that_has_not_expired_is_taken(
    multi_user_app: AppHarness,
) -> None:
    app = multi_user_app
    token = token_of(await create_link(app))
    assert await list_webhooks(app, token) == 200
    claims = {"sub": "ada", "aud": "portal", "scope": "webhooks", "exp": time.time() + 60}
    ticket = (await app.client.post("/api/stream-tickets", headers=bearer("ada"))).json()["ticket"]
    refused = {
        "another key": PORTAL_PREFIX + jwt.encode(claims, "k" * 32, "HS256"),
        "no signature": PORTAL_PREFIX + jwt.encode(claims, "", "none"),
        "a changed one": token[:-4] + "AAAA",
        "a stream ticket": PORTAL_PREFIX + ticket,
        "a user's token": PORTAL_PREFIX + bearer("ada")["authorization"].removeprefix("Bearer "),
        "no prefix": token.removeprefix(PORTAL_PREFIX),
        "the prefix alone": PORTAL_PREFIX,
    }
    assert {name: await list_webhooks(app, value) for name, value in refused.items()} == dict.fromkeys(
        refused, 401
    )
    cookie = {"cookie": f"framehook_token={token}"}
    assert_problem(await app.client.get("/api/webhooks", headers=cookie), 401)
    opened = await app.client.get(f"/api/exports/events?ticket={token.removeprefix(PORTAL_PREFIX)}")
    assert_problem(opened, 401)


async def test_a_token_ends_with_its_link(multi_user_app: AppHarness) -> None:
    authenticator: Authenticator = multi_user_app.state["authenticator"]
    now = time.time()
    expired, _ = authenticator.create_portal_token(Access("ada"), "link_1", seconds=60, now=now - 61)
    live, _ = authenticator.create_portal_token(Access("ada"), "link_1", seconds=60, now=now)
    assert [await list_webhooks(multi_user_app, token) for token in (expired, live)] == [401, 200]
    ticket, _ = authenticator.create_ticket(Access("ada"), now=now)
    assert ticket.count(".") == live.count(".")


async def test_without_authentication_a_link_opens_the_only_users_webhooks(app: AppHarness) -> None:
    link = (await app.client.post("/api/webhooks/portal-link")).json()
    assert await list_webhooks(app, token_of(link)) == 200


async def test_the_page_may_be_framed_by_the_origins_of_the_setting_alone(settings: Settings) -> None:
    policies = {}
    for ancestors in ((), ("https://shop.example", "https://other.example")):
        chosen = settings.model_copy(update={"portal_frame_ancestors": ancestors})
        async with open_app(chosen, FakeRunner()) as app:
            for path in ("/portal", "/"):
                response = await app.client.get(path)
                assert response.status_code == 200
                assert "x-frame-options" not in response.headers
                policies[path, bool(ancestors)] = response.headers["content-security-policy"]
    assert "frame-ancestors https://shop.example https://other.example" in policies["/portal", True]
    assert "frame-ancestors 'none'" in policies["/portal", False]
    assert policies["/", True] == policies["/", False]
    assert "frame-ancestors 'none'" in policies["/", True]
    assert "script-src 'self'" in policies["/portal", True]


async def open_portal(service: Service, user: str, **body: int) -> dict[str, str]:
    """Return the headers with which the page of a new portal link calls the service."""
    headers = {"authorization": f"Bearer {claim(user)}"}
    answer = await service.server.client.post("/api/webhooks/portal-link", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    address, _, token_of_link = answer.json()["url"].partition("/portal#token=")
    assert address.startswith("http")
    return {"authorization": f"Bearer {token_of_link}"}


async def test_a_portal_link_opens_the_webhooks_of_its_user_and_nothing_else(service: Service) -> None:
    of_portal = set(list_rows(*OF_PORTAL))
    ada = await open_portal(service, "ada")
    rows = sorted(list_rows(*WITH_TOKEN), key=lambda row: row.startswith("DELETE"))  # deletions last
    statuses = {row: await service.send(row, **ada) for row in rows}
    assert {row for row, status in statuses.items() if status != 401} == of_portal
    refused = {row: status for row, status in statuses.items() if row in of_portal and status in (403, 404)}
    assert refused == {}


async def test_a_portal_link_of_another_user_finds_nothing(service: Service) -> None:
    bob = await open_portal(service, "bob")
    rows = list_rows(Need.PORTAL_OF_OWNER)
    assert {row: await service.send(row, **bob) for row in rows} == dict.fromkeys(rows, 404)
    listed = await service.server.client.get("/api/webhooks", headers=bob)
    assert listed.json() == {"webhooks": []}

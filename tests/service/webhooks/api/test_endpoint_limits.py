"""What the API rejects: endpoints of others, blocked URLs, bad bodies, too many endpoints."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from service.settings import Settings
from service.webhooks.models import ENDPOINTS
from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import create_endpoint, path, send_test_event
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.live_server import ScriptedResponse, serve_script

URL = "http://127.0.0.1:2/hook"
ROUTES = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "rotate"),
    ("POST", "test"),
    ("POST", "recover"),
    ("GET", "public-key"),
    ("GET", "statistics"),
    ("GET", "deliveries"),
    ("GET", "deliveries/{delivery_id}"),
    ("POST", "deliveries/{delivery_id}/redeliver"),
]
SINCE = {"since": "2026-01-01T00:00:00Z"}


def body_for(method: str, rest: str) -> dict[str, Any]:
    if method == "PATCH":
        return {"json": {"description": "mine"}}
    return {"json": SINCE} if rest == "recover" else {}


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    return body


async def test_an_endpoint_of_another_user_is_not_found(
    multi_user_app: AppHarness, subtests: pytest.Subtests
) -> None:
    client, ada, bob = multi_user_app.client, bearer("ada"), bearer("bob")
    with serve_script(ScriptedResponse(204)) as receiver:
        client.headers.update(ada)
        endpoint = await create_endpoint(client, f"{receiver.url}/hook", ed25519=True)
        delivery_id = (await send_test_event(client, endpoint))["delivery_id"]
        before = (await client.get(path(endpoint))).json()
        del client.headers["authorization"]
        for method, rest in ROUTES:
            url, body = path(endpoint, rest.format(delivery_id=delivery_id)), body_for(method, rest)
            nowhere = url.replace(endpoint["id"], "ep_0")
            with subtests.test(method=method, rest=rest):
                refused = problem(await client.request(method, url, headers=bob, **body), 404)
                unknown = problem(await client.request(method, nowhere, headers=bob, **body), 404)
                assert (refused["type"], refused["detail"]) == (unknown["type"], unknown["detail"])
                problem(await client.request(method, url, **body), 401)
        assert (await client.get(path(endpoint), headers=ada)).json() == before
    assert len(receiver.requests) == 1


async def test_a_delivery_is_found_only_under_its_own_endpoint(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        first, second = [await create_endpoint(app.client, f"{receiver.url}/{n}") for n in "12"]
        delivery_id = (await send_test_event(app.client, first))["delivery_id"]
    problem(await app.client.get(path(second, f"deliveries/{delivery_id}")), 404)
    problem(await app.client.post(path(second, f"deliveries/{delivery_id}/redeliver")), 404)


async def test_lists_show_nothing_of_other_users(multi_user_app: AppHarness) -> None:
    client = multi_user_app.client
    job = await multi_user_app.submit_export(
        user="ada", json=multi_user_app.export_body(webhook_url=URL), headers=bearer("ada")
    )
    await create_endpoint(client, URL, headers=bearer("ada"))
    for query in ({}, {"job_id": job["job_id"]}):
        response = await client.get("/api/webhooks", params=query, headers=bearer("bob"))
        assert response.json() == {"webhooks": []}
    problem(await client.get("/api/webhooks"), 401)
    problem(await client.post("/api/webhooks", json={"url": URL}), 401)
    problem(await client.get(f"/api/webhooks/{job['webhook']['id']}", headers=bearer("bob")), 404)


async def test_an_impossible_id_is_not_found(app: AppHarness, subtests: pytest.Subtests) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for odd in ("x" * 65, "%00", "%C3%A4", "%0A"):
        with subtests.test(odd):
            problem(await app.client.get(f"/api/webhooks/{odd}"), 404)
            problem(await app.client.get(path(endpoint, f"deliveries/{odd}")), 404)


FORBIDDEN = {
    "a private address": "http://10.0.0.1/hook",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "metadata, mapped": "http://[::ffff:169.254.169.254]/",
    "another loopback": "http://[::1]/hook",
    "decimal": "http://2130706433/hook",
    "credentials": "http://user:password@127.0.0.1/hook",
    "a fragment": "http://127.0.0.1/hook#part",
    "a port of mail": "http://127.0.0.1:25/hook",
    "another scheme": "ftp://127.0.0.1/hook",
    "no URL": "127.0.0.1/hook",
    "no name": "http://no-such-host.invalid/hook",
    "empty": "",
    "too long": "http://127.0.0.1/" + "x" * 2_048,
}


async def test_a_forbidden_url_is_refused_wherever_it_is_given(
    app: AppHarness, subtests: pytest.Subtests
) -> None:
    endpoint = await create_endpoint(app.client, URL)
    app.put_object()
    for name, url in FORBIDDEN.items():
        with subtests.test(name):
            refused = [
                ("url", await app.client.post("/api/webhooks", json={"url": url})),
                ("url", await app.client.patch(path(endpoint), json={"url": url})),
                ("webhook_url", await app.client.post("/api/exports", json=app.export_body(webhook_url=url))),
            ]
            for field, response in refused:
                assert [error["loc"] for error in problem(response, 422)["errors"]] == [[field]]
    [kept] = (await app.client.get("/api/webhooks")).json()["webhooks"]
    assert kept["url"] == URL
    assert (await app.client.get("/api/exports")).json()["exports"] == []


LISTEN_HINT = (
    " A receiver on your own machine needs none of that: "
    "`framehook webhooks listen --forward URL` brings webhooks to it."
)


async def test_loopback_and_plain_http_are_forbidden_unless_allowed(
    settings: Settings, stack: AsyncExitStack
) -> None:
    strict = settings.model_copy(update={"webhook_allowed_networks": (), "webhook_allow_http": False})
    app = await stack.enter_async_context(open_app(strict, FakeRunner()))
    for url, reason in {
        "http://127.0.0.1/hook": "The URL must begin with https://. "
        "The operator of this service can allow http:// with WEBHOOK_ALLOW_HTTP=true.",
        "https://127.0.0.1/hook": "127.0.0.1 is a loopback address, and only public addresses are allowed. "
        "The operator of this service can allow it by adding 127.0.0.1/32 to WEBHOOK_ALLOWED_NETWORKS.",
        "https://localhost/hook": "localhost is the machine of the service itself, "
        "and only public addresses are allowed. "
        "The operator of this service can allow it by adding 127.0.0.1/32 to WEBHOOK_ALLOWED_NETWORKS.",
    }.items():
        response = problem(await app.client.post("/api/webhooks", json={"url": url}), 422)
        assert response["errors"] == [{"loc": ["url"], "msg": reason + LISTEN_HINT}]


BAD_BODIES: dict[str, tuple[str, str, object]] = {
    "no url": ("POST", "", {}),
    "an unknown field": ("POST", "", {"url": URL, "secret": "whsec_AAAA"}),
    "no events": ("POST", "", {"url": URL, "events": []}),
    "an unknown event": ("POST", "", {"url": URL, "events": ["export.exploded"]}),
    "a test event": ("POST", "", {"url": URL, "events": ["webhook.test"]}),
    "a NUL": ("POST", "", {"url": URL, "description": "\0"}),
    "a long description": ("POST", "", {"url": URL, "description": "x" * 501}),
    "a list": ("POST", "", [URL]),
    "a number for a URL": ("POST", "", {"url": 1}),
    "another's field": ("PATCH", "{id}", {"user_id": "bob"}),
    "a number for a switch": ("PATCH", "{id}", {"enabled": "perhaps"}),
    "no since": ("POST", "{id}/recover", {}),
    "a time without a zone": ("POST", "{id}/recover", {"since": "2026-01-01T00:00:00"}),
    "no time": ("POST", "{id}/recover", {"since": "yesterday"}),
}


async def test_a_bad_body_is_rejected_with_a_reason(app: AppHarness, subtests: pytest.Subtests) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for name, (method, rest, body) in BAD_BODIES.items():
        url = "/api/webhooks" + ("/" + rest.format(id=endpoint["id"]) if rest else "")
        with subtests.test(name):
            assert problem(await app.client.request(method, url, json=body), 422)["errors"]
    del endpoint["secret"]
    assert (await app.client.get("/api/webhooks")).json()["webhooks"] == [endpoint]


async def test_a_bad_query_is_refused(app: AppHarness, subtests: pytest.Subtests) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for query in ("limit=0", "limit=101", "state=lost", "cursor=%00", "offset=1"):
        with subtests.test(query):
            problem(await app.client.get(path(endpoint, f"deliveries?{query}")), 422)


async def test_a_body_that_is_not_json_is_rejected(app: AppHarness, subtests: pytest.Subtests) -> None:
    json = {"content-type": "application/json"}
    for content in (b"", b"{", b'{"url": "\\ud800"}', b"\xff"):
        with subtests.test(content=content):
            problem(await app.client.post("/api/webhooks", content=content, headers=json), 422)


async def test_a_form_is_refused(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for method, url in (
        ("POST", "/api/webhooks"),
        ("PATCH", path(endpoint)),
        ("POST", path(endpoint, "recover")),
    ):
        problem(await app.client.request(method, url, data={"url": URL}), 415)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_concurrent_requests_cannot_exceed_the_limit_of_endpoints(
    request: pytest.FixtureRequest, users_settings: Settings, stack: AsyncExitStack, database: str
) -> None:
    url = request.getfixturevalue("postgresql_url") if database == "postgresql" else None
    settings = users_settings.model_copy(update={"database_url": url, "max_webhooks_per_user": 3})
    apps = [await stack.enter_async_context(open_app(settings, FakeRunner()))]
    if url is not None:
        apps.append(await stack.enter_async_context(open_app(settings, FakeRunner())))
        async with apps[0].database.transaction() as session:
            await session.execute(delete(ENDPOINTS))
    requests = [
        app.client.post("/api/webhooks", json={"url": URL}, headers=bearer("ada"))
        for app in apps
        for _ in range(12 // len(apps))
    ]
    responses = await asyncio.gather(*requests)
    assert sorted(response.status_code for response in responses) == [201] * 3 + [409] * 9
    ada = apps[0].client
    [refused, *_] = [response for response in responses if response.status_code == 409]
    assert refused.json()["detail"] == "You have 3 webhooks, which is the maximum; delete one first."
    shown = (await ada.get("/api/webhooks", headers=bearer("ada"))).json()["webhooks"]
    assert len(shown) == 3
    await create_endpoint(ada, URL, headers=bearer("bob"))
    await ada.delete(path(shown[0]), headers=bearer("ada"))
    await create_endpoint(ada, URL, headers=bearer("ada"))

"""Who may use which route: every route is tried as everybody who may not, and once as the one who may.

A route that is not in the matrix fails the first test.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.api.routes import ROUTES
from service.settings import Settings
from tests.service.conftest import token
from tests.service.keys.api_keys import create_key
from tests.support.app_harness import EXPORTED, FRAMING, SOURCE
from tests.support.problems import assert_problem
from tests.support.stream_server import StreamServer, open_server


class Need(StrEnum):
    """What a route asks for."""

    NOTHING = "nothing"
    TOKEN = "a user's token; shows and changes only what is the user's"
    OWNER = "the token of the user whose object is named; for others it does not exist"
    PORTAL = "a user's token or that of a portal link; shows and changes only what is the user's"
    PORTAL_OF_OWNER = "the same, of the user whose object is named; for others it does not exist"
    STREAM = "a user's token or a stream ticket"
    STREAM_OF_OWNER = "the same, of the user whose object is named"
    OPERATOR = "the token of an operator"
    METRICS = "the token in METRICS_TOKEN"
    RUN = "the signature of the run of the current attempt"
    URL = "a signed URL"


MATRIX = {
    "POST /api/callbacks/{job_id}": Need.RUN,
    "POST /api/callbacks/{job_id}/output": Need.RUN,
    "POST /api/exports": Need.TOKEN,
    "POST /api/exports/estimate": Need.TOKEN,
    "GET /api/exports": Need.TOKEN,
    "GET /api/exports/active": Need.TOKEN,
    "GET /api/exports/recent": Need.TOKEN,
    "GET /api/exports/unacknowledged": Need.TOKEN,
    "POST /api/exports/acknowledge": Need.TOKEN,
    "POST /api/exports/cancel": Need.TOKEN,
    "POST /api/exports/retry": Need.TOKEN,
    "POST /api/batches": Need.TOKEN,
    "GET /api/batches": Need.TOKEN,
    "GET /api/batches/{batch_id}": Need.OWNER,
    "DELETE /api/batches/{batch_id}": Need.OWNER,
    "GET /api/exports/events": Need.STREAM,
    "GET /api/exports/project/{project_id}": Need.TOKEN,
    "GET /api/exports/{job_id}": Need.OWNER,
    "PATCH /api/exports/{job_id}": Need.OWNER,
    "DELETE /api/exports/{job_id}": Need.OWNER,
    "GET /api/exports/{job_id}/request": Need.OWNER,
    "POST /api/exports/{job_id}/retry": Need.OWNER,
    "GET /api/exports/{job_id}/events": Need.STREAM_OF_OWNER,
    "GET /api/exports/{job_id}/download": Need.OWNER,
    "POST /api/exports/{job_id}/download-url": Need.OWNER,
    "POST /api/uploads": Need.TOKEN,
    "GET /api/uploads": Need.TOKEN,
    "GET /api/uploads/{upload}": Need.OWNER,
    "DELETE /api/uploads/{upload}": Need.OWNER,
    "GET /api/uploads/{upload}/parts": Need.OWNER,
    "GET /api/uploads/{upload}/parts/{number}": Need.OWNER,
    "POST /api/uploads/{upload}/complete": Need.OWNER,
    "POST /api/uploads/{key}/probe": Need.OWNER,
    "POST /api/uploads/{key}/download-url": Need.OWNER,
    "DELETE /api/uploads/uploads/{folder}/{name}": Need.OWNER,
    "GET /api/files/{key}": Need.URL,
    "PUT /api/files/{key}": Need.URL,
    "POST /api/webhooks": Need.PORTAL,
    "GET /api/webhooks": Need.PORTAL,
    "POST /api/webhooks/portal-link": Need.TOKEN,
    "POST /api/webhooks/verify": Need.PORTAL_OF_OWNER,
    "GET /api/webhooks/{id}": Need.PORTAL_OF_OWNER,
    "PATCH /api/webhooks/{id}": Need.PORTAL_OF_OWNER,
    "DELETE /api/webhooks/{id}": Need.PORTAL_OF_OWNER,
    "POST /api/webhooks/{id}/rotate": Need.PORTAL_OF_OWNER,
    "GET /api/webhooks/{id}/public-key": Need.PORTAL_OF_OWNER,
    "GET /api/webhooks/{id}/statistics": Need.PORTAL_OF_OWNER,
    "POST /api/webhooks/{id}/listen": Need.OWNER,
    "POST /api/webhooks/{id}/test": Need.PORTAL_OF_OWNER,
    "POST /api/webhooks/{id}/recover": Need.PORTAL_OF_OWNER,
    "GET /api/webhooks/{id}/deliveries": Need.PORTAL_OF_OWNER,
    "GET /api/webhooks/{id}/deliveries/{delivery_id}": Need.PORTAL_OF_OWNER,
    "POST /api/webhooks/{id}/deliveries/{delivery_id}/redeliver": Need.PORTAL_OF_OWNER,
    "POST /api/webhooks/{id}/deliveries/{delivery_id}/outcome": Need.OWNER,
    "POST /api/keys": Need.TOKEN,
    "GET /api/keys": Need.TOKEN,
    "DELETE /api/keys/{key_id}": Need.OWNER,
    "POST /api/stream-tickets": Need.TOKEN,
    "GET /api/system": Need.OPERATOR,
    "GET /api/usage": Need.TOKEN,
    "SOCKET /ws/export/{job_id}": Need.STREAM_OF_OWNER,
    "SOCKET /ws/exports": Need.STREAM,
    # Without an upgrade, these only say what to send.
    "GET /ws/export/{job_id}": Need.NOTHING,
    "GET /ws/exports": Need.NOTHING,
    **dict.fromkeys((f"GET /framehook{part}.js" for part in ("", "-react", "-element")), Need.NOTHING),
    **dict.fromkeys(("GET /", "GET /console/{file}", "GET /portal", "GET /portal/portal.js"), Need.NOTHING),
    "GET /sample.mp4": Need.NOTHING,
    "GET /healthz": Need.NOTHING,
    "GET /api/health": Need.NOTHING,
    "GET /readyz": Need.NOTHING,
    "GET /metrics": Need.METRICS,
    "GET /openapi.json": Need.NOTHING,
    "GET /docs": Need.NOTHING,
    "GET /docs/assets/{asset}": Need.NOTHING,
    "GET /docs/guides/{guide}": Need.NOTHING,
    "GET /docs/guides/images/{image}": Need.NOTHING,
}
STREAMS = (Need.STREAM, Need.STREAM_OF_OWNER)
OF_PORTAL = (Need.PORTAL, Need.PORTAL_OF_OWNER)
WITH_TOKEN = (Need.TOKEN, Need.OWNER, Need.OPERATOR, Need.METRICS, *OF_PORTAL, *STREAMS)
OF_OWNER = (Need.OWNER, Need.PORTAL_OF_OWNER, Need.STREAM_OF_OWNER)
AUDIENCE = "framehook"
METRICS_TOKEN = "a token of scrapes that is long enough for it"
EVIL = "https://evil.example"
HOOK = "http://127.0.0.1:8999/hook"  # no server listens there

_EXPORT = {"type": "framing", "config": {"input_key": SOURCE, **FRAMING}}
BODIES: Mapping[str, Any] = {
    "POST /api/exports": _EXPORT,
    "POST /api/exports/estimate": _EXPORT,
    "POST /api/exports/acknowledge": [],
    "POST /api/exports/cancel": {"ids": ["{job_id}"]},
    "POST /api/exports/retry": {"ids": ["{job_id}"]},
    "POST /api/batches": {"exports": [_EXPORT]},
    "PATCH /api/exports/{job_id}": {"name": "taken over"},
    "POST /api/uploads": {"filename": "a.mp4", "size": 5, "content_type": "video/mp4"},
    "POST /api/uploads/{upload}/complete": {},
    "POST /api/webhooks": {"url": HOOK},
    "POST /api/keys": {"name": "backend", "scopes": ["exports:read"]},
    "PATCH /api/webhooks/{id}": {"description": "taken over"},
    "POST /api/webhooks/verify": {"id": "{id}", "headers": {}, "body": ""},
    "POST /api/webhooks/{id}/deliveries/{delivery_id}/outcome": {"status": 200, "seconds": 0.1},
    "POST /api/callbacks/{job_id}": {
        "type": "export.progress",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {
            "job_id": "{job_id}",
            "attempt": 1,
            "step": 1,
            "call_id": "call",
            "phase": "processing",
            "progress": 50,
            "message": "",
        },
    },
    "POST /api/callbacks/{job_id}/output": {"attempt": 1, "size": 5, "checksum": f"sha256:{'0' * 64}"},
}
"""Valid bodies, where an empty object is none."""

ROWS_OF_LISTENERS = {
    "POST /api/webhooks/{id}/listen": "POST /api/webhooks/{listener}/listen",
    "POST /api/webhooks/{id}/deliveries/{delivery_id}/outcome": (
        "POST /api/webhooks/{listener}/deliveries/{listener_delivery}/outcome"
    ),
}
"""Rows that an endpoint with a URL does not have, with the names of a listener."""


def list_rows(*needs: Need) -> list[str]:
    return [row for row, need in MATRIX.items() if need in needs]


def list_routes() -> Iterator[str]:
    for route in ROUTES:
        if isinstance(route, WebSocketRoute):
            yield f"SOCKET {route.path}"
        else:
            assert isinstance(route, Route)
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                yield f"{method} {route.path.replace(':path}', '}')}"


def test_every_route_is_in_the_matrix() -> None:
    assert sorted(MATRIX) == sorted(list_routes())


def claim(user: str = "ada", **changes: Any) -> str:
    """Return a token that the service takes, but for what is changed."""
    return token(user, **{"aud": AUDIENCE} | changes)


@dataclass
class Service:
    """The service of two users; `ada` has one object of each kind."""

    server: StreamServer
    names: dict[str, str]
    ticket: str

    def fill(self, text: str) -> str:
        """Put the names of ada's objects into a path or a body."""
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    async def send(self, row: str, query: str = "", **headers: str) -> int:
        """Send a request; return the status of its answer, and 401 and 403 only for a proper problem."""
        method, path = self.fill(ROWS_OF_LISTENERS.get(row, row)).split(" ")
        if method == "SOCKET":
            return await self._open_socket(f"ws://{self.server.address}{path}{query}", headers)
        body = self.fill(json.dumps(BODIES.get(row, {}))) if method in ("POST", "PATCH", "PUT") else None
        sent = {"content-type": "application/json"} | headers
        client = self.server.client
        async with client.stream(method, f"{path}{query}", content=body, headers=sent) as answer:
            if answer.status_code in (401, 403, 404):
                await answer.aread()
                assert_problem(answer, answer.status_code)
            assert "access-control-allow-origin" not in answer.headers
            return answer.status_code

    async def _open_socket(self, url: str, headers: dict[str, str]) -> int:
        try:
            async with connect(url, additional_headers=headers):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


async def create_endpoint(
    client: httpx.AsyncClient, headers: Mapping[str, str], **fields: Any
) -> tuple[str, str]:
    """Create an endpoint and send it a test event; return the IDs of both."""
    created = await client.post("/api/webhooks", json=fields, headers=headers)
    assert created.status_code == 201, created.text
    endpoint_id = created.json()["id"]
    sent = await client.post(f"/api/webhooks/{endpoint_id}/test", headers=headers)
    assert sent.status_code == 202, sent.text
    return endpoint_id, sent.json()["delivery_id"]


@pytest.fixture
async def service(users_settings: Settings) -> AsyncIterator[Service]:
    access = {"auth_audience": AUDIENCE, "operators": ["operator"], "metrics_token": SecretStr(METRICS_TOKEN)}
    webhooks = {"webhook_allowed_networks": (ip_network("127.0.0.0/8"),), "webhook_allow_http": True}
    settings = users_settings.model_copy(update=access | webhooks)
    ada = {"authorization": f"Bearer {claim()}"}
    async with open_server(settings) as server:
        run = await server.submit_export(user="ada", headers=ada)
        client = server.client
        small = {"filename": "match.mp4", "size": len(EXPORTED), "content_type": "video/mp4"}
        target = (await client.post("/api/uploads", json=small, headers=ada)).json()
        await client.put(target["url"], content=EXPORTED, headers=target["headers"])
        _, folder, name = target["key"].split("/")
        large = {"filename": "a.mp4", "size": 20_000_000, "parts": True, "content_type": "video/mp4"}
        upload = (await client.post("/api/uploads", json=large, headers=ada)).json()
        endpoint, delivery = await create_endpoint(client, ada, url=HOOK, ed25519=True)
        listener, listener_delivery = await create_endpoint(client, ada, kind="listener")
        batch = await client.post("/api/batches", json={"exports": [_EXPORT]}, headers=ada)
        ticket = (await client.post("/api/stream-tickets", headers=ada)).json()["ticket"]
        names = {
            "job_id": run.spec.job_id,
            "batch_id": batch.json()["batch_id"],
            "upload": upload["upload"],
            "number": "1",
            "key": target["key"],
            "folder": folder,
            "name": name,
            "id": endpoint,
            "delivery_id": delivery,
            "listener": listener,
            "listener_delivery": listener_delivery,
            "project_id": "p",
        }
        names["key_id"], _ = await create_key(client, ada)
        yield Service(server, names, ticket)


async def test_nobody_gets_in_without_a_valid_token(service: Service) -> None:
    past = int(time.time()) - 60
    client, ada = service.server.client, {"authorization": f"Bearer {claim()}"}
    key_id, revoked = await create_key(client, ada)
    await client.delete(f"/api/keys/{key_id}", headers=ada)
    in_a_moment = datetime.fromtimestamp(time.time() + 0.2, UTC).isoformat()
    _, expired = await create_key(client, ada, expires_at=in_a_moment)
    await asyncio.sleep(0.2)
    strangers = {
        "nobody": {},
        "expired": {"authorization": f"Bearer {claim(exp=past)}"},
        "another secret": {"authorization": f"Bearer {claim(secret='x' * 40)}"},
        "no algorithm": {"authorization": f"Bearer {claim(algorithm='none')}"},
        "another audience": {"authorization": f"Bearer {claim(aud='another')}"},
        "no audience": {"authorization": f"Bearer {claim(aud=None)}"},
        "an expired cookie": {"cookie": f"framehook_token={claim(exp=past)}"},
        "a ticket as a token": {"authorization": f"Bearer {service.ticket}"},
        "a revoked key": revoked,
        "an expired key": expired,
    }
    got_in = {
        (who, row): status
        for row in list_rows(*WITH_TOKEN)
        for who, headers in strangers.items()
        if (status := await service.send(row, **headers)) != 401
    }
    assert got_in == {}


async def test_a_ticket_opens_streams_and_nothing_else(service: Service) -> None:
    query = f"?ticket={service.ticket}"
    statuses = {row: await service.send(row, query) for row in list_rows(*WITH_TOKEN)}
    assert {row for row, status in statuses.items() if status != 401} == set(list_rows(*STREAMS))


async def test_what_is_another_users_does_not_exist(service: Service) -> None:
    bob = {"authorization": f"Bearer {claim('bob')}"}
    existing = {
        row: status for row in list_rows(*OF_OWNER) if (status := await service.send(row, **bob)) != 404
    }
    assert existing == {}
    client, ada = service.server.client, {"authorization": f"Bearer {claim()}"}
    job = (await client.get(f"/api/exports/{service.names['job_id']}", headers=ada)).json()
    assert (job["status"], job["name"]) != ("cancelled", "taken over")
    listed = [
        (await client.get(path, headers=bob)).text
        for path in ("/api/exports", "/api/uploads", "/api/webhooks")
    ]
    for name in ("job_id", "key", "id", "listener"):
        assert [text for text in listed if service.names[name] in text] == []


async def test_the_page_of_a_foreign_origin_changes_nothing_with_a_users_cookie(service: Service) -> None:
    headers = {"cookie": f"framehook_token={claim()}", "origin": EVIL}
    rows = [row for row in list_rows(*WITH_TOKEN) if not row.startswith("GET ")]
    changed = {row: status for row in rows if (status := await service.send(row, **headers)) != 403}
    assert changed == {}
    for row in list_rows(*WITH_TOKEN):  # may be sent, and `send` asserts that the page can't read the answer
        if row.startswith("GET "):
            await service.send(row, **headers)


async def test_only_operators_see_the_system(service: Service) -> None:
    (row,) = list_rows(Need.OPERATOR)
    assert await service.send(row, authorization=f"Bearer {claim()}") == 403
    assert await service.send(row, authorization=f"Bearer {claim('operator')}") == 200


async def test_metrics_have_a_token_of_their_own(service: Service) -> None:
    (row,) = list_rows(Need.METRICS)
    assert await service.send(row, authorization=f"Bearer {claim('operator')}") == 401
    assert await service.send(row, authorization=f"Bearer {METRICS_TOKEN}") == 200


async def test_the_owner_gets_in_everywhere(service: Service) -> None:
    rows = sorted(
        list_rows(Need.TOKEN, Need.PORTAL, *OF_OWNER, *STREAMS), key=lambda row: row.startswith("DELETE")
    )  # deletions last
    refused = {
        row: status
        for row in rows
        if (status := await service.send(row, authorization=f"Bearer {claim()}")) in (401, 403, 404)
    }
    # The export has no output yet.
    assert refused.keys() <= {"GET /api/exports/{job_id}/download", "POST /api/exports/{job_id}/download-url"}
    listen = "POST /api/webhooks/{id}/listen"
    assert await service.send(listen, authorization=f"Bearer {claim()}") == 200


async def test_what_is_public_asks_for_nothing_and_shows_nothing_of_users(service: Service) -> None:
    for row in list_rows(Need.NOTHING):
        if "{" in row or row == "GET /ws/exports":
            continue
        answer = await service.server.client.get(row.split(" ")[1], timeout=60)  # the sample is encoded
        assert answer.status_code == 200, row
        assert [name for name in ("job_id", "id", "upload") if service.names[name] in answer.text] == []


async def test_runs_and_urls_need_their_signature_and_a_users_token_is_none(service: Service) -> None:
    ada = {"authorization": f"Bearer {claim()}"}
    for headers in ({}, ada, {"webhook-signature": "v1,AAAA", "webhook-id": "m", "webhook-timestamp": "1"}):
        for row in list_rows(Need.RUN, Need.URL):
            assert await service.send(row, **headers) in (401, 403), row
            assert await service.send(row, "?token=e30.AAAA&X-Amz-Signature=00", **headers) in (401, 403), row


async def test_a_signed_url_is_good_for_its_object_alone(service: Service) -> None:
    client, ada = service.server.client, {"authorization": f"Bearer {claim()}"}
    answer = await client.post(f"/api/uploads/{service.names['key']}/download-url", headers=ada)
    url = httpx.URL(answer.json()["url"])
    assert (await client.get(url)).status_code == 200
    elsewhere = url.copy_with(path=url.path.replace("match.mp4", "other.mp4"))
    assert (await client.get(elsewhere)).status_code in (403, 404)
    assert (await client.put(url, content=b"changed")).status_code in (401, 403)

"""Format, headers and rate limit of an endpoint over the API: given, shown, changed and refused."""

from typing import Any

import httpx
import msgspec
import pytest

from tests.service.webhooks.api_calls import patch_endpoint, path, send_test_event
from tests.support.app_harness import AppHarness
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.problems import assert_problem

URL = "http://127.0.0.1:2/hook"
VALUE = "Bearer s3cr3t-token"
OPTIONS: dict[str, Any] = {
    "format": "cloudevents",
    "headers": {"X-Tenant": "7", "authorization": VALUE},
    "rate_limit": 2.5,
}


async def create(app: AppHarness, **fields: Any) -> dict[str, Any]:
    response = await app.client.post("/api/webhooks", json={"url": URL, **fields})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def select_options(endpoint: dict[str, Any]) -> tuple[Any, ...]:
    return endpoint["format"], endpoint["header_names"], endpoint["rate_limit"]


async def test_options_are_shown_without_the_values_of_headers(app: AppHarness) -> None:
    assert select_options(await create(app)) == ("standard", [], None)
    endpoint = await create(app, **OPTIONS)
    responses = [
        await app.client.get("/api/webhooks"),
        await app.client.get(path(endpoint)),
        await app.client.patch(path(endpoint), json={"description": "mine"}),
        await app.client.post(path(endpoint, "rotate")),
    ]
    assert "s3cr3t" not in "".join([str(endpoint), *(response.text for response in responses)])
    for shown in (endpoint, responses[0].json()["webhooks"][1], *(item.json() for item in responses[1:])):
        assert select_options(shown) == ("cloudevents", ["authorization", "X-Tenant"], 2.5)


async def test_options_change_one_by_one(app: AppHarness) -> None:
    endpoint = await create(app, **OPTIONS)
    changed = await patch_endpoint(app.client, endpoint, headers={"x-tenant": None, "X-New": "1"})
    assert select_options(changed) == ("cloudevents", ["authorization", "X-New"], 2.5)
    changed = await patch_endpoint(app.client, endpoint, format="slack", rate_limit=None)
    assert select_options(changed) == ("slack", ["authorization", "X-New"], None)
    changed = await patch_endpoint(app.client, endpoint, headers=None, rate_limit=0.5)
    assert select_options(changed) == ("slack", [], 0.5)


async def test_a_kept_header_is_sent_with_its_value(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create(app, **{**OPTIONS, "url": receiver.url})
        await patch_endpoint(app.client, endpoint, headers={"X-Tenant": "8"}, description="mine")
        delivery = await send_test_event(app.client, endpoint)
    (request,) = receiver.requests
    assert (request.headers["authorization"], request.headers["x-tenant"]) == (VALUE, "8")
    assert delivery["payload"].encode() == request.body  # the log shows what is sent
    assert msgspec.json.decode(request.body)["subject"] == endpoint["id"]
    message = {"headers": dict(request.headers), "body": request.body.decode()}
    verification = (await app.client.post("/api/webhooks/verify", json=message)).json()
    assert verification["valid"], verification


MANY = {f"x-{number}": "1" for number in range(11)}
REFUSED: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "an unknown format": ({"format": "xml"}, ["format"]),
    "no deliveries at all": ({"rate_limit": 0}, ["rate_limit"]),
    "more than the service sends": ({"rate_limit": 101}, ["rate_limit"]),
    "a header of the signature": ({"headers": {"webhook-signature": "v1,abc"}}, ["headers"]),
    "a header of the connection": ({"headers": {"Connection": "close"}}, ["headers"]),
    "the host": ({"headers": {"Host": "other.example"}}, ["headers"]),
    "a header twice": ({"headers": {"x-a": "1", "X-A": "2"}}, ["headers"]),
    "no name of a header": ({"headers": {"x a": "1"}}, ["headers", "x a", "[key]"]),
    "a line end in a value": ({"headers": {"x-a": "1\r\nx-b: 2"}}, ["headers", "x-a"]),
    "a line end after a value": ({"headers": {"x-a": "1\n"}}, ["headers", "x-a"]),
    "an empty value": ({"headers": {"x-a": ""}}, ["headers", "x-a"]),
    "a value outside of ASCII": ({"headers": {"x-a": "ä"}}, ["headers", "x-a"]),
    "a long value": ({"headers": {"x-a": "s" * 4_097}}, ["headers", "x-a"]),
    "too long in all": ({"headers": {"x-a": "s" * 4_096, "x-b": "s" * 4_096}}, ["headers"]),
    "too many": ({"headers": MANY}, ["headers"]),
}


@pytest.mark.parametrize(("fields", "where"), list(REFUSED.values()), ids=list(REFUSED))
async def test_what_an_endpoint_cannot_have_is_refused(
    app: AppHarness, fields: dict[str, Any], where: list[str | int]
) -> None:
    endpoint = await create(app)
    for response in (
        await app.client.post("/api/webhooks", json={"url": URL, **fields}),
        await app.client.patch(path(endpoint), json=fields),
    ):
        assert list_locations(response) == [where]
    assert (await app.client.get(path(endpoint))).json()["header_names"] == []


def list_locations(response: httpx.Response) -> list[list[str | int]]:
    problem = assert_problem(response, 422)
    return [error["loc"] for error in problem["errors"]]


async def test_headers_are_bounded_across_changes(app: AppHarness) -> None:
    endpoint = await create(app, headers=dict(list(MANY.items())[:10]))
    refused = await app.client.patch(path(endpoint), json={"headers": {"y": "1"}})
    assert list_locations(refused) == [["headers"]]
    replaced = await patch_endpoint(app.client, endpoint, headers={"x-0": None, "y": "1"})
    assert len(replaced["header_names"]) == 10


async def test_a_listener_has_no_headers(app: AppHarness) -> None:
    refused = await app.client.post("/api/webhooks", json={"kind": "listener", "headers": {"x-a": "1"}})
    assert_problem(refused, 422)
    listener = (await app.client.post("/api/webhooks", json={"kind": "listener", "rate_limit": 1})).json()
    changed = await app.client.patch(path(listener), json={"headers": {"x-a": "1"}})
    assert list_locations(changed) == [["headers"]]

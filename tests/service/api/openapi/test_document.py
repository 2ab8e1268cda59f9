"""The OpenAPI document: complete, valid, and made of what the service parses and renders."""

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from starlette.routing import Route, WebSocketRoute

from gpu.config import ExportConfig, Seconds
from gpu.export_types.base import ExportType, FileOutput
from gpu.export_types.registry import get_export_types
from service.api.openapi.document import Undeclared, encode_document
from service.api.requests import parse_model
from service.api.routes import ROUTES
from service.api.webhooks.listeners import OutcomeBody
from service.problems import Invalid
from tests.support.app_harness import AppHarness


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(encode_document(ROUTES, get_export_types().load_all()))
    return content


def list_operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    documented = {
        (path, method.upper()) for path, operations in document["paths"].items() for method in operations
    }
    served = {
        (route.path.replace(":path}", "}"), method)
        for route in ROUTES
        if isinstance(route, Route | WebSocketRoute)
        for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}
    }
    assert documented == served


def test_a_route_without_an_operation_is_an_error() -> None:
    async def forget(request: object) -> None: ...

    with pytest.raises(Undeclared, match=r"/new has no operation"):
        encode_document([Route("/new", forget)], [])


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_an_installed_export_type_is_in_the_document() -> None:
    class PosterConfig(ExportConfig):
        """The frame at `time` seconds."""

        time: Seconds = 0.0

    poster = ExportType(
        name="poster",
        description="Save a frame.",
        config=PosterConfig,
        plan=lambda _config, _sources: FileOutput(write=lambda _path: iter(())),  # type: ignore[arg-type,return-value]
    )
    schemas = json.loads(encode_document(ROUTES, [poster]))["components"]["schemas"]
    assert schemas["CreateExport"]["oneOf"] == [{"$ref": "#/components/schemas/CreatePosterExport"}]
    assert schemas["CreatePosterExport"]["properties"]["config"] == {
        "$ref": "#/components/schemas/PosterConfig"
    }
    assert schemas["PosterConfig"]["properties"]["time"]["maximum"] == 7 * 86_400


def test_operation_ids_are_unique_and_each_operation_has_a_summary_and_a_tag(
    document: dict[str, Any],
) -> None:
    operations = list_operations(document)
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"] and operation["tags"] for operation in operations)


def test_every_problem_of_a_route_has_a_code(document: dict[str, Any]) -> None:
    problems = document["components"]["responses"]
    for operation in list_operations(document):
        for status, response in operation["responses"].items():
            shown = problems[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
            problem = shown.get("content", {}).get("application/problem+json")
            assert problem is not None or int(status) < 500
            if problem is not None:
                assert problem["example"]["status"] == int(status)
                assert (
                    problem["schema"]["properties"]["code"].get("enum")
                    or "other codes" in shown["description"]
                )


def test_the_document_asks_for_tokens_where_the_service_does() -> None:
    for asks_for_tokens in (False, True):
        content = encode_document(ROUTES, [], asks_for_tokens=asks_for_tokens)
        security = json.loads(content)["paths"]["/api/exports"]["get"]["security"]
        assert ({} in security) is not asks_for_tokens


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        reference = {"$ref": f"#/components/schemas/{name}"}
        validator = OAS31Validator(reference | {"components": {"schemas": schemas}})
        for example in schema.get("examples", ()):
            assert list(validator.iter_errors(example)) == [], name


def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= names


async def test_the_service_sends_the_document_and_only_once(app: AppHarness) -> None:
    answer = await app.client.get("/openapi.json")
    assert answer.json()["openapi"].startswith("3.1")
    again = await app.client.get("/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_visitor_without_a_token_reads_the_document(multi_user_app: AppHarness) -> None:
    assert (await multi_user_app.client.get("/openapi.json")).status_code == 200


RESULTS: dict[str, tuple[dict[str, Any], bool]] = {
    "a status": ({"seconds": 0.1, "status": 200}, True),
    "a status, and no error": ({"seconds": 0.1, "status": 200, "error": None}, True),
    "a status that is a whole number": ({"seconds": 0.1, "status": 200.0}, True),
    "an error": ({"seconds": 0.1, "error": {"code": "timeout", "message": "late"}}, True),
    "neither": ({"seconds": 0.1}, False),
    "null": ({"seconds": 0.1, "status": None}, False),
    "both": ({"seconds": 0.1, "status": 200, "error": {"code": "timeout", "message": "late"}}, False),
}


@pytest.mark.parametrize(("body", "is_valid"), RESULTS.values(), ids=RESULTS.keys())
def test_an_outcome_has_a_status_or_an_error(
    document: dict[str, Any], body: dict[str, Any], is_valid: bool
) -> None:
    validator = OAS31Validator({"$ref": "#/components/schemas/OutcomeBody", **document})
    assert validator.is_valid(body) == is_valid
    try:
        parse_model(OutcomeBody, json.dumps(body).encode())
    except Invalid:
        assert not is_valid
    else:
        assert is_valid

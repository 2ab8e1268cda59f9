"""The models of the clients, in Python and TypeScript, fit what the document says that the service sends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framehook import estimates, models, usages, webhook_models
from framehook.batches import models as batch_models
from framehook.keys import models as key_models
from service.api.openapi.document import encode_document
from service.api.routes import ROUTES

Schema = dict[str, Any]
PAIRS: dict[type[msgspec.Struct], str] = {
    models.Export: "SubmittedExport",
    models.Failure: "ExportFailure",
    models.Output: "ExportOutput",
    models.Queue: "QueuePlace",
    models.Exports: "ExportList",
    models.Page: "ExportPage",
    models.DownloadUrl: "DownloadUrl",
    models.Timeline: "Timeline",
    estimates.Estimate: "Estimate",
    estimates.Quantiles: "Quantiles",
    estimates.EstimatedOutput: "EstimatedOutput",
    estimates.EstimatedSource: "EstimatedSource",
    estimates.AudioTrack: "SoundTrack",
    estimates.DescribedSource: "DescribedSource",
    estimates.DescribedTrack: "DescribedTrack",
    key_models.ApiKey: "KeyWithSecret",
    key_models.ApiKeys: "KeyList",
    models.Span: "TimelinePhase",
    usages.Usage: "Usage",
    usages.UsageGroup: "UsageGroup",
    usages.UsageTotals: "UsageTotals",
    batch_models.BatchExport: "BatchExport",
    batch_models.Batch: "CreatedBatch",
    batch_models.BatchPage: "BatchPage",
    batch_models.ChangedExports: "ChangedExports",
    models.Part: "PartTarget",
    models.UploadTarget: "UploadTarget",
    models.StoredFile: "StoredFile",
    webhook_models.EndpointFilter: "WebhookFilter",
    webhook_models.Endpoint: "WebhookWithSecret",
    webhook_models.AttemptError: "DeliveryFailure",
    webhook_models.Attempt: "DeliveryAttempt",
    webhook_models.Delivery: "WholeDelivery",
    webhook_models.Endpoints: "WebhookList",
    webhook_models.DeliveriesPage: "DeliveryPage",
    webhook_models.RecoveryResult: "Recovery",
    webhook_models.PortalLink: "PortalLink",
}
NOT_READ = {
    "Timeline": {"events"},
    "StoredFile": {"size"},
    "UploadTarget": {"size", "part_count", "expires_at"},
}
"""Fields that the Python client has no use for."""
OTHER_FORMS = {"UploadTarget": ("MultipartUpload",)}
"""Models that read one of several types."""
TYPESCRIPT = Path(__file__).parents[4] / "service" / "web" / "framehook.d.ts"
INTERFACES = {
    "Export": "Export",
    "Output": "ExportOutput",
    "Queue": "QueuePlace",
    "StoredFile": "StoredFile",
    "DownloadUrl": "DownloadUrl",
}
SCRIPT_TYPES = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Schema]:
    document = json.loads(encode_document(ROUTES, []))
    content: dict[str, Schema] = document["components"]["schemas"]
    return content


def list_types(schema: Schema) -> Iterator[str]:
    """Yield the JSON types of a value, those of a reference by its name."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for member in schema.get("anyOf", ()):
        yield from list_types(member)
    if "enum" in schema:
        yield from {"string" for value in schema["enum"] if value is not None} | (
            {"null"} if None in schema["enum"] else set()
        )
    elif "type" in schema:
        yield schema["type"]
        if schema["type"] == "array":
            yield from (f"array of {name}" for name in list_types(schema["items"]))


def resolve_enums(types: set[str], schemas: dict[str, Schema]) -> set[str]:
    """Replace references to enumerations by their type."""
    resolved = set()
    for name in types:
        prefix, array, item = name.rpartition("array of ")
        is_enum = item in schemas and "enum" in schemas[item]
        resolved.add(prefix + array + ("string" if is_enum else item.replace("integer", "number")))
    return resolved


@pytest.mark.parametrize(("model", "name"), PAIRS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_python_model_reads_each_field_that_the_service_sends(
    model: type[msgspec.Struct], name: str, schemas: dict[str, Schema]
) -> None:
    _, components = msgspec.json.schema_components([model])
    forms = [schemas[form] for form in (name, *OTHER_FORMS.get(name, ())) if form in schemas]
    described = {field: schema for form in forms for field, schema in form["properties"].items()}
    read = components[model.__name__]["properties"]
    assert set(read) | NOT_READ.get(name, set()) == set(described)
    names = {client.__name__: {PAIRS[client], PAIRS[client].removesuffix("WithSecret")} for client in PAIRS}
    for field, schema in read.items():
        sent = resolve_enums(set(list_types(described[field])), schemas)
        accepted = resolve_enums(set(list_types(schema)), components)
        for client, documented in names.items():
            for prefix in ("", "array of "):
                if prefix + client in accepted:
                    accepted |= {prefix + other for other in documented} | aliases_of(prefix, documented)
        assert sent <= accepted, field
    always_sent = set.intersection(*(set(form["required"]) for form in forms))
    assert set(components[model.__name__].get("required", ())) <= always_sent


def aliases_of(prefix: str, documented: set[str]) -> set[str]:
    """Return the shorter forms of these types, which lists show."""
    shorter = {"SubmittedExport": "Export", "WholeDelivery": "WebhookDelivery", "CreatedBatch": "Batch"}
    return {prefix + shorter[name] for name in documented if name in shorter}


def read_interface(name: str) -> dict[str, tuple[bool, set[str]]]:
    """Return the fields of an interface: whether each is optional, and its types."""
    text = TYPESCRIPT.read_text("utf-8")
    body = re.search(rf"export interface {name} {{\n(.*?)\n}}", text, re.DOTALL)
    assert body is not None
    fields = re.findall(r"^  (\w+)(\??): ([^;]+);$", re.sub(r"{[^}]*}", "object", body[1]), re.MULTILINE)
    return {
        field: (optional == "?", {part.strip() for part in types.split("|")})
        for field, optional, types in fields
    }


@pytest.mark.parametrize(("interface", "name"), INTERFACES.items())
def test_a_typescript_interface_has_each_field_that_the_service_sends(
    interface: str, name: str, schemas: dict[str, Schema]
) -> None:
    described, written = schemas[name]["properties"], read_interface(interface)
    assert set(written) == set(described)
    for field, (_, types) in written.items():
        sent = set(list_types(described[field]))
        plain = {SCRIPT_TYPES[name] for name in sent if name in SCRIPT_TYPES}
        assert plain <= types, field


@pytest.mark.parametrize("name", ["Status", "Phase"])
def test_the_unions_of_typescript_are_the_enumerations_of_the_service(
    name: str, schemas: dict[str, Schema]
) -> None:
    union = re.search(rf"^export type {name} = (.*);$", TYPESCRIPT.read_text("utf-8"), re.MULTILINE)
    assert union is not None
    assert set(re.findall(r'"(\w+)"', union[1])) == set(schemas[name]["enum"])

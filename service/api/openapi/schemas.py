"""JSON Schemas of the models that parse requests and the types that render responses."""

import json
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, TypeGuard, get_args

import msgspec
import pydantic
from pydantic.json_schema import models_json_schema

from gpu.export_types.base import ExportType
from service.api.create_export import CreateExport
from service.api.openapi.examples import EXAMPLES

Schema = dict[str, Any]
Schemas = dict[str, Schema]

REFERENCE = "#/components/schemas/"
_PYDANTIC_TEMPLATE, _MSGSPEC_TEMPLATE = REFERENCE + "{model}", REFERENCE + "{name}"
_SUBMISSION = CreateExport.__name__


def refer_to(model: Any) -> Schema:
    """Return the schema of a value of a type, which refers to the components of `build_components`."""
    if isinstance(model, UnionType):
        return {"anyOf": [refer_to(member) for member in get_args(model)]}
    if _is_parsed(model):
        return {"$ref": REFERENCE + model.__name__}
    (schema,), _ = msgspec.json.schema_components([model], ref_template=_MSGSPEC_TEMPLATE)
    return schema


def build_components(models: Iterable[Any], export_types: Iterable[ExportType]) -> Schemas:
    """Return the schemas of all models, by name.

    Raises ValueError if two different types have one name.
    """
    parsed, rendered = _split(models)
    configs = {export_type.name: export_type.config for export_type in export_types}
    _, definitions = models_json_schema(
        [(model, "validation") for model in (*parsed, *configs.values())], ref_template=_PYDANTIC_TEMPLATE
    )
    schemas: Schemas = definitions.get("$defs", {})
    _, components = msgspec.json.schema_components(rendered, ref_template=_MSGSPEC_TEMPLATE)
    for name, schema in components.items():
        if name in schemas and _shape_of(schema) != _shape_of(schemas[name]):
            raise ValueError(f"two types of the API are named {name}")
        schemas[name] = schema
    if _SUBMISSION in schemas:
        schemas |= _build_submissions(
            schemas[_SUBMISSION], {name: refer_to(configs[name]) for name in configs}
        )
    return {name: _finish(name, schemas[name]) for name in sorted(schemas)}


def query_parameters(model: type[pydantic.BaseModel]) -> Mapping[str, Schema]:
    """Return the schema of each parameter of a query string."""
    schema = model.model_json_schema(ref_template=_PYDANTIC_TEMPLATE)
    definitions = schema.get("$defs", {})
    return {name: _clean(_inline(field, definitions)) for name, field in schema.get("properties", {}).items()}


def _split(models: Iterable[Any]) -> tuple[list[type[pydantic.BaseModel]], list[Any]]:
    """Separate the models that pydantic parses from the types that msgspec parses or renders."""
    members = [
        member
        for model in models
        for member in (get_args(model) if isinstance(model, UnionType) else (model,))
    ]
    rendered = [member for member in members if not _is_parsed(member)]
    return [member for member in members if _is_parsed(member)], rendered


def _is_parsed(model: Any) -> TypeGuard[type[pydantic.BaseModel]]:
    return isinstance(model, type) and issubclass(model, pydantic.BaseModel)


def _build_submissions(submission: Schema, configs: Mapping[str, Schema]) -> Schemas:
    """Return `CreateExport` as one of the bodies of the export types, each with its own `config`."""
    schemas: Schemas = {}
    for type_name, config in configs.items():
        fixed = {"type": {"const": type_name, "type": "string"}, "config": config}
        name = f"Create{type_name.title().replace('_', '')}Export"
        schemas[name] = {**submission, "properties": {**submission["properties"], **fixed}}
    references = {type_name: REFERENCE + name for type_name, name in zip(configs, schemas, strict=True)}
    schemas[_SUBMISSION] = {
        "description": submission["description"],
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "type", "mapping": references},
    }
    return schemas


def _finish(name: str, schema: Schema) -> Schema:
    examples = {"examples": EXAMPLES[name]} if name in EXAMPLES else {}
    finished: Schema = _clean(schema) | examples
    return finished


def _clean(schema: Any) -> Any:
    """Remove titles that repeat names, and write the patterns of Python as those of ECMAScript."""
    if isinstance(schema, list):
        return [_clean(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned: Schema = {
        name: {key: _clean(value) for key, value in member.items()}
        if name == "properties"
        else _clean(member)
        for name, member in schema.items()
        if not (name == "title" and isinstance(member, str))
    }
    if isinstance(pattern := cleaned.get("pattern"), str):
        cleaned["pattern"] = re.sub(r"\\[zZ]$", "$", pattern)
    if isinstance(description := cleaned.get("description"), str):
        cleaned["description"] = re.sub(r"(?<!\n)\n(?!\n)", " ", description)
    return cleaned


def _inline(schema: Any, definitions: Mapping[str, Schema]) -> Any:
    """Replace references, for a parameter has no components."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].removeprefix(REFERENCE)], definitions)
    return {name: _inline(member, definitions) for name, member in schema.items()}


def _shape_of(schema: Schema) -> str:
    """Return what a schema accepts, without its words."""
    if "enum" in schema:
        return json.dumps(sorted(schema["enum"]))
    words = {"description", "title"}
    return json.dumps(
        {key: value for key, value in _clean(schema).items() if key not in words}, sort_keys=True
    )

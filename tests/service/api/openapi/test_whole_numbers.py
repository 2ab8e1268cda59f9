"""JSON knows one kind of number: 200.0 is as good as 200 in every field of a body that is an integer."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args

import pydantic
from pydantic.fields import FieldInfo

from gpu.export_types.registry import get_export_types
from service.api.openapi.operations import find_operation
from service.api.routes import ROUTES


def find_models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """Yield the models in a type, and those in their fields."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from find_models(field.annotation)
    for member in get_args(annotation):
        yield from find_models(member)


def list_fields() -> dict[str, pydantic.TypeAdapter[Any]]:
    """Return what parses each field of each body and each config."""
    declared = [find_operation(getattr(route, "endpoint", None)) for route in ROUTES]
    operations = [declaration[0] for declaration in declared if declaration is not None]
    bodies = [operation.body.model for operation in operations if operation.body is not None]
    configs = [export_type.config for export_type in get_export_types().load_all()]
    return {
        f"{model.__name__}.{name}": build_parser(field)
        for model in {model for annotation in (*bodies, *configs) for model in find_models(annotation)}
        for name, field in model.model_fields.items()
    }


def build_parser(field: FieldInfo) -> pydantic.TypeAdapter[Any]:
    limited: Any = Annotated[field.annotation, pydantic.Field(), *field.metadata]
    return pydantic.TypeAdapter(limited)


def find_integer(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the integer that a value is, if it is one or null."""
    options = [part for part in schema.get("anyOf", (schema,)) if part.get("type") != "null"]
    return options[0] if len(options) == 1 and options[0].get("type") == "integer" else None


def accepts(parser: pydantic.TypeAdapter[Any], number: str) -> bool:
    try:
        parser.validate_json(number, strict=True)
    except pydantic.ValidationError:
        return False
    return True


def test_every_integer_of_a_body_may_be_written_with_a_decimal_point() -> None:
    checked, wrong = set(), []
    for name, parser in list_fields().items():
        integer = find_integer(parser.json_schema())
        if integer is not None:
            checked.add(name)
            least = max(integer.get("minimum", 1), 1)
            if not accepts(parser, f"{least}.0") or accepts(parser, f"{least}.5"):
                wrong.append(name)
    assert wrong == []
    assert {"DescribedSource.width", "DescribedTrack.channels", "Clip.rating", "CreateUpload.size"} <= checked

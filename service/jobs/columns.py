"""Table columns from the fields of a struct, so that a column is declared once."""

from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Text, TextClause

PrimaryKey = Annotated[str, Meta(extra={"primary_key": True})]
LongText = Annotated[str, Meta(extra={"type_": Text})]
BigInt = Annotated[int, Meta(extra={"type_": BigInteger})]
# Columns that were added to tables with rows.
FloatFromZero = Annotated[float, Meta(extra={"server_default": "0"})]
IntFromZero = Annotated[int, Meta(extra={"server_default": "0"})]

_SQL_TYPES = {str: String, int: Integer, float: Float, bool: Boolean}


def table_columns(struct: type[msgspec.Struct]) -> list[Column[Any]]:
    """Return a column for each field: nullable if the field may be None, with the default of the field.

    The aliases above say what a Python type does not.
    """
    hints = get_type_hints(struct, include_extras=True)
    return [_column(field.name, hints[field.name], field.default) for field in msgspec.structs.fields(struct)]


def partial_index(name: str, *columns: str, where: TextClause, unique: bool = False) -> Index:
    """Return an index of the rows that meet a condition."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _column(name: str, hint: Any, default: Any) -> Column[Any]:
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    (member,) = (member for member in members if member is not NoneType)
    python_type, options = member, dict[str, Any]()
    if get_origin(member) is Annotated:
        python_type, meta = get_args(member)
        options = dict(meta.extra)
    type_ = options.pop("type_", None) or _SQL_TYPES[str if issubclass(python_type, StrEnum) else python_type]
    if default is not NODEFAULT:
        options["default"] = default
    column: Column[Any] = Column(type_, nullable=NoneType in members, **options)
    column.key = column.name = (
        name  # `Column(name)` makes it a subclass of str, which msgspec does not take as a key
    )
    return column

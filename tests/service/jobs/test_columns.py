"""A table's columns follow from the fields of a struct."""

import msgspec
from sqlalchemy import BigInteger, Boolean, Float, Integer, String, Text

from service.jobs.columns import BigInt, IntFromZero, LongText, PrimaryKey, table_columns
from service.jobs.models import COLUMNS, JOBS, Job, Status


class Row(msgspec.Struct, kw_only=True):
    row_id: PrimaryKey
    status: Status
    note: LongText = ""
    size: BigInt | None = None
    count: IntFromZero = 0
    seconds: float | None = None
    enabled: bool


def test_a_field_s_type_default_and_optionality_are_its_column_s() -> None:
    columns = {column.name: column for column in table_columns(Row)}
    types = [String, String, Text, BigInteger, Integer, Float, Boolean]
    assert [type(column.type) for column in columns.values()] == types
    assert [name for name, column in columns.items() if column.nullable] == ["size", "seconds"]
    assert [name for name, column in columns.items() if column.primary_key] == ["row_id"]
    assert [name for name, column in columns.items() if column.server_default is not None] == ["count"]
    defaults = {name: column.default.arg for name, column in columns.items() if column.default is not None}  # type: ignore[attr-defined]
    assert defaults == {"note": "", "count": 0}


def test_a_job_s_columns_are_its_fields_in_order() -> None:
    fields = list(Job.__struct_fields__)
    assert list(JOBS.c.keys()) == fields
    assert COLUMNS.split(", ") == fields
    optional = {field.name for field in msgspec.structs.fields(Job) if field.default is None}
    # `cost_usd` is 0 at first, and null if the price of an attempt is unknown.
    assert {column.name for column in JOBS.c if column.nullable} == {*optional, "cost_usd"}

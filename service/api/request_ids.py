"""What clients give exports, as fields of request models: ids, names and metadata."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Final

import pydantic

from gpu.config import WholeNumber, answer_in_a_sentence
from service.api.requests import MAX_JOB_ID, NO_NUL_PATTERN
from service.jobs.ids import EXPORT_ID_PATTERN, is_job_id
from service.jobs.metadata import MetadataValue

MAX_PROJECT_ID = 200
MAX_NAME = 200
MAX_METADATA_KEYS = 16
MAX_METADATA_TEXT = 500
MAX_METADATA_NUMBER: Final = 2**53 - 1
"""Beyond it JavaScript reads another number than was sent."""
METADATA_KEY = "[A-Za-z0-9_.-]{1,40}"
NO_CONTROL_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
RESERVED_IDS = frozenset({"acknowledge", "estimate", "unacknowledged"})
"""Fixed paths below `/api/exports/`, which an export with such an id could not be reached under."""


def _check_export_id(value: str) -> str:
    if value in RESERVED_IDS:
        raise ValueError(f"{value!r} is reserved; choose another id")
    if is_job_id(value):
        raise ValueError("it has the form of the service's own ids (UUID version 7); choose another id")
    return value


JobId = Annotated[str, pydantic.Field(max_length=MAX_JOB_ID, pattern=r"^[!-~]*$")]
"""The id of an export, its own or the chosen one, or of a batch, in a list, a filter or a cursor."""
ExportId = Annotated[
    str, pydantic.Field(pattern=EXPORT_ID_PATTERN), pydantic.AfterValidator(_check_export_id)
]
ProjectText = Annotated[str, pydantic.Field(strict=True, max_length=MAX_PROJECT_ID, pattern=NO_NUL_PATTERN)]
"""A project id as text, which matches integers, too."""
ProjectId = Annotated[
    ProjectText | Annotated[int, pydantic.Field(strict=True, ge=-(2**63), lt=2**63), WholeNumber],
    answer_in_a_sentence(
        f"must be a string of at most {MAX_PROJECT_ID} characters, none of them NUL, or an integer of 64 bits"
    ),
]
Name = Annotated[str, pydantic.Field(strict=True, max_length=MAX_NAME, pattern=NO_CONTROL_PATTERN)]
MetadataKey = Annotated[str, pydantic.Field(pattern=f"^{METADATA_KEY}$")]
MetadataText = Annotated[
    str, pydantic.Field(strict=True, max_length=MAX_METADATA_TEXT, pattern=NO_CONTROL_PATTERN)
]


def _normalize_number(value: MetadataValue) -> MetadataValue:
    """Return a whole number without a fraction, so that `5.0` and `5` are one value."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Number = pydantic.Field(strict=True, ge=-MAX_METADATA_NUMBER, le=MAX_METADATA_NUMBER)
MetadataItem = Annotated[
    MetadataText | Annotated[bool, pydantic.Strict()] | Annotated[int, _Number] | Annotated[float, _Number],
    pydantic.AfterValidator(_normalize_number),
    answer_in_a_sentence(
        f"must be a string of at most {MAX_METADATA_TEXT} characters without control characters, a boolean, or a "
        f"number from -{MAX_METADATA_NUMBER} to {MAX_METADATA_NUMBER}"
    ),
]
Metadata = Annotated[dict[MetadataKey, MetadataItem], pydantic.Field(max_length=MAX_METADATA_KEYS)]
_PARAMETER = {"type": "string", "maxLength": MAX_METADATA_TEXT, "pattern": NO_CONTROL_PATTERN}
MetadataParameters = Annotated[
    dict[MetadataKey, MetadataText],
    pydantic.Field(max_length=MAX_METADATA_KEYS),
    pydantic.WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {rf"^metadata\.{METADATA_KEY}$": _PARAMETER},
            "additionalProperties": False,
            "maxProperties": MAX_METADATA_KEYS,
        }
    ),
]
"""Each key is a parameter of its own in a query string, `metadata.KEY`."""


_ANY_MOMENT = pydantic.TypeAdapter(pydantic.AwareDatetime)
_FIRST_SECOND: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_SECOND: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def _read_moment(value: object) -> datetime:
    """Parse a time; refuse a number, also as text, which pydantic would take for seconds since the epoch.

    A time zone may move a time out of the years that can be shown in UTC.
    """
    if isinstance(value, str) and _DATE.match(value):
        with suppress(pydantic.ValidationError):
            moment = _ANY_MOMENT.validate_python(value)
            if _FIRST_SECOND <= moment.timestamp() <= _LAST_SECOND:
                return moment
    raise ValueError("must be a time with its time zone, such as 2026-01-02T03:04:05Z")


Moment = Annotated[pydantic.AwareDatetime, pydantic.BeforeValidator(_read_moment)]
"""A time of the years 1 to 9999 in UTC. Every time that a client gives is one, so that it can be shown again."""

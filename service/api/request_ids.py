"""The ids that clients give to exports and projects, as fields of request models."""

from typing import Annotated

import pydantic

from gpu.config import WholeNumber, answer_in_a_sentence
from service.api.requests import MAX_JOB_ID, NO_NUL_PATTERN
from service.jobs.ids import EXPORT_ID_PATTERN, is_job_id

MAX_PROJECT_ID = 200
RESERVED_IDS = frozenset({"acknowledge", "estimate", "unacknowledged"})
"""Fixed paths below `/api/exports/`, which an export with such an id could not be reached under."""


def _check_export_id(value: str) -> str:
    if value in RESERVED_IDS:
        raise ValueError(f"{value!r} is reserved; choose another id")
    if is_job_id(value):
        raise ValueError("it has the form of the service's own ids (UUID version 7); choose another id")
    return value


JobId = Annotated[str, pydantic.Field(max_length=MAX_JOB_ID, pattern=r"^[!-~]*$")]
"""The id of an export, its own or the chosen one, in a list or a cursor."""
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

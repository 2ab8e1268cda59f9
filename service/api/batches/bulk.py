"""`POST /api/exports/cancel` and `/retry`: change all exports that a filter, or a list of ids, selects."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Self, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.export_filters import EndpointFilter
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.request_ids import JobId
from service.api.requests import json_response, read_json
from service.api.state import State
from service.batches.models import BulkChange, Selection
from service.jobs.filters import EVERY_EXPORT
from service.problems import QuotaExceeded

MAX_IDS = 1_000


class SelectExports(EndpointFilter):
    """Which exports: those that meet every condition of a list's filters, or those with these ids.

    At least one condition or id is required. `cursor` is the `next_cursor` of the response before.
    """

    ids: Annotated[list[JobId], pydantic.Field(min_length=1, max_length=MAX_IDS)] | None = None
    cursor: JobId | None = None

    @pydantic.model_validator(mode="after")
    def _selects_some(self) -> Self:
        if (self.ids is None) == (self.to_filter() == EVERY_EXPORT):
            raise ValueError("give at least one condition, or ids; not both")
        return self

    def to_selection(self) -> Selection:
        """Return which exports are changed."""
        return Selection(self.ids, self.to_filter(), self.cursor or "")


class ChangedExports(TypedDict):
    """How many exports the call found in a state that can be changed, and how many of them it has changed.

    If `next_cursor` is not null there are more: send the same body again with it as `cursor`.
    """

    matched: int
    changed: int
    next_cursor: str | None


@declare_operation("cancel_exports", Tag.EXPORTS, body=Body(SelectExports), answers={200: ChangedExports})
async def cancel(request: Request[State]) -> Response:
    """Cancel the active exports that the body selects, and stop their runs; 1,000 in a call at most."""
    return await _change(request, request.state["batches"].bulk.cancel)


@declare_operation(
    "retry_exports",
    Tag.EXPORTS,
    body=Body(SelectExports),
    answers={200: ChangedExports},
    problems=(QuotaExceeded,),
)
async def retry(request: Request[State]) -> Response:
    """Start the failed and cancelled exports that the body selects again; 100 in a call at most.

    What can't start now is left out: its last attempt is still ending, or another export has its output key.
    """
    return await _change(request, request.state["batches"].bulk.retry)


async def _change(
    request: Request[State], change: Callable[[str, Selection], Awaitable[BulkChange]]
) -> Response:
    user_id = await request.state["authenticator"].user(request)
    body, _ = await read_json(request, SelectExports)
    done = await change(user_id, body.to_selection())
    return json_response(
        ChangedExports(matched=done.matched, changed=done.changed, next_cursor=done.next_cursor)
    )

"""`/api/batches`: list, show, cancel and erase batches."""

from typing import Annotated, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.exports import DeleteQuery
from service.api.openapi.operations import Answer, Tag, declare_operation
from service.api.request_ids import JobId
from service.api.requests import StrictModel, json_response, parse_query, path_id
from service.api.state import State
from service.jobs.batches.totals import Batch
from service.problems import Erased


class BatchesQuery(StrictModel):
    """`?limit=&cursor=`."""

    limit: Annotated[int, pydantic.Field(ge=1, le=100)] = 20
    cursor: JobId | None = None


class BatchPage(TypedDict):
    """One page of batches, newest first; `next_cursor` is the `cursor` of the next page, null on the last."""

    batches: list[Batch]
    next_cursor: str | None


@declare_operation("list_batches", Tag.BATCHES, query=BatchesQuery, answers={200: BatchPage})
async def list_(request: Request[State]) -> Response:
    """List one page of batches, newest first."""
    user_id = await request.state["authenticator"].user(request)
    query = parse_query(request, BatchesQuery)
    page, next_cursor = await request.state["batches"].list_page(
        user_id, before=query.cursor, limit=query.limit
    )
    return json_response(BatchPage(batches=page, next_cursor=next_cursor))


@declare_operation("get_batch", Tag.BATCHES, answers={200: Batch}, problems=(Erased,))
async def get(request: Request[State]) -> Response:
    """Show one batch: how many of its exports are in each status, and their progress together."""
    user_id = await request.state["authenticator"].user(request)
    return json_response(await request.state["batches"].get(user_id, _path_batch_id(request)))


@declare_operation(
    "cancel_batch",
    Tag.BATCHES,
    query=DeleteQuery,
    answers={202: Batch, 204: Answer("With `purge`: the batch and its exports are erased.")},
    problems=(Erased,),
)
async def cancel(request: Request[State]) -> Response:
    """Cancel all active exports of the batch and stop their runs; cancelling again has the same response.

    With `purge` the batch and all of its exports are erased for good, as single ones are, without `batch.completed`.
    """
    user_id = await request.state["authenticator"].user(request)
    batch_id = _path_batch_id(request)
    if parse_query(request, DeleteQuery).purge:
        await request.state["batches"].eraser.purge(user_id, batch_id)
        return Response(status_code=204)
    return json_response(await request.state["batches"].cancel(user_id, batch_id), 202)


def _path_batch_id(request: Request[State]) -> str:
    return path_id(request, "batch_id", "The batch does not exist.")

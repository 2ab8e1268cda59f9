"""What an endpoint may have missed: read from exports, batches and erasures, one kind after the other, in batches."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.batches.completion import CompletedBatch
from service.jobs.batches.models import BATCHES
from service.jobs.batches.queries import list_completed
from service.jobs.erasures import ERASURES, STUB_SECONDS, Erasure, to_erasure
from service.jobs.filters import EVERY_EXPORT, ExportFilter, decode_filter
from service.jobs.ids import new_id
from service.jobs.models import EXPIRY_ANNOUNCED, FINAL, JOBS, Job
from service.jobs.serializers import JobSerializer
from service.jobs.transitions import to_job
from service.webhooks.models import DELIVERIES, Endpoint, WebhookEvent
from service.webhooks.notices import Notice, notice_of_batch, notice_of_erasure, notice_of_expiry
from service.webhooks.outbox import Row, build_delivery, build_payload

BATCH_ROWS: Final = 500


@dataclass(frozen=True)
class Search:
    """For which endpoint events are searched, and since when."""

    session: AsyncSession
    endpoint: Endpoint
    serializer: JobSerializer
    since: float
    now: float

    @property
    def filter(self) -> ExportFilter:
        """Which exports the endpoint shows."""
        column = self.endpoint.export_filter
        return EVERY_EXPORT if column is None else decode_filter(column)

    def to_delivery(self, notice: Notice) -> Row:
        """Return the parameters that insert a notice."""
        return notice.to_delivery(self.endpoint.endpoint_id, new_id(self.now))


@dataclass(frozen=True)
class PastEvent:
    """An event that the endpoint wants: `is_same` matches its deliveries, `build` makes another.

    `build` is None if it is not known any more whether the endpoint wants it: then only a stored one is sent again.
    """

    is_same: ColumnElement[bool]
    build: Callable[[], Row] | None


Page = tuple[list[PastEvent], str | None]
"""A batch of events, and the id after which the next one begins; None at the end."""


async def _list_ended(search: Search, after: str) -> Page:
    """List the ends of exports."""
    is_ended = (JOBS.c.completed_at >= search.since, JOBS.c.status.in_(FINAL))
    jobs = await _list_jobs(search, after, *is_ended)
    return [_end_of(search, job) for job in jobs if search.endpoint.is_interested_in(job)], _last(jobs)


def _end_of(search: Search, job: Job) -> PastEvent:
    def build() -> Row:
        payload = build_payload(job, search.serializer, search.now)
        delivery = build_delivery(job, search.endpoint.endpoint_id, payload, search.now)
        return delivery | {
            "sequence": job.transition_sequence
        }  # the end, also of a job that was edited since

    return PastEvent(_has_sequence(job.job_id, job.transition_sequence), build)


async def _list_expiries(search: Search, after: str) -> Page:
    """List the newest notice of each expiry: that the file is going to be deleted, or that it was.

    The first is written before the file expires, the second after that.
    """
    was_announced = (JOBS.c.edited_at >= search.since, JOBS.c.expiry_step >= EXPIRY_ANNOUNCED)
    jobs = await _list_jobs(search, after, *was_announced)
    is_timely = [job for job in jobs if job.has_expired or (job.expires_at or 0.0) > search.now]
    return [_expiry_of(search, job) for job in is_timely if search.filter.matches(job)], _last(jobs)


def _expiry_of(search: Search, job: Job) -> PastEvent:
    is_newest = DELIVERIES.c.created_at >= job.expires_at if job.has_expired else true()
    is_same = and_(
        DELIVERIES.c.job_id == job.job_id, DELIVERIES.c.type == WebhookEvent.EXPIRED.value, is_newest
    )
    return PastEvent(
        is_same, lambda: search.to_delivery(notice_of_expiry(job, search.serializer, search.now))
    )


async def _list_erasures(search: Search, after: str) -> Page:
    """List the erasures of exports. The filter of an endpoint can't be asked any more."""
    oldest = max(search.since, search.now - STUB_SECONDS)
    query = select(ERASURES).where(
        ERASURES.c.user_id == search.endpoint.user_id,
        ERASURES.c.erased_at >= oldest,
        ERASURES.c.job_id > after,
        _is_of_export(),
    )
    if search.endpoint.job_id is not None:
        query = query.where(ERASURES.c.job_id == search.endpoint.job_id)
    rows = await search.session.execute(query.order_by(ERASURES.c.job_id).limit(BATCH_ROWS))
    erased = list(map(to_erasure, rows.mappings()))
    return [_erasure_of(search, erasure) for erasure in erased], _last(erased)


def _is_of_export() -> ColumnElement[bool]:
    """Match the erasures of exports: uploads and batches have no sequence, and files expire without their export."""
    return and_(ERASURES.c.sequence > 0, ERASURES.c.job_id.not_like("expired/%"))


def _erasure_of(search: Search, erasure: Erasure) -> PastEvent:
    is_same = _has_sequence(erasure.job_id, erasure.sequence)
    if search.filter is not EVERY_EXPORT:
        return PastEvent(is_same, None)
    return PastEvent(is_same, lambda: search.to_delivery(notice_of_erasure(erasure, search.now)))


async def _list_batches(search: Search, after: str) -> Page:
    """List the batches whose exports have all ended, newest first; those of a single export are in none."""
    if search.endpoint.job_id is not None:
        return [], None
    older = [BATCHES.c.batch_id < after] if after else []
    is_own = (BATCHES.c.user_id == search.endpoint.user_id, BATCHES.c.completed_at >= search.since)
    completed = await list_completed(search.session, *is_own, *older, limit=BATCH_ROWS)
    shown = [batch for batch in completed if search.filter.matches_batch(batch.batch)]
    last = completed[-1].batch_id if len(completed) == BATCH_ROWS else None
    return [_end_of_batch(search, batch) for batch in shown], last


def _end_of_batch(search: Search, batch: CompletedBatch) -> PastEvent:
    is_same = _has_sequence(batch.batch_id, 1)
    return PastEvent(is_same, lambda: search.to_delivery(notice_of_batch(batch, search.now)))


async def _list_jobs(search: Search, after: str, *where: ColumnElement[bool]) -> list[Job]:
    query = select(JOBS).where(JOBS.c.user_id == search.endpoint.user_id, JOBS.c.job_id > after, *where)
    if search.endpoint.job_id:
        query = query.where(JOBS.c.job_id == search.endpoint.job_id)
    rows = await search.session.execute(query.order_by(JOBS.c.job_id).limit(BATCH_ROWS))
    return [to_job(row) for row in rows.mappings()]


def _has_sequence(object_id: str, sequence: int) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.job_id == object_id, DELIVERIES.c.sequence == sequence)


def _last(rows: Sequence[Any]) -> str | None:
    return rows[-1].job_id if len(rows) == BATCH_ROWS else None


ENDS: Final = frozenset({WebhookEvent.COMPLETED, WebhookEvent.FAILED, WebhookEvent.CANCELLED})
KINDS: Final[Sequence[tuple[frozenset[WebhookEvent], Callable[[Search, str], Awaitable[Page]]]]] = (
    (ENDS, _list_ended),
    (frozenset({WebhookEvent.EXPIRED}), _list_expiries),
    (frozenset({WebhookEvent.ERASED}), _list_erasures),
    (frozenset({WebhookEvent.BATCH_COMPLETED}), _list_batches),
)
"""The kinds of events in the order in which they are searched, and what lists each."""

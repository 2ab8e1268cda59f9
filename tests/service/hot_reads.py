"""What the service asks of the table of jobs for every user, callback, claim and round of a loop."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Phase
from infra.database.base import dialect_of
from service.costs.days import day_of
from service.costs.usage_report import GroupBy, Period, read_groups, read_total
from service.forecast.store import list_rates
from service.jobs import acknowledgements, leases, queries, statistics, uploads
from service.jobs.batches import queries as batch_queries
from service.jobs.batches.totals import read_totals
from service.jobs.filters import ExportFilter
from service.jobs.models import Status

Read = Callable[[AsyncSession], Awaitable[Any]]
NOW = time.time()
USER = "user-3"
BATCH = f"{USER}-batch-20"
MONTH = Period(day_of(NOW) - 29, day_of(NOW), USER)

WATCHED = [
    leases.WatchedJob(
        job_id=f"job-{number}",
        attempt=1,
        status=Status.PROCESSING,
        phase=Phase.PROCESSING,
        sequence=4,
        call_id="call",
        lease_until=NOW,
    )
    for number in range(3)
]

IN_PROJECT = ExportFilter(frozenset({Status.COMPLETE, Status.ERROR}), frozenset({"framing"}), "7")
IN_ORDER = ExportFilter(
    frozenset({Status.COMPLETE}), project_id="7", metadata=(("k", "v"), ("n", "5")), created_after=NOW
)

HOT_READS: dict[str, Read] = {
    "get": lambda session: queries.get(session, USER, "a"),
    "holder": lambda session: queries.find_key_holders(session, USER, ["a.mp4"], now=NOW),
    "active": lambda session: queries.list_active(session, USER),
    "recent": lambda session: queries.list_recent(session, USER, since=NOW),
    "unacknowledged": lambda session: queries.list_unacknowledged(session, USER),
    "stream": lambda session: queries.list_latest_finished(session, USER, since=NOW, limit=200),
    "stream again": lambda session: queries.list_finished_since(
        session, USER, since=NOW, after=None, limit=200
    ),
    "next page of it": lambda session: queries.list_finished_since(
        session, USER, since=NOW, after=(NOW, "a"), limit=200
    ),
    "page": lambda session: queries.list_page(session, USER, before="b", limit=50),
    "page of one status": lambda session: queries.list_page(
        session, USER, ExportFilter(frozenset({Status.ERROR})), before="b", limit=50
    ),
    "page of a project": lambda session: queries.list_page(session, USER, IN_PROJECT, before="b", limit=50),
    "page by metadata": lambda session: queries.list_page(session, USER, IN_ORDER, before="b", limit=50),
    "active page by metadata": lambda session: queries.list_page(
        session, USER, replace(IN_ORDER, statuses=frozenset({Status.PENDING})), before="b", limit=50
    ),
    "page of a batch": lambda session: queries.list_page(
        session, USER, ExportFilter(batch_id=BATCH), before="b", limit=50
    ),
    "page of batches": lambda session: batch_queries.list_batches(session, USER, before=None, limit=20),
    "totals of batches": lambda session: read_totals(
        batch_queries.fetch_in(session), dialect_of(session), [BATCH]
    ),
    "rates of forecasts": lambda session: list_rates(session, after=NOW),
    "facts of uploads": lambda session: uploads.find_facts(session, USER, ["uploads/1/match.mp4"]),
    "usage of a month": lambda session: read_groups(session, MONTH, GroupBy.PROJECT),
    "usage in total": lambda session: read_total(session, MONTH),
    "page of a time": lambda session: queries.list_page(
        session, USER, ExportFilter(created_after=NOW, created_before=NOW + 1), before=None, limit=50
    ),
    "edited": lambda session: queries.list_edited(
        session, USER, *IN_ORDER.residual_conditions(with_earlier=True), since=NOW
    ),
    "stream of a project": lambda session: queries.list_latest_finished(
        session, USER, *IN_PROJECT.residual_conditions(), since=NOW, limit=200
    ),
    "stream of a project again": lambda session: queries.list_finished_since(
        session,
        USER,
        *IN_PROJECT.residual_conditions(with_earlier=True),
        since=NOW,
        after=(NOW, "a"),
        limit=200,
    ),
    "active of a project": lambda session: queries.list_active(
        session, USER, *IN_PROJECT.residual_conditions(with_earlier=True)
    ),
    "acknowledged": lambda session: acknowledgements.acknowledge(session, USER, ["a", "b"], now=NOW),
    "all acknowledged": lambda session: acknowledgements.acknowledge_all(session, USER, now=NOW),
    "quota": lambda session: queries.count_active(session, USER),
    "metrics": lambda session: statistics.count_active(session, now=NOW),
    "claim": lambda session: leases.claim(session, slots=4, per_user=2, lease_seconds=30, now=NOW),
    "watched": leases.list_watched,
    "late": lambda session: leases.list_unchanged(session, WATCHED),
    "silent": lambda session: leases.lease_silent(session, WATCHED, lease_seconds=60, now=NOW),
    "long pauses": lambda session: leases.end_long_pauses(session, now=NOW),
    "ended": lambda session: leases.find_by_call(session, ["call"]),
    "left over": lambda session: leases.list_orphaned(session, "local", of_this_instance="local-1-"),
}

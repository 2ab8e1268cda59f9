"""A filter means the same in Python, for live changes, and in SQL, for lists and first states."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import hypothesis
import pytest
from hypothesis import strategies as st
from sqlalchemy import update

from callbacks.envelope import Phase
from infra.database.base import Database
from infra.database.factory import open_database
from service.jobs import queries, transitions
from service.jobs.filters import ExportFilter
from service.jobs.ids import new_id
from service.jobs.metadata import Metadata, decode_metadata, encode_metadata, to_text
from service.jobs.models import JOBS, Job, Status
from tests.conftest import delete_all_rows
from tests.support import job_factory

NOW = 1_000_000.0
STATUSES = [
    frozenset[Status](),
    *(frozenset({status}) for status in Status),
    frozenset({Status.PENDING, Status.COMPLETE}),
    frozenset({Status.PROCESSING, Status.ERROR}),
]
METADATA: list[Metadata | None] = [
    None,
    {"n": 5, "k": "v"},
    {"n": "5", "k": "V"},
    {"n": 50, "kk": "v"},
    {"n": 0.5, "k": '","n":5,"x":"y'},
    {"n": True, "k": "true"},
    {"k": "ü \u2028 %_'\\"},
]
CONDITIONS = [
    *(("n", text) for text in ("5", "50", "0.5", "true", "false", "", "05", '5,"k":"v"', "-5")),
    *(("k", text) for text in ("v", "V", '","n":5,"x":"y', "true", "ü \u2028 %_'\\", "x")),
    ("kk", "v"),
]
TIMES = [None, NOW - 1, NOW, NOW + 0.0005, NOW + 0.001, NOW + 0.5, NOW + 1]
CREATIONS = [NOW, NOW + 0.0004, NOW + 0.0007, NOW + 0.001, NOW + 0.4999998, NOW + 0.7]

filters = st.builds(
    ExportFilter,
    statuses=st.sampled_from(STATUSES),
    types=st.sampled_from([frozenset[str](), frozenset({"framing"}), frozenset({"framing", "overlay"})]),
    project_id=st.sampled_from([None, None, "7", ""]),
    metadata=st.lists(st.sampled_from(CONDITIONS), max_size=3, unique_by=lambda item: item[0]).map(tuple),
    created_after=st.sampled_from(TIMES),
    created_before=st.sampled_from(TIMES),
)


async def fill(database: Database) -> None:
    """Store exports of every status, attempt and project; their times, types and metadata go by turns."""
    states = product(Status, [1, 2], [None, NOW], [None, "7", ""], [None, NOW])
    async with database.transaction() as session:
        for number, (status, attempt, started_at, project_id, edited_at) in enumerate(states):
            created_at = CREATIONS[number % len(CREATIONS)]
            submission = replace(
                job_factory.submission_for(new_id(created_at)),
                project_id=project_id,
                type=("framing", "annotate", "overlay")[number % 3],
                metadata=encode_metadata(METADATA[number % len(METADATA)]),
            )
            await transitions.submit(session, submission, runner="local", attempt_limit=3, now=created_at)
            values = {
                "status": status,
                "attempt": attempt,
                "started_at": started_at,
                "edited_at": edited_at,
                "completed_at": NOW if status.is_final else None,
            }
            await session.execute(update(JOBS).where(JOBS.c.job_id == submission.job_id).values(values))


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.Runner, Database, list[Job]]]:
    """A database of each kind with these exports, its event loop, and the exports, newest first."""
    url = request.getfixturevalue(f"{request.param}_url")
    with asyncio.Runner() as runner:
        runner.run(delete_all_rows(url))
        database = open_database(url)
        runner.run(fill(database))
        yield runner, database, runner.run(list_all(database))
        runner.run(database.close())
        runner.run(delete_all_rows(url))


async def list_all(database: Database) -> list[Job]:
    async with database.reading() as session:
        return await queries.list_for_user(session, "ada")


def is_wanted(job: Job, export_filter: ExportFilter) -> bool:
    """Say in the plainest way what `ExportFilter.matches` has to say."""
    shown_at = round(job.created_at, 6)  # as precise as what clients see of it
    metadata = decode_metadata(job.metadata)
    conditions = [
        not export_filter.statuses or job.status in export_filter.statuses,
        not export_filter.types or job.type in export_filter.types,
        export_filter.project_id is None or job.project_id == export_filter.project_id,
        all(key in metadata and to_text(metadata[key]) == text for key, text in export_filter.metadata),
        export_filter.created_after is None or shown_at >= export_filter.created_after,
        export_filter.created_before is None or shown_at < export_filter.created_before,
    ]
    return all(conditions)


@hypothesis.settings(
    deadline=None, max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(export_filter=filters, limit=st.integers(1, 60))
def test_each_filter_selects_the_same_exports_everywhere(
    filled: tuple[asyncio.Runner, Database, list[Job]], export_filter: ExportFilter, limit: int
) -> None:
    runner, database, jobs = filled
    matching = [job for job in jobs if is_wanted(job, export_filter)]
    earlier = [job for job in jobs if export_filter.matches(job) or export_filter.may_have_matched(job)]
    assert [job for job in jobs if export_filter.matches(job)] == matching

    async def check() -> None:
        async with database.reading() as session:
            pages, before = list[Job](), None
            while page := await queries.list_page(session, "ada", export_filter, before=before, limit=limit):
                pages += page
                before = page[-1].job_id
            assert pages == matching
            residual = export_filter.residual_conditions()
            assert await queries.list_for_user(session, "ada", *residual) == matching
            residual = export_filter.residual_conditions(with_earlier=True)
            assert await queries.list_for_user(session, "ada", *residual) == earlier
            assert await queries.list_page(session, "bob", export_filter, before=None, limit=limit) == []

    runner.run(check())


def test_the_filters_of_this_test_select_something(
    filled: tuple[asyncio.Runner, Database, list[Job]],
) -> None:
    _, _, jobs = filled
    assert len(jobs) == 5 * 2 * 2 * 3 * 2
    for condition in CONDITIONS:
        count = sum(is_wanted(job, ExportFilter(metadata=(condition,))) for job in jobs)
        assert (count > 0) == (condition[1] not in ("false", "", "05", '5,"k":"v"', "-5", "x")), condition


@pytest.mark.parametrize(
    ("shown", "status", "attempt", "started_at", "edited", "expected"),
    [
        pytest.param({Status.PENDING}, Status.CANCELLED, 1, None, False, True, id="each was pending"),
        pytest.param({Status.PROCESSING}, Status.CANCELLED, 1, None, False, False, id="never ran"),
        pytest.param({Status.PROCESSING}, Status.COMPLETE, 1, NOW, False, True, id="ran"),
        pytest.param({Status.PROCESSING}, Status.PENDING, 2, None, False, True, id="ran before"),
        pytest.param({Status.ERROR}, Status.PENDING, 2, None, False, True, id="failed and was retried"),
        pytest.param({Status.ERROR}, Status.COMPLETE, 1, NOW, False, False, id="never failed"),
        pytest.param({Status.COMPLETE}, Status.ERROR, 2, NOW, False, False, id="what is complete stays so"),
        pytest.param(
            {Status.COMPLETE}, Status.COMPLETE, 1, NOW, True, True, id="was complete in another project"
        ),
        pytest.param({Status.COMPLETE}, Status.ERROR, 1, NOW, True, False, id="edited, but never complete"),
        pytest.param(set[Status](), Status.ERROR, 1, NOW, True, True, id="was in another project"),
        pytest.param(set[Status](), Status.ERROR, 1, NOW, False, False, id="was never in another project"),
    ],
)
def test_an_earlier_state_may_have_matched(
    shown: set[Status], status: Status, attempt: int, started_at: float | None, edited: bool, expected: bool
) -> None:
    job = Job(
        **job_factory.submission_for("job").__dict__
        | {"phase": Phase.DONE, "runner": "local", "created_at": NOW},
        status=status,
        attempt=attempt,
        started_at=started_at,
        edited_at=NOW if edited else None,
    )
    project_id = "7" if edited else None
    assert ExportFilter(frozenset(shown), project_id=project_id).may_have_matched(job) is expected
    assert not ExportFilter(frozenset(shown), frozenset({"overlay"}), project_id).may_have_matched(job)

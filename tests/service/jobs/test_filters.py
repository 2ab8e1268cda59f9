"""A filter means the same in Python, for live changes, and in SQL, for lists and first states."""

from itertools import product

import pytest
from sqlalchemy import update

from callbacks.envelope import Phase
from infra.database.base import Database
from service.jobs import queries, transitions
from service.jobs.filters import ExportFilter
from service.jobs.models import JOBS, Job, Status
from tests.support import job_factory

NOW = 1_000.0
STATUSES = [
    frozenset[Status](),
    *(frozenset({status}) for status in Status),
    frozenset({Status.PENDING, Status.COMPLETE}),
    frozenset({Status.PROCESSING, Status.ERROR}),
]
FILTERS = [
    ExportFilter(statuses, types, project_id)
    for statuses, types, project_id in product(
        STATUSES, [frozenset[str](), frozenset({"framing"}), frozenset({"overlay"})], [None, "7", ""]
    )
]


@pytest.fixture
async def jobs(any_database: Database) -> list[Job]:
    """Exports in every status, in their first attempt and in a later one, started or not, of a project or of none."""
    states = product(Status, [1, 2], [None, NOW], [None, "7", ""], ["framing", "annotate"])
    async with any_database.transaction() as session:
        for number, (status, attempt, started_at, project_id, type_) in enumerate(states):
            submission = job_factory.submission_for(f"job-{number:03}")
            await transitions.submit(session, submission, runner="local", attempt_limit=3, now=NOW)
            values = {
                "status": status,
                "attempt": attempt,
                "started_at": started_at,
                "project_id": project_id,
                "type": type_,
                "completed_at": NOW if status.is_final else None,
            }
            await session.execute(update(JOBS).where(JOBS.c.job_id == submission.job_id).values(values))
    async with any_database.reading() as session:
        return await queries.list_for_user(session, "ada")


async def test_each_filter_selects_the_same_exports_in_python_and_in_sql(
    any_database: Database, jobs: list[Job]
) -> None:
    assert len(jobs) == 5 * 2 * 2 * 3 * 2
    async with any_database.reading() as session:
        for export_filter in FILTERS:
            matching = [job for job in jobs if export_filter.matches(job)]
            earlier = [
                job for job in jobs if export_filter.matches(job) or export_filter.may_have_matched(job)
            ]
            page = await queries.list_page(session, "ada", export_filter, before=None, limit=500)
            assert page == matching, export_filter
            residual = export_filter.residual_conditions()
            assert await queries.list_for_user(session, "ada", *residual) == matching, export_filter
            residual = export_filter.residual_conditions(with_earlier=True)
            assert await queries.list_for_user(session, "ada", *residual) == earlier, export_filter


@pytest.mark.parametrize(
    ("shown", "status", "attempt", "started_at", "expected"),
    [
        pytest.param({Status.PENDING}, Status.CANCELLED, 1, None, True, id="each was pending"),
        pytest.param({Status.PROCESSING}, Status.CANCELLED, 1, None, False, id="never ran"),
        pytest.param({Status.PROCESSING}, Status.COMPLETE, 1, NOW, True, id="ran"),
        pytest.param({Status.PROCESSING}, Status.PENDING, 2, None, True, id="ran before"),
        pytest.param({Status.ERROR}, Status.PENDING, 2, None, True, id="failed and was retried"),
        pytest.param({Status.ERROR}, Status.COMPLETE, 1, NOW, False, id="never failed"),
        pytest.param({Status.COMPLETE}, Status.ERROR, 2, NOW, False, id="what is complete stays so"),
    ],
)
def test_an_earlier_state_may_have_matched(
    shown: set[Status], status: Status, attempt: int, started_at: float | None, expected: bool
) -> None:
    job = Job(
        **job_factory.submission_for("job").__dict__
        | {"phase": Phase.DONE, "runner": "local", "created_at": NOW},
        status=status,
        attempt=attempt,
        started_at=started_at,
    )
    assert ExportFilter(frozenset(shown)).may_have_matched(job) is expected

"""Reading jobs: of one user, newest first, page by page."""

import pytest

from infra.database.sqlite import SqliteDatabase
from service.jobs import acknowledgements, queries, transitions
from service.jobs.filters import ExportFilter
from service.jobs.models import Status
from tests.support import job_factory

NOW = 1_000.0


@pytest.fixture
async def filled(database: SqliteDatabase) -> SqliteDatabase:
    """Seven jobs of Ada's, of which one each is cancelled and failed; one of Bob's."""
    async with database.transaction() as session:
        for number in range(7):
            submission = job_factory.submission_for(f"job-{number}")
            await transitions.submit(session, submission, runner="local", attempt_limit=3, now=NOW)
        await transitions.submit(
            session, job_factory.submission_for("job-8", "bob"), runner="local", attempt_limit=3, now=NOW
        )
        await transitions.cancel(session, "ada", "job-1", now=NOW + 10)
        job = await queries.get(session, "ada", "job-2")
        assert job is not None
        await transitions.fail(session, job, "lost", "Lost.", now=NOW + 20)
        await acknowledgements.acknowledge(session, "ada", ["job-2", "job-8"], now=NOW + 30)
    return database


async def test_all_jobs_are_acknowledged_when_they_are_more_than_are_returned(
    filled: SqliteDatabase,
) -> None:
    async with filled.transaction() as session:
        for job_id in ("job-0", "job-3", "job-4", "job-5"):
            await transitions.cancel(session, "ada", job_id, now=NOW + 40)
        jobs = await acknowledgements.acknowledge_all(session, "ada", now=NOW + 50, limit=2)
        assert [job.job_id for job in jobs] == ["job-5", "job-4"]
        assert await queries.list_unacknowledged(session, "ada") == []


async def test_a_job_of_another_user_is_not_there(filled: SqliteDatabase) -> None:
    async with filled.reading() as session:
        assert await queries.get(session, "ada", "job-8") is None
        assert await queries.get(session, "bob", "job-1") is None
        assert await queries.get(session, "ada", "job-9") is None


async def test_pages_hold_each_job_once_newest_first(filled: SqliteDatabase) -> None:
    seen, before = [], None
    async with filled.reading() as session:
        while page := await queries.list_page(session, "ada", before=before, limit=3):
            seen.append([job.job_id for job in page])
            before = page[-1].job_id
    assert seen == [["job-6", "job-5", "job-4"], ["job-3", "job-2", "job-1"], ["job-0"]]


@pytest.mark.parametrize(
    ("export_filter", "expected"),
    [
        pytest.param(ExportFilter(frozenset({Status.CANCELLED})), ["job-1"], id="cancelled"),
        pytest.param(
            ExportFilter(frozenset({Status.ERROR, Status.CANCELLED})), ["job-2", "job-1"], id="two statuses"
        ),
        pytest.param(
            ExportFilter(frozenset({Status.ERROR}), frozenset({"framing"})), ["job-2"], id="failed, of a type"
        ),
        pytest.param(
            ExportFilter(frozenset({Status.PENDING}), frozenset({"overlay"})), [], id="of another type"
        ),
        pytest.param(
            ExportFilter(types=frozenset({"framing", "overlay"})),
            [f"job-{number}" for number in range(6, -1, -1)],
            id="of types",
        ),
        pytest.param(ExportFilter(project_id="7"), [], id="of a project"),
    ],
)
async def test_pages_are_narrowed_by_every_condition(
    filled: SqliteDatabase, export_filter: ExportFilter, expected: list[str]
) -> None:
    async with filled.reading() as session:
        page = await queries.list_page(session, "ada", export_filter, before=None, limit=9)
    assert [job.job_id for job in page] == expected


async def test_pages_of_several_statuses_hold_each_job_once_newest_first(filled: SqliteDatabase) -> None:
    export_filter = ExportFilter(frozenset({Status.PENDING, Status.ERROR, Status.CANCELLED}))
    seen, before = [], None
    async with filled.reading() as session:
        while page := await queries.list_page(session, "ada", export_filter, before=before, limit=3):
            seen.append([job.job_id for job in page])
            before = page[-1].job_id
    assert seen == [["job-6", "job-5", "job-4"], ["job-3", "job-2", "job-1"], ["job-0"]]


async def test_what_finished_lately_or_is_unseen_is_read_up_to_a_bound_the_newest_last(
    filled: SqliteDatabase,
) -> None:
    async with filled.reading() as session:
        lately = await queries.list_latest_finished(session, "ada", since=NOW + 20, limit=9)
        later = await queries.list_latest_finished(session, "ada", since=NOW + 21, limit=9)
        newest = await queries.list_latest_finished(session, "ada", since=NOW, limit=1)
    assert [job.job_id for job in lately] == ["job-1", "job-2"]
    assert [job.job_id for job in later] == ["job-1"]  # not acknowledged
    assert [job.job_id for job in newest] == ["job-2"]


async def test_what_has_finished_since_is_read_page_by_page_in_the_order_in_which_it_did(
    filled: SqliteDatabase,
) -> None:
    async with filled.transaction() as session:
        for number in (6, 5, 4):
            await transitions.cancel(session, "ada", f"job-{number}", now=NOW + 15)
    seen: list[str] = []
    after = None
    async with filled.reading() as session:
        while page := await queries.list_finished_since(session, "ada", since=NOW + 10, after=after, limit=2):
            seen += [job.job_id for job in page]
            after = (page[-1].completed_at or 0.0, page[-1].job_id)
        later = await queries.list_finished_since(session, "ada", since=NOW + 16, after=None, limit=9)
    assert seen == ["job-1", "job-4", "job-5", "job-6", "job-2"]
    assert [job.job_id for job in later] == ["job-2"]


async def test_only_active_jobs_of_the_user_count(filled: SqliteDatabase) -> None:
    async with filled.reading() as session:
        counts = [await queries.count_active(session, user) for user in ("ada", "bob", "eve")]
    assert counts == [5, 1, 0]


async def test_a_timeline_is_told_from_the_beginning(filled: SqliteDatabase) -> None:
    async with filled.reading() as session:
        events = await queries.list_events(session, "job-2")
    assert [(row["sequence"], row["status"], row["at"]) for row in events] == [
        (1, "pending", NOW),
        (2, "error", NOW + 20),
    ]

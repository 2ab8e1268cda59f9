"""`GET /api/system` shows operators the state of the service, and no secret."""

from contextlib import AsyncExitStack

import pytest

from infra.database.base import Database
from service.dispatch.runners import RunnerNotice
from service.jobs import statistics
from service.jobs.ids import first_id, new_id
from service.settings import Settings, load_settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem


async def test_the_local_user_sees_queue_days_and_health(app: AppHarness) -> None:
    await app.submit_export()
    answer = await app.client.get("/api/system")
    assert answer.status_code == 200
    system = answer.json()
    assert system["queue"]["pending"] + system["queue"]["processing"] == 1
    assert system["days"][-1]["exports"] == 1
    assert len(system["days"]) == statistics.DAYS
    assert system["health"]["database"] == "ok"
    assert {"disk", "open files"} <= {check["check"] for check in system["checks"]}


async def test_what_is_odd_about_a_runner_that_works_is_shown(app: AppHarness) -> None:
    app.runner.notice = RunnerNotice("modal_release_differs", "The app is of another release.")
    answer = await app.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["runner_warning"]["code"] == "modal_release_differs"
    assert (await app.client.get("/api/system")).json()["health"] == answer.json()


def test_settings_in_force_show_no_secret() -> None:
    settings = load_settings(
        database_url="postgresql://user:hunter2hunter2@127.0.0.1/db",
        callback_secret="a callback secret that is long enough for it, another one that is long enough for it",
        auth_jwt_secret="a shared secret that is long enough for tests",
        operators="ada, bob",
        _env_file="",
    )
    text = str(settings.in_force())
    assert "secret that is" not in text
    assert "hunter2" not in text
    assert settings.in_force()["OPERATORS"] == "ada, bob"
    assert settings.in_force()["AUTH_JWT_SECRET"] == "set"
    assert settings.in_force()["MODAL_ENABLED"] == "False"


@pytest.mark.parametrize("at", [0.0, 1_700_000_000.0, 1_796_011_489.5])
def test_ids_of_a_time_are_not_below_the_first_id_of_that_time(at: float) -> None:
    assert first_id(at) <= new_id(at) < first_id(at + 1)


async def test_days_are_counted_by_when_exports_were_submitted(database: Database) -> None:
    async with database.reading() as session:
        days = await statistics.read_days(session, now=1_700_000_000.0, count=3)
    assert [(day.day, day.exports) for day in days] == [
        ("2023-11-12", 0),
        ("2023-11-13", 0),
        ("2023-11-14", 0),
    ]


async def test_with_authentication_only_operators_see_the_system(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    settings = users_settings.model_copy(update={"operators": ("ada",)})
    app = await stack.enter_async_context(open_app(settings, FakeRunner()))
    assert (await app.client.get("/api/system", headers=bearer("ada"))).status_code == 200
    refused = await app.client.get("/api/system", headers=bearer("bob"))
    assert assert_problem(refused, 403)["code"] == "not_operator"
    assert (await app.client.get("/api/system")).status_code == 401

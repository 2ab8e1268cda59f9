"""Rates in the database: learned from finished runs, shared by replicas, forgotten when they are old."""

import asyncio

import pytest
from sqlalchemy import text

from infra.database.base import Database
from service.clock import Clock
from service.forecast import store
from service.forecast.forecaster import Forecaster
from service.forecast.rates import FORGET_SECONDS, Prediction, Rate
from tests.service.forecast.test_rates import NOW, WORK
from tests.support.stream_server import wait_until


def clock_at(now: float) -> Clock:
    return Clock(lambda: now, lambda: now)


async def test_replicas_learn_together(any_database: Database) -> None:
    first, second = (Forecaster(any_database, clock_at(NOW), "local") for _ in range(2))
    usual = first.predict(WORK)
    for forecaster in (first, second) * 4:
        forecaster.record(WORK, 5 * usual.p50)
        await forecaster.learn()
    third = Forecaster(any_database, clock_at(NOW), "local")
    await third.reload()
    assert third.predict(WORK).p50 > 4 * usual.p50
    assert second.predict(WORK) == third.predict(WORK)
    await first.reload()
    assert first.predict(WORK) == third.predict(WORK)


async def test_a_finished_run_costs_a_row_for_each_of_its_kinds(any_database: Database) -> None:
    forecaster = Forecaster(any_database, clock_at(NOW), "local")
    for _ in range(3):
        forecaster.record(WORK, 9.0)
    await forecaster.learn()
    async with any_database.reading() as session:
        rates = await store.list_rates(session)
    assert {rate.weight for rate in rates} == {3.0}
    assert len(rates) < 10
    await forecaster.learn()  # nothing is learned twice
    async with any_database.reading() as session:
        assert await store.list_rates(session) == rates


async def test_rates_without_runs_for_months_are_deleted(any_database: Database) -> None:
    later = NOW + FORGET_SECONDS + 1
    async with any_database.transaction() as session:
        await store.save_rates(session, [Rate(kind="old", learned_at=NOW)], now=NOW)
        await store.save_rates(session, [Rate(kind="new", learned_at=later)], now=later)
        assert [rate.kind for rate in await store.list_rates(session)] == ["new"]


async def test_a_wait_is_as_foreseen_and_its_upper_figure_is_learned(any_database: Database) -> None:
    forecaster = Forecaster(any_database, clock_at(NOW), "local")
    assert forecaster.predict_wait(0.0) == Prediction(0.0, 0.0)
    doubted = forecaster.predict_wait(100.0)
    for _ in range(100):
        forecaster.record_wait(100.0, 101.0)
    await forecaster.learn()
    learned = forecaster.predict_wait(100.0)
    assert doubted.p50 == learned.p50 == 100.0
    assert 100.0 <= learned.p90 < 120.0 < doubted.p90


async def test_without_the_database_forecasts_go_on_with_what_was_known_and_learn_later(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    forecaster = Forecaster(database, clock_at(NOW), "local")
    usual = forecaster.predict(WORK)
    for _ in range(4):
        forecaster.record(WORK, 5 * usual.p50)
    await forecaster.learn()
    known = forecaster.predict(WORK)
    await execute(database, "ALTER TABLE run_rates RENAME TO away")
    learning = asyncio.create_task(forecaster.run())
    forecaster.record(WORK, 50 * usual.p50)
    await wait_until(lambda: "rates of runs can't be learned now" in caplog.text)
    assert forecaster.predict(WORK) == known
    assert not learning.done()
    await execute(database, "ALTER TABLE away RENAME TO run_rates")
    forecaster.record(WORK, 50 * usual.p50)
    await wait_until(lambda: forecaster.predict(WORK).p50 > known.p50)
    learning.cancel()
    async with database.reading() as session:
        assert {rate.weight for rate in await store.list_rates(session)} == {6.0}


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement))

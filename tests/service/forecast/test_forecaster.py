"""Rates in the database: learned from finished runs, shared by replicas, forgotten when they are old."""

from infra.database.base import Database
from service.clock import Clock
from service.forecast import store
from service.forecast.forecaster import Forecaster
from service.forecast.rates import FORGET_SECONDS, Rate
from tests.service.forecast.test_rates import NOW, WORK


def clock_at(now: float) -> Clock:
    return Clock(lambda: now, lambda: now)


async def test_replicas_learn_together(any_database: Database) -> None:
    first, second = (Forecaster(any_database, clock_at(NOW)) for _ in range(2))
    usual = first.predict(WORK)
    for forecaster in (first, second) * 4:
        forecaster.record(WORK, 5 * usual.p50)
        await forecaster.learn()
    third = Forecaster(any_database, clock_at(NOW))
    await third.reload()
    assert third.predict(WORK).p50 > 4 * usual.p50
    assert second.predict(WORK) == third.predict(WORK)
    await first.reload()
    assert first.predict(WORK) == third.predict(WORK)


async def test_a_finished_run_costs_a_row_for_each_of_its_kinds(any_database: Database) -> None:
    forecaster = Forecaster(any_database, clock_at(NOW))
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

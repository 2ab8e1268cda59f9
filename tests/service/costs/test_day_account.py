"""What a day has cost, beside exports that end and are retried within a moment."""

from service.costs.budgets import DayAccount, DayLimits, RunningCost

DAY = 20_000


def open_account(user_usd: float) -> DayAccount:
    account = DayAccount(DayLimits(user_usd=user_usd))
    account.load(DAY, {}, {})
    account.note("job-1", RunningCost("ada", 4.0))
    return account


def test_an_export_that_has_ended_and_was_retried_since_the_last_load_counts_once() -> None:
    account = open_account(user_usd=5.0)
    account.load(DAY, {"ada": 4.0}, {"job-1": RunningCost("ada", 0.5, counted_usd=4.0)})
    assert account.find_reached("ada", day=DAY) is None
    account.note("job-1", RunningCost("ada", 1.0, counted_usd=4.0))
    assert account.find_reached("ada", day=DAY) is not None


def test_what_a_retried_export_costs_is_added_before_the_next_load() -> None:
    account = open_account(user_usd=5.0)
    account.note("job-1", RunningCost("ada", 0.5, counted_usd=4.0))
    assert account.find_reached("ada", day=DAY) is None
    account.note("job-1", RunningCost("ada", 1.0, counted_usd=4.0))
    assert account.find_reached("ada", day=DAY) is not None


def test_a_load_that_is_older_than_a_callback_takes_nothing_back() -> None:
    account = open_account(user_usd=4.0)
    account.load(DAY, {}, {"job-1": RunningCost("ada", 3.0)})
    assert account.find_reached("ada", day=DAY) is not None

"""Rates that are learned from runs, and what they forecast."""

import math
import random
import statistics

import msgspec
import pytest

from service.forecast.defaults import usual_seconds
from service.forecast.rates import HIGH, Rate, RateBook, run_of, wait_of
from service.forecast.work import Work
from tests.bench.forecast.day import Day

WORK = Work(
    type="framing",
    runner="local",
    codec="h264",
    quality="standard",
    source_codec="h264",
    parallelism=1,
    source_megapixels=1_000.0,
    output_megapixels=300.0,
)
RUN = run_of(WORK)
NOW = 1_000_000.0


def learn_runs(book: RateBook, work: Work, factor: float, *, count: int = 40, now: float = NOW) -> None:
    """Learn runs that take about `factor` times what is usual."""
    luck = random.Random(count)  # noqa: S311 - chance, not secrecy
    for number in range(count):
        took = usual_seconds(work) * factor * math.exp(luck.gauss(0.0, 0.05))
        book.learn(run_of(work), took, now=now + number)


def test_a_new_service_forecasts_what_is_usual_and_doubts_it() -> None:
    prediction = RateBook().predict(RUN, now=NOW)
    assert prediction.p50 == pytest.approx(usual_seconds(WORK))
    assert prediction.p90 > 2 * prediction.p50


def test_a_few_runs_teach_the_speed_of_the_machine() -> None:
    book = RateBook()
    learn_runs(book, WORK, 3.0, count=10)
    first = book.predict(RUN, now=NOW + 10)
    assert first.p50 == pytest.approx(3 * usual_seconds(WORK), rel=0.2)
    learn_runs(book, WORK, 3.0, count=150, now=NOW + 10)
    later = book.predict(RUN, now=NOW + 160)
    assert later.p50 == pytest.approx(3 * usual_seconds(WORK), rel=0.05)
    assert later.p90 / later.p50 < 1.3 < first.p90 / first.p50


def test_what_is_learned_of_one_kind_is_where_another_begins() -> None:
    book, other = RateBook(), msgspec.structs.replace(WORK, type="overlay", codec="hevc", source_codec="vp9")
    learn_runs(book, WORK, 3.0)
    begun = book.predict(run_of(other), now=NOW + 40)
    assert begun.p50 > 1.5 * usual_seconds(other)
    learn_runs(book, other, 9.0, now=NOW + 40)
    assert book.predict(run_of(other), now=NOW + 80).p50 == pytest.approx(9 * usual_seconds(other), rel=0.15)
    assert book.predict(RUN, now=NOW + 80).p50 == pytest.approx(3 * usual_seconds(WORK), rel=0.6)


def test_a_runner_learns_nothing_from_another() -> None:
    book, other = RateBook(), msgspec.structs.replace(WORK, runner="modal/L4")
    learn_runs(book, WORK, 3.0)
    assert book.predict(run_of(other), now=NOW).p50 == pytest.approx(usual_seconds(other))


def test_what_joins_the_queue_is_learned_from_waits() -> None:
    book = RateBook()
    for number in range(60):
        book.learn(wait_of("local", 100.0), 100.0 if number % 2 else 300.0, now=NOW + number)
    prediction = book.predict(wait_of("local", 100.0), now=NOW + 60)
    assert 100 < prediction.p50 < 300 < prediction.p90
    assert book.predict(RUN, now=NOW + 60) == RateBook().predict(RUN, now=NOW + 60)


def test_a_machine_that_became_slower_is_followed() -> None:
    book = RateBook()
    learn_runs(book, WORK, 1.0)
    learn_runs(book, WORK, 2.0, count=15, now=NOW + 40)
    assert book.predict(RUN, now=NOW + 60).p50 == pytest.approx(2 * usual_seconds(WORK), rel=0.15)


def test_a_run_that_stalls_moves_little() -> None:
    book = RateBook()
    learn_runs(book, WORK, 1.0)
    before = book.predict(RUN, now=NOW + 40)
    book.learn(RUN, 1_000 * usual_seconds(WORK), now=NOW + 40)
    assert book.predict(RUN, now=NOW + 41).p50 < 1.5 * before.p50


def test_a_run_changes_a_handful_of_rates_and_a_kind_has_one() -> None:
    book = RateBook()
    kinds = RUN.kinds
    for _ in range(3):
        changed = book.learn(RUN, 5.0, now=NOW)
        assert [rate.kind for rate in changed] == list(kinds)
    assert len(set(kinds)) == len(kinds) < 10


def test_rates_that_others_learned_later_are_taken_over() -> None:
    book = RateBook([Rate(kind="local", log_ratio=1.0, weight=9.0, learned_at=NOW)])
    usual = usual_seconds(WORK)
    book.merge([Rate(kind="local", log_ratio=2.0, weight=9.0, learned_at=NOW - 1)])
    assert book.predict(RUN, now=NOW).p50 == pytest.approx(usual * math.e)
    book.merge([Rate(kind="local", log_ratio=2.0, weight=9.0, learned_at=NOW + 1)])
    assert book.predict(RUN, now=NOW).p50 == pytest.approx(usual * math.e**2)


@pytest.mark.parametrize("seed", range(3))
def test_nine_of_ten_runs_of_a_day_end_in_time_and_the_median_error_is_below_a_fifth(seed: int) -> None:
    """Each run of a generated day is forecast at its start and learned from at its end."""
    day, book = Day(seed, exports=1_000), RateBook()
    errors, in_time, running = [], [], list[tuple[float, Work, float]]()
    for submission in day.submissions:
        for ended, work, took in sorted(running, key=lambda run: run[0]):
            if ended <= submission.at:
                book.learn(run_of(work), took, now=ended)
        running = [run for run in running if run[0] > submission.at]
        prediction = book.predict(run_of(submission.work), now=submission.at)
        seconds = day.run_seconds(submission, submission.at)
        errors.append(abs(prediction.p50 / seconds - 1))
        in_time.append(seconds <= prediction.p90)
        running.append((submission.at + seconds, submission.work, seconds))
    assert HIGH - 0.01 <= sum(in_time) / len(in_time) <= 0.95
    assert statistics.median(errors) < 0.2

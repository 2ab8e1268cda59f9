"""A schedule: what users do and what breaks, at which moment; all of it follows from a seed."""

import random
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.cluster.proxy import Weather
from tests.faults.workload.webhook_receiver import Temper

LONGEST_SECONDS = 4.0
MOST_HOURS = 4.0
DEATHS = 10
"""How often the service may die in an export's life, and the export still comes to its end."""
CLIPS = ("short", "short", "middle", "long", "broken")


class Act(StrEnum):
    """Something that happens at a moment; `index` says to which of several, `seconds` for how long."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    RETRY = "retry"
    KILL = "kill a replica"
    FREEZE = "freeze a replica"
    KILL_RUN = "kill a run"
    DATABASE = "stop the database"
    CRASH = "crash the database"
    LINES = "cut the lines to the database"
    DISK = "fill the disk"
    PAUSE = "stop a reader from reading"
    CUT = "cut a reader off"
    LEAVE = "have readers leave early"
    CLOCK = "set the clock"
    DEATHS = "kill the service ten times"
    KILL_FINALIZING = "kill a replica while an output is published"


HARMLESS = frozenset(
    (
        Act.SUBMIT,
        Act.CANCEL,
        Act.RETRY,
        Act.PAUSE,
        Act.CUT,
        Act.LEAVE,
        Act.CLOCK,
        Act.KILL,
        Act.KILL_FINALIZING,
        Act.DEATHS,
    )
)
"""What ends no export whose source is sound."""


@dataclass(frozen=True)
class Step:
    """An act at `at` seconds from the beginning; a clock is set forward or back by `seconds`."""

    at: float
    act: Act
    index: int = 0
    seconds: float = 0.0
    word: str = ""

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:4.1f} s  {self.act} {self.index}{lasting} {self.word}".rstrip()


@dataclass(frozen=True)
class Schedule:
    """Steps in order of time, the weather that callbacks meet, and the temper of the user's own server."""

    name: str
    steps: tuple[Step, ...]
    weather: Weather
    jobs: int
    temper: Temper

    @property
    def harmless(self) -> bool:
        """Whether every export of a sound source has to be complete in the end, or cancelled."""
        weights = {Act.KILL: 1, Act.KILL_FINALIZING: 1, Act.DEATHS: DEATHS}
        deaths = sum(weights.get(step.act, 0) for step in self.steps)
        return deaths <= DEATHS and all(step.act in HARMLESS for step in self.steps)

    def __str__(self) -> str:
        return "\n".join(
            (f"{self.name}: {self.weather}, {self.temper}", *(f"  {step}" for step in self.steps))
        )


@dataclass(frozen=True)
class Terrain:
    """What there is to break."""

    replicas: int
    postgresql: bool
    disk: bool


_ODDS = {
    Act.CANCEL: 3,
    Act.RETRY: 3,
    Act.KILL: 3,
    Act.KILL_FINALIZING: 2,
    Act.FREEZE: 2,
    Act.KILL_RUN: 4,
    Act.PAUSE: 2,
    Act.CUT: 3,
    Act.DISK: 1,
    Act.DATABASE: 1,
    Act.CRASH: 1,
    Act.LINES: 2,
    Act.LEAVE: 3,
    Act.CLOCK: 2,
}
_LONGEST = {
    Act.KILL: 1.5,
    Act.KILL_FINALIZING: 1.5,
    Act.FREEZE: 5.5,
    Act.DATABASE: 1.5,
    Act.CRASH: 1.5,
    Act.DISK: 2.5,
    Act.PAUSE: 3.0,
}


HARMLESS_SHARE = 0.4
DEATHS_SHARE = 0.3


def generate(seed: int, number: int, terrain: Terrain) -> Schedule:
    """The schedule of this number; the same for the same seed and terrain."""
    name = f"{seed}/{number}"
    chance = random.Random(name)  # noqa: S311 - chance, not secrecy
    jobs = chance.randint(1, 4)
    steps = [
        Step(chance.choice((0.0, chance.uniform(0, 2))), Act.SUBMIT, index, word=chance.choice(CLIPS))
        for index in range(jobs)
    ]
    steps += (
        _harmless(chance, jobs, terrain)
        if chance.random() < HARMLESS_SHARE
        else _faults(chance, jobs, terrain)
    )
    ordered = tuple(sorted(steps, key=lambda step: (step.at, step.act)))
    return Schedule(name, ordered, _weather(chance), jobs, _temper(chance))


def _faults(chance: random.Random, jobs: int, terrain: Terrain) -> list[Step]:
    possible = {act: odds for act, odds in _ODDS.items() if _there(act, terrain)}
    return [_fault(chance, jobs, terrain, possible) for _ in range(chance.randint(1, 6))]


def _harmless(chance: random.Random, jobs: int, terrain: Terrain) -> list[Step]:
    """Faults that end no export, and often as many deaths of the service as that has to hold for."""
    possible = {act: odds for act, odds in _ODDS.items() if act in HARMLESS}
    if chance.random() < DEATHS_SHARE:
        deaths = [Step(chance.uniform(0, 1), Act.DEATHS, chance.randrange(terrain.replicas))]
        possible.pop(Act.KILL)
        possible.pop(Act.KILL_FINALIZING)
    else:
        deaths = []
    return deaths + [_fault(chance, jobs, terrain, possible) for _ in range(chance.randint(1, 6))]


def _fault(chance: random.Random, jobs: int, terrain: Terrain, possible: dict[Act, int]) -> Step:
    act = chance.choices(list(possible), list(possible.values()))[0]
    among = terrain.replicas if act in (Act.KILL, Act.KILL_FINALIZING, Act.FREEZE) else jobs
    if act is Act.CLOCK:
        hours = chance.choice((-1, 1)) * chance.uniform(0.02, MOST_HOURS)
        return Step(chance.uniform(0, LONGEST_SECONDS), act, seconds=hours * 3_600)
    longest = _LONGEST.get(act, 0.0)
    lasting = chance.uniform(0.1, longest) if longest else 0.0
    return Step(chance.uniform(0, LONGEST_SECONDS), act, chance.randrange(among), lasting)


def _there(act: Act, terrain: Terrain) -> bool:
    if act in (Act.DATABASE, Act.CRASH, Act.LINES):
        return terrain.postgresql
    return act is not Act.DISK or terrain.disk


def _weather(chance: random.Random) -> Weather:
    if chance.random() < 0.2:
        return Weather()
    often = chance.choice((4, 10, 16))
    odds = {fate: chance.randint(0, often) for fate in ("twice", "slow", "late", "lost", "mute")}
    return Weather(**odds, seconds=chance.uniform(0.1, 1.2))


def _temper(chance: random.Random) -> Temper:
    if chance.random() < 0.3:
        return Temper()
    often = chance.choice((5, 15, 30))
    odds = {kind: chance.randint(0, often) for kind in ("slow", "failing", "dropping")}
    return Temper(**odds, seconds=chance.uniform(0.1, 1.5))  # longer than the service waits for

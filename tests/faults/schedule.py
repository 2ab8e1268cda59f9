"""A schedule of user actions and faults, generated from a seed."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.faults.cluster.proxy import NetworkFaults
from tests.faults.workload.webhook_receiver import ReceiverBehavior

LONGEST_SECONDS = 4.0
MOST_HOURS = 4.0
DEATHS = 10
"""How often the service may die in an export's life, and the export still comes to its end."""
CLIPS = ("short", "short", "middle", "long", "broken")
LIMITS_USD = (0.0, 0.0, 0.0, 0.5, 1.5)
DAYS = (0, 0, 1, 2)


class Action(StrEnum):
    """What happens at a step; `index` selects the target, `seconds` is the duration."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    RETRY = "retry"
    PURGE = "erase"
    BATCH = "submit a batch"
    CANCEL_BATCH = "cancel the batch"
    PURGE_BATCH = "erase the batch"
    CANCEL_ALL = "cancel all"
    RETRY_ALL = "retry all"
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
        Action.SUBMIT,
        Action.CANCEL,
        Action.RETRY,
        *(Action.PURGE, Action.BATCH, Action.CANCEL_BATCH, Action.PURGE_BATCH),
        *(Action.CANCEL_ALL, Action.RETRY_ALL),
        Action.PAUSE,
        Action.CUT,
        Action.LEAVE,
        Action.CLOCK,
        Action.KILL,
        Action.KILL_FINALIZING,
        Action.DEATHS,
    )
)
"""What ends no export whose source is sound."""


@dataclass(frozen=True)
class Step:
    """An action `at` seconds after the start; a clock is set forward or back by `seconds`.

    A batch has its clips with commas between; its exports are numbered from `index`. An export may cost `limit_usd`
    and expires after `days`, without a limit if that is 0.
    """

    at: float
    action: Action
    index: int = 0
    seconds: float = 0.0
    clip: str = ""
    limit_usd: float = 0.0
    days: int = 0

    def __str__(self) -> str:
        duration = f" for {self.seconds:.1f} s" if self.seconds else ""
        limit = f" for at most ${self.limit_usd}" if self.limit_usd else ""
        days = f" for {self.days} days" if self.days else ""
        return f"{self.at:4.1f} s  {self.action} {self.index}{duration} {self.clip}{limit}{days}".rstrip()


@dataclass(frozen=True)
class Schedule:
    """Steps in order of time, faults of callbacks, and the behavior of the user's receiver."""

    name: str
    steps: tuple[Step, ...]
    network_faults: NetworkFaults
    jobs: int
    behavior: ReceiverBehavior
    nights: int = 0
    """How many days pass at the end, in which outputs expire."""
    wants_progress: bool = True
    """Whether the consumer wants progress; if it does not, ticks are stored by a statement of their own."""

    @property
    def harmless(self) -> bool:
        """Tell whether every export of a valid source must be complete or cancelled in the end."""
        weights = {Action.KILL: 1, Action.KILL_FINALIZING: 1, Action.DEATHS: DEATHS}
        deaths = sum(weights.get(step.action, 0) for step in self.steps)
        return deaths <= DEATHS and all(step.action in HARMLESS for step in self.steps)

    def __str__(self) -> str:
        consumer = f"{self.behavior}, wants progress: {self.wants_progress}"
        head = f"{self.name}: {self.network_faults}, {consumer}, {self.nights} nights"
        return "\n".join((head, *(f"  {step}" for step in self.steps)))


@dataclass(frozen=True)
class ClusterFeatures:
    """What a cluster has that can break."""

    replicas: int
    postgresql: bool
    disk: bool


_ODDS = {
    Action.CANCEL: 3,
    Action.RETRY: 3,
    Action.PURGE: 3,
    Action.CANCEL_ALL: 1,
    Action.RETRY_ALL: 1,
    Action.KILL: 3,
    Action.KILL_FINALIZING: 2,
    Action.FREEZE: 2,
    Action.KILL_RUN: 4,
    Action.PAUSE: 2,
    Action.CUT: 3,
    Action.DISK: 1,
    Action.DATABASE: 1,
    Action.CRASH: 1,
    Action.LINES: 2,
    Action.LEAVE: 3,
    Action.CLOCK: 2,
}
_LONGEST = {
    Action.KILL: 1.5,
    Action.KILL_FINALIZING: 1.5,
    Action.FREEZE: 5.5,
    Action.DATABASE: 1.5,
    Action.CRASH: 1.5,
    Action.DISK: 2.5,
    Action.PAUSE: 3.0,
}


HARMLESS_SHARE = 0.4
DEATHS_SHARE = 0.3
BATCH_SHARE = 0.4
NIGHT_SHARE = 0.3


def generate(seed: int, number: int, features: ClusterFeatures) -> Schedule:
    """Return the schedule of this number, the same for the same seed and features."""
    name = f"{seed}/{number}"
    chance = random.Random(name)  # noqa: S311 - chance, not secrecy
    jobs = chance.randint(1, 4)
    steps = [
        replace(_draw_submission(chance, Action.SUBMIT, index), clip=chance.choice(CLIPS))
        for index in range(jobs)
    ]
    if chance.random() < BATCH_SHARE:
        batch = _draw_batch(chance, jobs)
        jobs += len(batch[0].clip.split(","))
        steps += batch
    steps += (
        _draw_harmless(chance, jobs, features)
        if chance.random() < HARMLESS_SHARE
        else _draw_faults(chance, jobs, features)
    )
    ordered = tuple(sorted(steps, key=lambda step: (step.at, step.action)))
    nights = int(chance.random() < NIGHT_SHARE)
    return Schedule(
        name, ordered, _draw_network_faults(chance), jobs, _draw_receiver_behavior(chance), nights
    )


def _draw_submission(chance: random.Random, action: Action, index: int) -> Step:
    return Step(
        chance.choice((0.0, chance.uniform(0, 2))),
        action,
        index,
        limit_usd=chance.choice(LIMITS_USD),
        days=chance.choice(DAYS),
    )


def _draw_batch(chance: random.Random, first: int) -> list[Step]:
    """Draw a batch whose exports are numbered from `first`, and what its user does with it as a whole."""
    clips = ",".join(chance.choice(CLIPS) for _ in range(chance.randint(1, 4)))
    steps = [replace(_draw_submission(chance, Action.BATCH, first), clip=clips)]
    for action, share in ((Action.CANCEL_BATCH, 0.3), (Action.PURGE_BATCH, 0.25)):
        if chance.random() < share:
            steps.append(Step(chance.uniform(0.5, LONGEST_SECONDS), action))
    return steps


def _draw_faults(chance: random.Random, jobs: int, features: ClusterFeatures) -> list[Step]:
    possible = {action: odds for action, odds in _ODDS.items() if _is_possible(action, features)}
    return [_draw_fault(chance, jobs, features, possible) for _ in range(chance.randint(1, 6))]


def _draw_harmless(chance: random.Random, jobs: int, features: ClusterFeatures) -> list[Step]:
    """Draw faults that fail no export, often with as many deaths as that must hold for."""
    possible = {action: odds for action, odds in _ODDS.items() if action in HARMLESS}
    if chance.random() < DEATHS_SHARE:
        deaths = [Step(chance.uniform(0, 1), Action.DEATHS, chance.randrange(features.replicas))]
        possible.pop(Action.KILL)
        possible.pop(Action.KILL_FINALIZING)
    else:
        deaths = []
    return deaths + [_draw_fault(chance, jobs, features, possible) for _ in range(chance.randint(1, 6))]


def _draw_fault(
    chance: random.Random, jobs: int, features: ClusterFeatures, possible: dict[Action, int]
) -> Step:
    action = chance.choices(list(possible), list(possible.values()))[0]
    among = features.replicas if action in (Action.KILL, Action.KILL_FINALIZING, Action.FREEZE) else jobs
    if action is Action.CLOCK:
        hours = chance.choice((-1, 1)) * chance.uniform(0.02, MOST_HOURS)
        return Step(chance.uniform(0, LONGEST_SECONDS), action, seconds=hours * 3_600)
    longest = _LONGEST.get(action, 0.0)
    duration = chance.uniform(0.1, longest) if longest else 0.0
    return Step(chance.uniform(0, LONGEST_SECONDS), action, chance.randrange(among), duration)


def _is_possible(action: Action, features: ClusterFeatures) -> bool:
    if action in (Action.DATABASE, Action.CRASH, Action.LINES):
        return features.postgresql
    return action is not Action.DISK or features.disk


def _draw_network_faults(chance: random.Random) -> NetworkFaults:
    if chance.random() < 0.2:
        return NetworkFaults()
    often = chance.choice((4, 10, 16))
    odds = {fault: chance.randint(0, often) for fault in ("twice", "slow", "late", "lost", "mute")}
    return NetworkFaults(**odds, seconds=chance.uniform(0.1, 1.2))


def _draw_receiver_behavior(chance: random.Random) -> ReceiverBehavior:
    if chance.random() < 0.3:
        return ReceiverBehavior()
    often = chance.choice((5, 15, 30))
    odds = {kind: chance.randint(0, often) for kind in ("slow", "failing", "dropping")}
    return ReceiverBehavior(**odds, seconds=chance.uniform(0.1, 1.5))  # longer than the service waits

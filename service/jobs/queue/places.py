"""Foresee the order in which waiting jobs start, and when, by playing the coming claims with the rule of fair share."""

import math
from bisect import bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple

from service.jobs.queue.fair_share import START_SECONDS, ReadyJob, Turn
from service.jobs.queue.head import HEAD_JOBS, QueueHead, Slot

UNKNOWN_RUN_SECONDS = 60.0
"""What a run counts as in the order of starts if none has been seen."""
START_GRACE_SECONDS = 10.0
"""How long the runner's own queue may take to start a call before it counts as full."""


class Limit(Enum):
    """What keeps a job from starting now."""

    OWN_RUNS = auto()
    RUNNER = auto()


class Place(NamedTuple):
    """The rank of a job among all that wait, from 1, and in how many seconds it starts; None if that is unknown."""

    position: int
    seconds: float | None
    limit: Limit | None = None


FIRST = Place(1, 0.0)
"""The place of a job that nothing is ahead of."""


@dataclass(frozen=True)
class Capacity:
    """How many runs there can be: of all users (None if the runner has a queue of its own), and of one user."""

    runs: int | None
    per_user: int
    priority_seconds: float = 0.0


@dataclass
class Places:
    """The places of the first jobs at a time, and what is needed to estimate those of others."""

    at: float = 0.0
    by_job: dict[str, Place] = field(default_factory=dict)
    user_ids: dict[str, str] = field(default_factory=dict)
    """The user of each of these jobs."""
    starting_count: int = 0
    """How many jobs have a slot and have not started."""
    tail: Place = FIRST
    """The place behind the last one."""
    turns: list[int] = field(default_factory=list)
    """For each waiting job which of its user's runs it is, sorted."""
    known: Counter[str] = field(default_factory=Counter)
    """How many runs and waiting jobs each user has."""
    free: float = math.inf
    """How many more jobs could start now."""
    estimates: dict[str, Place] = field(default_factory=dict)
    """The places of jobs that were asked for and not foreseen."""

    def estimate(self, job_id: str, user_id: str) -> Place:
        """Return the place of a job that came later, or that is too far behind: then its position is at least this.

        It counts in later estimates.
        """
        if (place := self.estimates.get(job_id)) is None:
            place = self.estimates[job_id] = self._estimate(self.known[user_id] + 1)
            self.known[user_id] += 1
            insort(self.turns, self.known[user_id])
        return place

    def _estimate(self, turn: int) -> Place:
        position = self.starting_count + bisect_right(self.turns, turn) + 1
        if position <= len(self.by_job):  # these are in the order of positions
            return next(islice(self.by_job.values(), position - 1, None))._replace(position=position)
        if self.tail.seconds == 0.0 and position - len(self.by_job) > self.free:
            return Place(position, None, Limit.RUNNER)
        return self.tail._replace(position=position)


def foresee_places(head: QueueHead, capacity: Capacity) -> Places:
    """Return the places of the jobs that have a slot and have not started, and of those that start next."""
    return _Foresight(head, capacity).run()


class _Foresight:
    """Plays claims and ends of runs, from the state of the queue on; times are in seconds from now."""

    def __init__(self, head: QueueHead, capacity: Capacity) -> None:
        self._head = head
        self._capacity = capacity
        self._usual_seconds = head.run_seconds if head.run_seconds is not None else UNKNOWN_RUN_SECONDS
        self._time = 0.0
        self._ends: list[tuple[float, str]] = []
        self._slots = Counter(slot.user_id for slot in head.slots)
        self._first_slots = self._slots.copy()
        self._shares = {user.user_id: user.share.seconds for user in head.users}
        self._ready = {user.user_id: list(reversed(user.ready)) for user in head.users}
        self._queue: list[Turn] = []
        self._places = Places(at=head.at, known=self._slots.copy())

    def run(self) -> Places:
        """Play until HEAD_JOBS have started or nothing is left to start."""
        starting = sorted(
            (slot for slot in self._head.slots if not slot.is_started),
            key=lambda slot: slot.spawned_at or slot.since,
        )
        is_full = self._capacity.runs is None and self._has_backlog(starting)
        # A full runner without a single run of ours may start the next at any time.
        is_stuck = is_full and len(starting) == len(self._head.slots)
        self._is_known = not is_stuck and self._knows_runs()
        self._place_starting(starting, is_full=is_full)
        self._free = self._first_free = self._count_free(is_full=is_full)
        self._queue = [turn for user_id in self._ready if (turn := self._next_turn(user_id))]
        heapify(self._queue)
        places = self._places
        while len(places.turns) < HEAD_JOBS and any(self._ready.values()):
            if not (self._start_next() or self._end_next()):
                break
        places.turns.sort()
        # What comes later starts once there is a slot.
        seconds = self._time if self._free > 0 else max(self._time, self._ends[0][0] if self._ends else 0.0)
        limit = Limit.RUNNER if seconds > 0 else None
        places.free = self._free if seconds <= 0 else 0
        places.tail = Place(len(places.by_job) + 1, self._tell(seconds), limit)
        return places

    def _knows_runs(self) -> bool:
        """Tell whether it is known of every run how long it takes, at least as an average."""
        if self._head.run_seconds is not None:
            return True
        forecasts = [slot.forecast_seconds for slot in self._head.slots]
        forecasts += [job.forecast_seconds for user in self._head.users for job in user.ready]
        return None not in forecasts

    def _run_seconds(self, job: Slot | ReadyJob) -> float:
        return self._usual_seconds if job.forecast_seconds is None else job.forecast_seconds

    def _has_backlog(self, starting: list[Slot]) -> bool:
        now = self._head.at
        return any(now - (slot.spawned_at or now) > START_GRACE_SECONDS for slot in starting)

    def _count_free(self, *, is_full: bool) -> float:
        if is_full:
            return 0
        runs = self._capacity.runs
        return math.inf if runs is None else max(0, runs - len(self._head.slots))

    def _place_starting(self, starting: list[Slot], *, is_full: bool) -> None:
        """Place the jobs that the runner has: in its queue if it is full, where each follows the end of a run."""
        self._ends = [
            (self._seconds_left(slot), slot.user_id) for slot in self._head.slots if slot.is_started
        ]
        machines = [end for end, _ in self._ends]
        heapify(machines)
        places = self._places
        for slot in starting:
            seconds = heappop(machines) if is_full and machines else 0.0
            end = seconds + self._run_seconds(slot)
            heappush(machines, end)
            self._ends.append((end, slot.user_id))
            limit = Limit.RUNNER if is_full else None
            foreseen = None if is_full and not self._is_known else self._tell(seconds)
            places.user_ids[slot.job_id] = slot.user_id
            places.by_job[slot.job_id] = Place(len(places.by_job) + 1, foreseen, limit)
        places.starting_count = len(starting)
        heapify(self._ends)

    def _seconds_left(self, slot: Slot) -> float:
        if slot.left_seconds is not None:
            return slot.left_seconds
        return max(0.0, self._run_seconds(slot) - (self._head.at - (slot.started_at or self._head.at)))

    def _next_turn(self, user_id: str) -> Turn | None:
        ready, slots = self._ready.get(user_id), self._slots[user_id]
        if not ready or slots >= self._capacity.per_user:
            return None
        seconds = self._shares[user_id]
        return Turn.of(ready[-1], user_id, slots, seconds, self._capacity.priority_seconds)

    def _start_next(self) -> bool:
        """Give a free slot to the job whose turn it is; return False if there is no slot or no such job."""
        while self._free > 0 and self._queue:
            turn = heappop(self._queue)
            user_id = turn.user_id
            if turn != self._next_turn(user_id):  # the user has got or lost a slot since
                continue
            job = self._ready[user_id].pop()
            self._place(job, user_id)
            self._free -= 1
            self._slots[user_id] += 1
            self._shares[user_id] += START_SECONDS + self._run_seconds(job)
            heappush(self._ends, (self._time + self._run_seconds(job), user_id))
            self._push_turn(user_id)
            return True
        return False

    def _place(self, job: ReadyJob, user_id: str) -> None:
        places = self._places
        places.known[user_id] += 1
        places.turns.append(places.known[user_id])
        limit = self._find_limit(user_id)
        places.user_ids[job.job_id] = user_id
        places.by_job[job.job_id] = Place(len(places.by_job) + 1, self._tell(self._time), limit)

    def _find_limit(self, user_id: str) -> Limit | None:
        """Return what the job that starts at this time waits for."""
        if self._time <= 0:
            return None
        if self._first_slots[user_id] >= self._capacity.per_user:
            return Limit.OWN_RUNS
        has_room = len(self._places.turns) <= self._first_free
        return Limit.OWN_RUNS if has_room else Limit.RUNNER

    def _end_next(self) -> bool:
        """Go on to the end of the run that ends first, and of those that end then; return False if there is none."""
        if not self._ends:
            return False
        self._time = max(self._time, self._ends[0][0])
        while self._ends and self._ends[0][0] <= self._time:
            _, user_id = heappop(self._ends)
            self._free += 1
            self._slots[user_id] -= 1
            self._push_turn(user_id)
        return True

    def _push_turn(self, user_id: str) -> None:
        if (turn := self._next_turn(user_id)) is not None:
            heappush(self._queue, turn)

    def _tell(self, seconds: float) -> float | None:
        """Return a time if runs have been seen from which to foresee it."""
        return seconds if self._is_known or seconds <= 0 else None

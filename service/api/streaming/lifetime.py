"""Why and when a stream ends before its last state."""

from enum import Enum, auto

from service.api.auth import Access
from service.clock import Clock

MAX_STREAM_SECONDS = 3_600.0


class StreamEnd(Enum):
    """Why a stream ends before its last state."""

    RECONNECT = auto()
    """The service stops, or the stream is an hour old: the client may connect again at once."""
    EXPIRED = auto()
    """The token, key or ticket has expired, or the key was revoked."""
    ERASED = auto()
    """The export was erased."""
    NOT_FOUND = auto()
    """The export that it waited for was not created."""
    TOO_MANY_STREAMS = auto()
    """The limit of open streams is reached, for this user or in total."""
    UNAVAILABLE = auto()
    """The database can't be read."""
    SLOW_CLIENT = auto()
    """The client has taken nothing for too long."""


class StreamEnded(Exception):
    """The stream ends before its last state."""

    def __init__(self, end: StreamEnd) -> None:
        super().__init__(end.name)
        self.end = end


class Lifetime:
    """The end of a stream: when its token expires or its key is revoked, or after an hour.

    The client then reconnects.
    """

    def __init__(self, access: Access, clock: Clock) -> None:
        left = access.seconds_left(clock.wall())
        self.clock = clock
        self._access = access
        self._last_end = StreamEnd.EXPIRED if left <= MAX_STREAM_SECONDS else StreamEnd.RECONNECT
        self._ends_at = clock.monotonic() + min(left, MAX_STREAM_SECONDS)

    @property
    def seconds_left(self) -> float:
        return self._ends_at - self.clock.monotonic()

    def find_end(self, now: float) -> StreamEnd | None:
        """Return why the stream ends, once it is over; `now` is on the monotonic clock."""
        if self._access.is_revoked:
            return StreamEnd.EXPIRED
        return self._last_end if now >= self._ends_at else None

    def check(self) -> None:
        """Raise StreamEnded once it is over."""
        if (end := self.find_end(self.clock.monotonic())) is not None:
            raise StreamEnded(end)

"""What clients send on WebSockets: pings, in bounds."""

import time
from collections import deque

from service.api.streaming.direct import Message

MAX_MESSAGE_BYTES = 1_024
MESSAGES_PER_WINDOW, WINDOW_SECONDS = 30, 10


class IncomingMessages:
    """The messages of one client."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=MESSAGES_PER_WINDOW)

    def check(self, message: Message) -> int | None:
        """Return the code to close the socket with if the message is too long or one too many."""
        text, data = message.get("text") or "", message.get("bytes") or b""
        if len(text.encode()) > MAX_MESSAGE_BYTES or len(data) > MAX_MESSAGE_BYTES:
            return 1009
        now = time.monotonic()
        if len(self._recent) == MESSAGES_PER_WINDOW and now - self._recent[0] < WINDOW_SECONDS:
            return 1008
        self._recent.append(now)
        return None

    @staticmethod
    def is_ping(message: Message) -> bool:
        """Tell whether the client wants an answer."""
        return message.get("text") == "ping"

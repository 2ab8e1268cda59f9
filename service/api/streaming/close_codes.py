"""The codes with which WebSockets are closed, and what each says to the client."""

from typing import Final

from service.api.streaming.lifetime import StreamEnd

CLOSE_CODES: Final = {
    1008: "The client sent too many messages, or read nothing for 30 s.",
    1009: "The client sent a message of more than 1 KiB.",
    1012: "The service restarts, or the socket is an hour old: reconnect.",
    1013: "There is no room for more streams: try again later.",
    4401: "The token or ticket has expired: reconnect with another.",
}
EXPORT_CLOSE_CODES: Final = (
    {1000: "The export has ended."}
    | CLOSE_CODES
    | {
        4404: "No export was created under this id within a minute.",
        4410: "The export was erased.",
    }
)
CODES_OF_ENDS: Final = {
    StreamEnd.RECONNECT: 1012,
    StreamEnd.EXPIRED: 4401,
    StreamEnd.NOT_FOUND: 4404,
    StreamEnd.ERASED: 4410,
    StreamEnd.TOO_MANY_STREAMS: 1013,
    StreamEnd.UNAVAILABLE: 1013,
    StreamEnd.SLOW_CLIENT: 1008,
}

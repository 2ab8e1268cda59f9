"""Readers that open a stream and leave at any moment, in every way that a connection can end."""

import asyncio
import random
import socket
import struct
from contextlib import suppress

LONGEST_STAY_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, as a process does that is killed."""


async def leave_early(port: int, bearer: str, path: str, count: int, chance: random.Random) -> None:
    """Let `count` readers open the stream in parallel and leave it."""
    numbers = [chance.random() for _ in range(count)]
    await asyncio.gather(*(_leave(port, bearer, path, random.Random(number)) for number in numbers))  # noqa: S311


async def _leave(port: int, bearer: str, path: str, chance: random.Random) -> None:
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await _read_a_little(reader, writer, bearer, path, chance)
            finally:
                if chance.random() < 0.5:
                    _reset_on_close(writer)
                writer.close()


async def _read_a_little(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    bearer: str,
    path: str,
    chance: random.Random,
) -> None:
    head = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n"
        "Accept: text/event-stream\r\n\r\n"
    ).encode()
    writer.write(head[: chance.choice((len(head), len(head), len(head), len(head) // 2))])
    await writer.drain()
    await reader.readexactly(chance.choice((0, 1, chance.randrange(400), chance.randrange(2_000))))
    await asyncio.sleep(chance.choice((0.0, chance.random() * LONGEST_STAY_SECONDS)))


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

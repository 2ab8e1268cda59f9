"""Receivers on real sockets: a good one that tells what it got, hostile ones, and names that lead to them.

A `Conduct` is how a receiver treats one connection; the hostile ones never end by themselves.
"""

import asyncio
import gzip
import socket
import struct
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

from infra.egress import EgressPolicy
from infra.egress.results import Address
from tests.bench.webhooks.hostile_receivers import Conduct, request

LOOPBACK = EgressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),), allow_http=True)
HTTP_200 = b"HTTP/1.1 200 OK\r\n"
MEGABYTE = b"z" * (1 << 20)
DRIP_SECONDS = 0.05


class Names:
    """A resolver with a fixed table; a name with several answers gives them in turn, the last one for ever."""

    def __init__(self, table: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self._table = {name: list(answers) for name, answers in (table or {}).items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        answers = self._table.get(host)
        if answers is None:
            raise OSError("no such name")
        return [ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0])]


def answering(raw: bytes) -> Conduct:
    """Reads the request, writes just this and closes."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(raw)

    return conduct


def repeating(first: bytes, again: bytes, *, every_seconds: float = 0) -> Conduct:
    """Reads the request, and goes on writing for ever."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(every_seconds)

    return conduct


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Accept, read nothing and say nothing."""
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def enough_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A little more than is kept of a body, and then nothing."""
    await request(reader)
    writer.write(HTTP_200 + b"Content-Length: 999999\r\n\r\n" + b"z" * 20_000)
    await asyncio.Event().wait()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(HTTP_200 + b"Content-Length: 10\r\n\r\n12345")
    await writer.drain()
    await asyncio.sleep(DRIP_SECONDS)  # the reset would overtake what was written
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


healthy = answering(HTTP_200 + b"Content-Length: 4\r\n\r\nfine")
drip_headers = repeating(HTTP_200, b"x", every_seconds=DRIP_SECONDS)
drip_body = repeating(HTTP_200 + b"Content-Length: 999999\r\n\r\n", b"x", every_seconds=DRIP_SECONDS)
ten_gigabytes = repeating(HTTP_200 + b"Content-Length: 10737418240\r\n\r\n", MEGABYTE)
endless_body = repeating(HTTP_200 + b"\r\n", MEGABYTE)
endless_headers = repeating(HTTP_200, b"X-More: and more\r\n" * 1_000)
endless_header = repeating(HTTP_200 + b"X-More: ", b"y" * 10_000)
endless_status = repeating(b"HTTP/1.1 200 ", b"y" * 10_000)
continue_storm = repeating(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000)
crumbs = repeating(
    HTTP_200 + b"Transfer-Encoding: chunked\r\n\r\n", (b"1;" + b"e" * 1_000 + b"\r\nx\r\n") * 50
)
bomb = answering(HTTP_200 + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(32 << 20)))
redirect = answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\nContent-Length: 0\r\n\r\n")
old_http = answering(b"hello, this is HTTP/0.9\r\n")
silence = answering(b"")
half = answering(HTTP_200 + b"Content-Length: 10\r\n\r\n12345")
bad_chunk = answering(HTTP_200 + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
upgrade = answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")

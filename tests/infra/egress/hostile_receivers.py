"""Healthy and hostile receivers on real sockets, and a resolver for their names.

A `Conduct` handles one connection; the hostile ones never end by themselves.
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


class FakeResolver:
    """A resolver with a fixed table; several answers of a name are given in turn."""

    def __init__(self, table: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self._table = {name: list(answers) for name, answers in (table or {}).items()}
        self.lookups: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.lookups.append(host)
        answers = self._table.get(host)
        if answers is None:
            raise OSError("no such name")
        return [ip_address(text) for text in (answers.pop(0) if len(answers) > 1 else answers[0])]


def respond_raw(raw: bytes) -> Conduct:
    """Build a receiver that reads the request, writes `raw` and closes."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(raw)

    return conduct


def respond_forever(first: bytes, again: bytes, *, every_seconds: float = 0) -> Conduct:
    """Build a receiver that reads the request and never stops writing."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(every_seconds)

    return conduct


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Accept the connection, but neither read nor write."""
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def enough_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write a little more than is stored of a body, then nothing."""
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


healthy = respond_raw(HTTP_200 + b"Content-Length: 4\r\n\r\nfine")
drip_headers = respond_forever(HTTP_200, b"x", every_seconds=DRIP_SECONDS)
drip_body = respond_forever(HTTP_200 + b"Content-Length: 999999\r\n\r\n", b"x", every_seconds=DRIP_SECONDS)
ten_gigabytes = respond_forever(HTTP_200 + b"Content-Length: 10737418240\r\n\r\n", MEGABYTE)
endless_body = respond_forever(HTTP_200 + b"\r\n", MEGABYTE)
endless_headers = respond_forever(HTTP_200, b"X-More: and more\r\n" * 1_000)
endless_header = respond_forever(HTTP_200 + b"X-More: ", b"y" * 10_000)
endless_status = respond_forever(b"HTTP/1.1 200 ", b"y" * 10_000)
continue_storm = respond_forever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000)
crumbs = respond_forever(
    HTTP_200 + b"Transfer-Encoding: chunked\r\n\r\n", (b"1;" + b"e" * 1_000 + b"\r\nx\r\n") * 50
)
bomb = respond_raw(HTTP_200 + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(32 << 20)))
redirect = respond_raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:22/\r\nContent-Length: 0\r\n\r\n")
old_http = respond_raw(b"hello, this is HTTP/0.9\r\n")
silence = respond_raw(b"")
half = respond_raw(HTTP_200 + b"Content-Length: 10\r\n\r\n12345")
bad_chunk = respond_raw(HTTP_200 + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
upgrade = respond_raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")

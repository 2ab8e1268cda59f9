"""Pipes to the standard streams of a process that another process starts."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from service.workers.process import MAX_LINE_BYTES


@dataclass(frozen=True)
class Pipes:
    """The ends of this process, and the descriptors that become 0, 1 and 2 of the other one."""

    stdin: asyncio.WriteTransport
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader
    descriptors: tuple[int, int, int]


@asynccontextmanager
async def open_pipes(*, has_output: bool) -> AsyncIterator[Pipes]:
    """Open pipes; without `has_output`, standard output is dropped.

    At the end the descriptors for the other process are closed, after an error also the ends of this process.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        stdin, writer = await _open_writer(theirs, ours)
        stdout, output = await _open_reader(theirs, ours) if has_output else (_open_null(theirs), None)
        stderr, errors = await _open_reader(theirs, ours)
        yield Pipes(writer, output, errors, (stdin, stdout, stderr))
        ours.pop_all()


async def _open_writer(theirs: ExitStack, ours: ExitStack) -> tuple[int, asyncio.WriteTransport]:
    descriptor, end = os.pipe()
    theirs.callback(os.close, descriptor)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(end, "wb", 0))
    ours.callback(transport.close)
    return descriptor, transport


async def _open_reader(theirs: ExitStack, ours: ExitStack) -> tuple[int, asyncio.StreamReader]:
    end, descriptor = os.pipe()
    theirs.callback(os.close, descriptor)
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=MAX_LINE_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb", 0)
    )
    ours.callback(transport.close)
    return descriptor, reader


def _open_null(theirs: ExitStack) -> int:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    theirs.callback(os.close, descriptor)
    return descriptor

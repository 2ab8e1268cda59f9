"""Consumers on sockets of their own: each verifies by a library what comes, and answers 204, or 400 to a forgery."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from tests.service.webhooks.node_runtime import NODE

Verify = Callable[[str, bytes, Mapping[str, str]], None]
"""By a key, of a body and its headers; raises unless they are genuine."""

_SCRIPT = Path(__file__).with_name("receiver.cjs")


class Receiver(Protocol):
    """A consumer's server."""

    @property
    def url(self) -> str: ...

    async def knows(self, key: str) -> None:
        """From here on it verifies by this key, and no other."""


def by_standardwebhooks(secret: str, body: bytes, headers: Mapping[str, str]) -> None:
    Webhook(secret).verify(body, dict(headers))


def by_svix(secret: str, body: bytes, headers: Mapping[str, str]) -> None:
    svix.Webhook(secret).verify(body, dict(headers))


def by_public_key(key: str, body: bytes, headers: Mapping[str, str]) -> None:
    """With nothing but `cryptography`."""
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signatures = [one.split(",") for one in headers["webhook-signature"].split(" ")]
    for signature in [base64.b64decode(encoded) for version, encoded in signatures if version == "v1a"]:
        with suppress(InvalidSignature):
            public.verify(signature, signed)
            return
    raise InvalidSignature


@contextmanager
def in_python(verify: Verify) -> Iterator["PythonReceiver"]:
    receiver = PythonReceiver(verify)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


@asynccontextmanager
async def in_node(packages: Path) -> AsyncIterator["NodeReceiver"]:
    process = await asyncio.create_subprocess_exec(
        NODE, _SCRIPT, packages, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    receiver = NodeReceiver(process)
    try:
        await receiver.listening()
        yield receiver
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()


class PythonReceiver:
    """A server in a thread; `received` are the bodies of what it has taken."""

    def __init__(self, verify: Verify) -> None:
        self._key = ""
        self.received: list[bytes] = []
        receiver = self

        class Route(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    verify(receiver._key, body, headers)
                except Exception as error:  # noqa: BLE001 - each library has its own
                    return self._answer(400, str(error))
                receiver.received.append(body)
                return self._answer(204)

            def _answer(self, status: int, text: str = "") -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Route)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    async def knows(self, key: str) -> None:
        self._key = key


class NodeReceiver:
    """A process of Node."""

    url = ""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def listening(self) -> None:
        self.url = f"http://127.0.0.1:{await self._said()}/hook"

    async def knows(self, key: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{key}\n".encode())
        assert await self._said() == "known"

    async def _said(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            return (await self._process.stdout.readline()).decode().strip()

"""Receivers that verify with a library and respond with 204, or 400 to a forgery."""

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

from tests.support.npm.node_runtime import NODE

Verify = Callable[[str, bytes, Mapping[str, str]], None]
"""Verifies a body and its headers with a key; raises if they are not genuine."""

_SCRIPT = Path(__file__).with_name("receiver.cjs")


class Receiver(Protocol):
    """A receiver of webhooks."""

    @property
    def url(self) -> str: ...

    async def use_key(self, key: str) -> None:
        """Verify with this key only from now on."""


def verify_with_standardwebhooks(secret: str, body: bytes, headers: Mapping[str, str]) -> None:
    Webhook(secret).verify(body, dict(headers))


def verify_with_svix(secret: str, body: bytes, headers: Mapping[str, str]) -> None:
    svix.Webhook(secret).verify(body, dict(headers))


def verify_with_public_key(key: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Verify with `cryptography` alone."""
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signatures = [entry.split(",") for entry in headers["webhook-signature"].split(" ")]
    for signature in [base64.b64decode(encoded) for version, encoded in signatures if version == "v1a"]:
        with suppress(InvalidSignature):
            public.verify(signature, signed)
            return
    raise InvalidSignature


@contextmanager
def run_python_receiver(verify: Verify) -> Iterator["PythonReceiver"]:
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
async def run_node_receiver(packages: Path) -> AsyncIterator["NodeReceiver"]:
    process = await asyncio.create_subprocess_exec(
        NODE, _SCRIPT, packages, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    receiver = NodeReceiver(process)
    try:
        await receiver.wait_listening()
        yield receiver
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()


class PythonReceiver:
    """A server in a thread; `received` holds the bodies that it accepted."""

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
                    return self._respond(400, str(error))
                receiver.received.append(body)
                return self._respond(204)

            def _respond(self, status: int, text: str = "") -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Route)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    async def use_key(self, key: str) -> None:
        self._key = key


class NodeReceiver:
    """A server in a Node process."""

    url = ""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wait_listening(self) -> None:
        self.url = f"http://127.0.0.1:{await self._read_line()}/hook"

    async def use_key(self, key: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{key}\n".encode())
        assert await self._read_line() == "known"

    async def _read_line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            return (await self._process.stdout.readline()).decode().strip()

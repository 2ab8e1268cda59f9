"""The control plane: creates all parts, and starts and stops them in order."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Self

import uvicorn
from grpclib.server import Server
from starlette.applications import Starlette

from infra.modal_local.apps import Apps
from infra.modal_local.blobs import Blobs
from infra.modal_local.call_api import ClientApi
from infra.modal_local.calls import Calls
from infra.modal_local.dicts import Dicts
from infra.modal_local.fault_api import FaultApi
from infra.modal_local.faults import Faults
from infra.modal_local.logs import Logs
from infra.modal_local.mounts import DeploymentFiles
from infra.modal_local.process import Processes
from infra.modal_local.rpc import Service, token_gate
from infra.modal_local.scheduler import Scheduler
from infra.modal_local.state import Store, Token, new_id

LOOPBACK = "127.0.0.1"
RETENTION_SECONDS = 7 * 86_400.0
DELETION_INTERVAL_SECONDS = 60.0


def listen(port: int, address: str = LOOPBACK) -> socket.socket:
    """Return a bound TCP socket.

    The protocol is explicit, because asyncio otherwise does not set TCP_NODELAY, and Nagle's algorithm delays by 40 ms.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    return listener


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to the process that runs the control plane."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture no signals."""
        yield


class ModalLocal:
    """A control plane; use as an async context manager, and give clients its `environment`.

    Clients with its token can run code on this machine, so use an `address` other than loopback only in an isolated
    network; `host` is the name by which clients reach it there.

    Without `state_dir` nothing is kept after the context. Ended calls keep their outputs for `retention_seconds`, as
    Modal does for a week.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        address: str = LOOPBACK,
        host: str = LOOPBACK,
        token: Token | None = None,
        state_dir: Path | None = None,
        max_containers: int | None = None,
        retention_seconds: float = RETENTION_SECONDS,
        faults: Faults | None = None,
    ) -> None:
        self._port = port
        self._address = address
        self._host = host
        self._token = token
        self._state_dir = state_dir
        self._max_containers = max_containers or os.cpu_count() or 1
        self._retention_seconds = retention_seconds
        self._faults = faults or Faults()
        self._stack = AsyncExitStack()
        self.environment: dict[str, str] = {}
        self.control_url = ""
        self.fault_api: FaultApi

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        directory = self._state_dir
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="modal-local-state-"))
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
        store = Store(directory)
        stack.callback(store.close)
        token = self._load_token(store)
        blobs, apps, calls = Blobs(store), Apps(store), Calls(store)
        files, logs = DeploymentFiles(store, blobs), Logs(directory / "logs", apps)
        scheduler = Scheduler(apps, calls, self._faults, self._max_containers)
        self.fault_api = FaultApi(self._faults, calls, scheduler, token)
        apps.watchers.extend([scheduler.wake, logs.wake])
        parts = [ClientApi(apps, calls, scheduler, self._faults), apps, files, blobs, logs, Dicts()]

        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        processes = await stack.enter_async_context(Processes(files, logs, parts))
        self.control_url = blobs.url = await self._serve_http(stack, tasks, blobs, self.fault_api)
        port = await self._serve_grpc(stack, parts, token)
        scheduling = tasks.create_task(scheduler.run(processes))
        stack.push_async_callback(asyncio.wait, [scheduling])
        stack.callback(scheduler.stop)
        deletion = tasks.create_task(self._delete_old_data(store, blobs))
        stack.callback(deletion.cancel)
        self.environment = {
            "MODAL_SERVER_URL": f"http://{self._host}:{port}",
            "MODAL_TOKEN_ID": token.id,
            "MODAL_TOKEN_SECRET": token.secret,
            "MODAL_CONFIG_PATH": str(directory / "no-such-config.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
        }

    def _load_token(self, store: Store) -> Token:
        if self._token is not None:
            return self._token
        for token in store.all(Token).values():
            return token
        token = Token(id=new_id("ak"), secret=new_id("as"))
        store.put(token)
        return token

    async def _serve_http(
        self, stack: AsyncExitStack, tasks: asyncio.TaskGroup, blobs: Blobs, fault_api: FaultApi
    ) -> str:
        listener = listen(0, self._address)
        app = Starlette(routes=[*blobs.routes, *fault_api.routes])
        config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = HttpServer(config)
        serving = tasks.create_task(server.serve([listener]))
        stack.push_async_callback(asyncio.wait, [serving])
        stack.callback(setattr, server, "should_exit", True)
        return f"http://{self._host}:{listener.getsockname()[1]}"

    async def _serve_grpc(self, stack: AsyncExitStack, parts: list[object], token: Token) -> int:
        server = Server([Service(*parts, gate=token_gate(token, self._faults))])
        listener = listen(self._port, self._address)
        await server.start(sock=listener)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        port: int = listener.getsockname()[1]
        return port

    async def _delete_old_data(self, store: Store, blobs: Blobs) -> None:
        while True:
            store.delete_old_calls(self._retention_seconds)
            blobs.delete_old(2 * self._retention_seconds)
            await asyncio.sleep(min(DELETION_INTERVAL_SECONDS, self._retention_seconds))

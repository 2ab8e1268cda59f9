"""Run containers as processes, and kill each by its end and that of the control plane."""

import asyncio
import contextlib
import os
import shutil
import signal
import site
import sys
import tempfile
from pathlib import Path
from typing import Self

from grpclib.server import Server
from modal_proto import api_pb2

from infra.modal_local import reaper
from infra.modal_local.container import Container
from infra.modal_local.logs import Logs
from infra.modal_local.mounts import DeploymentFiles
from infra.modal_local.rpc import Service, open_gate
from infra.modal_local.state import new_id

INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
READ_BYTES = 65_536
LOG_DRAIN_SECONDS = 1.0


class Reaper:
    """A child process that kills the containers if this process is killed."""

    _process: asyncio.subprocess.Process
    _input: asyncio.StreamWriter

    async def start(self, sockets: Path) -> None:
        """Start the reaper, which removes the folder of sockets at its end."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            reaper.__file__,
            str(sockets),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin
        self._input = self._process.stdin

    async def stop(self) -> None:
        """Close the input of the reaper and wait for its end."""
        self._input.close()
        await self._process.wait()

    def send(self, line: str) -> None:
        """Report the start (`+PID`) or end (`-PID`) of a process group."""
        self._input.write(f"{line}\n".encode())


class Processes:
    """Runs container processes with shared files, logs and RPCs; use as an async context manager."""

    def __init__(self, files: DeploymentFiles, logs: Logs, parts: list[object]) -> None:
        self._files = files
        self._logs = logs
        self._parts = parts
        # Not in the state folder: the path of a socket is limited to about 100 characters.
        self._sockets = Path(tempfile.mkdtemp(prefix="modal-local-"))
        self._reaper = Reaper()

    async def __aenter__(self) -> Self:
        await self._reaper.start(self._sockets)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reaper.stop()

    async def run(self, container: Container, layout: api_pb2.AppLayout) -> int:
        """Run a container to its end and return its exit code."""
        root = self._files.write_files(container.definition)
        socket = self._sockets / f"{container.id}.sock"
        scratch = self._sockets / container.id
        scratch.mkdir()
        server = Server([Service(container, *self._parts, gate=open_gate)])
        await server.start(path=str(socket))
        try:
            arguments = self._write_arguments(container, layout)
            environment = self._environment(container, root, socket, arguments)
            return await self._run(container, root / "root", environment)
        finally:
            server.close()
            await server.wait_closed()
            shutil.rmtree(scratch, ignore_errors=True)
            socket.unlink(missing_ok=True)

    async def _run(self, container: Container, folder: Path, environment: dict[str, str]) -> int:
        read_end, write_end = os.pipe()
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(self._pump(container, read_end))
            process = await start_process(folder, environment, write_end)
            self._reaper.send(f"+{process.pid}")
            killer = tasks.create_task(kill_when_requested(container, process.pid))
            try:
                code = await process.wait()
            finally:
                kill_group(process.pid)
                self._reaper.send(f"-{process.pid}")
            killer.cancel()
            # A process that left the group may keep the pipe open forever.
            await asyncio.wait([pump], timeout=LOG_DRAIN_SECONDS)
            pump.cancel()
        return code

    async def _pump(self, container: Container, read_end: int) -> None:
        output = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(read_end, "rb")
        )
        try:
            with self._logs.open_writer(container.app_id) as write:
                while text := await output.read(READ_BYTES):
                    write(text.decode(errors="replace"))
        finally:
            transport.close()

    def _write_arguments(self, container: Container, layout: api_pb2.AppLayout) -> Path:
        path = self._sockets / container.id / f"{new_id('arguments')}.binpb"
        arguments = api_pb2.ContainerArguments(
            task_id=container.id,
            function_id=container.function_id,
            app_id=container.app_id,
            function_def=container.definition,
            serialized_params=container.parameters,
            environment_name="main",
            app_layout=layout,
        )
        known = {item.object_id for item in layout.objects}
        for dependency in container.definition.object_dependencies:
            if dependency.object_id not in known:
                arguments.app_layout.objects.add(object_id=dependency.object_id)
        path.write_bytes(arguments.SerializeToString())
        return path

    def _environment(self, container: Container, root: Path, socket: Path, arguments: Path) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        environment |= {"HOME": str(root / "root"), "TMPDIR": str(arguments.parent), "PYTHONUNBUFFERED": "1"}
        environment |= self._files.environment(container.definition)
        path = [str(root / "root"), *site.getsitepackages()]
        if extra := environment.get("PYTHONPATH"):
            path[1:1] = [str(root / part.lstrip("/")) for part in extra.split(os.pathsep)]
        return environment | {
            "PYTHONPATH": os.pathsep.join(path),
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_DISABLE_API_PROXY": "1",
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": container.id,
            "MODAL_IMAGE_ID": container.definition.image_id,
            "MODAL_ENVIRONMENT": "main",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
            "MODAL_REGION": "local",
        }


async def start_process(folder: Path, environment: dict[str, str], output: int) -> asyncio.subprocess.Process:
    """Start the SDK's entry point; closes the file descriptor `output`.

    Without `site` (`-S`), the .pth files of editable installs are not read, so that a container imports only the files
    of its image and regularly installed packages.
    """
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-m",
            "modal._container_entrypoint",
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)


async def kill_when_requested(container: Container, pid: int) -> None:
    """Kill the process group once the container is to be killed."""
    await container.killed.wait()
    kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)

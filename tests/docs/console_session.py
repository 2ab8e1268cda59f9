"""Run the console blocks of a document as a reader would: one shell, one folder, and the services that it starts."""

import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from tests.docs.markdown import ROOT, Block, Command, pattern_of, split_commands
from tests.support.live_server import free_port

COMMAND_SECONDS = 240.0
START_SECONDS = 60.0
DOCUMENTED_PORTS = (8000, 3000)
"""Where documents say that the service and a receiver listen; each session uses free ports instead."""
CHECKOUT_FILES = (".venv", "Makefile", "pyproject.toml", "requirements.lock", "README.md")
_SERVE = re.compile(r"^(?:[A-Z_]+=\S+ )*framehook serve\b")


class ConsoleSession:
    """A shell in a folder that looks like a fresh checkout; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: free_port() for port in DOCUMENTED_PORTS}
        self._log: IO[bytes] | None = None
        self._services: list[subprocess.Popen[bytes]] = []
        for name in CHECKOUT_FILES:
            (folder / name).symlink_to(ROOT / name)

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_services()
        os.killpg(self._shell.pid, 9)
        self._shell.communicate()

    def run_block(self, block: Block) -> None:
        """Run the commands of a console block and compare what they print; save a block that names a file."""
        if block.file_name:
            (self._folder / block.file_name).write_text(self._with_ports(block.text), "utf-8")
        if block.language == "console":
            for command in split_commands(block):
                self._run(command)

    def _run(self, command: Command) -> None:
        if _SERVE.match(command.text):
            self._serve(command.text)
            return
        status, printed = self._execute(self._with_ports(command.text))
        printed = self._with_documented_ports(printed)
        where = f"line {command.line}: {command.text}\n{printed}"
        assert status == 0, where
        if command.output:
            assert pattern_of(command.output).fullmatch(printed.strip()), where

    def _execute(self, command: str) -> tuple[int, str]:
        """Run a command in the shell; return its status and what it printed."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        marker = f"end-{uuid.uuid4().hex}"
        timer = f"(sleep {COMMAND_SECONDS}; kill -9 -- -$$) > /dev/null 2>&1 & timer=$!"
        self._shell.stdin.write(
            f'{timer}\n{command}\nstatus=$?; kill $timer; echo; echo "{marker} $status"\n'
        )
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(marker):
                return int(line.split()[1]), "".join(lines).replace("\r", "")
            lines.append(line)
        raise AssertionError(f"the shell ended at {command!r}: {''.join(lines)}")

    def _serve(self, command: str) -> None:
        """Start the service as the document says, in place of one that is running, and wait until it is ready."""
        self._stop_services()
        with (self._folder / "service.log").open("ab") as log:
            service = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self._folder,
                env=self._environment() | {"PORT": str(self._ports[8000])},
                stdout=log,
                stderr=log,
            )
        self._services.append(service)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and service.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self._ports[8000]}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError((self._folder / "service.log").read_text("utf-8"))

    def _stop_services(self) -> None:
        for service in self._services:
            service.terminate()
            service.wait(timeout=60)
        self._services.clear()

    def _environment(self) -> dict[str, str]:
        binaries = str(Path(sys.executable).parent)
        return {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "FRAMEHOOK_URL": f"http://127.0.0.1:{self._ports[8000]}",
        }

    def _with_ports(self, text: str) -> str:
        for documented, port in self._ports.items():
            text = re.sub(rf"\b{documented}\b", str(port), text)
        return text

    def _with_documented_ports(self, text: str) -> str:
        for documented, port in self._ports.items():
            text = re.sub(rf"\b{port}\b", str(documented), text)
        return text

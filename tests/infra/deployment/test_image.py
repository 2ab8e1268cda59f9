"""The image's command as a plain process, with its environment and its kind of user."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.infra.deployment.deployment_files import (
    SECRET,
    fly,
    health_command,
    image_environment,
    instruction,
)

BIN = Path(sys.executable).parent
START_SECONDS, STOP_SECONDS = 30, 15


class Image:
    """Environment and user of the image's command; the user owns only the data folder."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir
        self.environment = image_environment() | {
            "PATH": f"{BIN}{os.pathsep}/usr/bin:/bin",
            "PORT": str(port),
            "DATA_DIR": str(data_dir),
            "HOME": str(data_dir),
        }
        self.url = f"http://127.0.0.1:{port}"
        self.user = find_unused_user_id() if os.geteuid() == 0 and shutil.which("setpriv") else None
        self.as_user: list[str] = []
        if self.user:
            os.chown(data_dir, self.user, self.user)
            # The user may read all files, since the interpreter may be in root's home, but writes only its own.
            capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            self.as_user = [
                "setpriv",
                f"--reuid={self.user}",
                f"--regid={self.user}",
                "--clear-groups",
                *capabilities,
            ]

    def start(self, command: list[str], **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.as_user, *command],
            cwd="/",
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], **environment: str) -> tuple[int, str]:
        with self.start(command, **environment) as process:
            output, _ = process.communicate(timeout=START_SECONDS)
            return process.returncode, output

    @contextmanager
    def run_service(self) -> Iterator["subprocess.Popen[str]"]:
        """Run the service and yield its process once it responds."""
        with self.start(json.loads(instruction("CMD")), AUTH_JWT_SECRET=SECRET) as process:
            try:
                for line in process.stdout or ():
                    if "Uvicorn running" in line:
                        break
                yield process
            finally:
                process.kill()


def find_unused_user_id() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {
        path.stat().st_uid for path in Path(tempfile.gettempdir()).iterdir()
    }
    return next(number for number in range(10_001, 60_000) if number not in taken)


@pytest.fixture
def image() -> Iterator[Image]:
    folder = Path(tempfile.mkdtemp(prefix="framehook-image-"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    yield Image(folder, port)
    shutil.rmtree(folder)


def test_without_authentication_the_image_says_why_it_does_not_start(image: Image) -> None:
    status, output = image.run(json.loads(instruction("CMD")))
    assert status == 78
    assert json.loads(output)["message"] == (
        "HOST '0.0.0.0' is not a loopback address: without authentication the service listens on this machine "
        "only; set AUTH_JWT_SECRET or AUTH_JWKS_URL, or leave HOST at 127.0.0.1"
    )


def test_the_image_starts_passes_its_health_check_and_stops_on_its_signal(image: Image) -> None:
    assert image.run(health_command())[0] != 0
    with image.run_service() as process:
        assert image.run(health_command()) == (0, "")
        assert httpx.get(f"{image.url}/readyz", trust_env=False).status_code == 200
        assert httpx.get(f"{image.url}/api/exports", trust_env=False).status_code == 401
        process.send_signal(signal.Signals[instruction("STOPSIGNAL")])
        process.communicate(timeout=STOP_SECONDS)
        assert process.returncode in (0, -signal.Signals[instruction("STOPSIGNAL")])
    assert (image.data_dir / "framehook.db").exists()
    if image.user:
        folders = [Path(name) for name in ("/tmp", "/var/tmp", "/dev/shm") if Path(name).is_dir()]  # noqa: S108
        written = {path for folder in folders for path in folder.iterdir() if owner(path) == image.user}
        assert written == {image.data_dir}


def owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None


def test_the_image_upgrades_a_database_before_it_serves(image: Image) -> None:
    command = fly()["deploy"]["release_command"].split()
    assert image.run(command, AUTH_JWT_SECRET=SECRET) == (
        0,
        f"The database {image.data_dir / 'framehook.db'} is up to date.\n",
    )

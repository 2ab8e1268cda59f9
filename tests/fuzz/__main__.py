"""Send generated requests to a service of its own, and report each answer that its OpenAPI document does not say.

The service listens on loopback, keeps its data in a temporary folder, and reaches no other host.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import jwt

from tests.fuzz.hooks import SOURCE_KEY
from tests.fuzz.offline_service import SECRET
from tests.support.live_server import free_port
from tests.support.small_mp4 import make_video

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
CONFIG = Path(__file__).parent / "schemathesis.toml"


def main() -> int:
    """Fuzz, and return the exit status: 1 for an answer that the document does not say, or an error in the log."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--examples", type=int, default=1_000, help="per operation, at most")
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    seed = ["--seed", str(arguments.seed)] if arguments.seed is not None else []
    options = ["--max-time", str(arguments.seconds), "--max-examples", str(arguments.examples), *seed]
    with tempfile.TemporaryDirectory(prefix="framehook-fuzz-") as folder:
        status, log = fuzz(Path(folder), options)
    errors = [line for line in log.splitlines() if " ERROR " in line or line.startswith("Traceback")]
    print("\n".join(errors[:20]))
    return status or bool(errors)


def fuzz(folder: Path, options: list[str]) -> tuple[int, str]:
    """Return the exit status of schemathesis and the log of the service."""
    log = folder / "log"
    with run_service(folder, log) as url:
        token = jwt.encode({"sub": "fuzz", "exp": int(time.time()) + 86_400}, SECRET, "HS256")
        headers = {"Authorization": f"Bearer {token}"}
        environment = os.environ | {SOURCE_KEY: upload_source(url, headers), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        command += [f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}", *options]
        finished = subprocess.run(command, cwd=folder, env=environment, check=False)
    return finished.returncode, log.read_text("utf-8")


@contextmanager
def run_service(folder: Path, log: Path) -> Iterator[str]:
    """Run the service until the end of the block, and yield its URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.fuzz.offline_service", str(port), str(folder / "var")]
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    """Poll until the service is ready. Raises TimeoutError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError("the service has not started")


def upload_source(url: str, headers: dict[str, str]) -> str:
    """Upload a small video, and return its key."""
    video = make_video(b"fuzz")
    body = {"filename": "match.mp4", "size": len(video), "content_type": "video/mp4"}
    target = httpx.post(f"{url}/api/uploads", json=body, headers=headers, trust_env=False).json()
    httpx.put(
        target["url"], content=video, headers={"Content-Type": "video/mp4"}, trust_env=False
    ).raise_for_status()
    return str(target["key"])


if __name__ == "__main__":
    sys.exit(main())

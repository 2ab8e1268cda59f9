"""Start workers as the service does."""

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu.spec import CallbackTarget
from tests.callbacks.scripted_server import KEY, Receiver
from tests.gpu.run_pipeline import STILL, attempt_spec


def start_worker(
    service: Receiver,
    source: Path,
    *,
    deadline_seconds: float = 60.0,
    memory_megabytes: int | None = None,
    end_with_stdin: bool = False,
    **config: Any,
) -> subprocess.Popen[str]:
    """Start a worker and send it a spec."""
    spec = attempt_spec(source, source.with_name("output.mp4"), **({"keyframes": STILL} | config))
    target = CallbackTarget(url=service.url, key=base64.b64encode(KEY).decode())
    spec = spec.model_copy(update={"callback": target, "deadline_seconds": deadline_seconds})
    folder = source.with_name("scratch")
    folder.mkdir()
    command = [sys.executable, "-m", "gpu.worker", "--scratch", str(folder)]
    if memory_megabytes is not None:
        command += ["--memory-megabytes", str(memory_megabytes)]
    if end_with_stdin:
        command.append("--end-with-stdin")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(spec.model_dump_json(by_alias=True) + "\n")
    if end_with_stdin:
        process.stdin.flush()
    else:
        process.stdin.close()
    return process


def wait_exit(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit status and what it printed."""
    assert process.stdout is not None
    with process.stdout as stdout:
        output = stdout.read()
    return process.wait(30), output.strip()


def list_leftovers(source: Path) -> list[str]:
    """List the files and folders next to the source."""
    paths = source.parent.rglob("*")
    return sorted(str(path.relative_to(source.parent)) for path in paths if path != source)

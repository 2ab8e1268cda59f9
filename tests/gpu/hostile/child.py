"""`python -m tests.gpu.hostile.child`: an export of 64 x 64 pixels for every line on standard input, one after another.

A line names the source; the answer, a line of JSON, says how its export ended: `code` of an ExportError, `frames` that
could be read back, or `surprise`, the trace of anything else; and the process's `files` open and peak `megabytes`.
"""

import json
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import av

from gpu.errors import ExportError
from gpu.pipeline import run
from tests.gpu.hostile.corpus import SIDE
from tests.gpu.run_pipeline import attempt_spec

# What declares hours of nothing may take hours, frame by frame: who runs an export sets it a deadline.
BUDGET_SECONDS = 5.0
FRAMING = {
    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": SIDE, "height": SIDE}],
    "output_width": SIDE,
    "output_height": SIDE,
}
# By turns: the whole, a stretch of it, at other speeds, turned and at a rate of its own.
ASKED = (
    FRAMING,
    FRAMING | {"trim": {"start": 0.1, "end": 0.2}},
    FRAMING | {"segments": [{"start": 0, "end": 0.1, "speed": 0.5}, {"start": 0.15, "end": 9, "speed": 3}]},
    FRAMING | {"rotation": 7, "fps": 24},
)


def main() -> None:
    """Answer until there are no more lines."""
    for number, line in enumerate(sys.stdin):
        answer = ending(Path(line.rstrip("\n")), ASKED[number % len(ASKED)]) | {
            "files": len(list(Path("/dev/fd").iterdir())),
            "megabytes": peak_megabytes(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def peak_megabytes() -> int:
    """The most that this program has held; getrusage would count what its parent held before the exec as well."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def ending(source: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """How the export of this file ends, beside it."""
    output = source.with_name("output")
    until = time.monotonic() + BUDGET_SECONDS
    spec = attempt_spec(source, output, **asked)
    try:
        with closing(run(spec, source.with_name("scratch"))) as working:
            for _ in working:
                if time.monotonic() > until:
                    return {"code": "deadline_exceeded"}
        return {"frames": frames(output)}
    except ExportError as error:
        return {"code": error.code}
    except Exception:  # noqa: BLE001 - whatever it is, the test must be told
        return {"surprise": traceback.format_exc()}


def frames(path: Path) -> int:
    """How many frames an MP4 shows."""
    with av.open(str(path), format="mp4") as container:
        return sum(1 for _ in container.decode(video=0))


if __name__ == "__main__":
    main()

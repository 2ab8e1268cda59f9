"""Export the source named by each line of standard input, at 64 x 64 pixels.

`python -m tests.gpu.hostile.child` answers each line with a line of JSON: `code` of an ExportError, `frames` that could
be read back, or `surprise`, the traceback of anything else; and the process's open `files` and peak `megabytes`.
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

# A file that declares hours of nothing may take hours, so an export always has a deadline.
BUDGET_SECONDS = 5.0
FRAMING = {
    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": SIDE, "height": SIDE}],
    "output_width": SIDE,
    "output_height": SIDE,
}
# In turn: the whole, a trim, other speeds, rotation with another frame rate.
CONFIGS = (
    FRAMING,
    FRAMING | {"trim": {"start": 0.1, "end": 0.2}},
    FRAMING | {"segments": [{"start": 0, "end": 0.1, "speed": 0.5}, {"start": 0.15, "end": 9, "speed": 3}]},
    FRAMING | {"rotation": 7, "fps": 24},
)


def main() -> None:
    """Answer until there are no more lines."""
    for number, line in enumerate(sys.stdin):
        answer = export_outcome(Path(line.rstrip("\n")), CONFIGS[number % len(CONFIGS)]) | {
            "files": len(list(Path("/dev/fd").iterdir())),
            "megabytes": peak_megabytes(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def peak_megabytes() -> int:
    """Return the peak memory of this program.

    getrusage would include the memory of the parent before the exec.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def export_outcome(source: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Export the file into its folder and return how that ended."""
    output = source.with_name("output")
    deadline = time.monotonic() + BUDGET_SECONDS
    spec = attempt_spec(source, output, **fields)
    try:
        with closing(run(spec, source.with_name("scratch"))) as steps:
            for _ in steps:
                if time.monotonic() > deadline:
                    return {"code": "deadline_exceeded"}
        return {"frames": count_frames(output)}
    except ExportError as error:
        return {"code": error.code}
    except Exception:  # noqa: BLE001 - the test must learn of any exception
        return {"surprise": traceback.format_exc()}


def count_frames(path: Path) -> int:
    """Return how many frames an MP4 has."""
    with av.open(str(path), format="mp4") as container:
        return sum(1 for _ in container.decode(video=0))


if __name__ == "__main__":
    main()

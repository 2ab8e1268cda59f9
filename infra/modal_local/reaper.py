"""Outlives the control plane by a moment: when its standard input closes, it kills the containers left behind.

Run as a script, with the standard library alone. Lines are `+PID` for a process group that began and `-PID` for
one that ended; the argument is the folder of sockets, which is removed.
"""

import os
import shutil
import signal
import sys


def main() -> None:
    """Follow the containers, and end those that are left when the control plane is gone."""
    running: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        running.add(group) if line[0] == "+" else running.discard(group)
    for group in running:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()

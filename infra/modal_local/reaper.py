"""Kill the remaining containers when standard input closes, which the end of the control plane does.

Runs as a script with the standard library only. The lines of the input are `+PID` for a started process group and
`-PID` for one that ended; the argument is the folder of sockets, which is removed.
"""

import os
import shutil
import signal
import sys


def main() -> None:
    """Track the containers, and kill the remaining ones at the end of the input."""
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

"""What the `framehook` program runs: Ctrl-C ends it with its status even while the commands are imported."""

import sys


def run() -> None:
    """Run a command."""
    try:
        from service.cli.main import app

        app()
    except KeyboardInterrupt:
        from service.startup.statuses import INTERRUPTED_STATUS

        sys.exit(INTERRUPTED_STATUS)

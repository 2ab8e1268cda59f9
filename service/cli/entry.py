"""What the `framehook` program runs: Ctrl-C ends it with its status even while the commands are imported."""

import os
import sys
from pathlib import Path


def run() -> None:
    """Run a command."""
    try:
        from typer import Exit

        _open_missing_streams()
        from service.cli.errors import print_errors
        from service.cli.main import app

        with print_errors():  # of what a command does outside of its own, such as to print to a full disk
            app()
    except KeyboardInterrupt:
        from service.startup.statuses import INTERRUPTED_STATUS

        sys.exit(INTERRUPTED_STATUS)
    except Exit as exit_:
        sys.exit(exit_.exit_code)


def _open_missing_streams() -> None:
    """Open the standard streams that the caller has closed, so that commands can print."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
            setattr(sys, name, stream)

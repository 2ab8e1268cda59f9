"""Options and arguments that several commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from framehook import Client
from framehook.settings import TOKEN_VARIABLE, URL_VARIABLE

RETRIES = 2  # of a request, so that a command with a wrong URL ends soon

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Id of the export, as `framehook list` shows it, or its `export_id`."),
]
OptionalJobId = Annotated[
    str | None,
    typer.Argument(metavar="JOB", help="Id of the export, without conditions.", show_default=False),
]
Server = Annotated[
    str, typer.Option("--server", metavar="URL", envvar=URL_VARIABLE, help="URL of the service.")
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar=TOKEN_VARIABLE,
        help="Bearer token; needed if the service authenticates its users.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for use in scripts.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show the progress until the export has ended.")]
Limit = Annotated[int, typer.Option(metavar="COUNT", min=1, max=10_000, help="The most entries to list.")]

# The settings are read later, with sentences of their own for what is wrong, and not by the command line parser.
Host = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Address to listen on.  [env var: HOST; default: 127.0.0.1]"),
]
Port = Annotated[
    int | None, typer.Option(metavar="PORT", help="Port to listen on.  [env var: PORT; default: 8000]")
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder for the database and the files.  [env var: DATA_DIR; default: var]",
    ),
]


def open_client(server: str, token: str | None) -> Client:
    """Return a client of the service that the options name."""
    return Client(server, token or "", retries=RETRIES)


def command_group(help_text: str) -> typer.Typer:
    """Create a group whose help is plain text, which keeps the lines of examples."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def examples(*lines: str) -> str:
    """Format the examples below the help of a command."""
    return literal_lines("Examples:", lines)


def literal_lines(title: str, lines: Iterable[str]) -> str:
    """Format lines that the help must not wrap."""
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))

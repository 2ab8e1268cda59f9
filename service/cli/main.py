"""The `framehook` command: its groups and commands."""

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

from service.cli.batches.commands import create_group as create_batch_group
from service.cli.completion import completion
from service.cli.errors import EXIT_STATUSES
from service.cli.exports import commands as exports
from service.cli.modal.commands import modal_app
from service.cli.options import command_group, examples, literal_lines
from service.cli.server import commands as server
from service.cli.uploads import uploads
from service.cli.webhooks.commands import create_group as create_webhooks_group

app = command_group("Export videos and receive their progress and results as webhooks.")

_EXAMPLES = examples(
    "framehook demo",
    "framehook serve",
    "framehook export match.mp4 --type framing --config crop.json --watch",
    "framehook webhooks add https://example.org/hook",
)
_STATUSES = literal_lines(
    "Exit status:", (f"{status:>3}  {meaning}" for status, meaning in EXIT_STATUSES.items())
)


def show_version(is_wanted: bool) -> None:
    """Print the version and exit."""
    if is_wanted:
        typer.echo(f"framehook {version('framehook')}")
        raise typer.Exit


@app.callback(epilog=f"{_EXAMPLES}\n\n{_STATUSES}")
def root_options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character shows a question mark


exports.add_commands(app)
app.add_typer(create_batch_group(), name="batch")
app.add_typer(uploads, name="uploads")
app.add_typer(create_webhooks_group(), name="webhooks")
server.add_commands(app)
app.add_typer(modal_app, name="modal")
app.command(
    epilog=examples("framehook completion bash >> ~/.bashrc", "framehook completion zsh >> ~/.zshrc")
)(completion)


if __name__ == "__main__":
    app()

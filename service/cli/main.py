"""The `framehook` command: its groups and commands."""

import sys
from io import TextIOWrapper

from service.cli.exports import commands as exports
from service.cli.modal.commands import modal_app
from service.cli.options import command_group, examples
from service.cli.server import commands as server
from service.cli.uploads import uploads
from service.cli.webhooks.commands import create_group as create_webhooks_group

app = command_group("Export videos and receive their progress and results as webhooks.")


@app.callback(
    epilog=examples(
        "framehook demo",
        "framehook serve",
        "framehook export match.mp4 --type framing --config crop.json --watch",
        "framehook webhooks add https://example.org/hook",
    )
)
def root_options() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character shows a question mark


exports.add_commands(app)
app.add_typer(uploads, name="uploads")
app.add_typer(create_webhooks_group(), name="webhooks")
server.add_commands(app)
app.add_typer(modal_app, name="modal")


if __name__ == "__main__":
    app()

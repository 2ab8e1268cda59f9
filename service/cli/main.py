"""The `framehook` command: its groups and commands."""

import sys
from io import TextIOWrapper

from service.cli import admin, exports, serve
from service.cli.export_types import types
from service.cli.options import command_group, examples
from service.cli.sample import sample
from service.cli.uploads import uploads
from service.cli.users import users
from service.cli.webhooks import webhooks

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
app.command(epilog=examples("framehook types"))(types)
serve.add_commands(app)
app.command(epilog=examples("framehook sample", "framehook sample match.mp4"))(sample)
admin.add_commands(app)
app.add_typer(uploads, name="uploads")
app.add_typer(users, name="users")
app.add_typer(webhooks, name="webhooks")


if __name__ == "__main__":
    app()

"""What the command line has to run the service, and for its operator."""

import typer

from service.cli.options import examples
from service.cli.server.bucket import buckets
from service.cli.server.database import database
from service.cli.server.serve import demo, serve
from service.cli.server.tokens import token
from service.cli.server.users import users


def add_commands(app: typer.Typer) -> None:
    """Add these commands and groups to the command line."""
    app.command(epilog=examples("framehook serve", "framehook serve --port 8080 --data-dir /srv/framehook"))(
        serve
    )
    app.command(
        epilog=examples(
            "framehook demo", "framehook demo --once --port 0", "framehook demo --modal --data-dir /tmp/demo"
        )
    )(demo)
    app.command(epilog=examples("framehook token alice --hours 1"))(token)
    app.add_typer(database, name="db")
    app.add_typer(buckets, name="bucket")
    app.add_typer(users, name="users")

"""What the command line has to run the service, and for its operator.

What a command needs is imported when it runs: the service takes longer to load than most other commands take.
"""

from typing import Annotated

import typer

from service.cli.database.commands import database
from service.cli.options import AsJson, DataDir, Host, Port, Token, Yes, command_group, examples
from service.cli.server.access_commands import add_access_commands

buckets = command_group("Manage the bucket.")
users = command_group("Manage users.")


def add_commands(app: typer.Typer) -> None:
    """Add these commands and groups to the command line."""
    app.command(
        epilog=examples(
            "framehook serve",
            "framehook serve --port 8080 --data-dir /srv/framehook",
            "framehook serve --check-config",
        )
    )(serve)
    app.command(
        epilog=examples(
            "framehook demo", "framehook demo --once --port 0", "framehook demo --modal --data-dir /tmp/demo"
        )
    )(demo)
    app.command(epilog=examples("framehook doctor", "framehook doctor --json"))(doctor)
    app.command(epilog=examples("framehook token alice --hours 1"))(token)
    app.add_typer(database, name="db")
    app.add_typer(buckets, name="bucket")
    app.add_typer(users, name="users")
    add_access_commands(app)


def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    check_config: Annotated[
        bool,
        typer.Option(
            "--check-config", help="Say all that is wrong with the configuration, and start nothing."
        ),
    ] = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Settings are read from environment variables and from `.env` in the current folder. With --check-config the exit
    status is 0 if the service can start, 78 if something must be changed first, 75 if a later start may succeed.
    """
    from service.cli.server import serve
    from service.cli.server.check_config import check_config as run_check

    if check_config:
        run_check(host, port, data_dir)
    else:
        serve.serve(host, port, data_dir)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop the service after the export.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Port to listen on; a free one if it is in use, or 0.  [env var: PORT; default: 8000]",
        ),
    ] = None,
    data_dir: DataDir = None,
    bearer: Token = None,
    modal: Annotated[
        bool,
        typer.Option("--modal", help="Run the export with the Modal SDK, on an emulator on this machine."),
    ] = False,
) -> None:
    """Start the service and export a sample video.

    The service then runs until Ctrl-C; if standard input or output is not a terminal, it stops.
    """
    from service.cli.server.demo import run_demo

    run_demo(once=once, port=port, data_dir=data_dir, bearer=bearer, modal=modal)


def doctor(*, as_json: AsJson = False) -> None:
    """Find what is wrong with the service, and say what to do.

    Run it where the service runs, with the same settings. Writes and deletes a test object, and posts a report that the
    service refuses from where runs are; on Modal that starts a container without a GPU. The exit status is 1 if
    something fails.
    """
    from service.cli.server.doctor import run_doctor

    run_doctor(as_json=as_json)


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id, which becomes `sub`.")],
    hours: Annotated[
        float, typer.Option(metavar="HOURS", min=0.01, max=24 * 366, help="How long the token is valid.")
    ] = 24.0,
) -> None:
    """Print a bearer token for a user, signed with AUTH_JWT_SECRET."""
    from service.cli.server.tokens import print_token

    print_token(user, hours)


@buckets.command(
    epilog=examples(
        "framehook bucket prepare",
        "framehook bucket prepare --origin https://app.example.org --upload-days 30",
    ),
)
def prepare(
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Origin of web pages that upload and play; repeat for several."
            "  [env var: ALLOWED_ORIGINS; default: PUBLIC_URL and ALLOWED_ORIGINS]",
            show_default=False,
        ),
    ] = None,
    upload_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS", min=1, help="Delete uploads after so many days.  [default: they are kept]"
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER",
            help="User whose uploads are deleted; repeat for several.  [default: local]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create and configure the bucket of R2_BUCKET_NAME.

    Creates it if it is missing, sets CORS and lifecycle rules, and writes, reads and deletes a test object. Can be
    repeated: what is right already stays as it is.
    """
    from service.cli.server.bucket import prepare_bucket

    prepare_bucket(origin, upload_days, user)


@users.command(
    epilog=examples("framehook users erase alice --dry-run", "framehook users erase alice --yes --json")
)
def erase(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id: `sub` of the tokens.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is, and delete nothing.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user: all exports, uploads, webhooks and files.

    Works on the database and the storage of the settings, while the service runs or not. It may be repeated. A running
    service ends the runs and deletes what they still write; stubs of exports stay for 30 days.
    """
    from service.cli.server.users import erase_user

    erase_user(user, dry_run=dry_run, yes=yes, as_json=as_json)

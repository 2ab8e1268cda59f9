"""The commands for API keys and the audit log."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from service.audit.actions import Action
from service.cli.options import AsJson, Limit, command_group, examples
from service.keys.scopes import Scope

keys = command_group("Manage API keys, in the database of the service.")


def add_access_commands(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(keys, name="keys")
    app.command(
        epilog=examples(
            "framehook audit --user alice", "framehook audit --action key.created --since 2026-01-02"
        )
    )(audit)


def parse_time(text: str) -> float:
    """Return seconds since the epoch of a date or a time in ISO 8601, in UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "give a date or a time, such as 2026-01-02 or 2026-01-02T03:04:05Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


Actions = Annotated[
    list[Action] | None,
    typer.Option(
        "--action",
        metavar="ACTION",
        help=f"Only this: {', '.join(Action)}; repeat for several.",
        show_default=False,
    ),
]
Since = Annotated[
    float | None,
    typer.Option(
        parser=parse_time, metavar="TIME", help="Only since a date or time; UTC unless it says otherwise."
    ),
]
Until = Annotated[
    float | None, typer.Option(parser=parse_time, metavar="TIME", help="Only before a date or time.")
]


@keys.command(
    epilog=examples(
        "framehook keys create alice --name backend --scope exports:write",
        "framehook keys create alice --name report --scope usage:read --days 90",
    )
)
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id: `sub` of the tokens.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What the key is for.")],
    scope: Annotated[
        list[Scope],
        typer.Option(metavar="SCOPE", help=f"What the key may do: {', '.join(Scope)}; repeat for several."),
    ],
    days: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            min=0.001,
            max=36_600,
            help="The key expires after so many days.  [default: never]",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Create an API key of a user and print it.

    The key is printed once, alone on the standard output; the database holds its hash.
    """
    from service.cli.server.keys import create_key

    create_key(user, name, scope, days, as_json=as_json)


@keys.command("list", epilog=examples("framehook keys list", "framehook keys list alice --json"))
def list_(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Only the keys of this user.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List API keys: those of all users, or of one."""
    from service.cli.server.keys import list_keys

    list_keys(user, as_json=as_json)


@keys.command(epilog=examples("framehook keys revoke key_0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"))
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Id of the key, as `framehook keys list` shows it.")
    ],
) -> None:
    """Revoke an API key.

    A running service takes it no more after a few seconds, on every replica, and its streams end.
    """
    from service.cli.server.keys import revoke_key

    revoke_key(key)


def audit(
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only what this user did.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only what was done with this API key.")
    ] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", metavar="ID", help="Only this export, batch, webhook or key.")
    ] = None,
    action: Actions = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show who did what, newest first.

    Reads the audit log in the database of the settings, while the service runs or not.
    """
    from service.cli.server.audit import print_audit_log

    print_audit_log(user, key, object_id, action or [], since, until, limit=limit, as_json=as_json)

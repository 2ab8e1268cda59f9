"""What the command line has for webhooks."""

import typer

from service.cli.options import command_group, examples
from service.cli.webhooks.deliveries import deliveries, recover, redeliver, send_test
from service.cli.webhooks.endpoints import (
    add,
    disable,
    enable,
    list_,
    portal_link,
    public_key,
    remove,
    rotate,
    show,
    update,
)
from service.cli.webhooks.listen import listen
from service.cli.webhooks.trigger import trigger
from service.cli.webhooks.verify import verify


def create_group() -> typer.Typer:
    """Create the group `webhooks`."""
    group = command_group("Manage webhooks: endpoints, secrets and deliveries.")
    _add_endpoint_commands(group)
    _add_delivery_commands(group)
    return group


def _add_endpoint_commands(group: typer.Typer) -> None:
    group.command(
        epilog=examples(
            "framehook webhooks add https://example.org/hook",
            "framehook webhooks add https://example.org/hook --event export.completed",
            "framehook webhooks add https://example.org/hook --metadata plan=pro",
            "framehook webhooks add https://hooks.slack.com/services/… --format slack",
        )
    )(add)
    group.command(
        epilog=examples(
            "framehook webhooks listen --forward http://localhost:3000/hook",
            "framehook webhooks listen --event export.completed --print",
        )
    )(listen)
    group.command("list", epilog=examples("framehook webhooks list"))(list_)
    group.command(epilog=examples("framehook webhooks show ID", "framehook webhooks show ID --statistics"))(
        show
    )
    group.command(
        epilog=examples(
            "framehook webhooks update ID --url https://example.org/other-hook",
            "framehook webhooks update ID --project-id 7",
            "framehook webhooks update ID --no-filter",
            "framehook webhooks update ID --header 'X-Api-Key: VALUE'",
        )
    )(update)
    group.command(epilog=examples("framehook webhooks disable ID"))(disable)
    group.command(epilog=examples("framehook webhooks enable ID", "framehook webhooks recover ID"))(enable)
    group.command(epilog=examples("framehook webhooks rotate ID"))(rotate)
    group.command("public-key", epilog=examples("framehook webhooks public-key ID"))(public_key)
    group.command("portal-link", epilog=examples("framehook webhooks portal-link --expires-in 600"))(
        portal_link
    )
    group.command(epilog=examples("framehook webhooks remove ID"))(remove)


def _add_delivery_commands(group: typer.Typer) -> None:
    group.command(
        epilog=examples(
            "framehook webhooks trigger export.completed --endpoint ID",
            "framehook webhooks trigger export.failed --endpoint ID --check",
            "framehook webhooks trigger export.failed --to URL --secret whsec_…",
            "framehook webhooks trigger export.completed --curl --secret whsec_…",
        )
    )(trigger)
    group.command("test", epilog=examples("framehook webhooks test ID"))(send_test)
    group.command(
        epilog=examples(
            "framehook webhooks verify request.txt --secret whsec_…",
            "framehook webhooks verify request.txt --endpoint ID --json",
        )
    )(verify)
    group.command(epilog=examples("framehook webhooks deliveries ID --state failed"))(deliveries)
    group.command(epilog=examples("framehook webhooks redeliver ID DELIVERY"))(redeliver)
    group.command(epilog=examples("framehook webhooks recover ID --hours 6"))(recover)

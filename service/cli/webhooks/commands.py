"""What the command line has for webhooks."""

import typer

from service.cli.options import command_group, examples
from service.cli.webhooks.deliveries import deliveries, recover, send_test
from service.cli.webhooks.endpoints import add, enable, list_, remove, rotate


def create_group() -> typer.Typer:
    """Create the group `webhooks`."""
    group = command_group("Manage webhooks: endpoints, secrets and deliveries.")
    group.command(
        epilog=examples(
            "framehook webhooks add https://example.org/hook",
            "framehook webhooks add https://example.org/hook --event export.completed",
        )
    )(add)
    group.command("list", epilog=examples("framehook webhooks list"))(list_)
    group.command("test", epilog=examples("framehook webhooks test ID"))(send_test)
    group.command(epilog=examples("framehook webhooks deliveries ID --state failed"))(deliveries)
    group.command(epilog=examples("framehook webhooks recover ID --hours 6"))(recover)
    group.command(epilog=examples("framehook webhooks enable ID", "framehook webhooks recover ID"))(enable)
    group.command(epilog=examples("framehook webhooks rotate ID"))(rotate)
    group.command(epilog=examples("framehook webhooks remove ID"))(remove)
    return group

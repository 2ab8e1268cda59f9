"""What the command line has for batches."""

import typer

from service.cli.batches.change import cancel, purge
from service.cli.batches.create import create
from service.cli.batches.read import list_, show, watch
from service.cli.options import command_group, examples


def create_group() -> typer.Typer:
    """Create the group `batch`."""
    group = command_group("Create and manage batches: many exports at once.")
    group.command(
        epilog=examples(
            "framehook batch create exports.json --name night --wait",
            "framehook batch create exports.jsonl --idempotency-key night-17",
            "generate-exports | framehook batch create - --json",
        )
    )(create)
    group.command(epilog=examples("framehook batch show BATCH"))(show)
    group.command("list", epilog=examples("framehook batch list --limit 100"))(list_)
    group.command(epilog=examples("framehook batch watch BATCH"))(watch)
    group.command(epilog=examples("framehook batch cancel BATCH"))(cancel)
    group.command(epilog=examples("framehook batch purge BATCH", "framehook batch purge BATCH --yes"))(purge)
    return group

"""What the command line has for exports."""

import typer

from service.cli.exports.change import cancel, edit, purge, retry
from service.cli.exports.create import export
from service.cli.exports.download import download
from service.cli.exports.estimate import estimate
from service.cli.exports.read import list_, show, watch
from service.cli.exports.sample import sample
from service.cli.exports.types import types
from service.cli.exports.usage import usage
from service.cli.options import examples


def add_commands(app: typer.Typer) -> None:
    """Add the commands on exports to the command line."""
    app.command(
        epilog=examples(
            "framehook export match.mp4 --type framing --config crop.json --watch",
            "framehook export match.mp4 --type framing --config crop.json -o out.mp4",
        )
    )(export)
    app.command(
        epilog=examples(
            "framehook estimate match.mp4 --type framing --config crop.json",
            "framehook estimate uploads/3f2b8c1e/match.mp4 --type overlay --json",
        )
    )(estimate)
    _add_commands_on_created(app)
    app.command(epilog=examples("framehook types"))(types)
    app.command(epilog=examples("framehook sample", "framehook sample match.mp4"))(sample)


def _add_commands_on_created(app: typer.Typer) -> None:
    """Add the commands on exports that exist."""
    app.command(epilog=examples("framehook show JOB", "framehook show JOB --json"))(show)
    app.command(epilog=examples("framehook watch JOB", "framehook watch JOB --output vertical.mp4"))(watch)
    app.command(
        "list",
        epilog=examples(
            "framehook list --status processing --limit 50", "framehook list --metadata order=A-1024"
        ),
    )(list_)
    app.command(
        epilog=examples(
            "framehook download JOB",
            "framehook download JOB --output vertical.mp4 --force",
            "framehook download JOB --output - | ffprobe -",
        )
    )(download)
    app.command(
        epilog=examples(
            'framehook edit JOB --name "First goal" --metadata order=A-1024',
            "framehook edit JOB --priority high",
            'framehook edit JOB --name ""',
        )
    )(edit)
    app.command(
        epilog=examples("framehook cancel JOB", "framehook cancel --status pending --project-id 7 --yes")
    )(cancel)
    app.command(epilog=examples("framehook retry JOB --watch", "framehook retry --status error"))(retry)
    app.command(epilog=examples("framehook purge JOB", "framehook purge JOB --yes"))(purge)
    app.command(epilog=examples("framehook usage", "framehook usage --from 2026-11-01 --by project"))(usage)

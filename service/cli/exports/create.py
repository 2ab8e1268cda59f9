"""The command that uploads a video and creates an export of it."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from framehook import Client, Export, FramehookError
from framehook.settings import DEFAULT_URL
from service.cli.errors import print_errors
from service.cli.exports.check import Config, Type, check_config, check_video, read_config
from service.cli.exports.estimate import describe_estimate, estimate_plan
from service.cli.exports.follow import command_line, follow, open_display, print_job
from service.cli.exports.labels import ExportId, IdempotencyKey, LabelOptions
from service.cli.exports.schedule import ScheduleOptions
from service.cli.exports.submission import Submission
from service.cli.exports.target import OutputOptions
from service.cli.exports.webhook import WebhookOptions
from service.cli.option_groups import expand_groups
from service.cli.options import AsJson, Server, Token, Watch, open_client

LARGE_BYTES = 64 * 2**20
"""From this size on, sending a video takes long enough to say first what its export will take."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="Video to export.")]


@expand_groups
def export(
    file: File,
    *,
    type_: Type,
    config: Config = "{}",
    labels: LabelOptions,
    schedule: ScheduleOptions,
    webhook: WebhookOptions,
    export_id: ExportId = None,
    idempotency_key: IdempotencyKey = None,
    watch: Watch = False,
    saving: OutputOptions,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Upload a video and create an export of it.

    What the export would fail with is found before anything is sent, as far as the headers of the video tell.
    """
    with print_errors(), open_client(server, token) as client:
        target, parameters = saving.find_target(), _read_parameters(client, file, type_, config)
        options = labels.to_options() | schedule.to_options() | webhook.to_options()
        options["export_id"] = export_id
        submission = Submission(client, file, options, idempotency_key)
        job = submission.run(type_, parameters, lambda: open_display(as_json))
        _print_secret(job, as_json)
        if watch or target:
            follow(client, job, target, as_json)
        hint = f"Watch it: {command_line('watch', client, job.job_id)}"
        print_job(job, f"Export {job.job_id} is {job.status}. {hint}", as_json)


def _read_parameters(client: Client, file: Path, type_: str, config: str) -> dict[str, Any]:
    """Return the parameters of an export that a service can take; raises FramehookError."""
    from service.cli.exports.local_plan import plan_local_export  # loads FFmpeg

    parameters = read_config(config)
    check_video(file)
    check_config(type_, parameters)
    plan = plan_local_export(file, type_, parameters)
    if plan is not None and file.stat().st_size >= LARGE_BYTES:
        with suppress(FramehookError):  # the export itself says what is wrong
            estimated = estimate_plan(client, file, type_, parameters, plan)
            typer.echo(describe_estimate(estimated), err=True)
    return parameters


def _print_secret(job: Export, as_json: bool) -> None:
    """Print the secret of the export's own endpoint, which no later answer has."""
    if job.webhook is not None and not as_json:
        typer.echo(f"Webhook secret (shown only once): {job.webhook.secret}")

"""The command that uploads a video and creates an export of it."""

from pathlib import Path
from typing import Annotated

import typer

from framehook.settings import DEFAULT_URL
from gpu.export_types.registry import BUILT_IN
from service.cli.errors import print_errors
from service.cli.exports import labels, schedule
from service.cli.exports.check import check_config, check_video, read_config, validate_output_path
from service.cli.exports.follow import command_line, follow, open_display, print_job
from service.cli.exports.submission import Submission
from service.cli.options import AsJson, Output, Server, Token, Watch, open_client
from service.jobs.queue.priorities import Priority

TYPES = f"{', '.join(BUILT_IN)}, or a type of an installed package"


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Video to export.")],
    *,
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help=f"Type of the export: {TYPES}.")],
    config: Annotated[
        str,
        typer.Option(metavar="FILE|JSON", help="Parameters of the type: a JSON file, or the JSON itself."),
    ] = "{}",
    name: labels.Name = None,
    metadata: labels.Metadata = None,
    project_id: labels.ProjectId = None,
    priority: schedule.Priority = Priority.NORMAL,
    not_before: schedule.NotBefore = None,
    start_within: schedule.StartWithin = None,
    deadline: schedule.Deadline = None,
    watch: Watch = False,
    output: Output = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Upload a video and create an export of it."""
    with print_errors(), open_client(server, token) as client:
        parameters = read_config(config)
        check_video(file)
        check_config(type_, parameters)
        target = validate_output_path(output)
        options = labels.to_labels(name, metadata, project_id)
        options |= schedule.to_schedule(priority, not_before, start_within, deadline)
        job = Submission(client, file, options).run(type_, parameters, lambda: open_display(as_json))
        if watch or target:
            follow(client, job, target, as_json)
        print_job(
            job,
            f"Export {job.job_id} is {job.status}. Watch it: {command_line('watch', client, job)}",
            as_json,
        )

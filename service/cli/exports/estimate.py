"""The command that says what an export would take, before anything is sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from framehook import Client, Estimate, FramehookError, Unreachable
from framehook.estimates import Quantiles
from framehook.settings import DEFAULT_URL
from service.cli.console import format_duration, format_size
from service.cli.errors import print_error, print_errors
from service.cli.exports.check import Config, Type, check_config, check_video, read_config
from service.cli.options import AsJson, Server, Token, open_client

if TYPE_CHECKING:
    from service.cli.exports.local_plan import LocalPlan


def estimate(
    video: Annotated[
        str,
        typer.Argument(metavar="FILE|KEY", help="Video, or the key of an uploaded one."),
    ],
    *,
    type_: Type,
    config: Config = "{}",
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say what an export would take, or why it would fail.

    A file is read on this machine and only described to the service. The exit status is 2 if its export would fail, 4
    for a key.
    """
    with print_errors(), open_client(server, token) as client:
        parameters = read_config(config)
        check_config(type_, parameters)
        estimated = _estimate(client, video, type_, parameters)
        typer.echo(msgspec.json.encode(estimated).decode() if as_json else describe_estimate(estimated))


def _estimate(client: Client, video: str, type_: str, parameters: dict[str, Any]) -> Estimate:
    from service.cli.exports.local_plan import plan_local_export  # loads FFmpeg
    from service.exports.checks import UPLOADS_PREFIX  # loads the service

    path = Path(video)
    if video.startswith(UPLOADS_PREFIX) and not path.exists():
        return client.estimate(type_, parameters | {"input_key": video})
    check_video(path)
    plan = plan_local_export(path, type_, parameters)
    if plan is None:
        raise FramehookError(f"{video} can't be estimated here; upload it, and give its key")
    try:
        return estimate_plan(client, path, type_, parameters, plan)
    except Unreachable as error:
        print_error(f"time and cost are not known: {error}")
    unknown = Quantiles()
    return Estimate(seconds=unknown, cost_usd=unknown, output=plan.output, source=plan.source)


def estimate_plan(
    client: Client, file: Path, type_: str, parameters: dict[str, Any], plan: "LocalPlan"
) -> Estimate:
    """Return the plan of a file on this machine, with the time and cost that the service expects of its export.

    The service gets a description of the file; what the file becomes is known here.
    """
    estimated = client.estimate(type_, parameters, source=plan.describe(file))
    return msgspec.structs.replace(estimated, output=plan.output, source=plan.source)


def describe_estimate(estimate: Estimate) -> str:
    """Describe the file that an export would make, and what it would take, in a line each."""
    output, seconds, cost = estimate.output, estimate.seconds, estimate.cost_usd
    parts = [
        f"{output.width}x{output.height}" if output.width else "",
        f"{output.duration:.1f} s" if output.duration else "",
        f"about {format_size(output.size)}" if output.size else "",
    ]
    lines = [f"Output: {', '.join(filter(None, parts)) or 'its type does not say'}"]
    if seconds.p50 is not None and seconds.p90 is not None:
        lines.append(
            f"Time: about {format_duration(seconds.p50)}, in nine of ten at most {format_duration(seconds.p90)}"
        )
    if cost.p50 and cost.p90:
        lines.append(f"Cost: about ${cost.p50:.4f}, in nine of ten at most ${cost.p90:.4f}")
    return "\n".join(lines)

"""Print what checks have found."""

from collections.abc import Sequence

import msgspec
import typer

from callbacks.log_format import mask_secrets
from service.cli.console import to_printable
from service.startup.findings import Finding


def print_findings(findings: Sequence[Finding], *, as_json: bool = False) -> None:
    """Print a line for each finding, or a list of them as JSON."""
    if as_json:
        typer.echo(msgspec.json.encode(findings).decode())
        return
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        message = to_printable(mask_secrets(finding.message))
        typer.echo(f"{finding.level.value:<4}  {finding.check:<{width}}  {message}")

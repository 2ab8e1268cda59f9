"""Check the configuration: `framehook serve --check-config`."""

import asyncio
from pathlib import Path

import typer

from service.cli.reports import print_findings
from service.doctor.configuration import check_configuration
from service.startup.findings import start_status


def check_config(host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Print a line for each check, and exit with the status that a start would have."""
    findings = asyncio.run(check_configuration(host=host, port=port, data_dir=data_dir))
    print_findings(findings)
    raise typer.Exit(start_status(findings))

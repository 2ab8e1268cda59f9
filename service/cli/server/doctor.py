"""Check the configuration and the running service: `framehook doctor`."""

import asyncio
import os

import typer

from framehook.settings import TOKEN_VARIABLE
from service.cli.errors import FAILED_STATUS
from service.cli.reports import print_findings
from service.cli.server.tokens import create_token
from service.doctor.examination import examine
from service.settings import Inspection, inspect_settings
from service.startup.findings import Level

USER = "framehook-doctor"
TOKEN_HOURS = 0.1


def run_doctor(*, as_json: bool) -> None:
    """Print a line for each check, and exit with 1 if one has failed."""
    inspection = inspect_settings()
    findings = asyncio.run(examine(inspection, _find_token(inspection)))
    print_findings(findings, as_json=as_json)
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(FAILED_STATUS)


def _find_token(inspection: Inspection) -> str | None:
    """Return a token with which a stream can be opened: one that is given, or one of the service's own secret."""
    if token := os.environ.get(TOKEN_VARIABLE):
        return token
    settings = inspection.settings
    if settings is None or not settings.auth_jwt_secret:
        return None
    return create_token(settings, USER, TOKEN_HOURS)

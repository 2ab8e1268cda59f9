"""Load the settings for a command, and exit with a sentence if it can't start."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer

from callbacks.log_format import JsonFormatter, mask_secrets
from service.settings import (
    BadSettings,
    Settings,
    find_unknown_settings,
    find_warnings,
    load_settings,
)
from service.settings.env_file import find_value
from service.settings.model import ENV_FILE
from service.startup.errors import StartError
from service.startup.logging_setup import configure_logging
from service.startup.statuses import INTERRUPTED_STATUS

logger = logging.getLogger("framehook")


def load_settings_or_exit(**overrides: object) -> Settings:
    """Return the settings; print a sentence for each invalid one and exit with status 78."""
    with exit_on_start_error():
        settings = read_settings(**overrides)
    print_warnings(find_unknown_settings())
    return settings


def read_settings(**overrides: object) -> Settings:
    """Read the settings; raises StartError."""
    try:
        return load_settings(**overrides)
    except BadSettings as error:
        raise StartError("\n".join([str(error), *find_unknown_settings()])) from None


def warn_of_settings(settings: Settings) -> None:
    """Warn of names that are no settings, and of settings that an operator should look at."""
    print_warnings([*find_unknown_settings(), *find_warnings(settings)])


def print_warnings(sentences: Iterable[str]) -> None:
    """Log sentences if logs are JSON; else print them to standard error."""
    for sentence in sentences:
        _print_or_log(sentence, logging.WARNING)


@contextmanager
def exit_on_start_error() -> Iterator[None]:
    """Exit with the sentence and the status of a StartError; on Ctrl-C exit without a message."""
    try:
        yield
    except StartError as error:
        if find_value("LOG_FORMAT", ENV_FILE, os.environ) == "json":
            configure_logging("json")  # the settings could not be loaded
        _print_or_log(str(error), logging.CRITICAL)
        raise typer.Exit(error.status) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED_STATUS) from None


def _print_or_log(sentence: str, level: int) -> None:
    """Log a sentence if logs are JSON; else print it to standard error."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logger.log(level, "%s", sentence)
    else:
        warning = "warning: " if level == logging.WARNING else ""
        typer.echo(f"framehook: {warning}{mask_secrets(sentence)}", err=True)

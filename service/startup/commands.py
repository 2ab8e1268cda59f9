"""How commands that read the settings begin, and how they end where they can't."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from callbacks.log_format import JsonFormatter, mask_secrets
from service.settings import BadSettings, Settings, find_misspelt_settings, load_settings
from service.startup.errors import StartError
from service.startup.logging_setup import configure_logging

INTERRUPTED_STATUS = 130

logger = logging.getLogger("framehook")


def load_settings_or_exit(**overrides: object) -> Settings:
    """The settings, or a sentence for each bad one and exit status 78."""
    with exit_on_start_error():
        settings = read_settings(**overrides)
    warn_of_misspellings()
    return settings


def read_settings(**overrides: object) -> Settings:
    """Read the settings; raises StartError."""
    try:
        return load_settings(**overrides)
    except BadSettings as error:
        raise StartError("\n".join([str(error), *_hints()])) from None


def _hints() -> list[str]:
    try:
        return find_misspelt_settings()
    except BadSettings:  # the file itself is what is wrong
        return []


def warn_of_misspellings() -> None:
    """Name what was set under a name that is nearly a setting's."""
    for sentence in find_misspelt_settings():
        _say(sentence, logging.WARNING)


@contextmanager
def exit_on_start_error() -> Iterator[None]:
    """End with the sentence and the status of a StartError; Ctrl-C ends without a word."""
    try:
        yield
    except StartError as error:
        if os.environ.get("LOG_FORMAT") == "json":
            configure_logging("json")  # what is wrong may be the settings themselves
        _say(str(error), logging.CRITICAL)
        raise typer.Exit(error.status) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED_STATUS) from None


def _say(sentence: str, level: int) -> None:
    """Say a sentence to whoever started this: in the log where that is one, else as it is."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        logger.log(level, "%s", sentence)
    else:
        warning = "warning: " if level == logging.WARNING else ""
        typer.echo(f"framehook: {warning}{mask_secrets(sentence)}", err=True)

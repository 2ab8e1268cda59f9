"""The command that prints what a shell needs to complete `framehook` commands."""

import os
from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import (  # type: ignore[attr-defined]
    completion_init,
    get_completion_script,
)

PROGRAM, VARIABLE = "framehook", "_FRAMEHOOK_COMPLETE"


completion_init()  # else Typer completes only where it has added its own options for it
if VARIABLE in os.environ:
    os.environ["COLUMNS"] = (
        "1000"  # Typer wraps help at this width, and fish takes each line for a completion
    )


class Shell(StrEnum):
    """A shell that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what completes these commands in a shell.

    Append it to ~/.bashrc or ~/.zshrc; in fish, write it to ~/.config/fish/completions/framehook.fish.
    """
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value))

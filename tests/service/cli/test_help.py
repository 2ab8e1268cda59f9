"""The help of every command explains each option and fits 80 columns."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service.cli.main import app

COLUMNS = 80


def list_commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        yield words
    for name, subcommand in subcommands.items():
        yield from list_commands(subcommand, (*words, name))


COMMANDS = sorted(list_commands(typer.main.get_command(app)))


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(COLUMNS)})
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_explains_each_option_and_shows_an_example(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    assert "Examples:\n    " in text
    assert max(map(len, text.splitlines())) <= COLUMNS
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert command.help
    assert [option.name for option in command.params if not getattr(option, "help", None)] == []


@pytest.mark.parametrize(
    "group",
    [(), ("webhooks",), ("uploads",), ("batch",), ("users",), ("keys",), ("db",), ("bucket",), ("modal",)],
    ids=" ".join,
)
def test_a_group_says_whole_sentences_about_its_commands(group: tuple[str, ...]) -> None:
    assert "..." not in help_of(*group).replace("COMMAND [ARGS]...", "")


def test_options_name_their_environment_variable_and_default() -> None:
    text = " ".join(help_of("serve").split() + help_of("watch").split())
    assert "[env var: HOST; default: 127.0.0.1]" in text
    assert "[env var: PORT; default: 8000]" in text
    assert "[env var: DATA_DIR; default: var]" in text
    assert "[env var: FRAMEHOOK_URL; default: http://127.0.0.1:8000]" in text


def test_commands_load_the_service_only_when_they_run_it() -> None:
    program = "import sys, service.cli.main; print({'sqlalchemy', 'starlette', 'av'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"

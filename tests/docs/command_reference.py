"""Write the part of the guide that describes every command: `make reference`.

It is made of the help of the commands, so that it can't say anything else.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import typer

from service.cli.errors import EXIT_STATUSES
from service.cli.main import app
from tests.docs.markdown import GUIDES

GUIDE = GUIDES / "command-line.md"
HEADING = "## Every command\n"
COMMON = {"help", "server", "token", "as_json"}


def render_reference() -> str:
    """Return the part of the guide from its heading on."""
    root: Any = typer.main.get_command(app)
    sections = [
        section for words, command in list_commands(root) for section in render_command(words, command)
    ]
    return "\n\n".join([HEADING.strip(), *render_common(root), *sections]) + "\n"


def list_commands(
    command: Any, words: tuple[str, ...] = ("framehook",)
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with its words, those of groups included."""
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from list_commands(subcommand, (*words, name))
    if not getattr(command, "commands", {}):
        yield words, command


def render_common(root: Any) -> Iterator[str]:
    """Yield what all commands have in common."""
    yield "`-h` or `--help` shows the help of a command or a group, `framehook --version` the version."
    commands = dict(list_commands(root))
    command = commands["framehook", "list"]
    options = {option.name: option for option in command.params}
    yield "Commands that ask a service take `--server` and `--token` as well, those whose output scripts read `--json`:"
    yield render_table(command, (options[name] for name in ("server", "token", "as_json")))
    rows = "\n".join(f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES.items())
    yield f"The exit status is one of these:\n\n| status | meaning |\n| --- | --- |\n{rows}"


def render_command(words: tuple[str, ...], command: Any) -> Iterator[str]:
    """Yield the paragraphs of a command."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter
        for parameter in command.params
        if parameter.name not in COMMON | {a.name for a in arguments}
    ]
    yield f"### {' '.join(words)}"
    yield command.help.strip()
    if any(option.name == "as_json" for option in command.params):
        yield "Takes `--json`."
    if arguments or options:
        yield render_table(command, [*arguments, *options])
    lines = command.epilog.replace("\b\n", "").splitlines()[1:]
    yield "```sh\n" + "\n".join(line.strip() for line in lines) + "\n```"


def render_table(command: Any, parameters: Iterable[Any]) -> str:
    """Return a table of options and arguments, with what their help says."""
    context = typer.Context(command)
    records = [parameter.get_help_record(context) for parameter in parameters]
    rows = [f"| `{_escape(name)}` | {_escape(' '.join(text.split()))} |" for name, text in records]
    return "\n".join(["| option | meaning |", "| --- | --- |", *rows])


def _escape(text: str) -> str:
    return text.replace(" <path>", "").replace(" <str>", "").replace("|", "\\|")


def main() -> None:
    """Replace the part of the guide."""
    text, _, _ = GUIDE.read_text("utf-8").partition(HEADING)
    GUIDE.write_text(text + render_reference(), "utf-8")


if __name__ == "__main__":
    main()

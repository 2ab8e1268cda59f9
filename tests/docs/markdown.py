"""Read the code blocks of a Markdown document, and the commands and outputs of its console blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "service" / "docs"
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + sorted(
    GUIDES.rglob("*.md")
)
_FENCE = re.compile(r"^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"^(?:#|//|<\?php //) ([\w.-]+\.\w+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line that it begins on."""

    language: str
    text: str
    line: int

    @property
    def file_name(self) -> str | None:
        """The name in a first line such as `# receiver.py`: the reader saves the block under it."""
        match = _FILE_NAME.match(self.text.split("\n", 1)[0])
        return match[1] if match else None


@dataclass(frozen=True)
class Command:
    """A command of a console block, and what the document says it prints ("" if nothing is said)."""

    text: str
    output: str
    line: int


def read_blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document in order."""
    text = document.read_text("utf-8")
    return [
        Block(match["language"], match["text"], text[: match.start()].count("\n") + 2)
        for match in _FENCE.finditer(text)
    ]


def read_prose(document: Path) -> str:
    """Return a document's text without its fenced blocks."""
    return _FENCE.sub("", document.read_text("utf-8"))


def split_commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block: lines after `$ `, continued after `> `, then their output."""
    command: list[str] = []
    output: list[str] = []
    start = block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            if command:
                yield Command("\n".join(command), "\n".join(output), start)
            command, output, start = [line[2:]], [], number
        elif line.startswith(("> ", ">")) and not output and command:
            command.append(line[2:])
        else:
            output.append(line)
    if command:
        yield Command("\n".join(command), "\n".join(output), start)


def pattern_of(output: str) -> re.Pattern[str]:
    """Return a pattern for an output in which `…` matches anything, line breaks included."""
    return re.compile(".*?".join(re.escape(part) for part in output.strip().split("…")), re.DOTALL)

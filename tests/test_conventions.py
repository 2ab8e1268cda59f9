"""The rules of CONTRIBUTING for names, prose and sizes, as far as a program can check them."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOT_ENTRIES = {
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "callbacks",
    "gpu",
    "infra",
    "pyproject.toml",
    "requirements.lock",
    "service",
    "tests",
}
MAX_FILE_LINES, MAX_TEST_FILE_LINES, MAX_FUNCTION_LINES, MAX_MODULES = 250, 400, 40, 20
VAGUE_NAMES = {"one", "found", "asked", "told", "made"}
ODD_WORDS = {
    "whoever",
    "whatever",
    "whom",
    "anew",
    "amid",
    "meanwhile",
    "nobody",
    "somebody",
    "anybody",
    "lie",
    "lies",
    "hears",
    "heard",
    "tells",
    "told",
    "befall",
    "hence",
    "therein",
    "aught",
    "besides",
    "strung",
    "stands",
    "hardly",
}
IRREGULAR_PARTICIPLES = {
    "begun",
    "borne",
    "bound",
    "brought",
    "built",
    "caught",
    "chosen",
    "done",
    "drawn",
    "found",
    "given",
    "gone",
    "heard",
    "held",
    "kept",
    "known",
    "laid",
    "left",
    "lost",
    "made",
    "met",
    "paid",
    "said",
    "seen",
    "sent",
    "shown",
    "sought",
    "spoken",
    "strung",
    "taken",
    "thrown",
    "told",
    "torn",
    "written",
}
VERBS_IN_ED = {"embed", "exceed", "feed", "need", "proceed", "seed", "speed"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def read_sources() -> dict[str, str]:
    """Return the text of every Python file of the project by its path; migrations never change and are left out."""
    folders = ("callbacks", "gpu", "infra", "service", "tests")
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    names = [path.relative_to(ROOT).as_posix() for path in paths if "migrations" not in path.parts]
    return {name: (ROOT / name).read_text("utf-8") for name in names}


@cache
def parse_sources() -> dict[str, ast.Module]:
    """Return the syntax tree of each of these files."""
    return {name: ast.parse(text) for name, text in read_sources().items()}


def walk_sources() -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of every file, with the file's path."""
    for name, tree in parse_sources().items():
        for node in ast.walk(tree):
            yield name, node


def is_named_for_a_value(function: Function) -> bool:
    """Tell whether a function is named for a value, or by others' rules, and so needs no verb."""
    decorators = " ".join(ast.unparse(decorator) for decorator in function.decorator_list)
    return bool(re.search(r"property|setter|fixture", decorators)) or function.name.startswith(
        ("__", "test_")
    )


def is_participle(name: str) -> bool:
    word = name.strip("_").split("_")[0]
    regular = word.endswith("ed") and len(word) > 4 and word not in VERBS_IN_ED
    return regular or word in IRREGULAR_PARTICIPLES


def read_prose(text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a file with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def test_functions_are_named_by_a_verb_and_never_by_a_participle() -> None:
    hits = [
        f"{name}:{node.lineno} {node.name}"
        for name, node in walk_sources()
        if isinstance(node, Function) and not is_named_for_a_value(node) and is_participle(node.name)
    ]
    assert hits == []


def test_variables_name_what_they_hold() -> None:
    hits = []
    for name, node in walk_sources():
        if isinstance(node, ast.arg):
            variable = node.arg
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            variable = node.id
        else:
            continue
        if variable in VAGUE_NAMES:
            hits.append(f"{name}:{node.lineno} {variable}")
    assert hits == []


def test_prose_uses_plain_words() -> None:
    hits = [
        f"{name}:{line} {word}"
        for name, text in read_sources().items()
        for line, prose in read_prose(text, parse_sources()[name])
        for word in re.findall(r"[a-z']+", prose.lower())
        if word in ODD_WORDS
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("is_test", "limit"), [(False, MAX_FILE_LINES), (True, MAX_TEST_FILE_LINES)], ids=["package", "tests"]
)
def test_files_hold_one_idea(is_test: bool, limit: int) -> None:
    sizes = {
        name: text.count("\n")
        for name, text in read_sources().items()
        if name.startswith("tests/") == is_test
    }
    assert {name: size for name, size in sizes.items() if size > limit} == {}


def test_functions_are_one_step() -> None:
    hits = [
        f"{name}:{node.lineno} {node.name}"
        for name, node in walk_sources()
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert hits == []


def test_folders_are_small_enough_to_be_read_at_a_glance() -> None:
    modules = Counter(str(Path(name).parent) for name in read_sources() if not name.endswith("__init__.py"))
    assert {folder: count for folder, count in modules.items() if count > MAX_MODULES} == {}


def test_the_root_holds_only_what_belongs_there() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    entries = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    kept = {name for name in entries if not any(fnmatch(name, pattern) for pattern in ignored)}
    assert kept == ROOT_ENTRIES

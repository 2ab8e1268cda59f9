"""Every console block of README and the guides works as written, in the order in which a reader meets it."""

from pathlib import Path

import pytest

from tests.docs.console_session import ConsoleSession
from tests.docs.markdown import DOCUMENTS, ROOT, pattern_of, read_blocks

WITH_COMMANDS = [
    document for document in DOCUMENTS if any(block.language == "console" for block in read_blocks(document))
]


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda document: str(document.relative_to(ROOT)))
def test_the_console_blocks_of_a_document_work_as_written(document: Path, tmp_path: Path) -> None:
    with ConsoleSession(tmp_path) as session:
        for block in read_blocks(document):
            session.run_block(block)


def test_an_ellipsis_matches_anything_and_nothing_else_does() -> None:
    pattern = pattern_of('{"id": "…", "size": 4}\n…\ndone')
    assert pattern.fullmatch('{"id": "a b", "size": 4}\nany\nnumber\ndone')
    assert not pattern.fullmatch('{"id": "a b", "size": 5}\nany\ndone')

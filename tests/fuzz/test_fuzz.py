"""The service answers generated requests as its OpenAPI document says."""

import subprocess
import sys

from tests.fuzz.__main__ import ROOT

SECONDS = 70
"""`make fuzz` takes longer, and another seed each time."""


def test_generated_requests_get_no_answer_that_the_document_does_not_say() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--seconds",
        str(SECONDS),
        "--examples",
        "10",
        "--seed",
        "1",
    ]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout

"""The failure that is reported for an error, and the error that is made of it again."""

import pytest

from callbacks.envelope import Failure
from gpu.errors import (
    DISK_FULL,
    INTERNAL,
    OUT_OF_MEMORY,
    OUT_OF_TIME,
    ExportError,
    failure_dict,
    failure_from,
)


@pytest.mark.parametrize(
    "failure", [DISK_FULL, INTERNAL, OUT_OF_MEMORY, OUT_OF_TIME], ids=lambda failure: failure.code
)
def test_an_error_survives_the_way_from_a_worker_process(failure: Failure) -> None:
    assert failure == failure_from(ExportError(**failure_dict(failure)))

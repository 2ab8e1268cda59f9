"""Read remote objects up to a limit of bytes."""

from dataclasses import dataclass

from gpu.errors import ExportError
from gpu.transfer.range_reader import RangeSource, RangesUnsupported


@dataclass
class ByteBudget:
    """How many bytes may still be read, of one object or of several together."""

    bytes_left: int


class LimitedSource(RangeSource):
    """A RangeSource that raises too_much_to_read once its budget is spent."""

    def __init__(self, url: str, *, budget: ByteBudget, deadline_seconds: float) -> None:
        super().__init__(url, deadline_seconds=deadline_seconds)
        self._budget = budget

    def read_at(self, offset: int, length: int) -> bytes:
        if self._budget.bytes_left <= 0:
            raise ExportError(
                "too_much_to_read", "The file can't be described: too much of it would have to be read."
            )
        content = super().read_at(offset, length)
        self._budget.bytes_left -= len(content)
        return content


def open_limited(url: str, *, budget: ByteBudget, deadline_seconds: float) -> LimitedSource:
    """Open and probe an object.

    Raises ExportError, also if the server does not support ranges.
    """
    source = LimitedSource(url, budget=budget, deadline_seconds=deadline_seconds)
    try:
        source.probe()
    except RangesUnsupported:
        message = "The file can't be described: its storage does not support range requests."
        raise ExportError("source_unavailable", message) from None
    return source

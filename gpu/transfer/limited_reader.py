"""An object elsewhere of which only so much is read."""

from gpu.errors import ExportError
from gpu.transfer.range_reader import NoRanges, RemoteSource


class BoundedSource(RemoteSource):
    """As RemoteSource, but reading more than `max_bytes` in all raises ExportError: too_much_to_read."""

    def __init__(self, url: str, *, max_bytes: int, deadline_seconds: float) -> None:
        super().__init__(url, deadline_seconds=deadline_seconds)
        self._bytes_left = max_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        if self._bytes_left <= 0:
            raise ExportError(
                "too_much_to_read", "Too much of the file would have to be read to tell what is in it."
            )
        content = super().read_at(offset, length)
        self._bytes_left -= len(content)
        return content


def open_bounded(url: str, *, max_bytes: int, deadline_seconds: float) -> BoundedSource:
    """Look at an object. Raises ExportError, also where the server knows no ranges."""
    source = BoundedSource(url, max_bytes=max_bytes, deadline_seconds=deadline_seconds)
    try:
        source.look()
    except NoRanges:
        message = "The storage does not serve parts of files, so what is in them can't be told."
        raise ExportError("source_unavailable", message) from None
    return source

"""How browsers treat an object that they download: its name, its type, and whether they show or save it."""

from dataclasses import dataclass
from typing import Literal

from infra.storage.content_disposition import format_content_disposition

Disposition = Literal["inline", "attachment"]

_PICTURES = frozenset(
    {"image/apng", "image/avif", "image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp"}
)


@dataclass(frozen=True)
class Presentation:
    """The name and content type of a download, and whether browsers should show or save it."""

    filename: str
    content_type: str
    disposition: Disposition = "attachment"

    @property
    def is_inline(self) -> bool:
        """Tell whether browsers show the object.

        Only media is shown: a document such as HTML or SVG could run scripts in the origin that serves it.
        """
        return self.disposition == "inline" and is_scriptless(self.content_type)

    @property
    def content_disposition(self) -> str:
        """Return the value of the header Content-Disposition."""
        return format_content_disposition("inline" if self.is_inline else "attachment", self.filename)


def is_scriptless(content_type: str) -> bool:
    """Tell whether a content type is video, audio or a picture that cannot hold a script."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith(("video/", "audio/")):
        return "xml" not in media_type
    return media_type in _PICTURES

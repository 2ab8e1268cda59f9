"""Write the tables of settings to their guide: `make reference`.

They are made of the model that reads the settings, so that they can't say anything else.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from service.settings import SECTIONS
from service.settings.types import Default, SettingsGroup
from tests.docs.markdown import GUIDES

GUIDE = GUIDES / "configuration.md"
HEADER = "| setting | default | values | meaning |\n| --- | --- | --- | --- |\n"


def render_table(section: type[SettingsGroup]) -> str:
    """Return the table of a group of settings."""
    return HEADER + "".join(render_row(name, field) for name, field in section.model_fields.items())


def render_row(name: str, field: FieldInfo) -> str:
    """Return the row of a setting."""
    meaning = " ".join((field.description or "").split())
    return f"| `{name.upper()}` | {render_default(field)} | {render_values(field)} | {meaning} |\n"


def render_default(field: FieldInfo) -> str:
    """Return the default, or the words for one that differs from machine to machine."""
    for mark in field.metadata:
        if isinstance(mark, Default):
            return mark.text
    value = field.get_default()
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, int | float) else f"`{value}`"


def render_values(field: FieldInfo) -> str:
    """Return which values there are, where the type or its bounds say so."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if field.annotation is bool:
        choices = ("true", "false")
    return ", ".join(f"`{choice}`" for choice in choices) or " ".join(list_bounds(field))


def list_bounds(field: FieldInfo) -> Iterator[str]:
    """Yield the words for the bounds of a number."""
    nested = [mark for part in get_args(field.annotation) for mark in getattr(part, "__metadata__", ())]
    marks = [*field.metadata, *(inner for mark in nested for inner in getattr(mark, "metadata", [mark]))]
    lower = next((mark for mark in marks if isinstance(mark, Ge | Gt)), None)
    upper = next((mark.le for mark in marks if isinstance(mark, Le)), None)
    if isinstance(lower, Ge):
        yield f"{lower.ge} to {upper}" if upper is not None else f"at least {lower.ge}"
    elif lower is not None:
        yield f"more than {lower.gt}" + (f", at most {upper}" if upper is not None else "")


def render_guide(path: Path = GUIDE) -> str:
    """Return the guide with the tables below the headings of their groups."""
    text = path.read_text("utf-8")
    for section in SECTIONS:
        before, heading, rest = text.partition(f"## {section.heading}\n\n")
        _, _, after = rest.partition("|\n\n")
        text = before + heading + render_table(section) + "\n" + after
    return text


if __name__ == "__main__":
    GUIDE.write_text(render_guide(), "utf-8")

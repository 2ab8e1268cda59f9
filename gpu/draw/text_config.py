"""Configuration of texts that are drawn on frames."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gpu.config import Color, Length, Opacity, Pixels, Seconds, StrictModel, check_end_after_start


def _hyphenate(name: object) -> object:
    return name.replace("_", "-").replace(" ", "-") if isinstance(name, str) else name


Anchor = Annotated[
    Literal[
        "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
    ],
    BeforeValidator(_hyphenate),
]
"""The point of a text that is placed at its `x`, `y`."""


class TextOutline(StrictModel):
    """A line around the letters, `width` pixels wide."""

    width: Annotated[float, Field(ge=0, le=100)]
    color: Color = "#000000"


class TextBox(StrictModel):
    """A rectangle behind a text, `padding` pixels larger on every side."""

    color: Color = "#000000"
    opacity: Opacity = 0.6
    padding: Annotated[float, Field(ge=0, le=1_000)] = 8.0


class TextLayer(StrictModel):
    """A text from `start_time` to `end_time`; `size` in pixels, `x` and `y` those of its `anchor`.

    The text is broken into lines `max_width` pixels wide, or that fit into the picture. Without an outline and a box it
    has an outline in black or white, whichever contrasts more with its color.
    """

    text: Annotated[str, Field(min_length=1, max_length=1_000)]
    start_time: Seconds
    end_time: Seconds
    x: Pixels
    y: Pixels
    size: Annotated[float, Field(ge=4, le=1_000)] = 48.0
    color: Color = "#ffffff"
    align: Literal["left", "center", "right"] | None = None
    anchor: Anchor = "top-left"
    max_width: Length | None = None
    outline: TextOutline | None = None
    box: TextBox | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        check_end_after_start(self.start_time, self.end_time)
        return self

"""Videos whose frames show their number: a white bar that moves by two pixels per frame."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.videos import BLACK, WHITE, Luma, read_lumas

WIDTH, HEIGHT, RATE = 480, 64, 25
_BAR, _STEP = 16, 2
WHOLE: list[dict[str, Any]] = [{"time": 0, "x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}]


def draw_bar(time: float) -> Luma:
    """Return the frame of a time; its number is the time in frames of the rate."""
    luma = np.full((HEIGHT, WIDTH), BLACK, np.uint8)
    left = _STEP * round(time * RATE)
    luma[:, left : left + _BAR] = WHITE
    return luma


def read_numbers(path: Path) -> list[int]:
    """Return the number of every frame."""
    return [_number(luma) for _, luma in read_lumas(path)]


def _number(luma: Luma) -> int:
    middle = luma[luma.shape[0] // 2].astype(np.float64) - BLACK
    weight = np.clip(middle - 40, 0, None)
    centre = float((weight * np.arange(len(weight))).sum() / weight.sum()) + 0.5
    return round((centre - _BAR / 2) / _STEP)

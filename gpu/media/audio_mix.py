"""Several sound tracks as one: added up, or one for each side."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def add_up(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Mix tracks of equal length, each as loud as it is, held within -1..1."""
    for blocks in _in_step(tracks):
        yield np.clip(np.sum(blocks, axis=0, dtype=np.float32), -1, 1)


def place_left_and_right(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Take the left side of the first of two tracks, and the right side of the second one."""
    for left, right in _in_step(tracks):
        yield np.stack([left[0], right[1]])


def _in_step(tracks: Sequence[Iterator[Samples]]) -> Iterator[list[Samples]]:
    """Cut the blocks of all tracks so that they are alike in length; end with the track that ends first."""
    held: list[Samples | None] = [None] * len(tracks)
    while True:
        for number, track in enumerate(tracks):
            if held[number] is None:
                held[number] = next(track, None)
        blocks = [block for block in held if block is not None]
        if len(blocks) < len(tracks):
            return
        length = min(block.shape[1] for block in blocks)
        yield [block[:, :length] for block in blocks]
        held = [block[:, length:] if block.shape[1] > length else None for block in blocks]

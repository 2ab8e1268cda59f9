"""Combine several audio tracks into one: add them up, or use one for each side."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def add_up(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Mix tracks of equal length, each at its own level, clipped to -1..1."""
    for blocks in _align_blocks(tracks):
        yield np.clip(np.sum(blocks, axis=0, dtype=np.float32), -1, 1)


def place_left_and_right(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Combine the left side of the first of two tracks with the right side of the second."""
    for left, right in _align_blocks(tracks):
        yield np.stack([left[0], right[1]])


def _align_blocks(tracks: Sequence[Iterator[Samples]]) -> Iterator[list[Samples]]:
    """Yield a block of each track, all of the same length, until the shortest track ends."""
    pending: list[Samples | None] = [None] * len(tracks)
    while True:
        for number, track in enumerate(tracks):
            if pending[number] is None:
                pending[number] = next(track, None)
        blocks = [block for block in pending if block is not None]
        if len(blocks) < len(tracks):
            return
        length = min(block.shape[1] for block in blocks)
        yield [block[:, :length] for block in blocks]
        pending = [block[:, length:] if block.shape[1] > length else None for block in blocks]

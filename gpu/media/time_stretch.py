"""Change the speed of audio without changing its pitch, in sync with the video to 10 ms.

The method is WSOLA (waveform-similarity overlap-add). FFmpeg's `atempo` was tried first: chained for a tenth of the
speed it ran 190 ms ahead and lost half a second at the end, because it neither centres its windows nor flushes them.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# At 48 kHz: windows of 43 ms that overlap by half, each moved by up to 11 ms to where it fits best.
_HALF = 1_024
_SEARCH = 512
_LEAD = 2 * (_HALF + _SEARCH)
# Above this speed in one step, windows would skip audio between them.
_FASTEST = 2.0

_WINDOW = np.hanning(2 * _HALF + 1)[:-1].astype(np.float32)


def stretch_audio(blocks: Iterator[Samples], speed: float) -> Iterator[Samples]:
    """Return the blocks, of shape (2, n), at another speed; endless silence follows the last.

    The input starts `lead_samples(speed)` samples before the audio that is wanted, and should continue as long after
    it.
    """
    for factor in split_speed(speed):
        blocks = _stretch_step(blocks, factor)
    return blocks


def lead_samples(speed: float) -> int:
    """Return how many samples before and after a span are needed to stretch it seamlessly."""
    lead, reach = 0, 1.0
    for factor in split_speed(speed):
        lead += math.ceil(_LEAD * reach)
        reach *= factor
    return lead


def split_speed(speed: float) -> list[float]:
    """Return factors whose product is the speed, none above 2."""
    octaves = max(0, math.ceil(math.log(speed, _FASTEST)) - 1)
    return [_FASTEST] * octaves + [speed / _FASTEST**octaves]


def _stretch_step(blocks: Iterator[Samples], speed: float) -> Iterator[Samples]:
    """Stretch by one factor, beginning after `_LEAD` samples of input."""
    buffer = _Buffer(blocks)
    tail = np.zeros((2, _HALF), np.float32)
    position = None
    for number in itertools.count():
        aim = _LEAD + round(number * _HALF * speed) - _HALF
        position = aim if position is None else _best_position(buffer, aim, position + _HALF)
        window = buffer.read(position, 2 * _HALF) * _WINDOW
        if number > 0:
            yield tail + window[:, :_HALF]
        tail = window[:, _HALF:]
        buffer.discard(aim - _SEARCH)


def _best_position(buffer: "_Buffer", aim: int, follows: int) -> int:
    """Return the position near `aim` where the audio is most like what would have followed.

    The similarity is normalized, so that loud audio is not preferred.
    """
    template = buffer.read(follows, _HALF).sum(axis=0)
    region = buffer.read(aim - _SEARCH, _HALF + 2 * _SEARCH).sum(axis=0)
    size = 2 * _HALF + 2 * _SEARCH
    spectrum = np.fft.rfft(region, size) * np.conj(np.fft.rfft(template, size))
    similarity = np.fft.irfft(spectrum, size)[: 2 * _SEARCH + 1]
    energy = np.cumsum(np.concatenate(([0.0], np.square(region, dtype=np.float64))))
    loudness = np.sqrt(energy[_HALF:] - energy[:-_HALF] + 1e-6)
    similarity /= loudness
    # Stay at the aim where no position is more similar (in silence, say).
    best = int(np.argmax(similarity))
    return aim if similarity[best] <= similarity[_SEARCH] + 1e-6 else aim - _SEARCH + best


class _Buffer:
    """A buffer for reading blocks at any position that is not discarded; silent past the end."""

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks = blocks
        self._buffer = np.zeros((2, 0), np.float32)
        self._first = 0

    def read(self, begin: int, length: int) -> Samples:
        """Return samples of shape (2, length)."""
        parts, available = [self._buffer], self._buffer.shape[1]
        while self._first + available < begin + length:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((2, begin + length - self._first - available), np.float32)
            parts.append(block)
            available += block.shape[1]
        if len(parts) > 1:
            self._buffer = np.concatenate(parts, axis=1)
        return self._buffer[:, begin - self._first : begin - self._first + length]

    def discard(self, before: int) -> None:
        """Discard the samples before that position."""
        drop = min(max(0, before - self._first), self._buffer.shape[1])
        self._buffer = self._buffer[:, drop:]
        self._first += drop

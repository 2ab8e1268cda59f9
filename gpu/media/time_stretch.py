"""Sound slower or faster at its own pitch, in step with the picture to a hundredth of a second.

Waveform-similarity overlap-add. FFmpeg's `atempo` was tried first: chained for a tenth of the speed it ran 190 ms
ahead and lost half a second at the end, for it neither centres its windows nor empties them.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# At 48 kHz: windows of 43 ms, laid at every half of one, each moved by up to 11 ms to where it fits best.
_HALF = 1_024
_SEARCH = 512
_LEAD = 2 * (_HALF + _SEARCH)
# Faster than this in one step, and windows would leave out sound between them.
_FASTEST = 2.0

_WINDOW = np.hanning(2 * _HALF + 1)[:-1].astype(np.float32)


def stretch_audio(blocks: Iterator[Samples], speed: float) -> Iterator[Samples]:
    """Blocks of shape (2, n) at another speed, silent without end after the last.

    What comes in begins `context(speed)` samples before what is to be heard, and ought to go on as long after it.
    """
    for factor in split_speed(speed):
        blocks = _stretch_step(blocks, factor)
    return blocks


def lead_samples(speed: float) -> int:
    """How many samples of sound around a stretch are needed to play it at this speed without seams."""
    lead, reach = 0, 1.0
    for factor in split_speed(speed):
        lead += math.ceil(_LEAD * reach)
        reach *= factor
    return lead


def split_speed(speed: float) -> list[float]:
    """Factors whose product is the speed, none above an octave."""
    octaves = max(0, math.ceil(math.log(speed, _FASTEST)) - 1)
    return [_FASTEST] * octaves + [speed / _FASTEST**octaves]


def _stretch_step(blocks: Iterator[Samples], speed: float) -> Iterator[Samples]:
    """One step; its first sample out is the one `_LEAD` samples in."""
    tape = _Tape(blocks)
    tail = np.zeros((2, _HALF), np.float32)
    begun = None
    for number in itertools.count():
        aim = _LEAD + round(number * _HALF * speed) - _HALF
        begun = aim if begun is None else _best(tape, aim, begun + _HALF)
        window = tape.read(begun, 2 * _HALF) * _WINDOW
        if number > 0:
            yield tail + window[:, :_HALF]
        tail = window[:, _HALF:]
        tape.forget(aim - _SEARCH)


def _best(tape: "_Tape", aim: int, follows: int) -> int:
    """Where near `aim` the sound is most like what would have followed; loudness alone wins nothing."""
    template = tape.read(follows, _HALF).sum(axis=0)
    field = tape.read(aim - _SEARCH, _HALF + 2 * _SEARCH).sum(axis=0)
    size = 2 * _HALF + 2 * _SEARCH
    spectrum = np.fft.rfft(field, size) * np.conj(np.fft.rfft(template, size))
    likeness = np.fft.irfft(spectrum, size)[: 2 * _SEARCH + 1]
    energy = np.cumsum(np.concatenate(([0.0], np.square(field, dtype=np.float64))))
    loudness = np.sqrt(energy[_HALF:] - energy[:-_HALF] + 1e-6)
    likeness /= loudness
    # Where nothing is more alike than the aim itself (silence, say), stay there.
    found = int(np.argmax(likeness))
    return aim if likeness[found] <= likeness[_SEARCH] + 1e-6 else aim - _SEARCH + found


class _Tape:
    """Blocks as one stretch of sound that can be read anywhere not yet forgotten; silent past its end."""

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks = blocks
        self._held = np.zeros((2, 0), np.float32)
        self._first = 0

    def read(self, begin: int, length: int) -> Samples:
        """Samples of shape (2, length)."""
        gathered, have = [self._held], self._held.shape[1]
        while self._first + have < begin + length:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((2, begin + length - self._first - have), np.float32)
            gathered.append(block)
            have += block.shape[1]
        if len(gathered) > 1:
            self._held = np.concatenate(gathered, axis=1)
        return self._held[:, begin - self._first : begin - self._first + length]

    def forget(self, before: int) -> None:
        """Let go of what lies before that sample."""
        drop = min(max(0, before - self._first), self._held.shape[1])
        self._held = self._held[:, drop:]
        self._first += drop

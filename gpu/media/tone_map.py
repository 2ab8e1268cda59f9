"""HDR to SDR: light above paper white is rolled off, so that what is brighter stays distinct, and hues stay.

A table from PQ or HLG signals (red, green, blue) to BT.709's, as text in the .cube format that FFmpeg's lut3d reads.
Up to the knee light is kept as it is, 203 nits being white (ITU-R BT.2408); above it follows the Mobius curve, which
reaches white at the peak. The curve goes by the strongest of the three colours, and all are scaled alike.
"""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""FFmpeg's numbers of SMPTE ST 2084 and ARIB STD-B67."""

Light = NDArray[np.float64]

_NODES = 33
_PAPER_NITS = 203.0
_PEAK_NITS = {PQ: 10_000.0, HLG: 1_000.0}
_KNEE = 0.4
_DISPLAY_GAMMA = 2.4
_HLG_SYSTEM_GAMMA = 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_LUMA_709 = np.array([0.2126, 0.7152, 0.0722])
# From primaries, by FFmpeg's numbers, to those of BT.709; all of white point D65.
_TO_709 = {
    1: np.eye(3),
    9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    12: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
}  # fmt: skip
_USUAL_PRIMARIES = 9


@cache
def write_table(transfer: int, primaries: int) -> bytes:
    """Write the table of a transfer function (PQ or HLG) and primaries; unknown ones count as BT.2020's."""
    levels = np.linspace(0, 1, _NODES)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    signal = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    light = _from_pq(signal) if transfer == PQ else _from_hlg(signal)
    matrix = _TO_709.get(primaries, _TO_709[_USUAL_PRIMARIES])
    matrix = matrix / matrix.sum(axis=1, keepdims=True)  # what is grey stays so, to the last digit
    shown = _roll_off(_into_gamut(light @ matrix.T), _PEAK_NITS[transfer] / _PAPER_NITS)
    text = io.StringIO()
    text.write(f"LUT_3D_SIZE {_NODES}\n")
    np.savetxt(text, shown ** (1 / _DISPLAY_GAMMA), fmt="%.5f")
    return text.getvalue().encode()


def _from_pq(signal: Light) -> Light:
    """Light of a PQ signal, 1 being paper white."""
    root = signal ** (32 / 2_523)
    power = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return _PEAK_NITS[PQ] / _PAPER_NITS * power ** (16_384 / 2_610)


def _from_hlg(signal: Light) -> Light:
    """Light of an HLG signal on a display of 1,000 nits (ITU-R BT.2100), 1 being paper white."""
    a, b, c, middle = 0.17883277, 0.28466892, 0.55991073, 0.5
    scene = np.where(signal <= middle, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = np.maximum(scene @ _LUMA_2020, 1e-9)[:, np.newaxis]
    light: Light = _PEAK_NITS[HLG] / _PAPER_NITS * scene * luma ** (_HLG_SYSTEM_GAMMA - 1)
    return light


def _into_gamut(light: Light) -> Light:
    """Colours that BT.709 does not have, made paler until it does: the hue and how bright they are stay."""
    luma = np.maximum(light @ _LUMA_709, 0)[:, np.newaxis]
    lowest = light.min(axis=1, keepdims=True)
    paler = luma + (light - luma) * luma / np.maximum(luma - lowest, 1e-12)
    return np.maximum(np.where(lowest < 0, paler, light), 0)


def _roll_off(light: Light, peak: float) -> Light:
    """Light up to the peak as light up to 1."""
    strongest = np.maximum(light.max(axis=1, keepdims=True), 1e-9)
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a)
    rolled = np.where(strongest <= _KNEE, strongest, scale * (strongest + a) / (strongest + b))
    shown: Light = np.minimum(light * np.minimum(rolled, 1) / strongest, 1)
    return shown

"""Map HDR to SDR: highlights are compressed, but stay distinct and keep their hue.

The result is a lookup table from PQ or HLG signals (red, green, blue) to BT.709's, in the .cube text format that
FFmpeg's lut3d reads. Up to the knee, light is unchanged; 203 nits is white (ITU-R BT.2408). Above the knee the Mobius
curve reaches white at the peak. It is applied to the largest of the three components, and all are scaled equally.
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
_DEFAULT_PRIMARIES = 9


@cache
def tone_map_table(transfer: int, primaries: int) -> bytes:
    """Return the table of a transfer function (PQ or HLG) and primaries.

    Unknown primaries count as BT.2020's.
    """
    levels = np.linspace(0, 1, _NODES)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    signal = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    light = _light_from_pq(signal) if transfer == PQ else _light_from_hlg(signal)
    matrix = _TO_709.get(primaries, _TO_709[_DEFAULT_PRIMARIES])
    matrix = matrix / matrix.sum(axis=1, keepdims=True)  # keeps grey exactly grey
    sdr = _roll_off(_fit_gamut(light @ matrix.T), _PEAK_NITS[transfer] / _PAPER_NITS)
    text = io.StringIO()
    text.write(f"LUT_3D_SIZE {_NODES}\n")
    np.savetxt(text, sdr ** (1 / _DISPLAY_GAMMA), fmt="%.5f")
    return text.getvalue().encode()


def _light_from_pq(signal: Light) -> Light:
    """Return the light of a PQ signal, where 1 is paper white."""
    root = signal ** (32 / 2_523)
    power = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return _PEAK_NITS[PQ] / _PAPER_NITS * power ** (16_384 / 2_610)


def _light_from_hlg(signal: Light) -> Light:
    """Return the light of an HLG signal on a 1,000 nit display (ITU-R BT.2100), as above."""
    a, b, c, middle = 0.17883277, 0.28466892, 0.55991073, 0.5
    scene = np.where(signal <= middle, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = np.maximum(scene @ _LUMA_2020, 1e-9)[:, np.newaxis]
    light: Light = _PEAK_NITS[HLG] / _PAPER_NITS * scene * luma ** (_HLG_SYSTEM_GAMMA - 1)
    return light


def _fit_gamut(light: Light) -> Light:
    """Desaturate colours outside BT.709 until they fit; hue and luminance stay."""
    luma = np.maximum(light @ _LUMA_709, 0)[:, np.newaxis]
    lowest = light.min(axis=1, keepdims=True)
    paler = luma + (light - luma) * luma / np.maximum(luma - lowest, 1e-12)
    return np.maximum(np.where(lowest < 0, paler, light), 0)


def _roll_off(light: Light, peak: float) -> Light:
    """Compress light up to the peak to light up to 1."""
    largest = np.maximum(light.max(axis=1, keepdims=True), 1e-9)
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a)
    target = np.where(largest <= _KNEE, largest, scale * (largest + a) / (largest + b))
    compressed: Light = np.minimum(light * np.minimum(target, 1) / largest, 1)
    return compressed

"""Write HDR videos of uniform patches by the standards' formulas, and read them back."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

PAPER_NITS = 203.0
PATCH = 32
Light = tuple[float, float, float]
Rgb = NDArray[np.int64]
_TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
_LUMA = np.array([0.2627, 0.6780, 0.0593])
TAGS = {"pq": 16, "hlg": 18}


def _pq_signal(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the PQ signal (SMPTE ST 2084)."""
    power = (np.clip(nits, 0, 10_000) / 10_000) ** (2_610 / 16_384)
    signal: NDArray[np.float64] = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2_523 / 32)
    return signal


def _hlg_signal(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the HLG signal (ITU-R BT.2100).

    The display's light is converted to the scene's (system gamma 1.2 at 1,000 nits), then by the OETF.
    """
    display = nits / 1_000
    scene = display * float(_LUMA @ display) ** (1 / 1.2 - 1)
    low, high = (
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )
    signal: NDArray[np.float64] = np.where(scene <= 1 / 12, low, high)
    return signal


def write_patches(path: Path, curve: str, pixels: str, patches: list[Light]) -> Path:
    """Write ten lossless frames of patches side by side.

    Their light is in BT.709 primaries, where 1 is paper white.
    """
    samples = [_sample(curve, light) for light in patches]
    scale = 1 if pixels == "yuv420p" else 4
    dtype = np.uint8 if scale == 1 else np.uint16
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = PATCH * len(patches), PATCH, pixels
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
            9,
            TAGS[curve],
            9,
            1,
        )
        frame = av.VideoFrame(stream.width, PATCH, pixels)
        for plane, part, step in zip(frame.planes, range(3), (1, 2, 2), strict=True):
            row = np.repeat([round(sample[part] * scale) for sample in samples], PATCH // step)
            samples_array = np.zeros((plane.height, plane.line_size // np.dtype(dtype).itemsize), dtype)
            samples_array[:, : row.size] = row
            plane.update(samples_array.tobytes())
        for number in range(10):
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _sample(curve: str, light: Light) -> tuple[float, float, float]:
    """Return Y, Cb and Cr on the 8-bit scale of limited range, not rounded."""
    nits = _TO_2020 @ np.array(light) * PAPER_NITS
    signal = _pq_signal(nits) if curve == "pq" else _hlg_signal(np.maximum(nits, 1e-6))
    luma = float(_LUMA @ signal)
    blue, red = (signal[2] - luma) / 1.8814, (signal[0] - luma) / 1.4746
    return 16 + 219 * luma, 128 + 224 * float(blue), 128 + 224 * float(red)


def read_patches(path: Path, patches: int) -> list[Rgb]:
    """Return the colours of the patches in the sixth frame."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[5]
        pixels = frame.to_ndarray(format="rgb24", src_colorspace=1, dst_colorspace=1).astype(np.int64)
    width = pixels.shape[1] // patches
    return [pixels[pixels.shape[0] // 2, width // 2 + width * number].copy() for number in range(patches)]


def hue(color: Rgb) -> float:
    """Return the hue in degrees (HSV)."""
    red, green, blue = (float(part) for part in color)
    return float(np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360)

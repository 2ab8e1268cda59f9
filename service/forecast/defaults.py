"""What runs usually take before any has been learned: the CPU time that `make bench ARGS=rates` has measured.

These are the medians of 2026-11-30, on two cores of an AMD EPYC. A machine of another speed, or with more cores, is
learned within a few runs, so what matters here are the ratios between kinds. Runs on GPUs could not be measured: they
begin with the same figures, and with the same wide spread.
"""

from service.forecast.work import COPY, FILE, Work

START_SECONDS = 0.77
"""What every run takes."""
_READ_MS = {"h264": 3.33, "hevc": 2.48, "av1": 2.05, "vp9": 4.26, "mpeg4": 1.78}
"""Milliseconds for a million pixels read, by the codec of the source."""
_ENCODE_MS = {
    ("h264", "draft"): 6.77,
    ("h264", "standard"): 22.6,
    ("h264", "high"): 49.8,
    ("hevc", "draft"): 15.7,
    ("hevc", "standard"): 41.6,
    ("hevc", "high"): 51.9,
    ("av1", "draft"): 12.3,
    ("av1", "standard"): 20.2,
    ("av1", "high"): 38.9,
}
"""Milliseconds for a million pixels written, by codec and quality."""
_DRAW_MS = {"overlay": 0.81, "annotate": 0.14}
"""Milliseconds for a million pixels written, beyond those of a framing, by type."""


def usual_seconds(work: Work) -> float:
    """Return the seconds that a run takes by these figures."""
    reading = _READ_MS.get(work.source_codec, max(_READ_MS.values()))
    encoding = _ENCODE_MS.get((work.codec, work.quality), 0.0) if work.codec not in (COPY, FILE) else 0.0
    writing = max(encoding + _DRAW_MS.get(work.type, 0.0), 0.0)
    return START_SECONDS + (reading * work.source_megapixels + writing * work.output_megapixels) / 1_000

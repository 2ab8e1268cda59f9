"""The formats: what each type of export makes of its sources.

A format is a module with one function, `plan(config, sources) -> Render`: frames in, frames out. It checks its
configuration against the probed sources (raising ExportError before anything is spent) and returns the size, clock and
length of the output, what opens its pictures, and its sound, both lazy. Its pictures, of whatever ticks it is asked
for, begin as `decode.pictures(source, cut, clock, ticks)`: frames in rising time, upright, yuv420p, bt709, with their
source time in seconds; it changes `frame` and passes the rest on (see `framing._framed`). Its sound begins as
`sound.sound(source, cut, seconds)`. Several pieces or sources are several such generators, one after another, with
`pts` counted on. A format that would change nothing plans a `Copy` instead. Then it is added to `FORMATS` below, and
that is all.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gpu import annotate, framing, overlay
from gpu.errors import ExportError
from gpu.render import Render
from gpu.source import Source
from gpu.spec import ExportConfig, ExportType
from gpu.verbatim import Copy

Plan = Callable[[Any, Mapping[str, Source]], Render | Copy]
FORMATS: Mapping[ExportType, Plan] = {
    ExportType.FRAMING: framing.plan,
    ExportType.OVERLAY: overlay.plan,
    ExportType.ANNOTATE: annotate.plan,
}


def planned(kind: ExportType, config: ExportConfig, sources: Mapping[str, Source]) -> Render | Copy:
    """What is to be made. Raises ExportError: type_unknown, and whatever the format finds wrong."""
    if kind not in FORMATS:
        raise ExportError("type_unknown", f"This version makes no exports of type {kind}.")
    return FORMATS[kind](config, sources)

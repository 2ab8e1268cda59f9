"""The formats: what each type of export makes of its sources.

A format is a module with one function, `plan(config, sources) -> Render`: frames in, frames out. It checks its
configuration against the probed sources (raising ExportError before anything is spent) and returns the size, clock and
length of the output, what opens its pictures, and its sound, both lazy. Its pictures, of whatever ticks it is asked
for, begin as `decode.pictures(source, cut, clock, ticks)`: frames in rising time, upright, yuv420p, bt709, with their
source time in seconds; it changes `frame` and passes the rest on (see `framing._framed`). Its sound begins as
`sound.sound(source, cut, seconds)`. Several pieces or sources are several such generators, one after another, with
`pts` counted on. A format that would change nothing plans a `Copy`, which holds the Render too. Then it gets its case
below, and that is all.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gpu.media.encode import Render
from gpu.media.passthrough import Copy
from gpu.sources.source import Source
from gpu.spec import ExportConfig, ExportType

Plan = Callable[[Any, Mapping[str, Source]], Render | Copy]


def plan_export(kind: ExportType, config: ExportConfig, sources: Mapping[str, Source]) -> Render | Copy:
    """What is to be made. Raises ExportError: whatever the format finds wrong."""
    grounded = {key: replace(source, background=config.background) for key, source in sources.items()}
    return _format(kind)(config, grounded)


def plan_render(kind: ExportType, config: ExportConfig, sources: Mapping[str, Source]) -> Render:
    """What is to be made, encoded in any case."""
    plan = plan_export(kind, config, sources)
    return plan.render if isinstance(plan, Copy) else plan


def _format(kind: ExportType) -> Plan:
    """Only the one that is asked for is imported: an export that draws no text has no use for what shapes it."""
    match kind:
        case ExportType.FRAMING:
            from gpu.export_types import framing

            return framing.plan
        case ExportType.OVERLAY:
            from gpu.export_types import overlay

            return overlay.plan
        case ExportType.ANNOTATE:
            from gpu.export_types import annotate

            return annotate.plan

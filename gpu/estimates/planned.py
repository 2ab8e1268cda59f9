"""Plan an export without running it, by the functions that its run calls."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpu.config import VideoConfig
from gpu.errors import ExportError
from gpu.estimates.answer import EstimatedOutput, PlannedExport
from gpu.estimates.described import build_source, describe_absent
from gpu.estimates.output_size import estimate_copy_bytes, estimate_video_bytes
from gpu.export_types.base import FileOutput
from gpu.export_types.planning import Plan, choose_audio, plan_export, read_source
from gpu.export_types.registry import find_export_type
from gpu.media.encode import Render
from gpu.media.passthrough import PassthroughSource
from gpu.sources.describe import describe
from gpu.sources.description import SourceDescription
from gpu.sources.probe_process import MAX_REMOTE_BYTES, open_request
from gpu.sources.source import Source
from gpu.spec import DescribedSource, EstimateSpec, LocalFile, RemoteObject
from gpu.transfer.limited_reader import ByteBudget

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation


def plan_estimate(spec: EstimateSpec) -> PlannedExport:
    """Return what the export will be.

    The sources' headers, streams and first frames are read. Raises the ExportError that they would end the export
    with; its `loc` is a field of the configuration.
    """
    sources = _read_sources(spec)
    plan = plan_export(find_export_type(spec.type), spec.config, sources)
    descriptions = {key: _describe(spec.sources[key], source) for key, source in sources.items()}
    first = descriptions[spec.config.input_keys[0]]
    return {
        "output": _describe_output(plan, spec, sources),
        "source": {
            "duration": first["duration"],
            "width": first["width"],
            "height": first["height"],
            "fps": first["fps"],
            "audio_tracks": first["audio_tracks"],
        },
        "sources": descriptions,
    }


def _describe(origin: LocalFile | RemoteObject | DescribedSource, source: Source) -> SourceDescription:
    return describe_absent(origin, source) if isinstance(origin, DescribedSource) else describe(source)


def _read_sources(spec: EstimateSpec) -> dict[str, Source]:
    budget, sources, locs = ByteBudget(MAX_REMOTE_BYTES), {}, spec.config.locate_inputs()
    for key in spec.config.input_keys:
        origin = spec.sources[key]
        with _locate_errors(locs.get(key, ())):
            if isinstance(origin, DescribedSource):
                sources[key] = choose_audio(build_source(origin), spec.config, listen=False)
            else:
                location: SourceLocation = open_request(origin, budget)
                sources[key] = read_source(location, spec.config, listen=False)
    return sources


@contextmanager
def _locate_errors(loc: tuple[str | int, ...]) -> Iterator[None]:
    """Give errors without a field this one."""
    try:
        yield
    except ExportError as error:
        error.loc = error.loc or loc
        raise


def _describe_output(plan: Plan, spec: EstimateSpec, sources: Mapping[str, Source]) -> EstimatedOutput:
    if isinstance(plan, FileOutput):
        return {
            "width": plan.width or None,
            "height": plan.height or None,
            "duration": plan.duration or None,
            "size": plan.size,
        }
    render = plan.render if isinstance(plan, PassthroughSource) else plan
    return {
        "width": render.width,
        "height": render.height,
        "duration": round(render.seconds, 6),
        "size": _estimate_bytes(plan, spec, sources),
    }


def _estimate_bytes(
    plan: Render | PassthroughSource, spec: EstimateSpec, sources: Mapping[str, Source]
) -> int | None:
    if isinstance(plan, PassthroughSource):
        return estimate_copy_bytes(plan)
    if not isinstance(spec.config, VideoConfig):
        return None
    return estimate_video_bytes(plan, spec.config.codec, spec.config.quality, sources.values())

"""Plan an export: its configuration against its probed sources."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gpu.config import ExportConfig, VideoConfig
from gpu.export_types.base import ExportType, FileOutput
from gpu.media.audio_selection import select_audio
from gpu.media.encode import Render
from gpu.media.passthrough import PassthroughSource
from gpu.sources.source import Source, probe

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

Plan = Render | PassthroughSource | FileOutput


def read_source(location: "SourceLocation", config: ExportConfig, *, listen: bool = True) -> Source:
    """Probe a source of the export and select its audio.

    Without `listen` no audio is decoded: a track that is silent may be selected. Raises ExportError.
    """
    return choose_audio(probe(location), config, listen=listen)


def choose_audio(source: Source, config: ExportConfig, *, listen: bool) -> Source:
    """Return a source with the audio that the export takes; raises ExportError."""
    return select_audio(source, config, listen=listen) if isinstance(config, VideoConfig) else source


def plan_export(export_type: ExportType, config: ExportConfig, sources: Mapping[str, Source]) -> Plan:
    """Plan the export. Raises ExportError if the config does not fit its sources."""
    if isinstance(config, VideoConfig):
        sources = {key: replace(source, background=config.background) for key, source in sources.items()}
    return export_type.plan(config, sources)


def plan_render(export_type: ExportType, config: ExportConfig, sources: Mapping[str, Source]) -> Render:
    """Plan a video that is encoded, even if its source could be copied. Raises ExportError."""
    plan = plan_export(export_type, config, sources)
    if isinstance(plan, FileOutput):
        raise TypeError(f"{export_type.name} planned a file, not a video")
    return plan.render if isinstance(plan, PassthroughSource) else plan

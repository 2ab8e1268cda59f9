"""Plan an export: its configuration against its probed sources."""

from collections.abc import Mapping
from dataclasses import replace

from gpu.config import ExportConfig, VideoConfig
from gpu.export_types.base import ExportType, FileOutput
from gpu.media.encode import Render
from gpu.media.passthrough import PassthroughSource
from gpu.sources.source import Source


def plan_export(
    export_type: ExportType, config: ExportConfig, sources: Mapping[str, Source]
) -> Render | PassthroughSource | FileOutput:
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

"""Where an export is cut into chunks, and how one chunk is rendered, on this machine or on another.

A chunk is a complete video that begins with a keyframe and refers to nothing outside it; `gpu.chunks.concat` joins
chunks. A container needs no more than this module to encode one.
"""

import math
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pydantic import Field

from gpu.config import StrictModel
from gpu.errors import ExportError
from gpu.export_types.planning import plan_render
from gpu.export_types.registry import find_export_type
from gpu.media.decode import Pictures
from gpu.media.encode import Render, write_mp4
from gpu.media.encoders import Encoder
from gpu.sources.discontinuities import Scan
from gpu.sources.source import Source, probe
from gpu.spec import AttemptSpec, LocalFile, RemoteObject, Transfer
from gpu.transfer import objects

SHORTEST_SECONDS = 2.0


class ChunkSpec(StrictModel):
    """The ticks of one attempt from `first` up to `last`, with the encoder and the file to write them to.

    `workers_on_machine` is how many chunks the same machine encodes in parallel. `scans` holds what is known of breaks
    in the sources, so that a chunk need not search for them again.
    """

    spec: AttemptSpec
    first: int
    last: int
    encoder: Encoder
    path: Path
    workers_on_machine: int = 1
    scans: dict[str, Scan] = Field(default_factory=dict)

    @property
    def ticks(self) -> range:
        return range(self.first, self.last)


def cut_points(render: Render, worker_count: int, max_chunk_seconds: float = math.inf) -> list[range]:
    """Return the ticks of each chunk: `worker_count` of equal length, none much shorter than 2 seconds.

    Where chunks would be longer than `max_chunk_seconds` there are more, a multiple of `worker_count`. They are cut
    only where the encoder restarts in any case, so none is shorter than an encoder segment.
    """
    ticks, step = render.ticks, render.restart_ticks
    rounds = max(1, math.ceil(render.seconds / max_chunk_seconds / worker_count))
    count = max(1, min(worker_count * rounds, int(render.seconds / SHORTEST_SECONDS)))
    inner = {round(len(ticks) * number / count / step) * step for number in range(1, count)}
    bounds = [0, *sorted(bound for bound in inner if 0 < bound < ticks.stop), ticks.stop]
    return [range(first, last) for first, last in pairwise(bounds)]


def chunk_specs(
    spec: AttemptSpec,
    sources: Mapping[str, Source],
    encoder: Encoder,
    ticks: list[range],
    folder: Path,
    workers_per_machine: int,
) -> list[ChunkSpec]:
    """Return one spec per chunk, without the attempt's keys and callback."""
    locations = {key: _source_location(key, source, spec) for key, source in sources.items()}
    transfer = Transfer(sources=locations, output=LocalFile(path=str(folder)))
    bare = spec.model_copy(update={"callback": None, "transfer": transfer})
    shared = encoder.with_cores_for(workers_per_machine)
    return [
        ChunkSpec(
            spec=bare,
            first=chunk_ticks.start,
            last=chunk_ticks.stop,
            encoder=shared,
            path=folder / f"chunk-{number}.mp4",
            workers_on_machine=workers_per_machine,
            scans={key: source.scan for key, source in sources.items() if source.scan is not None},
        )
        for number, chunk_ticks in enumerate(ticks)
    ]


def _source_location(key: str, source: Source, spec: AttemptSpec) -> LocalFile | RemoteObject:
    """Return where a chunk reads a source: the local copy if it had to be downloaded whole."""
    return LocalFile(path=source.path) if isinstance(source.path, str) else spec.transfer.sources[key]


def render_chunk(chunk: ChunkSpec) -> Generator[int, None, None]:
    """Encode a chunk and yield the number of ticks done.

    The file is empty if no frame begins in the chunk. Raises the same errors as encoding the whole export.
    """
    spec = chunk.spec
    sources = {}
    for key in spec.config.input_keys:
        location = objects.open_source(
            key, spec.transfer.sources, chunk.path.parent, deadline_seconds=spec.deadline_seconds
        )
        sources[key] = probe(location, chunk.scans.get(key))
    render = plan_render(find_export_type(spec.type), spec.config, sources)
    if chunk.last > render.ticks.stop:
        raise ExportError("source_changed", "The source changed while it was read.", transient=True)
    part = chunk_render(render, chunk.ticks)
    for fraction in write_mp4(part, chunk.encoder, chunk.path, _layout(render), render.restart_ticks):
        yield round(fraction * len(chunk.ticks))
    chunk.path.touch()  # within a long pause of the source a chunk has no frames, and no file is written


def chunk_render(render: Render, ticks: range) -> Render:
    """Return a part of the video, with its time shifted to begin at 0."""

    def shift(within: range) -> Pictures:
        with closing(
            render.open_pictures(range(ticks.start + within.start, ticks.start + within.stop))
        ) as pictures:
            for picture in pictures:
                yield replace(picture, pts=picture.pts - ticks.start)

    seconds = float(len(ticks) * render.clock.time_base)
    return replace(
        render,
        seconds=seconds,
        open_pictures=shift,
        audio=None,
        chapters=(),
    )


def _layout(render: Render) -> dict[str, str]:
    """Return muxer options that store the delay of a chunk's first frame exactly.

    The delay is stored in the movie's time scale, which is milliseconds unless set.
    """
    return {"movie_timescale": str(render.clock.time_base.denominator)}

"""Run one export: an AttemptSpec in, progress on the way, a verified Output at the end."""

import logging
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from callbacks.envelope import Output, Phase
from gpu.chunks import plan as split
from gpu.chunks.concat import concat, write_audio
from gpu.chunks.plan import ChunkSpec
from gpu.chunks.process_worker import ProcessWorkerPool
from gpu.chunks.scheduler import ProgressSample, encode_chunks, estimate_eta
from gpu.chunks.workers import ChunkWorker, WorkerPool
from gpu.config import Codec, Quality, VideoConfig
from gpu.errors import ExportError, map_errors
from gpu.export_types.base import ExportType, FileOutput
from gpu.export_types.planning import plan_export, plan_render, read_source
from gpu.export_types.registry import find_export_type
from gpu.export_types.verify_output import verify_file, verify_video
from gpu.media import encoders
from gpu.media.encode import Render, write_mp4
from gpu.media.encoders import Encoder
from gpu.media.passthrough import PassthroughSource, copy_streams
from gpu.progress import Progress, progress_of, report, throttle
from gpu.sources.source import Source
from gpu.spec import AttemptSpec
from gpu.transfer import objects

log = logging.getLogger(__name__)

# Concatenation copies packets: next to the encoding it takes almost no time.
_CHUNKS_FRACTION = 0.98

SelectEncoder = Callable[[Codec, Quality, int, int], Encoder]
ExportSteps = Generator[Progress, None, Output]


def run(
    spec: AttemptSpec,
    scratch: Path,
    select_encoder: SelectEncoder = encoders.select_encoder,
    pool: WorkerPool | None = None,
) -> ExportSteps:
    """Run an export. Raises ExportError for every failure that can be expected.

    `scratch` is created, used and removed, also on errors; closing the generator stops the work within a frame. The
    output's path has either its earlier content or the whole, verified result. `pool` encodes the chunks of a split
    export, by default on this machine.
    """
    try:
        yield progress_of(Phase.STARTING, 0.0, "Starting")
        with map_errors("scratch_unwritable", "The machine has no room to work in.", transient=True):
            scratch.mkdir(parents=True, exist_ok=True)
        export_type = find_export_type(spec.type)
        sources = yield from open_sources(spec, scratch)
        plan = plan_export(export_type, spec.config, sources)
        path = scratch / f"output{export_type.suffix}"
        if isinstance(plan, FileOutput):
            yield from write_file(plan, export_type, path)
            return (yield from upload_output(spec, path, plan))
        video = VideoExport(spec, export_type, sources, path, select_encoder, pool or ProcessWorkerPool())
        return (yield from upload_output(spec, path, (yield from video.write(plan))))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def open_sources(spec: AttemptSpec, scratch: Path) -> Generator[Progress, None, dict[str, Source]]:
    """Open and probe every source of the export, by key."""
    keys = spec.config.input_keys
    sources = {}
    for number, key in enumerate(keys):
        yield progress_of(Phase.DOWNLOADING, number / len(keys), "Reading the source")
        location = objects.open_source(
            key, spec.transfer.sources, scratch, deadline_seconds=spec.deadline_seconds
        )
        sources[key] = read_source(location, spec.config)
    return sources


def write_file(plan: FileOutput, export_type: ExportType, path: Path) -> Generator[Progress, None, None]:
    """Let the export type write its file, and verify it. Raises ExportError: output_invalid."""
    message = ". ".join([plan.message, *plan.notes])
    yield progress_of(Phase.PROCESSING, 0.0, message)
    with map_errors("export_failed", "The export could not be written."):
        yield from report(throttle(plan.write(path)), Phase.PROCESSING, message)
    verify_file(path, export_type, plan)


def upload_output(
    spec: AttemptSpec, path: Path, written: Source | FileOutput
) -> Generator[Progress, None, Output]:
    """Upload the file and describe it."""
    size = path.stat().st_size
    upload = objects.store_output(path, spec.transfer.output, deadline_seconds=spec.deadline_seconds)
    checksum = yield from report(upload, Phase.UPLOADING, "Storing the export")
    return Output(
        size=size,
        checksum=checksum,
        duration=round(written.duration, 6),
        width=written.width,
        height=written.height,
    )


@dataclass(frozen=True)
class VideoExport:
    """The encoding of a video: in one process or in chunks, on a GPU or in software."""

    spec: AttemptSpec
    export_type: ExportType
    sources: Mapping[str, Source]
    path: Path
    select_encoder: SelectEncoder
    pool: WorkerPool

    @property
    def config(self) -> VideoConfig:
        if not isinstance(self.spec.config, VideoConfig):
            raise TypeError(f"the config of {self.export_type.name} is no VideoConfig, but it plans a video")
        return self.spec.config

    def write(self, plan: Render | PassthroughSource) -> Generator[Progress, None, Source]:
        """Write and verify the output; a source that can't be copied after all is encoded."""
        copied = 0.0
        render = plan.render if isinstance(plan, PassthroughSource) else plan
        source_notes = [note for source in self.sources.values() for note in source.notes]
        notes = " ".join(dict.fromkeys([*source_notes, *render.notes]))
        if isinstance(plan, PassthroughSource):
            message = f"Copying the source. {notes}" if notes else "Copying the source"
            yield progress_of(Phase.PROCESSING, 0.0, message)
            try:
                with closing(throttle(copy_streams(plan, self.path))) as copying:
                    for fraction in copying:
                        copied = fraction
                        yield progress_of(Phase.PROCESSING, fraction, message)
                return verify_video(self.path, plan.render)
            except ExportError as error:
                log.info("the source can't be copied and is encoded: %s", error.message)
        minimum = progress_of(Phase.PROCESSING, copied, "").progress
        with closing(self.encode_with_fallback(render)) as encoding:
            for progress in encoding:
                message = f"{progress.message}. {notes}" if notes else progress.message
                yield replace(progress, progress=max(progress.progress, minimum), message=message)
        return verify_video(self.path, render)

    def encode_with_fallback(self, render: Render) -> Generator[Progress, None, None]:
        """Encode with the selected encoder; if that is the GPU's and fails, again in software."""
        codec, quality = self.config.codec, self.config.quality
        encoder = self.select_encoder(codec, quality, render.width, render.height)
        reached = 0.0
        try:
            with closing(self.encode(encoder, render)) as encoding:
                for progress in encoding:
                    reached = progress.progress
                    yield progress
        except ExportError as error:
            if error.code != "encode_failed" or not encoder.is_hardware:
                raise
            log.warning("%s failed; encoding again in software: %s", encoder.name, error.__cause__ or error)
            new_render = plan_render(self.export_type, self.config, self.sources)
            software = encoders.software_encoder(codec, quality, f"{encoder.name} failed")
            with closing(self.encode(software, new_render)) as encoding:
                for progress in encoding:
                    yield replace(progress, progress=max(progress.progress, reached))

    def encode(self, encoder: Encoder, render: Render) -> Generator[Progress, None, None]:
        """Encode in chunks if that is configured and the video is long enough, else in this process.

        Only an export that may be split restarts its encoder, so that it is the same in any number of chunks.
        """
        if self.config.parallelism == 1:
            yield from encode_whole(render, encoder, self.path)
            return
        encoder = encoder.to_reproducible()
        count = self.pool.worker_count(self.config.parallelism)
        cuts = split.cut_points(render, count, self.pool.max_chunk_seconds(render))
        if len(cuts) == 1:
            yield from encode_whole(render, encoder, self.path, render.restart_ticks)
            return
        count = min(count, len(cuts))
        per_machine = self.pool.workers_per_machine(count)
        chunk_specs = split.chunk_specs(self.spec, self.sources, encoder, cuts, self.path.parent, per_machine)
        with self.pool.acquire(count) as workers:
            yield from encode_in_chunks(render, chunk_specs, workers, self.path)


def encode_whole(
    render: Render, encoder: Encoder, path: Path, restart_ticks: int | None = None
) -> Generator[Progress, None, None]:
    """Encode in this process; the first progress follows the first frame, which proves that the encoder works."""
    message = encoder.describe()
    with closing(write_mp4(render, encoder, path, restart_ticks=restart_ticks)) as writing:
        first = ProgressSample(time.monotonic(), next(writing, 1.0))
        yield progress_of(Phase.PROCESSING, first.done, message)
        for fraction in throttle(writing):
            latest = ProgressSample(time.monotonic(), fraction)
            if not first.done:
                first = latest  # until the encoder returns its first frame, it only fills its buffers
            yield progress_of(Phase.PROCESSING, fraction, message, estimate_eta(first, latest, 1.0))


def encode_in_chunks(
    render: Render, chunk_specs: Sequence[ChunkSpec], workers: Sequence[ChunkWorker], path: Path
) -> Generator[Progress, None, None]:
    """Encode the chunks on the workers and the audio in this process, then concatenate them."""
    encoder = chunk_specs[0].encoder
    message = encoder.describe(len(chunk_specs))
    yield progress_of(Phase.PROCESSING, 0.0, message)
    audio_path = path.with_name("sound.mp4")
    audio = None if render.audio is None else write_audio(render.audio, audio_path)
    for progress in throttle(encode_chunks(chunk_specs, workers, audio)):
        fraction = progress.fraction * _CHUNKS_FRACTION
        yield progress_of(Phase.PROCESSING, fraction, message, progress.eta_seconds)
    chunks = [(chunk.ticks, chunk.path) for chunk in chunk_specs]
    for fraction in throttle(
        concat(render, chunks, None if audio is None else audio_path, encoder.tag, path)
    ):
        whole = _CHUNKS_FRACTION + (1 - _CHUNKS_FRACTION) * fraction
        yield progress_of(Phase.PROCESSING, whole, f"Joining {len(chunk_specs)} chunks")
    for chunk_path in (audio_path, *(chunk.path for chunk in chunk_specs)):
        chunk_path.unlink(missing_ok=True)

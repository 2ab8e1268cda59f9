"""The pictures and audio of clips joined into one video.

The output has the size (made even) and the frame rate of the first clip's source; other sources are scaled to fit. A
dissolve shows both clips at the same time and so shortens the output; a fade goes through black, half of it before
the cut and half after. A transition that is too long for its clips is shortened to half of the shorter one. Audio
follows the picture; at a plain cut it dips for 5 ms, too short to notice, so that it does not click.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np

from gpu.draw.compositing import dim_frame
from gpu.draw.text import note_undrawable
from gpu.errors import ExportError
from gpu.export_types.annotate import AnnotateConfig
from gpu.export_types.labels import draw_label
from gpu.export_types.letterbox import Letterbox, even_size
from gpu.export_types.sequence import ClipSequence, SequencedClip, build_sequence
from gpu.export_types.transitions import (
    apply_envelope,
    crossfade_frames,
    equal_power_gain,
    linear_gain,
    mix_audio,
)
from gpu.media.audio import AudioBlocks, create_silence, read_audio
from gpu.media.chapters import Chapter
from gpu.media.decode import Pictures, decode_frames
from gpu.media.encode import Render
from gpu.media.encoders import AUDIO_SAMPLE_RATE
from gpu.sources.source import Source

_DIP_SAMPLES = AUDIO_SAMPLE_RATE // 200

Size = tuple[int, int]


def plan_film(config: AnnotateConfig, sources: Mapping[str, Source]) -> Render:
    """Plan the video of all clips. Raises ExportError: clip_outside_source, output_too_long."""
    sequence = build_sequence(config, sources)
    first = sequence.clips[0].source
    size = even_size(first.width, first.height)

    def open_clip(clip: SequencedClip, ticks: range) -> Pictures:
        return _clip_frames(clip, sequence, size, ticks, show_label=config.show_labels)

    has_audio = config.include_audio and any(clip.source.audio is not None for clip in sequence.clips)
    return Render(
        width=size[0],
        height=size[1],
        clock=sequence.clock,
        seconds=sequence.seconds(sequence.ticks),
        open_pictures=lambda ticks: _concat_clips(sequence, ticks, open_clip),
        audio=_mix_audio(sequence) if has_audio else None,
        chapters=tuple(_chapters(sequence)),
        notes=note_undrawable(_label_texts(config)) if config.show_labels else (),
    )


def _label_texts(config: AnnotateConfig) -> Iterator[str]:
    for clip in config.clips:
        yield from (clip.name, clip.notes, *clip.tags)


def _chapters(sequence: ClipSequence) -> Iterator[Chapter]:
    """Yield a chapter per clip, each as long as until the next clip begins."""
    ends = [clip.first_tick for clip in sequence.clips[1:]] + [sequence.ticks]
    for clip, end in zip(sequence.clips, ends, strict=True):
        yield Chapter(sequence.seconds(clip.first_tick), sequence.seconds(end), clip.title)


@contextmanager
def _with_clip_name(clip: SequencedClip) -> Iterator[None]:
    """Add the number and name of the clip to the message of an ExportError."""
    try:
        yield
    except ExportError as error:
        message = f"Clip {clip.number} ({clip.clip.name}): {error.message}"
        raise ExportError(error.code, message, transient=error.transient) from error


def _clip_frames(
    clip: SequencedClip, sequence: ClipSequence, size: Size, ticks: range, *, show_label: bool
) -> Pictures:
    """Yield a clip's frames with label and fade, on a clock that begins with the clip."""
    letterbox = Letterbox(clip.source.width, clip.source.height, *size, clip.source.background)
    label = draw_label(clip.clip, *size) if show_label else None
    decoded = decode_frames(clip.source, (sequence.source_span(clip),), sequence.clock, ticks)
    with _with_clip_name(clip), closing(decoded):
        for picture in decoded:
            frame = letterbox.fit_frame(picture.frame)
            frame = label.over(frame, _label_level(clip, picture.pts)) if label is not None else frame
            level = _fade_level(clip, picture.pts)
            yield replace(picture, frame=frame if level >= 1 else dim_frame(frame, 1 - level))


def _fade_level(clip: SequencedClip, tick: int) -> float:
    """Return the brightness of a clip at one of its ticks: 0 at a cut with a fade, 1 elsewhere."""
    rising = tick / clip.rise if clip.rise > clip.overlap_before else 1.0
    falling = (clip.ticks - tick) / clip.fall if clip.fall > clip.overlap_after else 1.0
    return min(1.0, rising, falling)


def _label_level(clip: SequencedClip, tick: int) -> float:
    """Return the opacity of a clip's label; in a dissolve one label is gone before the next one appears.

    Both together could not be read.
    """
    rising = 2 * tick / clip.overlap_before - 1 if clip.overlap_before else 1.0
    falling = 2 * (clip.ticks - tick) / clip.overlap_after - 1 if clip.overlap_after else 1.0
    return max(0.0, min(1.0, rising, falling))


def _concat_clips(
    sequence: ClipSequence, ticks: range, open_clip: Callable[[SequencedClip, range], Pictures]
) -> Pictures:
    """Yield all clips' frames on the output's clock; two clips are open while one dissolves into the other."""
    outgoing: Pictures | None = None
    incoming: Pictures | None = None
    try:
        for clip in sequence.clips:
            own = range(max(0, ticks.start - clip.first_tick), min(clip.ticks, ticks.stop - clip.first_tick))
            if not own:
                continue
            outgoing, incoming = incoming, open_clip(clip, own)
            if outgoing is not None and not clip.overlap_before:
                outgoing.close()
            if (
                own.start < clip.ticks - clip.overlap_after
            ):  # else the next clip's dissolve shows what is left
                yield from _crossfade(outgoing, incoming, clip)
            if outgoing is not None:
                outgoing.close()
    finally:
        for frames in (outgoing, incoming):
            if frames is not None:
                frames.close()


def _crossfade(outgoing: Pictures | None, incoming: Pictures, clip: SequencedClip) -> Pictures:
    """Yield a clip's frames until the next clip begins, the first ones mixed with the previous clip's last ones."""
    for picture in incoming:
        tick, frame = picture.pts, picture.frame
        if outgoing is not None and tick < clip.overlap_before:
            frame = crossfade_frames(next(outgoing).frame, frame, (tick + 0.5) / clip.overlap_before)
        elif outgoing is not None:
            outgoing.close()  # its decoder holds some dozens of megabytes
        yield replace(picture, frame=frame, pts=clip.first_tick + tick)
        if tick + picture.duration >= clip.ticks - clip.overlap_after:
            return


def _mix_audio(sequence: ClipSequence) -> AudioBlocks:
    """Yield the audio of all clips; the part that overlaps the next clip is kept back and added to it."""
    tail = create_silence(0)
    for clip in sequence.clips:
        total = sequence.samples(clip.end) - sequence.samples(clip.first_tick)
        own = total - (sequence.samples(clip.end) - sequence.samples(clip.end - clip.overlap_after))
        kept_back, position = [create_silence(0)], 0
        with _with_clip_name(clip), closing(_clip_audio(clip, sequence, total)) as blocks:
            for block in mix_audio(blocks, tail):
                body = block[:, : max(0, own - position)]
                kept_back.append(block[:, body.shape[1] :])
                position += block.shape[1]
                if body.shape[1]:
                    yield body
        tail = np.concatenate(kept_back, axis=1)


def _clip_audio(clip: SequencedClip, sequence: ClipSequence, total: int) -> AudioBlocks:
    """Yield a clip's audio, `total` samples, faded in and out as its picture is."""
    dip = min(_DIP_SAMPLES, total // 2)
    rise = max(sequence.samples(clip.rise), dip if clip.number > 1 else 0)
    fall = max(sequence.samples(clip.fall), dip if clip.number < len(sequence.clips) else 0)
    curve = equal_power_gain if clip.overlap_before or clip.overlap_after else linear_gain
    with closing(read_audio(clip.source, (sequence.source_span(clip),), total / AUDIO_SAMPLE_RATE)) as blocks:
        yield from apply_envelope(blocks, total, rise, fall, curve)

"""Annotate: cut clips out of their sources, label them, join them.

The output has the size (made even) and the rate of the first clip's source; others are scaled to fit it. A dissolve
shows both clips at once and so shortens the whole; a fade goes through black, half of it before the join and half
after. A transition that is longer than its clips allow is shortened: either clip gives at most half of itself. Sound
goes with the picture, and at a plain cut it dips for a few milliseconds, too short to hear, lest it click.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np

from gpu.draw.compositing import dimmed
from gpu.draw.text import note_undrawable
from gpu.errors import ExportError
from gpu.export_types.labels import label
from gpu.export_types.letterbox import Letterbox, even_size
from gpu.export_types.sequence import Montage, Shot, montage
from gpu.export_types.transitions import dissolved, enveloped, equal_power, overlaid, straight
from gpu.media.audio import Sound, silence, sound
from gpu.media.decode import Pictures, pictures
from gpu.media.encode import Chapter, Render
from gpu.media.encoders import SOUND_RATE
from gpu.sources.source import Source
from gpu.spec import AnnotateConfig

_DIP_SAMPLES = SOUND_RATE // 200

Size = tuple[int, int]


def plan(config: AnnotateConfig, sources: Mapping[str, Source]) -> Render:
    """Check the clips against their sources. Raises ExportError: clip_outside_source, output_too_long."""
    laid = montage(config, sources)
    first = laid.shots[0].source
    size = even_size(first.width, first.height)

    def opened(shot: Shot, ticks: range) -> Pictures:
        return _shown(shot, laid, size, ticks, labelled=config.show_labels)

    heard = config.include_audio and any(shot.source.audio is not None for shot in laid.shots)
    return Render(
        width=size[0],
        height=size[1],
        clock=laid.clock,
        seconds=laid.seconds(laid.ticks),
        pictures=lambda ticks: _joined(laid, ticks, opened),
        sound=_mixed(laid) if heard else None,
        chapters=tuple(_chapters(laid)),
        notes=note_undrawable(_texts(config)) if config.show_labels else (),
    )


def _texts(config: AnnotateConfig) -> Iterator[str]:
    """All that labels say."""
    for clip in config.clips:
        yield from (clip.name, clip.notes, *clip.tags)


def _chapters(laid: Montage) -> Iterator[Chapter]:
    """One for each clip, from where it comes up to where the next one does."""
    ends = [shot.begun for shot in laid.shots[1:]] + [laid.ticks]
    for shot, end in zip(laid.shots, ends, strict=True):
        yield Chapter(laid.seconds(shot.begun), laid.seconds(end), shot.title)


@contextmanager
def _naming(shot: Shot) -> Iterator[None]:
    """Say which clip it was that failed."""
    try:
        yield
    except ExportError as error:
        message = f"Clip {shot.number} ({shot.clip.name}): {error.message}"
        raise ExportError(error.code, message, transient=error.transient) from error


def _shown(shot: Shot, laid: Montage, size: Size, ticks: range, *, labelled: bool) -> Pictures:
    """A clip's frames as they are seen, on a clock of their own that begins at 0."""
    letterbox = Letterbox(shot.source.width, shot.source.height, *size, shot.source.background)
    panel = label(shot.clip, *size) if labelled else None
    with _naming(shot), closing(pictures(shot.source, (laid.piece(shot),), laid.clock, ticks)) as found:
        for picture in found:
            frame = letterbox.fitted(picture.frame)
            frame = panel.over(frame, _label_level(shot, picture.pts)) if panel is not None else frame
            level = _level(shot, picture.pts)
            yield replace(picture, frame=frame if level >= 1 else dimmed(frame, 1 - level))


def _level(shot: Shot, tick: int) -> float:
    """How bright a clip is at a tick of its own: black where it is joined, unless it dissolves."""
    rising = tick / shot.rise if shot.rise > shot.before else 1.0
    falling = (shot.ticks - tick) / shot.fall if shot.fall > shot.after else 1.0
    return min(1.0, rising, falling)


def _label_level(shot: Shot, tick: int) -> float:
    """How much of a clip's label is seen: in a dissolve one goes before the other comes, for both would be a blur."""
    coming = 2 * tick / shot.before - 1 if shot.before else 1.0
    going = 2 * (shot.ticks - tick) / shot.after - 1 if shot.after else 1.0
    return max(0.0, min(1.0, coming, going))


def _joined(laid: Montage, ticks: range, opened: Callable[[Shot, range], Pictures]) -> Pictures:
    """Every clip's frames in the output's time; at most two clips are open at once."""
    ending: Pictures | None = None
    coming: Pictures | None = None
    try:
        for shot in laid.shots:
            own = range(max(0, ticks.start - shot.begun), min(shot.ticks, ticks.stop - shot.begun))
            if not own:
                continue
            ending, coming = coming, opened(shot, own)
            if own.start < shot.ticks - shot.after:  # else all that is left of it dissolves into the next one
                yield from _crossed(ending, coming, shot)
            if ending is not None:
                ending.close()
    finally:
        for left in (ending, coming):
            if left is not None:
                left.close()


def _crossed(ending: Pictures | None, coming: Pictures, shot: Shot) -> Pictures:
    """A clip's frames up to where the next one comes up, the first of them mixed with those of the one before."""
    for picture in coming:
        tick, frame = picture.pts, picture.frame
        if ending is not None and tick < shot.before:
            frame = dissolved(next(ending).frame, frame, (tick + 0.5) / shot.before)
        yield replace(picture, frame=frame, pts=shot.begun + tick)
        if tick + picture.duration >= shot.ticks - shot.after:
            return


def _mixed(laid: Montage) -> Sound:
    """Every clip's sound where its picture is; what overlaps the next clip is held back and added to it."""
    tail = silence(0)
    for shot in laid.shots:
        total = laid.samples(shot.end) - laid.samples(shot.begun)
        own = total - (laid.samples(shot.end) - laid.samples(shot.end - shot.after))
        held, position = [silence(0)], 0
        with _naming(shot), closing(_heard(shot, laid, total)) as blocks:
            for block in overlaid(blocks, tail):
                body = block[:, : max(0, own - position)]
                held.append(block[:, body.shape[1] :])
                position += block.shape[1]
                if body.shape[1]:
                    yield body
        tail = np.concatenate(held, axis=1)


def _heard(shot: Shot, laid: Montage, total: int) -> Sound:
    """A clip's sound, `total` samples, coming and going as its picture does."""
    dip = min(_DIP_SAMPLES, total // 2)
    rise = max(laid.samples(shot.rise), dip if shot.number > 1 else 0)
    fall = max(laid.samples(shot.fall), dip if shot.number < len(laid.shots) else 0)
    curve = equal_power if shot.before or shot.after else straight
    with closing(sound(shot.source, (laid.piece(shot),), total / SOUND_RATE)) as blocks:
        yield from enveloped(blocks, total, rise, fall, curve)

"""The one generator behind every entry point: an AttemptSpec in, ticks on the way, a checked Output at the end."""

import logging
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from callbacks.envelope import Output, Phase
from gpu.chunks import plan as split
from gpu.chunks.concat import join, write_sound
from gpu.chunks.plan import Order
from gpu.chunks.process_worker import OwnMachine
from gpu.chunks.scheduler import Mark, Place, Places, made_by_crew, seconds_left
from gpu.errors import ExportError, map_errors
from gpu.export_types.registry import plan_export, plan_render
from gpu.media import encoders
from gpu.media.encode import Render, write
from gpu.media.encoders import Encoder
from gpu.media.passthrough import Copy, copy_streams
from gpu.media.soundtrack import choose_sound
from gpu.sources.source import Source, probe
from gpu.spec import AttemptSpec, Codec, Quality
from gpu.transfer import objects

log = logging.getLogger(__name__)

# Measured shares of an attempt's time; within a phase, progress is what has been done of it.
_SHARES = {
    Phase.STARTING: (0.0, 1.0),
    Phase.DOWNLOADING: (1.0, 5.0),
    Phase.PROCESSING: (5.0, 95.0),
    Phase.UPLOADING: (95.0, 99.9),
}
_TICK_SECONDS = 0.1
# Joining is copying: beside the encoding it is next to nothing.
_PIECES_SHARE = 0.98
_SOUND_TAIL_SECONDS = 0.03

Step = TypeVar("Step")


@dataclass(frozen=True)
class Progress:
    """How far an attempt is; progress in percent, rising, below 100."""

    phase: Phase
    progress: float
    message: str
    eta_seconds: float | None = None


Attempt = Generator[Progress, None, Output]
Choose = Callable[[Codec, Quality, int, int], Encoder]


def run(
    spec: AttemptSpec, scratch: Path, choose: Choose = encoders.choose, places: Places | None = None
) -> Attempt:
    """Make an export. Raises ExportError for whatever can be expected to go wrong.

    `scratch` is made, used and removed, however this ends; closing the generator stops the work within a frame. The
    output's path holds either what was there before or the whole, checked result. `places` is where the pieces of a
    split export are made, this machine unless told otherwise; `choose` names the encoder.
    """
    places = places or OwnMachine()
    try:
        yield _tick(Phase.STARTING, 0.0, "Starting")
        with map_errors("scratch_unwritable", "The machine has no room to work in.", transient=True):
            scratch.mkdir(parents=True, exist_ok=True)
        sources = yield from _sources(spec, scratch)
        plan = plan_export(spec.type, spec.config, sources)
        made = scratch / "output.mp4"
        checked = yield from _written(spec, sources, plan, choose, places, made)
        return (yield from _published(spec, made, checked))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sources(spec: AttemptSpec, scratch: Path) -> Generator[Progress, None, dict[str, Source]]:
    keys = spec.config.input_keys
    found = {}
    for number, key in enumerate(keys):
        yield _tick(Phase.DOWNLOADING, number / len(keys), "Reading the source")
        place = objects.fetch(key, spec.transfer.sources, scratch, deadline_seconds=spec.deadline_seconds)
        found[key] = choose_sound(probe(place), spec.config)
    return found


def _written(
    spec: AttemptSpec,
    sources: dict[str, Source],
    plan: Render | Copy,
    choose: Choose,
    places: Places,
    made: Path,
) -> Generator[Progress, None, Source]:
    """The output in a file, checked: copied where that is planned and turns out to do, else encoded."""
    reached = 0.0
    render = plan.render if isinstance(plan, Copy) else plan
    told = [note for source in sources.values() for note in source.notes]
    notes = " ".join(dict.fromkeys([*told, *render.notes]))
    if isinstance(plan, Copy):
        message = f"Copying the source. {notes}" if notes else "Copying the source"
        yield _tick(Phase.PROCESSING, 0.0, message)
        try:
            with closing(_paced(copy_streams(plan, made))) as copying:
                for share in copying:
                    reached = share
                    yield _tick(Phase.PROCESSING, share, message)
            return _checked(made, plan.render)
        except ExportError as error:
            log.info("not copied, but encoded: %s", error.message)
    floor = _tick(Phase.PROCESSING, reached, "").progress
    with closing(_made(spec, sources, render, choose, places, made)) as working:
        for tick in working:
            message = f"{tick.message}. {notes}" if notes else tick.message
            yield replace(tick, progress=max(tick.progress, floor), message=message)
    return _checked(made, render)


def _made(
    spec: AttemptSpec,
    sources: dict[str, Source],
    render: Render,
    choose: Choose,
    places: Places,
    made: Path,
) -> Generator[Progress, None, None]:
    """By the encoder that is chosen; if that is the card's and fails, all over again by software."""
    codec, quality = spec.config.codec, spec.config.quality
    encoder = choose(codec, quality, render.width, render.height)
    reached = 0.0
    try:
        with closing(_made_by(encoder, spec, sources, render, places, made)) as working:
            for tick in working:
                reached = tick.progress
                yield tick
    except ExportError as error:
        if error.code != "encode_failed" or not encoder.on_card:
            raise
        again = plan_render(spec.type, spec.config, sources)
        log.warning("%s failed, and the export begins anew: %s", encoder.name, error.__cause__ or error)
        instead = encoders.software(codec, quality, f"{encoder.name} failed")
        with closing(_made_by(instead, spec, sources, again, places, made)) as working:
            for tick in working:
                yield replace(tick, progress=max(tick.progress, reached))


def _made_by(
    encoder: Encoder,
    spec: AttemptSpec,
    sources: dict[str, Source],
    render: Render,
    places: Places,
    made: Path,
) -> Generator[Progress, None, None]:
    at_once = places.at_once(spec.config.parallelism)
    cut = split.cuts(render, at_once, places.longest_seconds(render)) if at_once > 1 else []
    if len(cut) <= 1:
        yield from _encoded(render, encoder, made)
        return
    at_once = min(at_once, len(cut))
    shared = places.on_one_machine(at_once)
    orders = split.orders(spec, sources, encoder, cut, made.parent, shared)
    with places.opened(at_once) as opened:
        yield from _in_pieces(render, orders, opened, made)


def _encoded(render: Render, encoder: Encoder, made: Path) -> Generator[Progress, None, None]:
    """The first tick follows the first frame: only then is it certain that the encoder works."""
    with closing(write(render, encoder, made)) as writing:
        begun = Mark(time.monotonic(), next(writing, 1.0))
        yield _tick(Phase.PROCESSING, begun.done, encoder.sentence())
        for share in _paced(writing):
            latest = Mark(time.monotonic(), share)
            if not begun.done:
                begun = latest  # until the encoder gives its first frame back, it only fills up
            yield _tick(Phase.PROCESSING, share, encoder.sentence(), seconds_left(begun, latest, 1.0))


def _in_pieces(
    render: Render, orders: Sequence[Order], places: Sequence[Place], made: Path
) -> Generator[Progress, None, None]:
    """The pieces elsewhere, the sound meanwhile by this process; then all in one file."""
    encoder = orders[0].encoder
    message = encoder.sentence(len(orders))
    yield _tick(Phase.PROCESSING, 0.0, message)
    sound = made.with_name("sound.mp4")
    sounding = None if render.sound is None else write_sound(render.sound, sound)
    for standing in _paced(made_by_crew(orders, places, sounding)):
        yield _tick(Phase.PROCESSING, standing.share * _PIECES_SHARE, message, standing.eta_seconds)
    pieces = [(order.ticks, order.path) for order in orders]
    for share in _paced(join(render, pieces, None if sounding is None else sound, encoder.tag, made)):
        whole = _PIECES_SHARE + (1 - _PIECES_SHARE) * share
        yield _tick(Phase.PROCESSING, whole, f"Joining {len(orders)} pieces")
    for path in (sound, *(order.path for order in orders)):
        path.unlink(missing_ok=True)


def _paced(steps: Generator[Step, None, None]) -> Generator[Step, None, None]:
    """No more of the steps than can be told of."""
    told = time.monotonic()
    with closing(steps):
        for step in steps:
            if (now := time.monotonic()) - told >= _TICK_SECONDS:
                told = now
                yield step


def _checked(made: Path, render: Render) -> Source:
    """The result as it can be read back; output_invalid if it's not what was asked."""
    try:
        found = probe(str(made))
    except ExportError as error:
        raise ExportError("output_invalid", "The export could not be read back.", transient=True) from error
    frame = 1 / float(render.clock.rate)
    for wrong, what in (
        ((found.width, found.height) != (render.width, render.height), "size"),
        (abs(found.duration - render.seconds) > max(frame, _SOUND_TAIL_SECONDS), "length"),
        ((found.audio is None) != (render.sound is None), "sound"),
    ):
        if wrong:
            raise ExportError("output_invalid", f"The export came out with the wrong {what}.", transient=True)
    return found


def _published(spec: AttemptSpec, made: Path, checked: Source) -> Generator[Progress, None, Output]:
    size = made.stat().st_size
    moving = objects.publish(made, spec.transfer.output, deadline_seconds=spec.deadline_seconds)
    while True:
        try:
            yield _tick(Phase.UPLOADING, next(moving), "Storing the export")
        except StopIteration as stop:
            return Output(
                size=size,
                checksum=stop.value,
                duration=round(checked.duration, 6),
                width=checked.width,
                height=checked.height,
            )


def _tick(phase: Phase, share: float, message: str, eta_seconds: float | None = None) -> Progress:
    low, high = _SHARES[phase]
    return Progress(phase, low + (high - low) * share, message, eta_seconds)

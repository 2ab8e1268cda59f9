"""One export in pieces: where it is cut, and how a piece is made, on this machine or on another.

A piece is a film of its own that begins with a keyframe and refers to nothing outside it; `gpu.chunks.concat`
joins them. These two modules are all that a container needs to encode one.
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
from gpu.media.encode import Render, write
from gpu.media.encoders import Encoder
from gpu.sources.discontinuities import Scan
from gpu.sources.source import Source, probe
from gpu.spec import AttemptSpec, LocalFile, RemoteObject, Transfer
from gpu.transfer import objects

SHORTEST_SECONDS = 2.0


class Order(StrictModel):
    """A piece to be made: of which attempt, the ticks from `first` up to `last`, by which encoder, into which file.

    `pieces` is how many are made on the same machine at once; `scans` spare each the search for breaks in sources.
    """

    spec: AttemptSpec
    first: int
    last: int
    encoder: Encoder
    path: Path
    pieces: int = 1
    scans: dict[str, Scan] = Field(default_factory=dict)

    @property
    def ticks(self) -> range:
        return range(self.first, self.last)


def cuts(render: Render, at_once: int, longest_seconds: float = math.inf) -> list[range]:
    """The ticks of as many pieces as are made at once, alike in length, none much shorter than two seconds.

    There are more, and turns of them, where pieces would be longer than `longest_seconds` (and than a reel). They are
    cut where reels are: there the encoder begins anew in any case.
    """
    ticks, step = render.ticks, render.reel_ticks
    turns = max(1, math.ceil(render.seconds / longest_seconds / at_once))
    count = max(1, min(at_once * turns, int(render.seconds / SHORTEST_SECONDS)))
    inner = {round(len(ticks) * number / count / step) * step for number in range(1, count)}
    bounds = [0, *sorted(bound for bound in inner if 0 < bound < ticks.stop), ticks.stop]
    return [range(first, last) for first, last in pairwise(bounds)]


def orders(
    spec: AttemptSpec,
    sources: Mapping[str, Source],
    encoder: Encoder,
    ticks: list[range],
    folder: Path,
    on_one_machine: int,
) -> list[Order]:
    """What to tell those who make the pieces; of the attempt's keys they learn none."""
    places = {key: _where(key, source, spec) for key, source in sources.items()}
    piecework = Transfer(sources=places, output=LocalFile(path=str(folder)))
    bare = spec.model_copy(update={"callback": None, "transfer": piecework})
    shared = encoder.shared(on_one_machine)
    return [
        Order(
            spec=bare,
            first=each.start,
            last=each.stop,
            encoder=shared,
            path=folder / f"piece-{number}.mp4",
            pieces=on_one_machine,
            scans={key: source.scan for key, source in sources.items() if source.scan is not None},
        )
        for number, each in enumerate(ticks)
    ]


def _where(key: str, source: Source, spec: AttemptSpec) -> LocalFile | RemoteObject:
    """What had to be fetched whole is not fetched again."""
    return LocalFile(path=source.path) if isinstance(source.path, str) else spec.transfer.sources[key]


def render_piece(order: Order) -> Generator[int, None, None]:
    """Make a piece, yielding the ticks done; its file is empty if no frame begins in it. Raises as the whole would."""
    spec = order.spec
    sources = {}
    for key in spec.config.input_keys:
        place = objects.fetch(
            key, spec.transfer.sources, order.path.parent, deadline_seconds=spec.deadline_seconds
        )
        sources[key] = probe(place, order.scans.get(key))
    render = plan_render(find_export_type(spec.type), spec.config, sources)
    if order.last > render.ticks.stop:
        raise ExportError("source_changed", "The source changed while it was read.", transient=True)
    for share in write(part(render, order.ticks), order.encoder, order.path, _layout(render)):
        yield round(share * len(order.ticks))
    order.path.touch()  # where the source has a long pause a piece may be without frames, and its file unwritten


def part(render: Render, ticks: range) -> Render:
    """A stretch of the pictures as a film that begins at 0."""

    def shifted(within: range) -> Pictures:
        with closing(
            render.pictures(range(ticks.start + within.start, ticks.start + within.stop))
        ) as pictures:
            for picture in pictures:
                yield replace(picture, pts=picture.pts - ticks.start)

    seconds = float(len(ticks) * render.clock.time_base)
    return replace(
        render,
        seconds=seconds,
        pictures=shifted,
        sound=None,
        chapters=(),
        reel_of_whole=render.reel_ticks,
    )


def _layout(render: Render) -> dict[str, str]:
    """A piece whose first frame comes late says by how much in the film's time, which counts milliseconds usually."""
    return {"movie_timescale": str(render.clock.time_base.denominator)}

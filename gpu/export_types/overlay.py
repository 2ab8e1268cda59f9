"""Overlay: highlight players and write on the picture, for as long as asked; all other frames pass untouched.

Over the frame lie, from below: the dimming (all but the union of the ellipses) or the lift (their union), then each
ellipse's fill and stroke, then the text. Times are the source's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from av.video.frame import VideoFrame

from gpu.draw import ellipse
from gpu.draw.compositing import BLACK, coat, dimmed, lighten, show_through, yuv
from gpu.draw.ellipse import Drawn
from gpu.draw.text import note_undrawable
from gpu.draw.text_layers import Caption, caption
from gpu.errors import ExportError
from gpu.export_types.highlight import Highlight, Look
from gpu.media import timeline
from gpu.media.audio import sound
from gpu.media.decode import Pictures, pictures
from gpu.media.encode import Render
from gpu.media.passthrough import Copy, is_copyable
from gpu.media.planes import copied, planes
from gpu.sources.source import Source
from gpu.spec import EffectType, OverlayConfig, OverlaySettings

_REFERENCE_HEIGHT = 1_080
_THINNEST_STROKE = 2.0
_RIM_OPACITY = 0.6


def plan(config: OverlayConfig, sources: Mapping[str, Source]) -> Render | Copy:
    """Check an overlay against its source. Raises ExportError: clip_outside_source."""
    source = sources[config.input_key]
    _check_inside(config, source)
    regions = [region for region in config.highlight_regions if region.enabled]
    width, height = source.width - source.width % 2, source.height - source.height % 2
    settings = config.overlay_settings
    drawing = Drawing(
        [Highlight(region, settings, source.width, source.height) for region in regions],
        [caption(layer, width, height) for layer in config.text_layers],
        config.effect_type,
        settings,
        (width, height),
    )
    cut = timeline.pieces(source.film_start, source.duration, [])
    clock = timeline.clock(config.fps, source.rate, source.variable, cut)
    seconds = timeline.length(cut, clock)
    audio = source.audio if config.include_audio else None
    render = Render(
        width=width,
        height=height,
        clock=clock,
        seconds=seconds,
        pictures=lambda ticks: _drawn(pictures(source, cut, clock, ticks), drawing),
        sound=sound(source, cut, seconds) if audio is not None else None,
        notes=note_undrawable(layer.text for layer in config.text_layers),
    )
    if not regions and not config.text_layers and is_copyable(source, config):
        return Copy(source, config.codec, audio, render)
    return render


def _check_inside(config: OverlayConfig, source: Source) -> None:
    begun = [region.start_time for region in config.highlight_regions if region.enabled]
    begun += [layer.start_time for layer in config.text_layers]
    if max(begun, default=0.0) >= source.duration:
        message = f"A region or text begins after the source, which is {source.duration:.2f} s long."
        raise ExportError("clip_outside_source", message)


class Drawing:
    """All that an overlay draws on frames of one even size."""

    def __init__(
        self,
        highlights: Sequence[Highlight],
        captions: Sequence[Caption],
        effect: EffectType,
        settings: OverlaySettings,
        size: tuple[int, int],
    ) -> None:
        self._highlights, self._captions = highlights, captions
        self._effect = effect
        self._strength = settings.dim_strength
        self._size = size
        self._stroke = stroke_width(settings.stroke_width, size[1])

    def on(self, frame: VideoFrame, time: float) -> VideoFrame:
        """The frame with what is to be seen at a time drawn on it; the very frame if that is nothing."""
        frame = _even(frame)
        looks = [look for each in self._highlights if (look := each.at(time)) is not None]
        captions = [each for each in self._captions if each.start <= time < each.end and each.coats]
        if not looks and not captions:
            return frame
        shapes = [(look, shape) for look in looks if (shape := self._shape(look)) is not None]
        painted = self._lit(frame, looks, shapes)
        for look, shape in shapes:
            _trace(painted, look, shape)
        for each in captions:
            each.draw(painted)
        return painted

    def _shape(self, look: Look) -> Drawn | None:
        return ellipse.drawn(look.ellipse, self._stroke, *self._size)

    def _lit(
        self, frame: VideoFrame, looks: Sequence[Look], shapes: Sequence[tuple[Look, Drawn]]
    ) -> VideoFrame:
        """A new frame with the effect on it: where ellipses overlap, as strong as where there is one."""
        if self._effect is EffectType.DARK_OVERLAY and looks and self._strength:
            darkest = max(look.level for look in looks)
            painted = dimmed(frame, self._strength * darkest)
            for look, shape in shapes:
                show_through(painted, frame, shape.inside, look.level / darkest)
            return painted
        painted = copied(frame)
        if self._effect is EffectType.BRIGHTNESS_BOOST:
            for look, shape in shapes:
                lighten(painted, frame, shape.inside, self._strength, look.level)
        return painted


def stroke_width(asked: float, height: int) -> float:
    """The stroke in pixels of a frame `height` lines high; 0 if none is asked for."""
    return max(_THINNEST_STROKE, asked * height / _REFERENCE_HEIGHT) if asked else 0.0


def _trace(frame: VideoFrame, look: Look, shape: Drawn) -> None:
    color = yuv(look.color)
    if look.fill_opacity:
        coat(frame, shape.inside, color, look.level * look.fill_opacity)
    if shape.rim is not None and shape.stroke is not None:
        opacity = look.level * look.stroke_opacity
        coat(frame, shape.rim, BLACK, opacity * _RIM_OPACITY)
        coat(frame, shape.stroke, color, opacity)


def _drawn(found: Pictures, drawing: Drawing) -> Pictures:
    try:
        for picture in found:
            yield replace(picture, frame=drawing.on(picture.frame, picture.time))
    finally:
        found.close()


def _even(frame: VideoFrame) -> VideoFrame:
    """The frame itself if its sides are even; encoders take no others, and a last odd row or column goes."""
    if frame.width % 2 == 0 and frame.height % 2 == 0:
        return frame
    smaller = VideoFrame(frame.width - frame.width % 2, frame.height - frame.height % 2, frame.format.name)
    for target, source in zip(planes(smaller), planes(frame), strict=True):
        target[:] = source[: target.shape[0], : target.shape[1]]
    return smaller

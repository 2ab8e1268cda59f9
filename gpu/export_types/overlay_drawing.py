"""The frames of an overlay: dimming or brightening, ellipses and text, drawn for as long as configured.

Drawn over the frame in this order: the dimming (everything but the union of the ellipses) or the brightening (their
union), then the fill and stroke of each ellipse, then the texts. Times are those of the source.
"""

from collections.abc import Sequence
from dataclasses import replace

from av.video.frame import VideoFrame

from gpu.draw import ellipse
from gpu.draw.compositing import BLACK, blend, dim_frame, lighten, paint_solid, yuv
from gpu.draw.ellipse import EllipseMasks
from gpu.draw.text import note_undrawable
from gpu.draw.text_layers import Caption, lay_out_caption
from gpu.errors import ExportError
from gpu.export_types.highlight import Highlight, HighlightState
from gpu.export_types.overlay import EffectType, OverlayConfig, OverlaySettings
from gpu.media import timeline
from gpu.media.audio import read_audio
from gpu.media.decode import Pictures, decode_frames
from gpu.media.encode import Render
from gpu.media.passthrough import PassthroughSource, is_copyable
from gpu.media.planes import copy_frame, view_planes
from gpu.sources.source import Source

_REFERENCE_HEIGHT = 1_080
_MIN_STROKE_WIDTH = 2.0
_RIM_OPACITY = 0.6


def plan_overlay(config: OverlayConfig, source: Source) -> Render | PassthroughSource:
    """Plan the video of an overlay. Raises ExportError: clip_outside_source."""
    _check_inside(config, source)
    regions = [region for region in config.highlight_regions if region.enabled]
    width, height = source.width - source.width % 2, source.height - source.height % 2
    settings = config.overlay_settings
    drawing = OverlayDrawing(
        [Highlight(region, settings, source.width, source.height) for region in regions],
        [lay_out_caption(layer, width, height) for layer in config.text_layers],
        config.effect_type,
        settings,
        (width, height),
    )
    cut = timeline.split_by_speed(source.export_start, source.duration, [])
    clock = timeline.select_clock(config.fps, source.rate, source.variable, cut)
    seconds = timeline.compute_output_seconds(cut, clock)
    audio = source.audio if config.include_audio else None
    render = Render(
        width=width,
        height=height,
        clock=clock,
        seconds=seconds,
        open_pictures=lambda ticks: _draw_frames(decode_frames(source, cut, clock, ticks), drawing),
        audio=read_audio(source, cut, seconds) if audio is not None else None,
        notes=note_undrawable(layer.text for layer in config.text_layers),
    )
    if not regions and not config.text_layers and is_copyable(source, config):
        return PassthroughSource(source, config.codec, audio, render)
    return render


def _check_inside(config: OverlayConfig, source: Source) -> None:
    regions = [part.start_time if part.enabled else 0.0 for part in config.highlight_regions]
    texts = [layer.start_time for layer in config.text_layers]
    for name, starts in (("highlight_regions", regions), ("text_layers", texts)):
        for number, start in enumerate(starts):
            if start >= source.duration:
                message = f"A region or text begins after the source, which is {source.duration:.2f} s long."
                raise ExportError("clip_outside_source", message, loc=(name, number, "start_time"))


class OverlayDrawing:
    """Everything that an overlay draws on frames of one even size."""

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
        self._stroke_width = stroke_width(settings.stroke_width, size[1])

    def draw(self, frame: VideoFrame, time: float) -> VideoFrame:
        """Return the frame with what is visible at `time` seconds; the same object if nothing is."""
        frame = _crop_to_even(frame)
        states = [state for highlight in self._highlights if (state := highlight.at(time)) is not None]
        captions = [caption for caption in self._captions if caption.is_visible(time)]
        if not states and not captions:
            return frame
        shapes = [(state, masks) for state in states if (masks := self._masks(state)) is not None]
        result = self._apply_effect(frame, states, shapes)
        for state, masks in shapes:
            _draw_ellipse(result, state, masks)
        for caption in captions:
            caption.draw(result)
        return result

    def _masks(self, state: HighlightState) -> EllipseMasks | None:
        return ellipse.draw_ellipse(state.ellipse, self._stroke_width, *self._size)

    def _apply_effect(
        self,
        frame: VideoFrame,
        states: Sequence[HighlightState],
        shapes: Sequence[tuple[HighlightState, EllipseMasks]],
    ) -> VideoFrame:
        """Return a new frame with the effect; overlapping ellipses do not add up."""
        if self._effect is EffectType.DARK_OVERLAY and states and self._strength:
            level = max(state.level for state in states)
            result = dim_frame(frame, self._strength * level)
            for state, masks in shapes:
                blend(result, frame, masks.inside, state.level / level)
            return result
        result = copy_frame(frame)
        if self._effect is EffectType.BRIGHTNESS_BOOST:
            for state, masks in shapes:
                lighten(result, frame, masks.inside, self._strength, state.level)
        return result


def stroke_width(configured: float, height: int) -> float:
    """Return the width of the stroke in pixels of a frame `height` pixels high; 0 for no stroke."""
    return max(_MIN_STROKE_WIDTH, configured * height / _REFERENCE_HEIGHT) if configured else 0.0


def _draw_ellipse(frame: VideoFrame, state: HighlightState, masks: EllipseMasks) -> None:
    color = yuv(state.color)
    if state.fill_opacity:
        paint_solid(frame, masks.inside, color, state.level * state.fill_opacity)
    if masks.rim is not None and masks.stroke is not None:
        opacity = state.level * state.stroke_opacity
        paint_solid(frame, masks.rim, BLACK, opacity * _RIM_OPACITY)
        paint_solid(frame, masks.stroke, color, opacity)


def _draw_frames(decoded: Pictures, drawing: OverlayDrawing) -> Pictures:
    try:
        for picture in decoded:
            yield replace(picture, frame=drawing.draw(picture.frame, picture.time))
    finally:
        decoded.close()


def _crop_to_even(frame: VideoFrame) -> VideoFrame:
    """Drop the last row or column of odd sides, which encoders reject; return even frames as they are."""
    if frame.width % 2 == 0 and frame.height % 2 == 0:
        return frame
    smaller = VideoFrame(frame.width - frame.width % 2, frame.height - frame.height % 2, frame.format.name)
    for target, source in zip(view_planes(smaller), view_planes(frame), strict=True):
        target[:] = source[: target.shape[0], : target.shape[1]]
    return smaller

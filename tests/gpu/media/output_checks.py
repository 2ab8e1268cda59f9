"""Check in a file what the documentation guarantees for every output."""

from pathlib import Path

import av

_AUDIO_FORMAT = ("aac", "LC", 48_000)


def find_violations(path: Path, *, codec: str = "h264", sound: bool = True) -> list[str]:
    """Return the names of all guarantees that an output does not fulfil."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio
        frames = list(container.decode(video))
        checks = {
            "kinds of streams": [stream.type for stream in container.streams]
            == ["video"] + ["audio"] * sound,
            "codec": video.codec.canonical_name == codec,
            "square pixels": video.sample_aspect_ratio in {None, 0, 1},
            "tags of the file": set(container.metadata)
            <= {"major_brand", "minor_version", "compatible_brands", "encoder"},
            "tags of streams": all(
                stream.metadata.get("handler_name") in {"VideoHandler", "SoundHandler"}
                and set(stream.metadata) <= {"language", "handler_name", "vendor_id"}
                for stream in container.streams
            ),
            "pixel format": {frame.format.name for frame in frames} == {"yuv420p"},
            "colours": {_colors(frame) for frame in frames} == {(1, 1, 1, 1)},
            "upright": {frame.rotation for frame in frames} == {0},
            "progressive": not any(frame.interlaced_frame for frame in frames),
        }
        if sound and audio:
            track = audio[0]
            checks["sound"] = (track.codec.canonical_name, track.profile, track.sample_rate) == _AUDIO_FORMAT
    content = path.read_bytes()
    checks["faststart"] = content.index(b"moov") < content.index(b"mdat")
    return [name for name, is_fulfilled in checks.items() if not is_fulfilled]


def _colors(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    return frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range

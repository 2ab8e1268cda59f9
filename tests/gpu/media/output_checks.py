"""What README promises of every output, measured in a file."""

from pathlib import Path

import av

_SOUND = ("aac", "LC", 48_000)


def broken_promises(path: Path, *, codec: str = "h264", sound: bool = True) -> list[str]:
    """Name everything about an output that is not as promised."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio
        frames = list(container.decode(video))
        found = {
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
            found["sound"] = (track.codec.canonical_name, track.profile, track.sample_rate) == _SOUND
    content = path.read_bytes()
    found["faststart"] = content.index(b"moov") < content.index(b"mdat")
    return [name for name, holds in found.items() if not holds]


def _colors(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    return frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range

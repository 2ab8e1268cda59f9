"""Broken and malicious files: mutated videos, and other files with the name of a video."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.support.videos import Video, clicks, dot, frame_times, write_video

SIDE, FRAMES = 64, 8
PLAIN = Video(
    draw=lambda time: dot(20 + 60 * time, 32, width=SIDE, height=SIDE),
    times=frame_times(FRAMES / 30),
    tone=clicks(FRAMES / 30, 0.1),
)
ORIGINALS = {
    "plain.mp4": replace(PLAIN, container_options=(("movflags", "+faststart"),)),
    "fragments.mp4": replace(PLAIN, container_options=(("movflags", "+frag_keyframe+empty_moov"),)),
    "phone.mov": replace(
        PLAIN, codec="mpeg4", options=(), sound_codec="pcm_s16le", time_base=Fraction(1, 30)
    ),
    "recording.mkv": replace(PLAIN, sound_codec="flac"),
    "browser.webm": replace(PLAIN, codec="libvpx", options=(), sound_codec="libopus"),
}
EXTREME_VALUES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)

Mutation = Callable[[bytes, random.Random], bytes]


def originals(folder: Path) -> dict[str, bytes]:
    """Return small valid videos by name."""
    return {name: write_video(folder / name, video).read_bytes() for name, video in ORIGINALS.items()}


def mutants(whole: dict[str, bytes], rounds: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield every original with every mutation, `rounds` times."""
    rng = random.Random(seed)  # noqa: S311 - reproducible by its seed
    for round_number in range(rounds):
        for name, content in whole.items():
            for mutation in (flip_bits, truncate, splice, zero_range, edit_headers):
                yield f"{mutation.__name__}-{round_number}-{name}", mutation(content, rng)


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    """Flip some bits at random positions."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 4, 16, 64, 256))):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def truncate(content: bytes, rng: random.Random) -> bytes:
    """Keep only the beginning or the end."""
    at = rng.randrange(1, len(content))
    return content[:at] if rng.random() < 0.8 else content[at:]


def splice(content: bytes, rng: random.Random) -> bytes:
    """Copy a part to another position: insert it, or overwrite what is there."""
    length = rng.randrange(1, len(content) // 3)
    begin, at = rng.randrange(len(content) - length), rng.randrange(len(content))
    rest = content[at:] if rng.random() < 0.5 else content[at + length :]
    return content[:at] + content[begin : begin + length] + rest


def zero_range(content: bytes, rng: random.Random) -> bytes:
    """Zero a range, as in sparse uploads."""
    at = rng.randrange(len(content))
    length = rng.choice((4, 64, 512, len(content) // 2))
    return content[:at] + bytes(min(length, len(content) - at)) + content[at + length :]


def edit_headers(content: bytes, rng: random.Random) -> bytes:
    """Set numbers in the headers to extreme values: zero, the largest, the most negative."""
    headers = max(content.find(b"moov"), 0), max(content.find(b"udta"), 400)
    broken = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(headers[0], min(max(headers), len(content) - 4))
        size = rng.choice((1, 2, 4))
        value = rng.choice(EXTREME_VALUES) & ((1 << 8 * size) - 1)
        broken[at : at + size] = value.to_bytes(size, "big")
    return bytes(broken)


SIGNATURES = {
    "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\0\1\0\0moov",
    "mkv": b"\x1aE\xdf\xa3\xa3B\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x88matroska",
    "avi": b"RIFF\xff\xff\xff\x7fAVI LIST\0\0\1\0hdrlavih8\0\0\0",
    "ogg": b"OggS\0\2" + bytes(8),
    "flv": b"FLV\1\5\0\0\0\x09\0\0\0\0",
    "ts": (b"G@\0\x10" + bytes(184)) * 6,
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "mxf": bytes.fromhex("060e2b34020501010d01020101020400"),
    "ivf": b"DKIF\0\0 \0VP80@\0@\0\x1e\0\0\0\1\0\0\0\xff\xff\xff\xff\0\0\0\0",
    "nut": b"nut/multimedia container\0",
    "mpeg": b"\0\0\1\xba!\0\1\0\1\x80\0\1",
    "h264": b"\0\0\0\1g\x42\0\x1e\0\0\0\1h\xce\0\0\1e",
    "hevc": b"\0\0\0\1@\1\x0c\1\xff\xff",
    "obu": b"\x12\0\x0a\x0b\0\0\0",
    "wav": b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\2\0",
    "mp3": b"ID3\4\0\0\x7f\x7f\x7f\x7f",
}


def noise(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield random bytes, alone and after the signatures of containers, and repeated bytes."""
    rng = random.Random(seed)  # noqa: S311 - reproducible by its seed
    for length in (1, 2, 3, 4, 7, 8, 12, 16, 31, 64, 100, 188, 512, 1_000, 4_096, 20_000, 65_536, 300_000):
        yield f"noise-{length}.mp4", rng.randbytes(length)
    for name, signature in SIGNATURES.items():
        for length in (0, 400, 50_000):
            yield f"noise-{length}.{name}", signature + rng.randbytes(length)
    for byte, length in ((0, 1), (0, 1_000), (0, 1_000_000), (255, 1_000), (0x47, 188 * 20)):
        yield f"bytes-{byte}-{length}.mp4", bytes([byte]) * length


def other_formats() -> Iterator[tuple[str, bytes]]:
    """Yield other kinds of files, renamed."""
    yield "nothing.mp4", b""
    yield "text.mp4", b"Dear Sir or Madam,\n" * 200
    yield "page.mp4", b"<!doctype html><html><body><h1>404 Not Found</h1></body></html>"
    yield "object.mp4", b'{"error": {"code": "AccessDenied"}}'
    yield "table.mp4", b"time;x;y\n" + b"0.1;10;20\n" * 300
    yield "drawing.mp4", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>'
    yield "subtitles.mp4", b"1\n00:00:00,000 --> 00:00:02,000\nGoal!\n\n"
    yield "paper.mp4", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj\n"
    yield "program.mp4", b"\x7fELF\2\1\1" + bytes(2_000)
    yield "packed.mp4", gzip.compress(bytes(500_000))
    for name in ("png", "jpeg", "gif", "bmp", "tiff", "webp"):
        picture = io.BytesIO()
        Image.fromarray(np.full((SIDE, SIDE, 3), 99, np.uint8)).save(picture, name)
        yield f"{name}.mp4", picture.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("video.mp4", bytes(100_000))
    yield "zip.mp4", archive.getvalue()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as bundle:
        bundle.addfile(tarfile.TarInfo("video.mp4"))
    yield "tar.mp4", archive.getvalue()


def false_headers(whole: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield real videos whose headers declare impossible lengths, clocks, counts and sizes."""
    plain, recording = whole["plain.mp4"], whole["recording.mkv"]
    for at, size in ((b"mvhd", 12), (b"mvhd", 16), (b"mdhd", 12), (b"mdhd", 16), (b"stts", 12)):
        for value in (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF):
            yield f"{at.decode()}-{size}-{value}.mp4", set_box_number(plain, at, size + 4, value)
    for value in (1, 1_000_000, 0xFFFF_FFFF):
        yield f"samples-{value}.mp4", set_box_number(plain, b"stsz", 12, value)
        yield f"chunks-{value}.mp4", set_box_number(plain, b"stsc", 16, value)
        yield f"offset-{value}.mp4", set_box_number(plain, b"stco", 12, value)
    for seconds in (1e300, -5.0, float("nan"), 86_000.0):
        mark = recording.index(b"\x44\x89\x88") + 3
        yield (
            f"lasts-{seconds}.mkv",
            recording[:mark] + struct.pack(">d", seconds * 1_000) + recording[mark + 8 :],
        )
    for side in (1, 4_096, 16_384, 65_535):
        sizes = struct.pack(">HH", side, side)
        yield f"side-{side}.mp4", plain.replace(struct.pack(">HH", SIDE, SIDE), sizes)
        yield (
            f"side-{side}.ivf",
            SIGNATURES["ivf"].replace(b"@\0@\0", struct.pack("<HH", side, side)) + bytes(400),
        )


def set_box_number(content: bytes, box: bytes, offset: int, value: int) -> bytes:
    """Return an MP4 with a number replaced `offset` bytes after the name of a box."""
    at = content.index(box) + offset
    return content[:at] + value.to_bytes(4, "big") + content[at + 4 :]


def bombs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a megabyte that unpacks into pictures of 256 MB, declared by the container or not."""
    picture = black_png(16_384)
    for declared in (SIDE, 16_384):
        path = folder / f"declared-{declared}.mov"
        with av.open(str(path), "w") as container:
            stream = container.add_mux_stream("png", rate=30, width=declared, height=declared)
            for number in range(4):
                packet = av.Packet(picture)
                packet.stream, packet.time_base = stream, Fraction(1, 30)
                packet.pts = packet.dts = number
                container.mux(packet)
        yield path.name, path.read_bytes()


def black_png(side: int) -> bytes:
    """Return a black, grey-scale PNG of `side` x `side` samples."""
    compressor = zlib.compressobj(1)
    body = b"".join(compressor.compress(bytes(side + 1)) for _ in range(side)) + compressor.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    encoded_chunks = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded_chunks)

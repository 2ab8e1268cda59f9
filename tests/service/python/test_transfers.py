"""Uploads from files of any kind, and downloads that are interrupted in every way."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import anyio
import msgspec
import pytest

from framehook import CorruptTransfer, Export, FramehookError, Gone, Unreachable
from tests.service.python.any_client import ClientFactory
from tests.support.live_server import PROBLEM, ScriptedResponse, export_state, serve_script

CONTENT = os.urandom(300_000)


def export_of(content: bytes = CONTENT) -> Export:
    """Return an export whose output is this content."""
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    output: dict[str, Any] = {
        "size": len(content),
        "checksum": checksum,
        "duration": 1,
        "width": 2,
        "height": 2,
        "url": "",
    }
    job = msgspec.to_builtins(export_state(1, "complete", output_key="outputs/1/vertical.mp4"))
    return msgspec.convert(job | {"output": output}, Export)


def cut_response(content: bytes, status: int = 200, **headers: str) -> ScriptedResponse:
    """Return a response that ends before its announced end."""
    return ScriptedResponse(status, {"Content-Length": str(len(content) + 1), **headers}, content)


async def names_in(folder: Path) -> list[str]:
    return sorted([path.name async for path in anyio.Path(folder).iterdir()])


class OneWay(io.RawIOBase):
    """A stream that can be read once, such as a pipe."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


@pytest.fixture
def temporary_file() -> Iterator[IO[bytes]]:
    """A file whose position is not its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(b"skipped" + CONTENT)
        file.seek(len(b"skipped"))
        yield file


@pytest.mark.parametrize(
    "kind", ["path", "text", "bytes in memory", "a file after its position", "a stream that is read once"]
)
async def test_files_of_any_kind_are_uploaded(
    clients: ClientFactory, tmp_path: Path, temporary_file: IO[bytes], kind: str
) -> None:
    path = tmp_path / "match.mp4"
    path.write_bytes(CONTENT)
    sources: dict[str, Any] = {
        "path": path,
        "text": str(path),
        "bytes in memory": io.BytesIO(CONTENT),
        "a file after its position": temporary_file,
        "a stream that is read once": OneWay(CONTENT),
    }
    with serve_script(ScriptedResponse(503), ScriptedResponse(201)) as storage:
        target = {"key": "k", "url": f"{storage.url}/file", "method": "PUT"}
        with serve_script(ScriptedResponse(201, body=msgspec.json.encode(target))) as service:
            client = clients.open(service.url)
            assert await client.call("upload", sources[kind], filename="match.mp4") == "k"
    assert [request.body == CONTENT for request in storage.requests] == [True, True]
    # The service knows the type by the name.
    assert msgspec.json.decode(service.requests[0].body) == {"filename": "match.mp4", "size": len(CONTENT)}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (io.BytesIO(b"video"), "has no name; give one with filename="),
        (io.StringIO("video"), "open for reading with mode 'rb'"),
        (7, "open for reading with mode 'rb'"),
        (io.BytesIO(), "has no name"),
    ],
    ids=["nameless", "text", "no file", "empty"],
)
async def test_what_is_no_file_is_refused_in_a_sentence(
    clients: ClientFactory, source: object, sentence: str
) -> None:
    with pytest.raises(FramehookError, match=sentence):
        await clients.open("http://127.0.0.1:9").call("upload", source)


async def test_an_empty_or_missing_file_is_refused(clients: ClientFactory, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    client = clients.open("http://127.0.0.1:9")
    with pytest.raises(FramehookError, match=r"empty\.mp4 is empty"):
        await client.call("upload", tmp_path / "empty.mp4")
    with pytest.raises(FileNotFoundError):
        await client.call("upload", tmp_path / "missing.mp4")


async def test_a_download_that_breaks_goes_on_where_it_stopped(
    clients: ClientFactory, tmp_path: Path
) -> None:
    answers = (
        cut_response(CONTENT[:1000], ETag='"1"'),
        ScriptedResponse(None),
        ScriptedResponse(503, {"Retry-After": "1"}),
        cut_response(CONTENT[1000:2000], 206, ETag='"1"'),
        ScriptedResponse(206, {"ETag": '"1"'}, CONTENT[2000:]),
    )
    with serve_script(*answers) as script:
        path = await clients.open(script.url).call("download", export_of(), tmp_path)
    assert (path, path.read_bytes() == CONTENT) == (tmp_path / "vertical.mp4", True)
    ranges = [(item.headers.get("range"), item.headers.get("if-range")) for item in script.requests]
    assert ranges == [(None, None), *[("bytes=1000-", '"1"')] * 3, ("bytes=2000-", '"1"')]


async def test_a_download_goes_on_in_another_process(clients: ClientFactory, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    refused = ScriptedResponse(404, PROBLEM, b'{"detail": "Gone for now."}')
    with (
        serve_script(cut_response(CONTENT[:1000]), ScriptedResponse(None)) as script,
        pytest.raises(Unreachable),
    ):
        await clients.open(script.url).call("download", export_of(), target)
    (part,) = [name for name in await names_in(tmp_path) if name.endswith(".part")]
    assert (tmp_path / part).read_bytes() == CONTENT[:1000]
    with serve_script(ScriptedResponse(206, body=CONTENT[1000:])) as script:
        await clients.open(script.url).call("download", export_of(), target)
    assert (target.read_bytes() == CONTENT, script.requests[0].headers["range"]) == (True, "bytes=1000-")
    assert part not in await names_in(tmp_path)
    with serve_script(refused) as script, pytest.raises(FramehookError, match="Gone for now"):
        await clients.open(script.url).call("download", export_of(b"another"), target)
    assert target.read_bytes() == CONTENT


async def test_the_beginning_of_another_file_is_not_continued(clients: ClientFactory, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    damaged = tmp_path / f"out.mp4.{export_of().output.checksum[-12:]}.part"  # type: ignore[union-attr]
    damaged.write_bytes(b"damaged")
    answers = (ScriptedResponse(206, body=CONTENT[7:]), ScriptedResponse(body=CONTENT))
    with serve_script(*answers) as script:
        await clients.open(script.url).call("download", export_of(), target)
    assert (target.read_bytes() == CONTENT, damaged.exists()) == (True, False)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (ScriptedResponse(body=b"other"), CorruptTransfer),
        (ScriptedResponse(410, PROBLEM, b'{"detail": "The file was replaced."}'), Gone),
    ],
    ids=["another checksum", "replaced"],
)
async def test_a_wrong_file_is_never_left_at_the_target(
    clients: ClientFactory, tmp_path: Path, response: ScriptedResponse, error: type[FramehookError]
) -> None:
    with serve_script(response) as script, pytest.raises(error):
        await clients.open(script.url).call("download", export_of(), tmp_path / "out.mp4")
    assert [name for name in await names_in(tmp_path) if name != "state"] == []


class Pipe(io.RawIOBase):
    """A stream that can only be written to."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


async def test_a_download_to_a_pipe_goes_on_where_it_broke(clients: ClientFactory) -> None:
    answers = (
        cut_response(CONTENT[:1000], ETag='"1"'),
        ScriptedResponse(206, {"ETag": '"1"'}, CONTENT[1000:]),
    )
    pipe = Pipe()
    with serve_script(*answers) as script:
        await clients.open(script.url).call("download_to", export_of(), pipe)
    assert pipe.content == CONTENT


@pytest.mark.parametrize(
    "answers",
    [
        (ScriptedResponse(body=b"other"),),
        (cut_response(CONTENT[:1000], ETag='"1"'), ScriptedResponse(body=CONTENT)),
    ],
    ids=["another checksum", "replaced while it was read"],
)
async def test_what_a_pipe_got_is_known_to_be_wrong(
    clients: ClientFactory, answers: tuple[ScriptedResponse, ...]
) -> None:
    with serve_script(*answers) as script, pytest.raises(CorruptTransfer):
        await clients.open(script.url).call("download_to", export_of(), Pipe())

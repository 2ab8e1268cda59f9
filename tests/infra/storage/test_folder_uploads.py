"""Folder only: a published file never changes, and reservations never exceed the disk."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from infra.storage import DiskFull, FolderStorage, NoSuchUpload, ObjectExists, Part, SizeMismatch
from infra.storage.disk_reserve import ACTIVE_SECONDS, DiskReserve
from infra.storage.folder_parts import MultipartFolder

pytestmark = pytest.mark.anyio
MIB = 2**20
VIDEO = os.urandom(8 * MIB + 100)
SIZES = (8 * MIB, 100)


class PausedBody:
    """A request body that pauses after its first chunk until `resume` is set."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.sent_first = asyncio.Event()
        self.resume = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._chunks[0]
        self.sent_first.set()  # the first chunk has been stored
        await self.resume.wait()
        for chunk in self._chunks[1:]:
            yield chunk


class Upload:
    """A multipart upload of VIDEO by ann, in two parts."""

    def __init__(self, storage: FolderStorage, upload_id: str) -> None:
        self.storage = storage
        self.upload_id = upload_id
        self.target = storage.local_path("ann", "video.mp4")

    async def send(self, number: int, body: AsyncIterator[bytes]) -> str:
        part = (number, SIZES[number - 1])
        return await self.storage.multipart.receive_part(self.target, self.upload_id, part, body, None)

    async def send_all(self) -> None:
        await self.send(1, one_chunk(VIDEO[: SIZES[0]]))
        await self.send(2, one_chunk(VIDEO[SIZES[0] :]))

    async def complete(self) -> None:
        parts = await self.storage.list_parts("ann", "video.mp4", self.upload_id)
        await self.storage.complete_multipart("ann", "video.mp4", self.upload_id, parts)


async def one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
async def upload(storage: FolderStorage) -> Upload:
    upload_id = await storage.create_multipart("ann", "video.mp4", size=len(VIDEO), content_type="video/mp4")
    return Upload(storage, upload_id)


def list_open_files() -> list[Path]:
    """Return the paths of all files that this process has open."""
    paths = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of this listing
            paths.append(link.readlink())
    return paths


def list_incoming(storage: FolderStorage) -> list[str]:
    return [path.name for path in storage.multipart._root.iterdir()]


@pytest.mark.parametrize("rest", [b"x" * 50, b"x" * 49], ids=["whole", "cut"])
async def test_a_part_that_was_open_before_completion_never_reaches_the_published_file(
    storage: FolderStorage, upload: Upload, rest: bytes
) -> None:
    late = PausedBody(b"x" * 50, rest)
    sending = asyncio.create_task(upload.send(2, late.chunks()))
    await late.sent_first.wait()
    await upload.send_all()
    await upload.complete()
    published = upload.target.stat()
    late.resume.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert upload.target.read_bytes() == VIDEO
    assert upload.target.stat().st_mtime_ns == published.st_mtime_ns
    assert list_incoming(storage) == []


async def test_no_process_has_a_published_file_open_for_writing(upload: Upload) -> None:
    late = PausedBody(b"x" * 50, b"x" * 50)
    sending = asyncio.create_task(upload.send(2, late.chunks()))
    await late.sent_first.wait()
    await upload.send_all()
    await upload.complete()
    open_paths = list_open_files()
    late.resume.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert upload.target not in open_paths


@pytest.mark.parametrize(
    "abort",
    [
        pytest.param(
            lambda upload: upload.storage.abort_multipart("ann", "video.mp4", upload.upload_id), id="aborted"
        ),
        pytest.param(lambda upload: upload.storage.delete_folder("ann", "video.mp4"), id="folder deleted"),
        pytest.param(lambda upload: upload.storage.abort_abandoned_uploads(-60), id="abandoned"),
    ],
)
async def test_a_part_of_an_aborted_upload_fails_and_leaves_nothing(
    storage: FolderStorage, upload: Upload, abort: Callable[[Upload], AsyncIterator[None]]
) -> None:
    late = PausedBody(b"x" * 50, *[b"x"] * 50)
    sending = asyncio.create_task(upload.send(2, late.chunks()))
    await late.sent_first.wait()
    await abort(upload)  # type: ignore[misc]
    late.resume.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert list_incoming(storage) == []


async def test_concurrent_transfers_of_a_part_are_never_mixed(upload: Upload) -> None:
    await upload.send(1, one_chunk(VIDEO[: SIZES[0]]))
    first, second = PausedBody(b"a" * 50, b"a" * 50), PausedBody(b"b" * 50, b"b" * 50)
    senders = [asyncio.create_task(upload.send(2, body.chunks())) for body in (first, second)]
    for body in (first, second):
        await body.sent_first.wait()
        body.resume.set()
    await asyncio.gather(*senders)
    await upload.complete()
    assert upload.target.read_bytes()[SIZES[0] :] in (b"a" * 100, b"b" * 100)


async def test_an_incomplete_part_keeps_the_previous_one(upload: Upload) -> None:
    await upload.send_all()
    with pytest.raises(SizeMismatch):
        await upload.send(2, one_chunk(b"x"))
    await upload.complete()
    assert upload.target.read_bytes() == VIDEO


async def test_an_upload_with_missing_parts_is_not_completed(upload: Upload) -> None:
    with pytest.raises(SizeMismatch):
        await upload.complete()
    await upload.send(1, one_chunk(VIDEO[: SIZES[0]]))
    with pytest.raises(SizeMismatch):
        await upload.complete()
    await upload.send(2, one_chunk(VIDEO[SIZES[0] :]))
    await upload.complete()


async def test_concurrent_completions_complete_an_upload_once(upload: Upload) -> None:
    await upload.send_all()
    outcomes = await asyncio.gather(upload.complete(), upload.complete(), return_exceptions=True)
    assert sorted(map(type, outcomes), key=str) == sorted([type(None), NoSuchUpload], key=str)
    assert upload.target.read_bytes() == VIDEO


CRASHING_COMPLETION = """
import os, signal, sys
from pathlib import Path
from infra.storage import FolderStorage
storage = FolderStorage(Path(sys.argv[1]))
target = storage.local_path("ann", "video.mp4")
def move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if sys.argv[3] == "after":
        source.replace(target)
    os.kill(os.getpid(), signal.SIGKILL)
storage.multipart.complete(target, sys.argv[2], storage.multipart.list_parts(target, sys.argv[2]), move)
"""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_completion_after_a_crash_finishes_the_upload(
    tmp_path: Path, storage: FolderStorage, upload: Upload, when: str
) -> None:
    await upload.send_all()
    command = (sys.executable, "-c", CRASHING_COMPLETION, str(tmp_path), upload.upload_id, when)
    process = await asyncio.to_thread(subprocess.run, command, check=False)
    assert process.returncode == -signal.SIGKILL
    if when == "before":
        await upload.complete()
    else:
        with pytest.raises(NoSuchUpload):  # callers take it for completed, because the object exists
            await upload.complete()
    assert upload.target.read_bytes() == VIDEO
    await storage.abort_abandoned_uploads(-60)
    assert list_incoming(storage) == []


async def test_a_second_put_does_not_change_a_stored_upload(storage: FolderStorage) -> None:
    late = PausedBody(b"o", b"ther")
    sending = asyncio.create_task(storage.receive("ann", "a.mp4", late.chunks(), 5, replace=False))
    await late.sent_first.wait()
    await storage.receive("ann", "a.mp4", one_chunk(b"video"), 5, replace=False)
    # A client repeats the request if it got no response.
    await storage.receive("ann", "a.mp4", one_chunk(b"video"), 5, replace=False)
    late.resume.set()
    with pytest.raises(ObjectExists):
        await sending
    assert storage.local_path("ann", "a.mp4").read_bytes() == b"video"
    assert list_incoming(storage) == []


async def test_an_output_with_another_checksum_is_not_moved(storage: FolderStorage) -> None:
    written = storage.local_path("ann", ".attempts/1/output.mp4")
    await storage.receive("ann", ".attempts/1/output.mp4", one_chunk(b"other"), 5)
    stated = "sha256:" + "2" * 64
    published = await storage.publish(
        "ann", ".attempts/1/output.mp4", "exports/1.mp4", size=5, checksum=stated
    )
    assert (published, written.read_bytes(), list_incoming(storage)) == (False, b"other", [])


async def test_abandoned_uploads_are_removed_and_others_are_not(
    tmp_path: Path, storage: FolderStorage, upload: Upload
) -> None:
    abandoned = await storage.create_multipart("ann", "b.mp4", size=9, content_type="video/mp4")
    folder = tmp_path / "incoming" / f"parts-{abandoned}"
    (tmp_path / "incoming" / "0123.part").write_bytes(b"of an earlier version")
    old = time.time() - 27 * 3_600
    for path in (*folder.iterdir(), folder, tmp_path / "incoming" / "0123.part"):
        os.utime(path, (old, old))
    other = FolderStorage(tmp_path)
    assert sum(await asyncio.gather(storage.abort_abandoned_uploads(), other.abort_abandoned_uploads())) >= 2
    assert list_incoming(storage) == [f"parts-{upload.upload_id}"]
    await upload.send_all()
    await upload.complete()


def disk_with_bytes(size: int) -> Callable[[Path], int]:
    """Return a `free_bytes` of a disk of this size with only the given folder on it."""

    def free_bytes(folder: Path) -> int:
        return size - sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())

    return free_bytes


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_concurrent_uploads_reserve_at_most_the_free_space(tmp_path: Path) -> None:
    disk = disk_with_bytes(1_256 * MIB)
    reserve = DiskReserve(tmp_path, free_bytes=disk)
    files = []
    for _ in range(6):
        try:
            files.append(await asyncio.to_thread(reserve.create_file, 300 * MIB))
        except DiskFull:
            continue
    assert len(files) == 3
    files[0].close()  # as after a crash: the lock is gone, the file remains
    again = DiskReserve(tmp_path, free_bytes=disk).create_file(300 * MIB)
    with pytest.raises(DiskFull):
        reserve.check(300 * MIB)
    for file in (*files, again):
        file.close()


async def test_written_bytes_are_not_counted_twice(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, free_bytes=disk_with_bytes(856 * MIB))
    async with reserve.open_temporary(400 * MIB) as file:
        os.posix_fallocate(file.fileno(), 0, 300 * MIB)
        reserve.check(150 * MIB)
        with pytest.raises(DiskFull):
            reserve.check(300 * MIB)
    reserve.check(500 * MIB)
    assert list_names(tmp_path) == []


async def test_a_multipart_upload_keeps_its_reservation_while_parts_come(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, free_bytes=disk_with_bytes(1_256 * MIB))
    multipart = MultipartFolder(tmp_path, reserve)
    target = tmp_path / "video.mp4"
    upload_id = multipart.create(target, 800 * MIB)
    with pytest.raises(DiskFull):
        multipart.create(target, 800 * MIB)
    assert list_names(tmp_path) == [f"parts-{upload_id}"]
    idle = time.time() - ACTIVE_SECONDS - 60
    os.utime(tmp_path / f"parts-{upload_id}" / "bytes", (idle, idle))
    second = multipart.create(target, 800 * MIB)
    with pytest.raises(DiskFull):
        await multipart.receive_part(target, upload_id, (1, 8 * MIB), one_chunk(bytes(8 * MIB)), None)
    multipart.abort(target, second)
    await multipart.receive_part(target, upload_id, (1, 8 * MIB), one_chunk(bytes(8 * MIB)), None)
    assert multipart.list_parts(target, upload_id) == [Part(1, 8 * MIB, "96995b58d4cbf6aaa9041b4f00c7f6ae")]

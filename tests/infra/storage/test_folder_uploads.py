"""Uploads into a folder: what is published never changes afterwards, and the disk's reserve holds."""

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
FILM = os.urandom(8 * MIB + 100)
SIZES = (8 * MIB, 100)


class Client:
    """A body that goes on only when told to."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.sent_first = asyncio.Event()
        self.go_on = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        yield self._chunks[0]
        self.sent_first.set()  # the first chunk is stored by now
        await self.go_on.wait()
        for chunk in self._chunks[1:]:
            yield chunk


class Upload:
    """ann's film on its way in two parts."""

    def __init__(self, storage: FolderStorage, upload_id: str) -> None:
        self.storage = storage
        self.upload_id = upload_id
        self.target = storage.local_path("ann", "film.mp4")

    async def send(self, number: int, body: AsyncIterator[bytes]) -> str:
        part = (number, SIZES[number - 1])
        return await self.storage.multipart.receive_part(self.target, self.upload_id, part, body, None)

    async def send_film(self) -> None:
        await self.send(1, whole(FILM[: SIZES[0]]))
        await self.send(2, whole(FILM[SIZES[0] :]))

    async def complete(self) -> None:
        parts = await self.storage.list_parts("ann", "film.mp4", self.upload_id)
        await self.storage.complete_multipart("ann", "film.mp4", self.upload_id, parts)


async def whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
async def upload(storage: FolderStorage) -> Upload:
    begun = await storage.create_multipart("ann", "film.mp4", size=len(FILM), content_type="video/mp4")
    return Upload(storage, begun)


def open_files() -> list[Path]:
    """What this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(link.readlink())
    return found


def left(storage: FolderStorage) -> list[str]:
    return [path.name for path in storage.multipart._root.iterdir()]


@pytest.mark.parametrize("rest", [b"x" * 50, b"x" * 49], ids=["whole", "cut"])
async def test_a_part_that_was_open_before_completion_never_reaches_the_published_file(
    storage: FolderStorage, upload: Upload, rest: bytes
) -> None:
    late = Client(b"x" * 50, rest)
    sending = asyncio.create_task(upload.send(2, late.body()))
    await late.sent_first.wait()
    await upload.send_film()
    await upload.complete()
    published = upload.target.stat()
    late.go_on.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert upload.target.read_bytes() == FILM
    assert upload.target.stat().st_mtime_ns == published.st_mtime_ns
    assert left(storage) == []


async def test_no_process_has_a_published_file_open_for_writing(upload: Upload) -> None:
    late = Client(b"x" * 50, b"x" * 50)
    sending = asyncio.create_task(upload.send(2, late.body()))
    await late.sent_first.wait()
    await upload.send_film()
    await upload.complete()
    opened = open_files()
    late.go_on.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert upload.target not in opened


@pytest.mark.parametrize(
    "give_up",
    [
        pytest.param(
            lambda upload: upload.storage.abort_multipart("ann", "film.mp4", upload.upload_id), id="aborted"
        ),
        pytest.param(lambda upload: upload.storage.delete_folder("ann", "film.mp4"), id="folder removed"),
        pytest.param(lambda upload: upload.storage.abort_abandoned_uploads(-60), id="swept"),
    ],
)
async def test_a_part_of_an_upload_that_was_given_up_ends_and_leaves_nothing(
    storage: FolderStorage, upload: Upload, give_up: Callable[[Upload], AsyncIterator[None]]
) -> None:
    late = Client(b"x" * 50, *[b"x"] * 50)
    sending = asyncio.create_task(upload.send(2, late.body()))
    await late.sent_first.wait()
    await give_up(upload)  # type: ignore[misc]
    late.go_on.set()
    with pytest.raises(NoSuchUpload):
        await sending
    assert left(storage) == []


async def test_two_who_send_the_same_part_at_once_are_never_mixed(upload: Upload) -> None:
    await upload.send(1, whole(FILM[: SIZES[0]]))
    first, second = Client(b"a" * 50, b"a" * 50), Client(b"b" * 50, b"b" * 50)
    senders = [asyncio.create_task(upload.send(2, client.body())) for client in (first, second)]
    for client in (first, second):
        await client.sent_first.wait()
        client.go_on.set()
    await asyncio.gather(*senders)
    await upload.complete()
    assert upload.target.read_bytes()[SIZES[0] :] in (b"a" * 100, b"b" * 100)


async def test_a_part_that_is_cut_leaves_the_one_that_was_there(upload: Upload) -> None:
    await upload.send_film()
    with pytest.raises(SizeMismatch):
        await upload.send(2, whole(b"x"))
    await upload.complete()
    assert upload.target.read_bytes() == FILM


async def test_an_upload_of_which_parts_are_missing_is_not_completed(upload: Upload) -> None:
    with pytest.raises(SizeMismatch):
        await upload.complete()
    await upload.send(1, whole(FILM[: SIZES[0]]))
    with pytest.raises(SizeMismatch):
        await upload.complete()
    await upload.send(2, whole(FILM[SIZES[0] :]))
    await upload.complete()


async def test_a_completion_that_is_asked_for_twice_happens_once(upload: Upload) -> None:
    await upload.send_film()
    outcomes = await asyncio.gather(upload.complete(), upload.complete(), return_exceptions=True)
    assert sorted(map(type, outcomes), key=str) == sorted([type(None), NoSuchUpload], key=str)
    assert upload.target.read_bytes() == FILM


DIES = """
import os, signal, sys
from pathlib import Path
from infra.storage import FolderStorage
storage = FolderStorage(Path(sys.argv[1]))
target = storage.local_path("ann", "film.mp4")
def move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if sys.argv[3] == "after":
        source.replace(target)
    os.kill(os.getpid(), signal.SIGKILL)
storage.multipart.complete(target, sys.argv[2], storage.multipart.list_parts(target, sys.argv[2]), move)
"""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_completion_that_dies_half_way_is_done_by_the_next_one(
    tmp_path: Path, storage: FolderStorage, upload: Upload, when: str
) -> None:
    await upload.send_film()
    words = (sys.executable, "-c", DIES, str(tmp_path), upload.upload_id, when)
    died = await asyncio.to_thread(subprocess.run, words, check=False)
    assert died.returncode == -signal.SIGKILL
    if when == "before":
        await upload.complete()
    else:
        with pytest.raises(NoSuchUpload):  # which callers take for completed, for the file is there
            await upload.complete()
    assert upload.target.read_bytes() == FILM
    await storage.abort_abandoned_uploads(-60)
    assert left(storage) == []


async def test_a_second_put_changes_nothing_of_an_upload_that_is_there(storage: FolderStorage) -> None:
    late = Client(b"o", b"ther")
    sending = asyncio.create_task(storage.receive("ann", "a.mp4", late.body(), 5, replace=False))
    await late.sent_first.wait()
    await storage.receive("ann", "a.mp4", whole(b"video"), 5, replace=False)
    await storage.receive("ann", "a.mp4", whole(b"video"), 5, replace=False)  # its answer was lost
    late.go_on.set()
    with pytest.raises(ObjectExists):
        await sending
    assert storage.local_path("ann", "a.mp4").read_bytes() == b"video"
    assert left(storage) == []


async def test_an_output_that_is_not_what_was_promised_stays_where_it_is(storage: FolderStorage) -> None:
    written = storage.local_path("ann", ".attempts/1/output.mp4")
    await storage.receive("ann", ".attempts/1/output.mp4", whole(b"other"), 5)
    promised = "sha256:" + "2" * 64
    published = await storage.publish(
        "ann", ".attempts/1/output.mp4", "exports/1.mp4", size=5, checksum=promised
    )
    assert (published, written.read_bytes(), left(storage)) == (False, b"other", [])


async def test_uploads_that_nobody_goes_on_with_are_removed_and_others_are_not(
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
    assert left(storage) == [f"parts-{upload.upload_id}"]
    await upload.send_film()
    await upload.complete()


def disk_of(size: int) -> Callable[[Path], int]:
    """A disk of so many bytes that holds nothing but what is in the folder."""

    def free_bytes(folder: Path) -> int:
        return size - sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())

    return free_bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_six_uploads_at_once_get_no_more_room_than_there_is(tmp_path: Path) -> None:
    disk = disk_of(1_256 * MIB)
    reserve = DiskReserve(tmp_path, free_bytes=disk)
    files = []
    for _ in range(6):
        try:
            files.append(await asyncio.to_thread(reserve.create_file, 300 * MIB))
        except DiskFull:
            continue
    assert len(files) == 3
    files[0].close()  # as when its process dies: the lock goes, and the file stays
    again = DiskReserve(tmp_path, free_bytes=disk).create_file(300 * MIB)
    with pytest.raises(DiskFull):
        reserve.check(300 * MIB)
    for file in (*files, again):
        file.close()


async def test_what_was_written_of_an_upload_is_not_counted_twice(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, free_bytes=disk_of(856 * MIB))
    async with reserve.open_temporary(400 * MIB) as file:
        os.posix_fallocate(file.fileno(), 0, 300 * MIB)
        reserve.check(150 * MIB)
        with pytest.raises(DiskFull):
            reserve.check(300 * MIB)
    reserve.check(500 * MIB)
    assert names(tmp_path) == []


async def test_an_upload_in_parts_keeps_its_room_while_parts_come(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, free_bytes=disk_of(1_256 * MIB))
    multipart = MultipartFolder(tmp_path, reserve)
    target = tmp_path / "film.mp4"
    begun = multipart.create(target, 800 * MIB)
    with pytest.raises(DiskFull):
        multipart.create(target, 800 * MIB)
    assert names(tmp_path) == [f"parts-{begun}"]
    idle = time.time() - ACTIVE_SECONDS - 60
    os.utime(tmp_path / f"parts-{begun}" / "bytes", (idle, idle))
    other = multipart.create(target, 800 * MIB)
    with pytest.raises(DiskFull):
        await multipart.receive_part(target, begun, (1, 8 * MIB), whole(bytes(8 * MIB)), None)
    multipart.abort(target, other)
    await multipart.receive_part(target, begun, (1, 8 * MIB), whole(bytes(8 * MIB)), None)
    assert multipart.list_parts(target, begun) == [Part(1, 8 * MIB, "96995b58d4cbf6aaa9041b4f00c7f6ae")]

"""Ten thousand tricks with keys, on a real folder full of links: none reads, writes or names what is not the user's."""

import hashlib
import os
import random
import unicodedata
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpu.keys import validate_key
from infra.storage import FolderStorage, InvalidKey
from infra.storage.object_names import object_name, user_folder
from infra.storage.s3 import bucket_key

TRIES = 10_000
SECRET = b"bob's own video"
LINKS = {
    "to-bob": "../bob",
    "to-bobs-file": "../bob/a.mp4",
    "to-nothing-yet": "../bob/new.mp4",
    "up": "../..",
    "root": "/",
    "etc": "/etc",
    "circle": "circle",
    "there": "back",
    "back": "there",
    "deep/er": "../../bob",
    "inside": "exports",
}
PIECES = (
    *(
        "..",
        ".",
        "",
        "/",
        "//",
        "./",
        "../",
        "%2e%2e",
        "%2e%2e/",
        "..%2f",
        "%2f",
        "%5c",
        "%00",
        "%252e",
        "%c0%af",
    ),
    *(
        "\\",
        "..\\",
        "\0",
        "\n",
        "\r\n",
        "\t",
        "\x7f",
        "~",
        "~root",
        "&",
        "?",
        "#",
        "*",
        ";",
        ":",
        "|",
        "$HOME",
        " ",
    ),
    *(
        "/etc/passwd",
        "C:",
        "C:\\",
        "file:///",
        "//host/share",
        "bob",
        "bob/a.mp4",
        "a",
        "a.mp4",
        "exports",
        "new/",
    ),
    *(".attempts/", "x" * 240, "y" * 400, "ü", "u\u0308", "é/", "\ud800", "\u202e", "\u200b", "\ufeff"),
    # They look like dots and slashes, and some normal form makes them that.
    *(
        "\uff0e\uff0e",
        "\uff0e",
        "\u2024\u2024",
        "\u2025",
        "\u2026",
        "\uff0f",
        "\u2215",
        "\u2044",
        "\u29f8",
        "\ufe68",
    ),
)
USERS = (
    "ann",
    "ann",
    "ann",
    "ann",
    "..",
    ".",
    "",
    "/",
    "../bob",
    "bob/..",
    "a/b",
    "~",
    "\0",
    "\ud800",
    "\uff0e\uff0e",
)


@dataclass
class Yard:
    """The data folder, ann's part of it with links to everywhere, and what lies around."""

    root: Path
    storage: FolderStorage

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    def foreign(self, users: set[str]) -> dict[str, str]:
        """Everything that is none of these users': names and contents."""
        theirs = [self.objects / user_folder(user) for user in users] + [self.root / "incoming"]
        return dict(_listed(self.root.parent, theirs))


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    root = tmp_path / "data"
    yard = Yard(root, FolderStorage(root))
    ann, bob = yard.objects / "ann", yard.objects / "bob"
    for folder in (ann / "exports", ann / "deep", bob):
        folder.mkdir(parents=True)
    (ann / "exports" / "a.mp4").write_bytes(b"ann's own video")
    for secret in (bob / "a.mp4", root / "framehook.db", tmp_path / "secret.mp4"):
        secret.write_bytes(SECRET)
    for name, target in LINKS.items():
        (ann / name).symlink_to(target)
    (ann / "to-secret").symlink_to(tmp_path / "secret.mp4")
    return yard


def keys(root: Path) -> Iterator[tuple[str, str]]:
    """Users and keys, the same each time."""
    chance = random.Random(4)  # noqa: S311 - tricks, not secrets
    whole = (str(root), str(root.parent / "secret.mp4"), "/".join(["a"] * 400), "z" * 5_000)
    pieces = (*PIECES, *LINKS, "to-secret", *whole)
    for _ in range(TRIES):
        user = chance.choice(USERS)
        between = chance.choice(("", "/", "/", "/"))
        yield user, between.join(chance.choices(pieces, k=chance.randint(1, 5)))


async def test_no_trick_leads_out_of_the_users_part_of_a_folder(yard: Yard) -> None:
    before, users, taken = yard.foreign(set(USERS)), set(USERS), set[Path]()
    refused = 0
    for user, key in keys(yard.root):
        found = await yard.storage.find(user, key)
        try:
            path = yard.storage.local_path(user, key)
        except InvalidKey:
            assert found is None
            refused += 1
            continue
        home = yard.objects / user_folder(user)
        assert home.parent == yard.objects
        assert leads_to(path).is_relative_to(home)
        if found is not None:
            assert SECRET not in path.read_bytes()
        if path not in taken and len(taken) < 400:
            taken.add(path)
            await written(yard.storage, user, key)
    assert yard.foreign(users) == before
    assert refused > TRIES / 4
    assert len(taken) == 400


def leads_to(path: Path) -> Path:
    return Path(os.path.realpath(path))


async def written(storage: FolderStorage, user: str, key: str) -> None:
    """An object under the key, or nothing, where a folder is in the way."""

    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    try:
        await storage.receive(user, key, body(), 1)
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        return
    assert (await storage.find(user, key)) is not None


def test_no_trick_leads_out_of_the_users_part_of_a_bucket(tmp_path: Path) -> None:
    named = 0
    for user, key in keys(tmp_path):
        try:
            name = bucket_key(user, key)
        except InvalidKey:
            continue
        named += 1
        own = user_folder(user)
        assert "/" not in own
        assert name in (f"{own}/{key}", f".attempts/{own}/{key.removeprefix('.attempts/')}")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert "%" not in key
    assert named > TRIES / 20


def test_what_clients_may_name_is_plain_in_every_form_and_taken_by_every_storage(tmp_path: Path) -> None:
    named = 0
    for _, key in keys(tmp_path):
        try:
            validate_key(key)
        except ValueError:
            continue
        named += 1
        assert object_name("ann", key) == f"ann/{key}"
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            parts = unicodedata.normalize(form, key).split("/")
            assert not any(part in ("", "..") or part.startswith(".") for part in parts)
            assert len(parts) == key.count("/") + 1
    assert named > TRIES / 50


def _listed(folder: Path, without: list[Path]) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir()):
        if entry in without:
            continue
        if entry.is_symlink() or entry.is_file():
            kind = (
                str(entry.readlink())
                if entry.is_symlink()
                else hashlib.sha256(entry.read_bytes()).hexdigest()
            )
            yield str(entry), kind
        else:
            yield str(entry), "folder"
            yield from _listed(entry, without)

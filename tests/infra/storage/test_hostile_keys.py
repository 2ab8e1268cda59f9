"""Ten thousand hostile keys on a real folder full of links: none reaches outside the user's folder."""

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
from infra.storage.bucket_keys import bucket_key
from infra.storage.object_names import object_name, user_folder

KEY_COUNT = 10_000
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
FRAGMENTS = (
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
    # Characters that look like dots and slashes, or become them in a normal form.
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
class Sandbox:
    """A data folder in which ann's folder has links to everywhere, and the files around it."""

    root: Path
    storage: FolderStorage

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    def list_foreign(self, users: set[str]) -> dict[str, str]:
        """Return the contents of all files outside the folders of these users, by path."""
        theirs = [self.objects / user_folder(user) for user in users] + [self.root / "incoming"]
        return dict(_list_tree(self.root.parent, theirs))


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    root = tmp_path / "data"
    sandbox = Sandbox(root, FolderStorage(root))
    ann, bob = sandbox.objects / "ann", sandbox.objects / "bob"
    for folder in (ann / "exports", ann / "deep", bob):
        folder.mkdir(parents=True)
    (ann / "exports" / "a.mp4").write_bytes(b"ann's own video")
    for secret in (bob / "a.mp4", root / "framehook.db", tmp_path / "secret.mp4"):
        secret.write_bytes(SECRET)
    for name, target in LINKS.items():
        (ann / name).symlink_to(target)
    (ann / "to-secret").symlink_to(tmp_path / "secret.mp4")
    return sandbox


def draw_keys(root: Path) -> Iterator[tuple[str, str]]:
    """Yield pairs of user and key, the same in each run."""
    rng = random.Random(4)  # noqa: S311 - test data, not secrets
    whole = (str(root), str(root.parent / "secret.mp4"), "/".join(["a"] * 400), "z" * 5_000)
    fragments = (*FRAGMENTS, *LINKS, "to-secret", *whole)
    for _ in range(KEY_COUNT):
        user = rng.choice(USERS)
        between = rng.choice(("", "/", "/", "/"))
        yield user, between.join(rng.choices(fragments, k=rng.randint(1, 5)))


async def test_no_key_leads_out_of_the_users_folder(sandbox: Sandbox) -> None:
    before, users, stored_paths = sandbox.list_foreign(set(USERS)), set(USERS), set[Path]()
    rejected = 0
    for user, key in draw_keys(sandbox.root):
        stored = await sandbox.storage.find(user, key)
        try:
            path = sandbox.storage.local_path(user, key)
        except InvalidKey:
            assert stored is None
            rejected += 1
            continue
        home = sandbox.objects / user_folder(user)
        assert home.parent == sandbox.objects
        assert resolve_links(path).is_relative_to(home)
        if stored is not None:
            assert SECRET not in path.read_bytes()
        if path not in stored_paths and len(stored_paths) < 400:
            stored_paths.add(path)
            await try_store(sandbox.storage, user, key)
    assert sandbox.list_foreign(users) == before
    assert rejected > KEY_COUNT / 4
    assert len(stored_paths) == 400


def resolve_links(path: Path) -> Path:
    return Path(os.path.realpath(path))


async def try_store(storage: FolderStorage, user: str, key: str) -> None:
    """Store an object, unless a folder blocks its path."""

    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    try:
        await storage.receive(user, key, body(), 1)
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        return
    assert (await storage.find(user, key)) is not None


def test_no_key_leads_out_of_the_users_prefix_in_a_bucket(tmp_path: Path) -> None:
    accepted = 0
    for user, key in draw_keys(tmp_path):
        try:
            name = bucket_key(user, key)
        except InvalidKey:
            continue
        accepted += 1
        own = user_folder(user)
        assert "/" not in own
        assert name in (f"{own}/{key}", f".attempts/{own}/{key.removeprefix('.attempts/')}")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert "%" not in key
    assert accepted > KEY_COUNT / 20


def test_keys_that_clients_may_use_are_plain_in_every_normal_form_and_valid_in_every_storage(
    tmp_path: Path,
) -> None:
    accepted = 0
    for _, key in draw_keys(tmp_path):
        try:
            validate_key(key)
        except ValueError:
            continue
        accepted += 1
        assert object_name("ann", key) == f"ann/{key}"
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            parts = unicodedata.normalize(form, key).split("/")
            assert not any(part in ("", "..") or part.startswith(".") for part in parts)
            assert len(parts) == key.count("/") + 1
    assert accepted > KEY_COUNT / 50


def _list_tree(folder: Path, without: list[Path]) -> Iterator[tuple[str, str]]:
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
            yield from _list_tree(entry, without)

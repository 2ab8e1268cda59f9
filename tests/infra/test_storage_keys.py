"""How keys and users become names: whatever is tried, nothing leads out of the user's part of the storage."""

import hashlib
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gpu.keys import checked_key
from infra.storage import FolderStorage, OutsideStorage
from infra.storage.base import object_name, part_bytes, part_sizes, user_folder
from infra.storage.s3 import bucket_key

MIB = 2**20
TRICKS = st.lists(
    st.sampled_from(
        [
            *(
                "..",
                ".",
                "",
                "/",
                "//",
                "%2e%2e",
                "%2f",
                "%00",
                "\\",
                "\0",
                "\r\n",
                "~",
                "&",
                "?",
                "#",
                "*",
                ";",
                " ",
            ),
            *(
                ".attempts/",
                "bob",
                "a",
                "link",
                "C:",
                "file://",
                "x" * 300,
                "é",
                "e\u0301",
                "\u202e",
                "\ud800",
            ),
            *(
                "\uff0e\uff0e",
                "\u2024\u2024",
                "\u2025",
                "\uff0f",
                "\u2215",
                "\u2044",
            ),  # they look like dots and slashes
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user_id=TRICKS, key=TRICKS)
@example(user_id="..", key="a")
@example(user_id="", key="a")
def test_no_user_and_no_key_lead_out_of_the_users_part(tmp_path: Path, user_id: str, key: str) -> None:
    storage = FolderStorage(tmp_path)
    (tmp_path / "objects" / "bob").mkdir(exist_ok=True)
    own = tmp_path / "objects" / user_folder(user_id)
    own.mkdir(exist_ok=True)
    link = own / "link"
    if not link.is_symlink():
        link.symlink_to(tmp_path / "objects" / "bob")
    try:
        path = storage.path(user_id, key)
        name = object_name(user_id, key)
    except OutsideStorage:
        return
    assert own.parent == tmp_path / "objects"
    assert path.resolve().is_relative_to(own)
    assert name == f"{own.name}/{key}"
    assert not {"", ".", ".."} & set(name.split("/"))
    assert bucket_key(user_id, key) in (name, f".attempts/{own.name}/{key.removeprefix('.attempts/')}")


@given(key=TRICKS)
def test_every_key_that_clients_may_write_is_one_that_storage_takes(key: str) -> None:
    try:
        checked_key(key)
    except ValueError:
        return
    assert object_name("ann", key) == f"ann/{key}"


@settings(max_examples=2_000)
@given(one=st.text(), other=st.text())
@example(one="a/b", other="a%2Fb")
@example(one="../x", other="~" + hashlib.sha256(b"../x").hexdigest())
def test_no_two_users_share_a_folder(one: str, other: str) -> None:
    assert (user_folder(one) == user_folder(other)) == (one == other)


@given(size=st.integers(min_value=1, max_value=5 * 2**40))
def test_parts_make_up_the_whole_and_are_alike_but_the_last(size: int) -> None:
    each = part_bytes(size)
    count = -(-size // each)
    assert count <= 1_000
    assert 8 * MIB <= each <= 6 * 2**30
    if size < 2**40:
        sizes = part_sizes(size)
        assert sum(sizes) == size
        assert set(sizes[:-1]) <= {each}
        assert 0 < sizes[-1] <= each

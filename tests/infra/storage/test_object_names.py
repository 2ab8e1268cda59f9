"""User folders are unique, and part sizes add up to the size of the object."""

import hashlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.storage.base import part_bytes, part_sizes
from infra.storage.object_names import user_folder

MIB = 2**20


@settings(max_examples=2_000)
@given(first=st.text(), second=st.text())
@example(first="a/b", second="a%2Fb")
@example(first="../x", second="~" + hashlib.sha256(b"../x").hexdigest())
def test_no_two_users_share_a_folder(first: str, second: str) -> None:
    assert (user_folder(first) == user_folder(second)) == (first == second)


@given(size=st.integers(min_value=1, max_value=5 * 2**40))
def test_parts_add_up_to_the_object_and_are_equal_except_the_last(size: int) -> None:
    each = part_bytes(size)
    count = -(-size // each)
    assert count <= 1_000
    assert 8 * MIB <= each <= 6 * 2**30
    if size < 2**40:
        sizes = part_sizes(size)
        assert sum(sizes) == size
        assert set(sizes[:-1]) <= {each}
        assert 0 < sizes[-1] <= each

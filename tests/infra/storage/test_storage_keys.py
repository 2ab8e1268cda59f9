"""How users become names, each one of their own, and sizes become parts."""

import hashlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.storage.base import part_bytes, part_sizes
from infra.storage.object_names import user_folder

MIB = 2**20


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

"""Scanners and the service recognize a key by its form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.log_format import mask_secrets
from service.keys.key_format import generate_key, is_key

KEY = "fh_2k5dxsHFRILYJrTqubE8VzGFEPl8L0D63Gd3aB"
"""The form is public and scanners rely on it: it never changes."""


def test_the_form_never_changes() -> None:
    assert is_key(KEY)


def test_keys_are_new_and_have_the_form() -> None:
    keys = [generate_key() for _ in range(100)]
    assert len(set(keys)) == 100
    assert all(map(is_key, keys))
    assert {len(key) for key in keys} == {len(KEY)}


@given(st.integers(0, len(KEY) - 1), st.sampled_from("0aZ_-é"))
def test_a_typing_error_is_noticed(place: int, letter: str) -> None:
    changed = KEY[:place] + letter + KEY[place + 1 :]
    assert is_key(changed) == (changed == KEY)


@pytest.mark.parametrize("text", ["", "fh_", KEY[:-1], KEY + "0", KEY + "\n", KEY.removeprefix("fh_")])
def test_other_text_is_no_key(text: str) -> None:
    assert not is_key(text)


def test_no_log_shows_a_key() -> None:
    assert mask_secrets(f"key {KEY} and ?key={KEY}&x") == "key fh_[secret] and ?key=fh_[secret]&x"

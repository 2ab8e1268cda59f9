"""Text as pixels: every script from the shipped fonts, joined, ordered, broken into lines."""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu.draw.bidi import reorder_visual
from gpu.draw.fonts import JAPANESE, LATIN, typeface
from gpu.draw.graphemes import is_emoji, split_clusters
from gpu.draw.line_breaking import wrap
from gpu.draw.text import find_undrawable, line_height, measure, note_undrawable, render_line

SIZE = 40.0
PACKAGES = Path(str(distribution("noto-cjk-sans-otc").locate_file("")))


def ink(text: str, *, bold: bool = False) -> NDArray[np.uint8]:
    return render_line(text, SIZE, bold=bold).alpha


def visual_runs(text: str) -> list[str]:
    """Return the runs of a line from left to right."""
    return [run for run, _, _ in reorder_visual(text, lambda _: None)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Ángel Łódź ß São ñ ő", id="accents"),
        pytest.param("Привет Қазақ", id="Cyrillic"),
        pytest.param("Αγώνας", id="Greek"),
        pytest.param("مرحبا بالعالم", id="Arabic"),
        pytest.param("שלום עולם", id="Hebrew"),
        pytest.param("सचिन तेंदुलकर", id="Devanagari"),
        pytest.param("বাংলা", id="Bengali"),
        pytest.param("தமிழ்", id="Tamil"),
        pytest.param("తెలుగు", id="Telugu"),
        pytest.param("ภาษาไทย", id="Thai"),
        pytest.param("ພາສາລາວ", id="Lao"),
        pytest.param("မြန်မာ", id="Burmese"),
        pytest.param("ខ្មែរ", id="Khmer"),
        pytest.param("ਪੰਜਾਬੀ ગુજરાતી ଓଡ଼ିଆ ಕನ್ನಡ മലയാളം සිංහල", id="more scripts of India"),
        pytest.param("Հայերեն ქართული አማርኛ", id="Armenian, Georgian, Ethiopic"),
        pytest.param("⚽🔥🏆★✓", id="emoji and symbols"),
        pytest.param("进球 東京サッカー 대한민국", id="Chinese, Japanese, Korean"),
    ],
)
def test_the_packages_bring_a_font_for_every_character(text: str) -> None:
    for char in text:
        face = typeface(char)

        assert face is not None
        assert Path(face.path).is_relative_to(PACKAGES)
    assert ink(text).max() == 255


def test_arabic_letters_are_joined() -> None:
    assert ink("ححح").any(axis=0).all()
    assert not ink("ح ح ح").any(axis=0).all()


def test_a_vowel_sign_is_placed_before_the_consonant_that_it_follows_in_writing() -> None:
    assert measure("कि", SIZE) == pytest.approx(measure("क", SIZE) + measure("ि", SIZE), rel=0.35)
    assert np.flatnonzero(ink("कि").any(axis=0))[0] < np.flatnonzero(ink("क").any(axis=0))[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("3:2 win", ["3:2 win"], id="one direction"),
        pytest.param("by אבג now", ["by ", "אבג", " now"], id="a name in a sentence"),
        pytest.param("אבג 12 דה", [" דה", "12", "אבג "], id="a number keeps its digits in order"),
        pytest.param("אבג 3:2 win", [" win", "3:2", "אבג "], id="a score among letters that run left"),
        pytest.param("אבג win", ["win", "אבג "], id="a line that runs left"),
    ],
)
def test_both_directions_share_a_line(text: str, expected: list[str]) -> None:
    assert [part.strip() for part in expected] == [part.strip() for part in visual_runs(text) if part.strip()]


def test_the_first_word_of_a_line_that_runs_left_is_at_its_right_edge() -> None:
    line = render_line("שלום A", SIZE)
    latin = render_line("A", SIZE)

    from_top = latin.top - line.top
    beginning = line.alpha[from_top : from_top + latin.alpha.shape[0], : latin.alpha.shape[1]]
    assert np.array_equal(beginning, latin.alpha)


def test_composed_and_decomposed_accents_look_the_same() -> None:
    assert np.array_equal(ink("é"), ink("e\u0301"))


def test_bold_is_heavier() -> None:
    for text in ("Goal", "שלום", "进球"):
        assert ink(text, bold=True).sum() > 1.08 * ink(text).sum()


def test_every_script_is_drawn_at_about_the_same_weight() -> None:
    """A variable font left at its default may be a hairline."""
    for text in ("Goal", "שלום", "Гол", "进球"):
        assert (ink(text) > 200).any()


def test_han_characters_are_drawn_the_japanese_way_next_to_kana() -> None:
    assert typeface("直", JAPANESE) != typeface("直")
    assert not np.array_equal(ink("直の")[:, :30], ink("直")[:, :30])


@pytest.mark.parametrize(
    "emoji",
    [
        "⚽",
        "🔥",
        "👍🏽",
        "👨\u200d👩\u200d👧\u200d👦",
        "🇩🇪",
        "1\ufe0f\u20e3",
        "#\u20e3",
        "❤\ufe0f",
        "🏳\ufe0f\u200d🌈",
    ],
)
def test_an_emoji_of_any_number_of_characters_is_one_sign(emoji: str) -> None:
    assert list(split_clusters(f"a{emoji}b")) == ["a", emoji, "b"]
    assert measure(emoji, SIZE) == measure("⚽", SIZE)
    assert find_undrawable(emoji) == []
    assert [part for line in wrap(emoji * 9, SIZE, 100) for part in split_clusters(line)] == [emoji] * 9


def test_signs_that_are_text_unless_said_otherwise_stay_text() -> None:
    assert not is_emoji("©")
    assert not is_emoji("1")
    assert not is_emoji("⚽\ufe0e")
    assert measure("© 1 ☎", SIZE) < measure("©\ufe0f 1 ☎\ufe0f", SIZE)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [("goal {} now", "goal now"), ("{} goal", "goal"), ("goal {}{}  now", "goal now"), ("a{}b", "ab")],
)
def test_what_no_font_has_is_left_out_and_named_and_leaves_no_gap(text: str, drawn: str) -> None:
    missing = "\U0001f9ff\u200d\U0001faff"
    for cluster in ("\U000f0000", missing):
        assert np.array_equal(ink(text.format(cluster, cluster)), ink(drawn))
        assert measure(text.format(cluster, cluster).rstrip(), SIZE) == measure(drawn, SIZE)
        assert find_undrawable(text.format(cluster, cluster))[0] == cluster
    assert note_undrawable([drawn]) == ()
    assert "\U000f0000" in note_undrawable([text.format("\U000f0000", "")])[0]


def test_an_ellipsis_tears_no_emoji_apart() -> None:
    family = "👨\u200d👩\u200d👧\u200d👦"
    (line,) = wrap(family * 9, SIZE, 200, max_lines=1)
    assert line == family * (len(line) // len(family)) + "…"


def test_nothing_is_drawn_for_nothing() -> None:
    line = render_line(" \u200b", SIZE)

    assert line.alpha.size == 0
    assert typeface("A") == LATIN


def test_the_ink_lies_in_the_line_box() -> None:
    line = render_line("Ág", SIZE)

    assert line.top >= 0
    assert line.top + line.alpha.shape[0] <= line_height(SIZE)
    assert abs(line.left) < SIZE / 8
    assert line.alpha.shape[1] == pytest.approx(line.advance, abs=SIZE / 8)


def test_a_line_of_absurd_length_stays_bounded() -> None:
    assert render_line("W" * 1_000, 1_000.0).alpha.shape[1] < 18_000


def test_lines_are_broken_between_words_and_fit() -> None:
    text = "The quick brown fox jumps over the lazy dog"
    lines = wrap(text, SIZE, 300)

    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(measure(line, SIZE) <= 300 for line in lines)


def test_chinese_is_broken_between_characters_but_not_before_a_full_stop() -> None:
    lines = wrap("进球进球进球进球。", SIZE, 4 * SIZE)

    assert lines == ["进球进球", "进球进", "球。"]


def test_a_word_wider_than_the_line_is_broken() -> None:
    lines = wrap("Donaudampfschifffahrtsgesellschaft", SIZE, 200)

    assert "".join(lines) == "Donaudampfschifffahrtsgesellschaft"
    assert all(measure(line, SIZE) <= 200 for line in lines)


def test_line_breaks_of_the_text_stay() -> None:
    assert wrap("one\n\ntwo", SIZE, 500) == ["one", "", "two"]


def test_too_many_lines_end_in_an_ellipsis() -> None:
    lines = wrap("one two three four five six", SIZE, 150, max_lines=2)

    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert measure(lines[-1], SIZE) <= 150

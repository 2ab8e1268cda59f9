"""Which font draws which character: the fonts that come with the packages, then whatever the machine has.

The shipped fonts (Noto Sans, SIL Open Font License) cover Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari, Bengali,
Tamil, Telugu and six more scripts of India, Thai, Lao, Khmer, Myanmar, Armenian, Georgian, Ethiopic, Chinese,
Japanese and Korean, symbols and emoji, so that the same text looks the same on every machine. Each is opened when first
needed; files are mapped, not read.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import uharfbuzz as hb  # type: ignore[import-untyped]

_REGULAR, _BOLD = 400.0, 700.0
# How much wider a font without a bold weight is drawn, as a share of the size.
_SMEARED = 0.03

Ranges = tuple[tuple[int, int], ...]

_SCRIPTS: tuple[tuple[str, str, Ranges], ...] = (
    ("justmytype_intl_rtl", "notosansarabic/NotoSansArabic",
     ((0x600, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF))),
    ("justmytype_intl_rtl", "notosanshebrew/NotoSansHebrew", ((0x590, 0x5FF), (0xFB1D, 0xFB4F))),
    ("justmytype_intl_south_asia", "notosansdevanagari/NotoSansDevanagari",
     ((0x900, 0x97F), (0x1CD0, 0x1CFF), (0xA8E0, 0xA8FF))),
    ("justmytype_intl_south_asia", "notosansbengali/NotoSansBengali", ((0x980, 0x9FF),)),
    ("justmytype_intl_south_asia", "notosanstamil/NotoSansTamil", ((0xB80, 0xBFF),)),
    ("justmytype_intl_south_asia", "notosanstelugu/NotoSansTelugu", ((0xC00, 0xC7F),)),
    ("manimgx_fonts", "NotoSansGurmukhi", ((0xA00, 0xA7F),)),
    ("manimgx_fonts", "NotoSansGujarati", ((0xA80, 0xAFF),)),
    ("manimgx_fonts", "NotoSansOriya", ((0xB00, 0xB7F),)),
    ("manimgx_fonts", "NotoSansKannada", ((0xC80, 0xCFF),)),
    ("manimgx_fonts", "NotoSansMalayalam", ((0xD00, 0xD7F),)),
    ("manimgx_fonts", "NotoSansSinhala", ((0xD80, 0xDFF),)),
    ("manimgx_fonts", "NotoSansArmenian", ((0x530, 0x58F),)),
    ("manimgx_fonts", "NotoSansGeorgian", ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F))),
    ("manimgx_fonts", "NotoSansEthiopic", ((0x1200, 0x139F), (0x2D80, 0x2DDF), (0xAB00, 0xAB2F))),
    ("justmytype_intl_sea", "notosansthai/NotoSansThai", ((0xE00, 0xE7F),)),
    ("justmytype_intl_sea", "notosanslao/NotoSansLao", ((0xE80, 0xEFF),)),
    ("justmytype_intl_sea", "notosansmyanmar/NotoSansMyanmar", ((0x1000, 0x109F), (0xA9E0, 0xA9FF))),
    ("justmytype_intl_sea", "notosanskhmer/NotoSansKhmer", ((0x1780, 0x17FF), (0x19E0, 0x19FF))),
)  # fmt: skip
_FLAT_PACKAGE = "manimgx_fonts"
_LATIN = ("fontpkg_noto_sans", "files/NotoSans[wdth,wght].ttf")
_EAST_ASIAN = ("noto_cjk_sans_otc", "NotoSansCJK-Regular.ttc")
# Places in the collection: the same characters, drawn as each country draws them.
JAPANESE, KOREAN, CHINESE = 0, 1, 2


@dataclass(frozen=True)
class Typeface:
    """A font in a file; `index` is its place where the file is a collection."""

    path: str
    index: int = 0

    def has(self, char: str) -> bool:
        """Whether the font can draw the character."""
        return ord(char) in _characters(self)

    def sized(self, size: float, *, bold: bool) -> hb.Font:
        """The font for shaping and drawing, in 64ths of a pixel; `size` in pixels to the em."""
        return _sized(self, size, bold)


LATIN = Typeface(str(files(_LATIN[0]).joinpath(_LATIN[1])))


def typeface(char: str, east_asian: int = CHINESE) -> Typeface | None:
    """The first font that can draw the character: its script's, the Latin, East Asian, symbols', the machine's."""
    for face in (_of_script(char), LATIN, _east_asian(east_asian), _symbols(), emoji_typeface()):
        if face is not None and face.has(char):
            return face
    return _of_machine(char)


def _of_script(char: str) -> Typeface | None:
    code = ord(char)
    for package, stem, ranges in _SCRIPTS:
        if any(low <= code <= high for low, high in ranges):
            return _shipped(package, stem)
    return None


@cache
def _shipped(package: str, stem: str) -> Typeface:
    if package == _FLAT_PACKAGE:
        return Typeface(str(files(package).joinpath(f"{stem}[wght].ttf")))
    return Typeface(str(files(package).joinpath("fonts", "ofl", *f"{stem}[wdth,wght].ttf".split("/"))))


def emoji_typeface() -> Typeface:
    """The font of emoji, in one colour: keys, flags and joined ones are single signs of it."""
    return _shipped(_FLAT_PACKAGE, "NotoEmoji")


def _symbols() -> Typeface:
    return _shipped(_FLAT_PACKAGE, "NotoSansSymbols")


@cache
def _east_asian(index: int) -> Typeface:
    return Typeface(str(files(_EAST_ASIAN[0]).joinpath(_EAST_ASIAN[1])), index)


@cache
def _opened(face: Typeface) -> hb.Face:
    return hb.Face(hb.Blob.from_file_path(face.path), face.index)


@cache
def _characters(face: Typeface) -> hb.Set:
    return _opened(face).unicodes


@cache
def _sized(face: Typeface, size: float, bold: bool) -> hb.Font:
    opened = _opened(face)
    font = hb.Font(opened)
    font.scale = (round(size * 64), round(size * 64))
    if any(axis.tag == "wght" for axis in opened.axis_infos):
        font.set_variations({"wght": _BOLD if bold else _REGULAR})  # left alone, some are hairlines
    elif bold:
        font.synthetic_bold = (_SMEARED, _SMEARED, False)
    return font


@cache
def _of_machine(char: str) -> Typeface | None:
    """What the machine itself has for a character that no shipped font knows."""
    return next((face for face in _installed() if face.has(char)), None)


@cache
def _installed() -> tuple[Typeface, ...]:
    """The machine's fonts with outlines, plain sans-serif ones first."""
    found = sorted({path for folder in _folders() for path in _font_files(folder)}, key=_plainness)
    return tuple(face for path in found if _has_outlines(face := Typeface(str(path))))


def _folders() -> tuple[Path, ...]:
    home = Path.home()
    if sys.platform == "darwin":
        return (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    if sys.platform == "win32":
        return (Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",)
    return (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
    )


def _font_files(folder: Path) -> Iterator[Path]:
    for suffix in ("ttf", "otf", "ttc"):
        yield from folder.rglob(f"*.{suffix}")


def _plainness(path: Path) -> tuple[bool, bool, int, str]:
    name = path.stem.lower()
    styled = any(
        style in name for style in ("bold", "italic", "oblique", "light", "condensed", "mono", "thin")
    )
    return styled, "sans" not in name, len(name), str(path)


def _has_outlines(face: Typeface) -> bool:
    try:
        return bool({"glyf", "CFF ", "CFF2"} & set(_opened(face).table_tags))
    except (hb.HarfBuzzError, OSError):
        return False

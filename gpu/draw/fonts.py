"""Choose the font that draws a character: the fonts of the installed packages, then those of the machine.

The shipped fonts (Noto Sans, SIL Open Font License) cover Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari, Bengali,
Tamil, Telugu and six more scripts of India, Thai, Lao, Khmer, Myanmar, Armenian, Georgian, Ethiopic, Chinese,
Japanese and Korean, symbols and emoji, so that the same text looks the same on every machine. A font is opened when it
is first needed; files are mapped, not read.
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
# Extra width of the strokes of a font without a bold weight, as a fraction of the size.
_SYNTHETIC_BOLD = 0.03

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
# Indexes in the collection: the same characters in the forms of each country.
JAPANESE, KOREAN, CHINESE = 0, 1, 2


@dataclass(frozen=True)
class Typeface:
    """A font in a file; `index` is its position in a collection."""

    path: str
    index: int = 0

    def has(self, char: str) -> bool:
        """Tell whether the font can draw the character."""
        return ord(char) in _characters(self)

    def at_size(self, size: float, *, bold: bool) -> hb.Font:
        """Return the font for shaping and drawing, in 64ths of a pixel; `size` in pixels per em."""
        return _font_at(self, size, bold)


LATIN = Typeface(str(files(_LATIN[0]).joinpath(_LATIN[1])))


def typeface(char: str, east_asian: int = CHINESE) -> Typeface | None:
    """Return the first font that can draw the character, or None.

    The order is: the font of its script, Latin, East Asian, symbols, emoji, the machine's fonts.
    """
    for face in (_script_typeface(char), LATIN, _east_asian(east_asian), _symbols(), emoji_typeface()):
        if face is not None and face.has(char):
            return face
    return _system_typeface(char)


def _script_typeface(char: str) -> Typeface | None:
    code = ord(char)
    for package, stem, ranges in _SCRIPTS:
        if any(low <= code <= high for low, high in ranges):
            return _package_typeface(package, stem)
    return None


@cache
def _package_typeface(package: str, stem: str) -> Typeface:
    if package == _FLAT_PACKAGE:
        return Typeface(str(files(package).joinpath(f"{stem}[wght].ttf")))
    return Typeface(str(files(package).joinpath("fonts", "ofl", *f"{stem}[wdth,wght].ttf".split("/"))))


def emoji_typeface() -> Typeface:
    """Return the single-colour emoji font; keycaps, flags and joined emoji are single glyphs of it."""
    return _package_typeface(_FLAT_PACKAGE, "NotoEmoji")


def _symbols() -> Typeface:
    return _package_typeface(_FLAT_PACKAGE, "NotoSansSymbols")


@cache
def _east_asian(index: int) -> Typeface:
    return Typeface(str(files(_EAST_ASIAN[0]).joinpath(_EAST_ASIAN[1])), index)


@cache
def _open_face(face: Typeface) -> hb.Face:
    return hb.Face(hb.Blob.from_file_path(face.path), face.index)


@cache
def _characters(face: Typeface) -> hb.Set:
    return _open_face(face).unicodes


@cache
def _font_at(face: Typeface, size: float, bold: bool) -> hb.Font:
    hb_face = _open_face(face)
    font = hb.Font(hb_face)
    font.scale = (round(size * 64), round(size * 64))
    if any(axis.tag == "wght" for axis in hb_face.axis_infos):
        font.set_variations({"wght": _BOLD if bold else _REGULAR})  # the default weight of some is a hairline
    elif bold:
        font.synthetic_bold = (_SYNTHETIC_BOLD, _SYNTHETIC_BOLD, False)
    return font


@cache
def _system_typeface(char: str) -> Typeface | None:
    """Return the machine's font for a character that no installed package has."""
    return next((face for face in _list_system_fonts() if face.has(char)), None)


@cache
def _list_system_fonts() -> tuple[Typeface, ...]:
    """Return the machine's outline fonts, plain sans-serif ones first."""
    paths = sorted({path for folder in _folders() for path in _font_files(folder)}, key=_plainness)
    return tuple(face for path in paths if _has_outlines(face := Typeface(str(path))))


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
        return bool({"glyf", "CFF ", "CFF2"} & set(_open_face(face).table_tags))
    except (hb.HarfBuzzError, OSError):
        return False

"""Other spellings of one patient code, and the rule that says when two codes look the same.

Where two parts of a service compare codes by different rules (a case-insensitive collation here, a
dictionary there), near-equal codes are one patient to the first and two to the second.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

# Unicode Technical Standard 39, confusables.txt (https://www.unicode.org/reports/tr39/): the
# single characters that it maps to an ASCII letter or digit and that a keyboard, a scanner's OCR
# or a pasted document can produce. The capitals come first because codes are written in capitals.
LOOK_ALIKES: dict[str, str] = {
    "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "G": "Ԍ", "H": "НΗ", "I": "ІΙ", "J": "Ј",
    "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "V": "Ѵ",
    "X": "ХΧ", "Y": "УΥ", "Z": "Ζ", "3": "З", "6": "б", "a": "а", "c": "с", "e": "е",
    "i": "і", "j": "ј", "o": "оο", "p": "рρ", "s": "ѕ", "v": "ν", "x": "х", "y": "у",
}  # fmt: skip
# The same table has 0/O and 1/I/l, the pairs that people mix up without leaving ASCII.
_ASCII_LOOK_ALIKES = {"0": "O", "1": "Il", "O": "0", "I": "1l", "l": "1I", "o": "0"}

BLANKS = (" ", "\n", "\t", "\r\n", "\N{NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}")
ZERO_WIDTH = (
    "\N{ZERO WIDTH SPACE}",
    "\N{ZERO WIDTH NON-JOINER}",
    "\N{WORD JOINER}",
    "\N{SOFT HYPHEN}",
    "\N{ZERO WIDTH NO-BREAK SPACE}",
)
# Acute and diaeresis have precomposed letters, so NFC changes them; the short stroke never has.
_MARKS = (
    "\N{COMBINING ACUTE ACCENT}",
    "\N{COMBINING DIAERESIS}",
    "\N{COMBINING SHORT STROKE OVERLAY}",
)
_DIGITS = ("٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९")

_TO_ASCII = str.maketrans({like: char for char, likes in LOOK_ALIKES.items() for like in likes})
_TO_DIGIT = str.maketrans("oil", "011")


def skeleton(code: str) -> str:
    """What is left of a code when everything that an eye overlooks is taken away.

    Two codes with the same skeleton are *near-equal*: compatibility forms, accents, invisible
    characters, case, look-alike letters, surrounding blanks and leading zeros do not count.
    It follows the idea of the skeleton in Unicode TR39, section 4, but goes further (case, blanks,
    zeros), since a form, a spreadsheet and a database collation go further too.

    >>> skeleton("TEST-001") == skeleton(" ＴＥＳＴ-1")
    True
    >>> skeleton("TEST-001") == skeleton("TEST-002")
    False
    """
    visible = "".join(
        char if (digit := unicodedata.decimal(char, None)) is None else str(digit)
        for char in unicodedata.normalize("NFKD", code)
        if unicodedata.category(char)[0] != "M" and unicodedata.category(char) != "Cf"
    )
    folded = visible.translate(_TO_ASCII).casefold().translate(_TO_DIGIT).strip()
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", folded)


def confusable_with(code: str) -> SearchStrategy[str]:
    r"""Other spellings of ``code``: never equal to it, always with the same `skeleton`.

    Case, surrounding blanks, leading zeros, full-width forms, look-alike letters (Latin, Cyrillic,
    Greek; Unicode TR39), digits of other scripts, combining characters, other normal forms and
    zero-width characters: one of them, one to three times. Blanks include the newline and digits
    the Arabic ones, because ``^[A-Z]{2}-\d{4}-\d{3}$`` lets both of them through.

    >>> from strategies import minimal
    >>> minimal(confusable_with("TEST-001"))
    'test-001'
    >>> minimal(confusable_with("CD-2025-001"), lambda code: code.strip() != code)
    ' CD-2025-001'
    >>> ascii(minimal(confusable_with("TEST-001"), lambda code: "Е" in code))
    "'T\\u0415ST-001'"
    """
    return _edited(code, [edits for edits in _ways(code) if edits])


class _Edit(NamedTuple):
    """Put ``new`` in the place of the ``size`` characters from ``at`` on."""

    at: int
    size: int
    new: str


@composite
def _edited(draw: DrawFn, code: str, ways: Sequence[Sequence[_Edit]]) -> str:
    edits = ways[draw(st.integers(0, len(ways) - 1))]
    chosen: dict[int, _Edit] = {}
    for _ in range(draw(st.integers(1, 3))):
        edit = edits[draw(st.integers(0, len(edits) - 1))]
        chosen[edit.at] = edit
    # From the end, so that the positions of those before still hold.
    for at, size, new in sorted(chosen.values(), reverse=True):
        code = code[:at] + new + code[at + size :]
    return code


def _ways(code: str) -> Iterator[list[_Edit]]:
    """The edits that keep the skeleton, grouped by what they do, in the order in which they shrink.

    All edits of a group that begin at different places can be made together.
    """

    def whole(*others: str) -> list[_Edit]:
        return [_Edit(0, len(code), other) for other in others if other != code]

    def each(replacements: Callable[[str], str]) -> list[_Edit]:
        return [_Edit(at, 1, new) for at, char in enumerate(code) for new in replacements(char)]

    def insert(places: Iterable[int], what: Sequence[str]) -> list[_Edit]:
        return [_Edit(at, 0, new) for at in places for new in what]

    yield whole(_cased(code, str.lower), _cased(code, str.upper))
    yield insert((0, len(code)), BLANKS)
    # Only after a hyphen: in "I1" the skeleton takes the letter for the number's first digit.
    yield insert((found.end() for found in re.finditer(r"(?:^|-)(?=[0-9])", code)), ("0", "00"))
    zeros = re.finditer(r"(?:^|(?<=-))0+(?=[0-9])", code)
    yield [_Edit(found.start(), len(found[0]), "") for found in zeros]
    yield each(_other_case)
    yield each(_full_width)
    yield each(_look_alike)
    yield each(_other_digits)
    yield whole(*(unicodedata.normalize(form, code) for form in ("NFC", "NFD")))
    letters = [at + 1 for at, char in enumerate(code) if char.isascii() and char.isalpha()]
    accents = insert(letters, _MARKS)
    yield accents
    accented = (code[:at] + mark + code[at:] for at, _, mark in accents)
    yield whole(*(unicodedata.normalize("NFC", other) for other in accented))
    yield insert(range(len(code) + 1), ZERO_WIDTH)


# Beyond ASCII the other case may be two characters or another letter (the dotless i).
def _cased(code: str, change: Callable[[str], str]) -> str:
    return "".join(change(char) if char.isascii() else char for char in code)


def _other_case(char: str) -> str:
    return char.swapcase() if char.isascii() and char.isalpha() else ""


def _full_width(char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else ""


def _look_alike(char: str) -> str:
    return LOOK_ALIKES.get(char, "") + _ASCII_LOOK_ALIKES.get(char, "")


def _other_digits(char: str) -> str:
    return "".join(script[int(char)] for script in _DIGITS) if char in "0123456789" else ""

"""Licence plates, folded for search; patterns of them. Pure.

Folded are case, blanks and dashes; all scripts stay, Thai with its marks. The text as it was read is kept
beside.
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_PLATE_CHARS = 128
EXACT, WILD, SIMILAR = "exact", "wild", "similar"  # kinds of patterns
# What is said to who would erase.
NO_PLATE = "a plate has a letter or a digit, and patterns are not taken: say the very plate, such as ABC1234"
NO_PATTERN = "there is no such plate, and patterns are not taken: say the very plate, such as ABC1234"
_ALIKE = str.maketrans("OIB", "018")
_SIMILAR = re.compile(r"~1(.*)|(.*)~1", re.DOTALL)


@dataclass(frozen=True)
class PlatePattern:
    """A pattern of plates, folded: `kind` is `exact`, `wild` for one with `*` and `?`, or `similar` for
    plates with at most one letter more, less or other, in which those that look alike are one.
    """

    kind: str
    text: str

    def matches(self, folded: str) -> bool:
        """Tell whether a folded plate is meant."""
        if self.kind == SIMILAR:
            return is_similar(self.text, folded)
        if self.kind == EXACT:
            return self.text == folded
        return re.fullmatch(_expression(self.text), folded, re.DOTALL) is not None


def fold(text: str) -> str:
    """Return what plates are compared by."""
    kept = (one for one in unicodedata.normalize("NFC", text) if not _is_folded_away(one))
    return "".join(kept).upper()[:MAX_PLATE_CHARS]


def is_plate(text: str) -> bool:
    """Tell whether a plate can be meant: it has a letter or a digit."""
    return any(one.isalnum() for one in fold(text))


def fold_alike(folded: str) -> str:
    """Return a folded plate with one letter for those that look alike: O and 0, I and 1, B and 8."""
    return folded.translate(_ALIKE)


def parse_pattern(text: str) -> PlatePattern:
    """Return the pattern that people write: `ABC1234`, `AB?12*`, `ABC1234~1` or `~1ABC1234`."""
    found = _SIMILAR.fullmatch(text.strip())
    if found:
        return PlatePattern(SIMILAR, fold(found[1] if found[1] is not None else found[2]))
    if "*" in text or "?" in text:
        folded = "".join(one if one in "*?" else fold(one) for one in re.split(r"([*?])", text))
        return PlatePattern(WILD, re.sub(r"\*+", "*", folded)[:MAX_PLATE_CHARS])
    return PlatePattern(EXACT, fold(text))


def is_similar(one: str, other: str) -> bool:
    """Tell whether two folded plates differ in at most one letter, alike ones being the same."""
    one, other = sorted((fold_alike(one), fold_alike(other)), key=len)
    if len(other) - len(one) > 1:
        return False
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[same + (len(one) == len(other)) :] == other[same + 1 :]


def longest_literal(pattern: str) -> int:
    """Return how long the longest text is that has neither a wildcard nor a bracket, at which SQLite splits
    what it looks for.
    """
    return max(map(len, re.split(r"[*?[]", pattern)))


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(one) or re.escape(one) for one in pattern)


def _is_folded_away(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Pd", "Cc", "Cf", "Cs", "Zs")

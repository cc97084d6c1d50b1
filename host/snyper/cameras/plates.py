"""Licence plates, folded for search; patterns of them. Pure.

Folded are case, blanks and dashes; all scripts stay, Thai with its marks.
"""

import unicodedata

MAX_PLATE_CHARS = 128
_ALIKE = str.maketrans("OIB", "018")


def fold(text: str) -> str:
    """Return what plates are compared by."""
    kept = (one for one in unicodedata.normalize("NFC", text) if not _is_folded_away(one))
    return "".join(kept).upper()[:MAX_PLATE_CHARS]


def fold_alike(folded: str) -> str:
    """Return a folded plate with one letter for those that look alike: O and 0, I and 1, B and 8."""
    return folded.translate(_ALIKE)


def _is_folded_away(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Pd", "Cc", "Cs", "Zs")

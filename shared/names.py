"""Normalises names that people type: two that look alike are one, and none hides anything. Pure."""

from snyper.shared.runtime import composed

# First and last of what is not seen, or turns or hides what is around it: control characters, the separators
# of lines and paragraphs, Default_Ignorable_Code_Point of Unicode 16, interlinear marks, the empty Braille.
INVISIBLE = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200B),
    (0x200E, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE00FF),
    (0xE01F0, 0xE0FFF),
)
# Not seen either, but they join the letters of some scripts, and emoji, or choose a form of what they follow.
_JOINERS = ((0x200C, 0x200D),)
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
_FIRST_JOINED = "\u0600"  # the scripts before Arabic, Latin among them, need none
_BLANKS = (
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
)


def normalised(name: str) -> str:
    """Normalise a name: without blanks around it, with one blank where there are more or others, and composed
    (NFC, Unicode's annex 15) where the runtime can: a board cannot.
    """
    blank = "".join([" " if _is_in(char, _BLANKS) else char for char in name])
    return composed(" ".join([word for word in blank.split(" ") if word]))


def visible(name: str) -> str:
    """Return the visible part of `name`; all of it, where it hides nothing."""
    kept = ""
    for char in name:
        if _is_in(char, _JOINERS):
            is_kept = _can_be_joined(kept)
        elif _is_in(char, _SELECTORS):
            is_kept = _can_be_joined(kept) and not _is_in(kept[-1], _SELECTORS)
        else:
            is_kept = not _is_in(char, INVISIBLE)
        if is_kept:
            kept += char
    return kept[:-1] if kept and _is_in(kept[-1], _JOINERS) else kept


def _can_be_joined(text: str) -> bool:
    return bool(text) and text[-1] >= _FIRST_JOINED and not _is_in(text[-1], _JOINERS)


def _is_in(char: str, ranges: "tuple[tuple[int, int], ...]") -> bool:
    return any(first <= ord(char) <= last for first, last in ranges)

"""UTF-8 by RFC 3629, which MicroPython does not check. Loaded for the first text that is not ASCII. Pure."""


def is_utf8(text: bytes) -> bool:
    """Return whether `text` is UTF-8 by RFC 3629, for bytes whose lead and continuation bytes a decoder has
    already matched up.

    MicroPython's decoder checks no more than that: it lets overlong forms, surrogates and code points beyond
    U+10FFFF through. Each search runs at the speed of C, and only on text that is not ASCII.
    """
    for lead, low, high in ((0xE0, 0xA0, 0xBF), (0xED, 0x80, 0x9F), (0xF0, 0x90, 0xBF), (0xF4, 0x80, 0x8F)):
        mark = bytes((lead,))
        at = text.find(mark)
        while at >= 0:
            if not low <= text[at + 1] <= high:
                return False
            at = text.find(mark, at + 2)
    for never in (0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF):
        if bytes((never,)) in text:
            return False
    return True

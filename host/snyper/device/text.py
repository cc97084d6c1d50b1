"""Text of others made safe to show, and to name files by: it hides nothing. Pure."""

import re

# What is not seen, or turns or hides what is around it, but for ends of lines and tabs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]+"
)


def harmless(text: str) -> str:
    """Strip `text` of control characters and Unicode's invisible ones, but for the ends of lines, tabs, and
    what joins letters and emoji.
    """
    return _INVISIBLE.sub("", text)


def one_line(text: str) -> str:
    """Make `harmless` text in which no line ends: nobody else begins one of ours."""
    return harmless(" ".join(text.splitlines())).rstrip()

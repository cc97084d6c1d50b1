"""Makes file names safe, whatever a sender calls a file. Pure."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

from snyper.device.text import harmless

MAX_NAME_BYTES = 200  # as UTF-8: file systems take 255, some that encrypt 143 characters; and `-2` has place
_MAX_SUFFIX_BYTES = 20  # of these, for what follows the last dot
MAX_TEXT_CHARS = 1_000
UNNAMED = "file"
# What Windows gives a meaning of its own in a name, whatever follows its first dot.
_DEVICES = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
}
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"|?*', "_"))  # on Windows, or on FAT


def safe_name(text: str) -> str:
    """Make a name for a file out of what its sender calls it: any text.

    It is not empty, names nothing outside of the folder that it is used in, hides nothing and is hidden from
    nobody, has at most MAX_NAME_BYTES, and every usual file system takes it.
    """
    name = text.replace("\\", "/").rpartition("/")[2]
    name = name.encode("utf-8", "ignore").decode()
    name = unicodedata.normalize("NFC", " ".join(harmless(name).split())).translate(_FORBIDDEN)
    name = _shortened(name.lstrip(". ")).rstrip(". ")
    if name.startswith(("-", "~")):  # an option to a command, or a home directory
        name = "_" + name[1:]
    if name.partition(".")[0].rstrip().lower() in _DEVICES:
        name = "_" + name
    return name or UNNAMED


def plain_text(text: str) -> str:
    """Return what any file and any database takes of a sender's text: no halves of characters, and an end."""
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()


def candidates(name: str) -> Iterator[str]:
    """Yield `name`, and then what to call a file where that is taken: `a.txt`, `a-2.txt`, `a-3.txt`."""
    yield name
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    for number in itertools.count(2):
        yield f"{stem}-{number}{dot}{suffix}"


def folded(name: str) -> str:
    """Fold a name to what it has in common with those that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, such as `.jpg`, or ""."""
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        stem, dot, suffix = name, "", ""
    room = MAX_NAME_BYTES - len((dot + suffix).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + suffix

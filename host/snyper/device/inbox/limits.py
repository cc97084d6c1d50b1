"""Limits of what is received, and how what is beyond them is refused."""

from __future__ import annotations

import fnmatch
import shutil
from dataclasses import dataclass
from pathlib import Path

from snyper.device.inbox.names import suffix_of

MAX_FILE_BYTES = 1 << 30
MAX_DATA_BYTES = 1 << 20  # of one value, as JSON
KEEP_FREE_BYTES = 64 << 20  # for the system, its logs, and what else runs there
MAX_AGE_S = 86_400  # of a part, since its last byte
MAX_PARTS = 64
MAX_WAITING = 100_000  # events that no handler has finished
MAX_KEYS = 100_000  # of items: senders have one of unknown fate each


class Refused(Exception):
    """The refusal of what was sent; the message says why, in a sentence for people."""


class TooLarge(Refused):
    """It is beyond a limit, whenever it is sent."""


class WrongType(Refused):
    """Its type or its suffix is not among those that are taken."""


class NoRoom(Refused):
    """There is no room for it at present."""


class Mismatch(Refused):
    """It is not what was said to come: another digest, or another item under a key that is known."""


@dataclass(frozen=True)
class Limits:
    """Limits of an inbox. `types` are media types, `suffixes` the ends of names, each a pattern such as
    `image/*` and `.jpg`; empty lists take all, and where both are given both have to fit.
    """

    max_file_bytes: int = MAX_FILE_BYTES
    max_data_bytes: int = MAX_DATA_BYTES
    keep_free_bytes: int = KEEP_FREE_BYTES
    max_age_s: int = MAX_AGE_S
    max_parts: int = MAX_PARTS
    max_waiting: int = MAX_WAITING
    types: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def check_type(self, name: str, content_type: str) -> None:
        """Raise WrongType for a file that is not to be taken."""
        media_type = content_type.partition(";")[0].strip().lower()
        if self.types and not any(fnmatch.fnmatchcase(media_type, one.lower()) for one in self.types):
            raise WrongType(f"files of the type {media_type!r} are not taken: {', '.join(self.types)}")
        suffix = suffix_of(name)
        if self.suffixes and not any(fnmatch.fnmatchcase(suffix, one.lower()) for one in self.suffixes):
            raise WrongType(f"names that end with {suffix!r} are not taken: {', '.join(self.suffixes)}")

    def check_length(self, length: int, most: int | None = None) -> None:
        """Raise TooLarge for a file of more bytes than are taken: `most`, if given."""
        most = self.max_file_bytes if most is None else most
        if length > most:
            raise TooLarge(f"a file has at most {most:,} bytes here")

    def check_room(self, folder: Path, length: int) -> None:
        """Raise NoRoom where the disk of `folder` would not keep its reserve beside so many more bytes, or
        does not already.
        """
        free = shutil.disk_usage(folder).free
        if length > free - self.keep_free_bytes:
            what = f"{length:,} bytes" if length else "it"
            raise NoRoom(f"there is no room for {what} at present")

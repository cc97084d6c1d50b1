"""The flash log, which outlives a reset: boots, crashes and faults, in two files on the flash that take
turns.
"""

import os

from snyper.shared.clock import now_ms
from snyper.shared.log import log

PATH = "/snyper.log"
OLD_PATH = "/snyper.log.old"
MAX_FILE_BYTES = 4_096  # of each of the two: some 8 crashes with their tracebacks
MAX_LINE_CHARS = 160
MAX_LINES = 24  # of one entry
_BUDGET = 30  # entries kept at once; the flash wears
_REFILL_MS = 600_000  # and one more after so long


class FlashLog:
    """A bounded log in two files. `path` and `old_path` are the two files, the first the newer one."""

    def __init__(self, path: str = PATH, old_path: str = OLD_PATH) -> None:
        self._path = path
        self._old_path = old_path
        self._budget = _BUDGET
        self._refilled_ms = now_ms()

    def append(self, text: str) -> None:
        """Append an entry. Raises nothing: what cannot be written is lost, the board is not.

        Of more than 30 entries at once, and one more in ten minutes, the rest is not kept.
        """
        refills = (now_ms() - self._refilled_ms) // _REFILL_MS
        self._refilled_ms += refills * _REFILL_MS
        self._budget = min(_BUDGET, self._budget + refills)
        if self._budget == 0:
            return
        self._budget -= 1
        try:
            self._write("".join(line[:MAX_LINE_CHARS] + "\n" for line in text.split("\n")[:MAX_LINES]))
        except (OSError, MemoryError) as error:
            log("log", "cannot be written: %r" % error)

    def _write(self, text: str) -> None:
        content = text.encode()
        if _size(self._path) + len(content) > MAX_FILE_BYTES and _size(self._path):
            os.rename(self._path, self._old_path)
        with open(self._path, "ab") as file:
            file.write(content)


def _size(path: str) -> int:
    try:
        return os.stat(path)[6]
    except OSError:
        return 0

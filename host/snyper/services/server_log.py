"""The log of a server: who called what, and what came of it. In memory, and bounded.

Of arguments only texts and small numbers are kept, and no result.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

from snyper.services.shown import MAX_CHARS as MAX_ARGUMENTS_CHARS, Note
from snyper.system.text import one_line

MAX_ENTRIES = 10_000
MAX_CHARS = 1 << 21  # of the arguments and outcomes of all entries
MAX_PAGE = 200  # entries of an answer: to encode them takes the server a millisecond


class CallLog:
    """The entries of one `run` of a server, numbered from 1. The oldest are dropped."""

    def __init__(self, run: str, wall: Callable[[], float] = time.time) -> None:
        self._run = run
        self._wall = wall
        # When it ended since the epoch, who, what, arguments, seconds, outcome, characters of both. Plain
        # tuples of what has no parts cost the garbage collector nothing.
        self._entries: deque[tuple[float, str, str, Note, float, str, int]] = deque()
        self._chars = 0
        self._dropped = 0

    def add(self, who: str, name: str, arguments: Note, seconds: float, outcome: str) -> None:
        """Add what has ended now, after so many seconds."""
        entries = self._entries
        chars = len(outcome) + (len(arguments) if isinstance(arguments, str) else MAX_ARGUMENTS_CHARS)
        entries.append((self._wall(), who, name, arguments, seconds, outcome, chars))
        self._chars += chars
        while len(entries) > MAX_ENTRIES or self._chars > MAX_CHARS:
            self._chars -= entries.popleft()[-1]
            self._dropped += 1

    def page(self, after: int, run: str = "") -> list[dict[str, object]]:
        """Return at most MAX_PAGE entries, the oldest first: those after a number, or all where that is of
        another run.
        """
        is_of_it = run in ("", self._run) and after <= self._dropped + len(self._entries)
        begin = max(after - self._dropped, 0) if is_of_it else 0
        return [
            {
                "number": self._dropped + begin + at,
                "run": self._run,
                "at": datetime.fromtimestamp(ended_s - seconds, UTC),
                "who": one_line(who),
                "name": one_line(name),
                "arguments": one_line(arguments if isinstance(arguments, str) else arguments()),
                "seconds": round(seconds, 6),
                "outcome": one_line(outcome),
            }
            for at, (ended_s, who, name, arguments, seconds, outcome, _chars) in enumerate(
                islice(self._entries, begin, begin + MAX_PAGE), 1
            )
        ]

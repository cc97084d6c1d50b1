"""The promises of a hub and its boards, whichever way the faults are made; and the steps of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Event = tuple[int, str, str, dict[str, Any]]  # as a console has it: seq, event, target_id, data


class BrokenPromise(Exception):
    """A promise that did not hold. The message says which."""


@dataclass(frozen=True)
class Step:
    """An action or a fault, `what`, `at_ms` after the run began, on the target with that index.

    `what` decides what `first` and `second` mean.
    """

    at_ms: int
    what: str
    target: int
    first: int = 0
    second: int = 0

    def __str__(self) -> str:
        return f"{self.at_ms:>6} ms  {self.what} target_{self.target + 1} {self.first} {self.second}"


class ReportOrder:
    """The last report of each boot of each board that is in the journal."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}

    def check(self, key: tuple[str, str, str, str], data: dict[str, Any]) -> None:
        """Check that no report of a boot is missing before this one, but for those that its board says it
        dropped. `key` is what it is known by: board, name, boot, id.

        Raises:
            BrokenPromise: One is missing, twice there or out of order.
        """
        board, _, boot, report_id = key
        number = int(report_id[1:])
        last = self._last.get((board, boot), 0)
        if not last < number <= last + 1 + int(data.get("dropped", 0)):
            raise BrokenPromise(f"the report e{number} of {board} came after e{last}")
        self._last[board, boot] = number


def check_hits(
    hits: Sequence[tuple[str, int]], must: Sequence[tuple[str, int, bool]], may: Sequence[tuple[str, int]]
) -> None:
    """Check the hits of a journal, each as target and peak. Each of `must` was detected; it is there once, or
    at most once where its third item says that its board may have lost it with its power. Each of `may` may
    have been detected. There are no others.

    Raises:
        BrokenPromise: One is missing, twice there, or was never detected.
    """
    for target_id, peak, may_be_lost in must:
        count = hits.count((target_id, peak))
        if count > 1 or (count == 0 and not may_be_lost):
            raise BrokenPromise(f"a hit of {target_id} (peak {peak}) is {count} times in the journal")
    struck = {(target_id, peak) for target_id, peak, _ in must} | set(may)
    invented = [hit for hit in hits if hit not in struck]
    if invented or len(set(hits)) < len(hits):
        raise BrokenPromise(f"the journal has hits that no board detected: {invented or hits}")


def check_seen(seen: Sequence[Event], kept: Sequence[Event]) -> None:
    """Check that a console has seen what the journal keeps.

    Raises:
        BrokenPromise: It has not, and what differs first.
    """
    for at, (one, other) in enumerate(zip(seen, kept, strict=False)):
        if one != other:
            raise BrokenPromise(f"event {at}: the console saw {one}, the journal has {other}")
    if len(seen) != len(kept):
        last = [*seen, *kept][-1]
        raise BrokenPromise(f"the console saw {len(seen)} events, the journal has {len(kept)}: {last}")


def check_sound(kept: Sequence[Event]) -> None:
    """Check that a journal on a sound disk has not failed.

    Raises:
        BrokenPromise: It has.
    """
    failing = [data for _, event, _, data in kept if event == "journal" and data["state"] == "failing"]
    if failing:
        raise BrokenPromise(f"the journal failed on a sound disk: {json.dumps(failing[0])}")

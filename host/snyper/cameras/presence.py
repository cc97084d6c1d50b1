"""The cameras that are there, and those that are silent. Pure.

A camera that holds a connection is there until that ends, or has given no sign of life for too long; any
other for three of its own intervals; each for its grace more. Times are in seconds: `now_s` by a clock that
nobody sets, `wall_s` since 1970 (UTC).
"""

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from snyper.cameras.silence import FIRST_S, Expectation, Intervals, allowed_s
from snyper.cameras.zones import Zones

ONLINE = "online"
OFFLINE = "offline"
ASLEEP = "asleep"  # silent, as is expected of it now
_AWAITED = "awaited"  # not heard yet
MAX_KNOWN = 10_000  # of which those that are gone are forgotten first
MAX_SPOKEN_FOR = 1_000  # cameras for which one connection speaks; of more than these its end says nothing
_NONE = Expectation()


class Change(NamedTuple):
    """A camera's new state: ONLINE, OFFLINE or ASLEEP."""

    camera_id: str
    checkpoint_id: str
    status: str


@dataclass(slots=True)
class _Known:
    checkpoint_id: str
    seen_s: float  # by the wall's clock
    heard_s: float  # the same instant, by the clock that nobody sets
    status: str
    until_s: float = 0.0  # by when it is gone unless it gives a sign of life
    connections: dict[Hashable, float] = field(default_factory=dict)  # which speak for it until then


class Presence:
    """Tells who is there. `expectations` are of some cameras, each in the zone of its clock."""

    def __init__(self, zones: Zones, expectations: Mapping[str, Expectation]) -> None:
        self._zones = zones
        self._expectations = dict(expectations)
        self._intervals = Intervals()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._of_connection: dict[Hashable, set[str]] = {}

    def expect(self, camera_id: str, expectation: Expectation) -> None:
        """Expect that of a camera from now on: its sleep at once, the rest from its next sign of life."""
        self._expectations[camera_id] = expectation

    def recall(self, camera_id: str, checkpoint_id: str, seen_s: float, now_s: float, wall_s: float) -> None:
        """Know a camera that was seen in a former life of this process; nobody is told."""
        heard_s = now_s - max(0.0, wall_s - seen_s)
        known, expected = self._enter(camera_id, checkpoint_id, heard_s, seen_s), self._of(camera_id)
        known.until_s = heard_s + allowed_s(expected.interval_s) + expected.grace_s
        known.status = ONLINE
        self._judge(camera_id, now_s, wall_s)

    def expect_soon(self, camera_id: str, now_s: float) -> None:
        """Expect to hear of a camera within a minute: until then it is not said to be gone."""
        known = self._known.get(camera_id) or self._enter(camera_id, "", -math.inf, 0.0)
        if known.status != ONLINE:
            known.status, known.until_s = _AWAITED, 0.0
        known.until_s = max(known.until_s, now_s + FIRST_S)

    def hear(self, camera_id: str, checkpoint_id: str, now_s: float, wall_s: float) -> list[Change]:
        """Note that a camera has sent something, and return what that changes."""
        known = self._enter(camera_id, checkpoint_id, now_s, wall_s)
        if not known.connections:
            expected = self._of(camera_id)
            silence_s = self._intervals.hear(camera_id, now_s, expected.interval_s)
            known.until_s = now_s + silence_s + expected.grace_s
        return self._come(camera_id)

    def connect(
        self,
        connection: Hashable,
        camera_id: str,
        checkpoint_id: str,
        now_s: float,
        wall_s: float,
        silence_s: float = math.inf,
    ) -> list[Change]:
        """Note that a connection speaks for a camera, which gives such a sign of life at least every
        `silence_s`; return what that changes.
        """
        spoken_for = self._of_connection.setdefault(connection, set())
        if camera_id not in spoken_for and len(spoken_for) >= MAX_SPOKEN_FOR:
            return self.hear(camera_id, checkpoint_id, now_s, wall_s)
        spoken_for.add(camera_id)
        known = self._enter(camera_id, checkpoint_id, now_s, wall_s)
        known.connections[connection] = now_s + silence_s + self._of(camera_id).grace_s
        known.until_s = max(known.connections.values())
        return self._come(camera_id)

    def knows(self, connection: Hashable) -> bool:
        """Tell whether a connection speaks for cameras, and has not ended."""
        return connection in self._of_connection

    def disconnect(self, connection: Hashable, now_s: float, wall_s: float) -> list[Change]:
        """Note that a connection has ended, and return what that changes: who has no other, and no grace, is
        gone.
        """
        changes: list[Change] = []
        for camera_id in self._of_connection.pop(connection, ()):
            known = self._known.get(camera_id)
            if known is not None and known.connections.pop(connection, None) is not None:
                left = known.connections.values()
                known.until_s = max(left, default=now_s + self._of(camera_id).grace_s)
                changes += self._judge(camera_id, now_s, wall_s)
        return changes

    def check(self, now_s: float, wall_s: float) -> list[Change]:
        """Return what time has changed: who is gone, whose sleep has begun or is over."""
        late = [
            camera_id
            for camera_id, known in self._known.items()
            if known.until_s <= now_s
            and (known.status in (ONLINE, _AWAITED) or camera_id in self._expectations)
        ]
        return [change for camera_id in late for change in self._judge(camera_id, now_s, wall_s)]

    def asleep_until_s(self, camera_id: str, wall_s: float) -> float | None:
        """Return until when a camera is expected to be asleep now, None where it is not."""
        expected = self._expectations.get(camera_id)
        if expected is None:
            return None
        until = expected.asleep_until(datetime.fromtimestamp(wall_s, self._zones.of(camera_id)))
        return None if until is None else until.timestamp()

    def status_of(self, camera_id: str) -> str:
        """Return ONLINE, OFFLINE or ASLEEP."""
        known = self._known.get(camera_id)
        return OFFLINE if known is None or known.status == _AWAITED else known.status

    def is_silent(self, camera_id: str) -> bool:
        """Tell whether a camera is OFFLINE, and was not just expected to come soon."""
        known = self._known.get(camera_id)
        return known is None or known.status == OFFLINE

    def seen_s(self, camera_id: str) -> float:
        """Return when it was seen, by the wall's clock; 0 for one that is not known here."""
        known = self._known.get(camera_id)
        return 0.0 if known is None else known.seen_s

    def age_s(self, camera_id: str, now_s: float) -> float | None:
        """Return how long ago it was seen, None for one that was not seen here."""
        known = self._known.get(camera_id)
        return None if known is None or known.heard_s == -math.inf else now_s - known.heard_s

    def __iter__(self) -> Iterator[str]:
        """Iterate over those that are there."""
        return (camera_id for camera_id, known in self._known.items() if known.status == ONLINE)

    # ---

    def _of(self, camera_id: str) -> Expectation:
        return self._expectations.get(camera_id, _NONE)

    def _enter(self, camera_id: str, checkpoint_id: str, heard_s: float, seen_s: float) -> _Known:
        known = self._known.get(camera_id)
        if known is None:
            known = self._known[camera_id] = _Known(checkpoint_id, seen_s, heard_s, _AWAITED)
            if len(self._known) > MAX_KNOWN:
                gone = (name for name, one in self._known.items() if one.status in (OFFLINE, ASLEEP))
                del self._known[next(gone, next(iter(self._known)))]
        known.checkpoint_id, known.seen_s, known.heard_s = checkpoint_id, seen_s, heard_s
        self._known.move_to_end(camera_id)
        return known

    def _come(self, camera_id: str) -> list[Change]:
        known = self._known[camera_id]
        if known.status == ONLINE:
            return []
        known.status = ONLINE
        return [Change(camera_id, known.checkpoint_id, ONLINE)]

    def _judge(self, camera_id: str, now_s: float, wall_s: float) -> list[Change]:
        """See whether a camera is gone, and how that is to be called."""
        known = self._known[camera_id]
        if now_s < known.until_s:
            return []
        known.connections.clear()
        status = OFFLINE if self.asleep_until_s(camera_id, wall_s) is None else ASLEEP
        if status == known.status:
            return []
        known.status = status
        return [Change(camera_id, known.checkpoint_id, status)]

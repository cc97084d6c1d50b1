"""Floods of peers that are registered: who sends too many lines, or causes too many events, is cut."""

import asyncio

from snyper.firmware.master.server import Hub, refuse
from snyper.shared.link import Link
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

FLOOD_LIMITS = ("lines_at_once", "lines_per_s", "events_at_once", "events_per_s")
_SWEEP_S = 0.5
_MOST_COUNTED = 64  # of what comes at once


class Floods:
    """Counts the lines of each connection and the events of each name, and forgets so many a second.

    An event is whatever the hub records of a peer: a report, a change of state, that it came or went. So who
    hangs up and comes back goes on where it was.
    """

    def __init__(self, hub: Hub, limits: dict[str, int]) -> None:
        """Count from now on, for as long as `run` does. `limits` has FLOOD_LIMITS."""
        self._hub = hub
        self._lines_at_once = limits["lines_at_once"]
        self._lines = max(1, int(limits["lines_per_s"] * _SWEEP_S))
        self._events_at_once = limits["events_at_once"]
        self._events = max(1, int(limits["events_per_s"] * _SWEEP_S))
        self._caused: dict[str, int] = {}
        self._taken: dict[Link, int] = {}
        hub.router.events.listen(self._on_event)

    async def run(self) -> None:
        """Look at all connections for ever. May be cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for link, count in list(self._taken.items()):
                if link.close_error is not None:
                    del self._taken[link]
                elif count > self._lines_at_once:
                    refuse(link, ErrorCode.BUSY, "too many lines")
                else:
                    self._taken[link] = max(0, count - self._lines)
            for name, count in list(self._caused.items()):
                if count > self._events:
                    self._caused[name] = count - self._events
                else:
                    del self._caused[name]

    def watch(self, link: Link) -> None:
        """Count the lines of a connection from now on."""
        taken, take = self._taken, link.data_received
        taken[link] = 0

        def data_received(data: bytes | memoryview) -> None:
            # Bytes that follow a line have such ends, too.
            count = min(data.count(b"\n"), _MOST_COUNTED) if type(data) is bytes else 1
            if link in taken:
                taken[link] += count
            take(data)

        link.data_received = data_received  # type: ignore[method-assign]

    def check(self, name: str) -> None:
        """Check that a peer of this name may register. Raises ProtocolError `busy`."""
        if self._caused.get(name, 0) > self._events_at_once:
            raise ProtocolError(ErrorCode.BUSY, f"{name} has caused too many events: wait")

    def _on_event(self, seq: int, event: str, target_id: str, data: dict[str, object]) -> None:
        peer = self._hub.router.registry.named.get(target_id)
        if peer is None:
            return
        self._caused[target_id] = count = self._caused.get(target_id, 0) + 1
        if count > self._events_at_once and peer.link is not None:
            refuse(peer.link, ErrorCode.BUSY, "too many reports and changes of state")

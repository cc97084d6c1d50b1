"""Synchronises a peer with the hub's clock by pings, which may also say how the peer is."""

from snyper.shared.clock import now_us
from snyper.shared.hub_clock import MAX_ROUND_US, HubClock
from snyper.shared.link import Link
from snyper.shared.link_core import ping_line
from snyper.shared.runtime import sleep_ms
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SYNC_MS = 500  # between two pings
HEALTH_MS = 5_000  # between two pings that say how this side is, where nothing changes that is urgent
_FIRST_SYNC_MS = 100  # after registering, for the first rounds
_FIRST_ROUNDS = 8
_UNSURE_SYNC_MS = 125  # while the network's jitter leaves the clock less sure than this, in a small range:
_UNSURE_US = 2_500
_UNSURE_TARGETS = 16  # with many more it would be their pings that make the hub slow


class ClockSync:
    """One link's rounds. `health`, if there is any, encodes the `data` of a ping now and then; to it comes
    `round_trip_us`.
    """

    def __init__(self, clock: HubClock, health: "Callable[[], bytes] | None" = None) -> None:
        self.round_trip_us = -1  # of the last round; -1 before it
        self._clock = clock
        self._health = health
        self._rounds = 0
        self._targets = _UNSURE_TARGETS + 1
        self._told_us = 0
        self._told = b""  # what is urgent, as it was told last
        self._asked_us = 0
        self._asked_id = 0  # 0: nothing is on its way

    async def run(self, link: Link) -> None:
        """Ping over `link` for as long as it lives; one ping is on its way at a time."""
        while link.close_error is None:
            if self._asked_id and now_us() - self._asked_us > MAX_ROUND_US:
                link.cancel_request(self._asked_id)
                self._asked_id = 0
            if not self._asked_id:
                try:
                    self._ask(link)
                except ProtocolError:
                    self._asked_id = 0  # the link ends, or takes nothing now: the next ping is soon due
            await sleep_ms(self._wait_ms())

    def _ask(self, link: Link) -> None:
        id = link.new_id()
        line = self._news(id) or ping_line(id)
        self._asked_id = id
        self._asked_us = now_us()
        link.start_request(id, line, self._on_reply, link)

    def _news(self, id: int) -> bytes:
        """Return a ping that says how this side is, where that is due; else nothing."""
        if self._health is None:
            return b""
        health = self._health()
        urgent = health[: health.find(b'"uptime_ms"')]
        is_new_round = self._rounds in (0, 1, _FIRST_ROUNDS)  # nothing known, round_trip_us, uncertainty_us
        now = now_us()
        if urgent == self._told and not is_new_round and now - self._told_us < HEALTH_MS * 1000:
            return b""
        self._told = urgent
        self._told_us = now
        if self.round_trip_us >= 0:
            health = b'%s,"round_trip_us":%d}' % (health[:-1], self.round_trip_us)
        return ping_line(id, health)

    def _on_reply(self, link: Link, reply: "SocketMessage | ProtocolError") -> None:
        self._asked_id = 0
        if isinstance(reply, ProtocolError) or reply.type != MessageType.PONG:
            return
        self._rounds += 1
        self.round_trip_us = link.received_us - self._asked_us
        data = reply.data or {}
        try:
            hub_us = integer_field(data, "hub_us", -1, 0, MAX_INTEGER)
            self._targets = integer_field(data, "targets", _UNSURE_TARGETS + 1, 0, MAX_INTEGER)
        except ProtocolError:
            return  # it does not say its clock
        self._clock.add(self._asked_us, hub_us, link.received_us)

    def _wait_ms(self) -> int:
        if self._rounds < _FIRST_ROUNDS:
            return _FIRST_SYNC_MS
        if self._targets <= _UNSURE_TARGETS and not self._is_sure():
            return _UNSURE_SYNC_MS
        return SYNC_MS

    def _is_sure(self) -> bool:
        return not self._clock.is_set or self._clock.uncertainty_us(now_us()) <= _UNSURE_US

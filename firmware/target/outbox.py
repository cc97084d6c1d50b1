"""The outbox: reports (hits and misses) in order, each sent until the hub has acknowledged it."""

import asyncio

from snyper.shared.link import Link
from snyper.shared.log import log
from snyper.shared.runtime import call_later, sleep_ms
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.hub_clock import HubClock

MAX_REPORTS = 16  # an hour of play fits the link's own queue; this is for an outage
ACK_TIMEOUT_MS = 2_000
_RETRY_MS = 200
_REFUSALS = (ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE, ErrorCode.LINE_TOO_LONG)  # sending again is vain


class Outbox:
    """A bounded queue. When it is full the oldest that no hub can have seen is dropped; `dropped` counts
    those that no hub will see. `clock` dates each report by the clock of the hub that it is sent to.

    They are sent in order, each once the one before is acknowledged. Where the hub says `fault`, it has
    counted a report that its disk does not take: it gets the next one, and after the last all of them again.
    """

    def __init__(self, clock: "HubClock") -> None:
        self.dropped = 0
        self._clock = clock
        self._reports: "list[tuple[SocketMessage, int, int]]" = []  # with `at_us` and `unsampled_us`
        self._at = -1  # of the one that is sent now; -1 where no hub can have seen the first
        self._count = 0
        self._link: "Link | None" = None
        self._changed = asyncio.Event()

    def add(self, message_type: str, data: "dict[str, object]", at_us: int, unsampled_us: int = 0) -> None:
        """Queue a `hit` or `miss` of the instant `at_us` of `now_us()`, or up to `unsampled_us` before. Its
        id is unlike any other since this boot. `data` is the outbox's from now on.
        """
        if len(self._reports) >= MAX_REPORTS:
            gone = (self._at + 1) % MAX_REPORTS
            self._reports.pop(gone)
            self._at -= gone < self._at
            self.dropped += 1
        self._count += 1
        report = SocketMessage(message_type, "e%d" % self._count, data=data)
        self._reports.append((report, at_us, unsampled_us))
        self._changed.set()

    def connect(self, link: "Link | None") -> None:
        """Send over `link` from now on, or wait for the next one."""
        self._link = link
        self._changed.set()

    async def run(self) -> None:
        """Deliver reports for ever. May be cancelled; what was not acknowledged stays."""
        while True:
            at = max(self._at, 0)
            if self._link is None or at >= len(self._reports):
                self._changed.clear()
                if at:
                    call_later(ACK_TIMEOUT_MS, self._changed.set)
                await self._changed.wait()
                if self._at >= len(self._reports):  # and nothing new has come: all of them again
                    self._at = -1
                continue
            report, at_us, unsampled_us = self._reports[at]
            assert report.data is not None
            self._date(report.data, at_us, unsampled_us)
            self._at = at
            try:
                await self._link.request(report, ACK_TIMEOUT_MS)
            except ProtocolError as error:
                if error.code == ErrorCode.FAULT:
                    self._at += 1
                    continue
                if error.code not in _REFUSALS:
                    self._at = 0
                    await sleep_ms(_RETRY_MS)
                    continue
                log("outbox", "the hub takes no %s: %s" % (report.type, error))
                self.dropped += 1
            self._reports.pop(self._at)
            self._at = -1

    def _date(self, data: "dict[str, object]", at_us: int, unsampled_us: int) -> None:
        """Date a report by the hub's clock as it is known now, and add how many were lost so far."""
        if self._clock.is_set:
            data["at_us"] = self._clock.hub_us(at_us)
            data["uncertainty_us"] = self._clock.uncertainty_us(at_us) + unsampled_us
        else:
            data.pop("at_us", None)
            data.pop("uncertainty_us", None)
        if self.dropped:
            data["dropped"] = self.dropped

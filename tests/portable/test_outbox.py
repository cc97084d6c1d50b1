"""A board's hits and misses on their way to the hub: kept, in order, delivered once."""

import asyncio

from snyper.firmware.target.outbox import MAX_REPORTS, Outbox
from snyper.shared.clock import now_us
from snyper.shared.hub_clock import HubClock
from snyper.shared.link import Link
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.portable.loopback import LinkPair
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.link import Handler


class _Hub:
    """Acknowledges what it is told to, and notes what came."""

    def __init__(self) -> None:
        self.found: "list[SocketMessage]" = []
        self.refuse: "list[str]" = []  # codes, one for each of the next reports
        self.silent = False
        self.go = asyncio.Event()  # acknowledges nothing before
        self.go.set()
        self._changed = asyncio.Event()

    @property
    def handlers(self) -> "dict[str, Handler]":
        return {"hit": self._report, "miss": self._report}

    async def _report(self, link: Link, message: SocketMessage) -> "SocketMessage | None":
        self.found.append(message)
        self._changed.set()
        await self.go.wait()
        if self.refuse:
            raise ProtocolError(self.refuse.pop(0), "no")
        return None if self.silent else message.reply("ack", "ok")

    async def have(self, count: int) -> None:
        while len(self.found) < count:
            self._changed.clear()
            await within(self._changed.wait())

    def numbers(self) -> "list[object]":
        return [(message.data or {}).get("n") for message in self.found]


class _Running:
    """An outbox that runs. For `async with`."""

    def __init__(self, clock: "HubClock | None" = None) -> None:
        self._outbox = Outbox(clock or HubClock())

    async def __aenter__(self) -> Outbox:
        self._task = asyncio.create_task(self._outbox.run())
        return self._outbox

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass


async def test_events_are_delivered_in_order_and_once() -> None:
    hub = _Hub()
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        for n in range(5):
            outbox.add("hit" if n % 2 else "miss", {"n": n}, now_us())
        await hub.have(5)
        outbox.add("hit", {"n": 5}, now_us())
        await hub.have(6)
        assert hub.numbers() == [0, 1, 2, 3, 4, 5]
        assert [message.type for message in hub.found[:2]] == ["miss", "hit"]
        assert len({message.id for message in hub.found}) == 6
        assert outbox.dropped == 0


async def test_events_wait_for_the_hub() -> None:
    hub = _Hub()
    async with _Running() as outbox:
        outbox.add("hit", {"n": 0}, now_us())
        outbox.add("hit", {"n": 1}, now_us())
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(2)
            outbox.connect(None)
        assert hub.numbers() == [0, 1]


async def test_when_it_is_full_the_oldest_goes_and_is_counted() -> None:
    hub = _Hub()
    async with _Running() as outbox:
        for n in range(MAX_REPORTS + 3):
            outbox.add("hit", {"n": n}, now_us())
        assert outbox.dropped == 3
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(MAX_REPORTS)
            outbox.connect(None)
        assert hub.numbers() == list(range(3, MAX_REPORTS + 3))


async def test_one_that_the_hub_may_have_is_not_dropped() -> None:
    hub = _Hub()
    hub.go.clear()
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        outbox.add("hit", {"n": 0}, now_us())
        await hub.have(1)
        for n in range(1, MAX_REPORTS + 2):
            outbox.add("hit", {"n": n}, now_us())
        assert outbox.dropped == 2
        hub.go.set()
        await hub.have(MAX_REPORTS)
        assert hub.numbers() == [0] + list(range(3, MAX_REPORTS + 2))
        # The one that was under way was sent before any was dropped.
        assert [(message.data or {}).get("dropped") for message in hub.found] == [None] + [2] * 15


async def test_an_event_without_its_ack_goes_again_over_the_next_link() -> None:
    deaf, hub = _Hub(), _Hub()
    deaf.silent = True
    async with _Running() as outbox:
        async with LinkPair(deaf.handlers) as pair:
            outbox.connect(pair.near)
            outbox.add("hit", {"n": 0}, now_us())
            outbox.add("hit", {"n": 1}, now_us())
            await deaf.have(1)
        outbox.connect(None)
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(2)
            outbox.connect(None)
        assert hub.numbers() == [0, 1]
        # With its id, so that the hub can tell that it is no second hit.
        assert hub.found[0].id == deaf.found[0].id
        assert outbox.dropped == 0


async def test_a_link_that_has_ended_costs_no_event() -> None:
    hub = _Hub()
    async with _Running() as outbox:
        async with LinkPair() as ended:
            ended.near.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
            await within(ended.near_run)
            outbox.connect(ended.near)  # nobody has told it yet
            outbox.add("hit", {"n": 0}, now_us())
            for _ in range(5):
                await asyncio.sleep(0)  # it tries
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(1)
            outbox.connect(None)
        assert outbox.dropped == 0


async def test_a_busy_hub_costs_no_event() -> None:
    hub = _Hub()
    hub.refuse = [ErrorCode.BUSY, ErrorCode.INTERNAL]
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        outbox.add("hit", {"n": 0}, now_us())
        outbox.add("hit", {"n": 1}, now_us())
        await hub.have(4)
        assert hub.numbers() == [0, 0, 0, 1]
        assert outbox.dropped == 0


async def test_an_event_that_the_hub_can_never_take_does_not_hold_up_the_next() -> None:
    hub = _Hub()
    hub.refuse = [ErrorCode.BAD_MESSAGE]
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        outbox.add("hit", {"n": 0}, now_us())
        outbox.add("hit", {"n": 1}, now_us())
        await hub.have(2)
        assert hub.numbers() == [0, 1]
        assert outbox.dropped == 1


async def test_a_report_is_dated_by_the_clock_of_the_hub_that_gets_it() -> None:
    hub = _Hub()
    clock = HubClock()
    async with _Running(clock) as outbox:
        detected_us = now_us()
        outbox.add("hit", {"n": 0}, detected_us)
        outbox.add("miss", {"n": 1}, detected_us - 5_000)
        # The hub's clock is known only now, and it began after the hit: what was before that is negative.
        asked_us = now_us()
        clock.add(asked_us, asked_us - detected_us - 1_000_000, asked_us)
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(2)
            outbox.connect(None)
    for message, at_us in zip(hub.found, (-1_000_000, -1_005_000)):
        data: "dict[str, int]" = message.data or {}  # type: ignore[assignment]
        assert abs(data["at_us"] - at_us) <= data["uncertainty_us"] < 10_000, data


async def test_another_hub_gets_its_own_date() -> None:
    deaf, hub = _Hub(), _Hub()
    deaf.silent = True
    clock = HubClock()
    async with _Running(clock) as outbox:
        detected_us = now_us()
        outbox.add("hit", {"n": 0}, detected_us)
        asked_us = now_us()
        clock.add(asked_us, asked_us + 7_000_000, asked_us)
        async with LinkPair(deaf.handlers) as pair:
            outbox.connect(pair.near)
            await deaf.have(1)
        outbox.connect(None)
        clock.reset()
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(1)
            outbox.connect(None)
    assert "at_us" in (deaf.found[0].data or {})
    assert "at_us" not in (hub.found[0].data or {})
    assert hub.found[0].id == deaf.found[0].id


async def test_a_hub_whose_disk_fails_hears_of_each_and_acknowledges_in_the_end() -> None:
    hub = _Hub()
    hub.refuse = [ErrorCode.FAULT] * 4
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        for n in range(3):
            outbox.add("hit", {"n": n}, now_us())
        await hub.have(3)
        outbox.add("hit", {"n": 3}, now_us())
        await hub.have(4)  # without waiting for the others to be acknowledged
        assert hub.numbers() == [0, 1, 2, 3]
        await hub.have(8)
        assert hub.numbers()[4:] == [0, 1, 2, 3]
        outbox.add("hit", {"n": 4}, now_us())
        await hub.have(9)
        assert hub.numbers()[8:] == [4]
        assert outbox.dropped == 0


async def test_when_a_hub_has_them_all_an_old_one_goes() -> None:
    hub = _Hub()
    hub.refuse = [ErrorCode.FAULT] * (MAX_REPORTS + 2)
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        for n in range(MAX_REPORTS):
            outbox.add("hit", {"n": n}, now_us())
        await hub.have(MAX_REPORTS)
        for n in range(MAX_REPORTS, MAX_REPORTS + 2):
            outbox.add("hit", {"n": n}, now_us())
            await hub.have(n + 1)
        assert outbox.dropped == 2
        await hub.have(2 * MAX_REPORTS + 2)
        assert hub.numbers()[-MAX_REPORTS:] == [0] + list(range(3, MAX_REPORTS + 2))

"""A board's hits and misses on their way to the hub: kept, in order, delivered once."""

import asyncio

from firmware.target.outbox import MAX_EVENTS, Outbox
from shared.link import Link
from shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from tests.portable.loopback import LinkPair
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shared.link import Handler


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

    async def __aenter__(self) -> Outbox:
        self._outbox = Outbox()
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
            outbox.add("hit" if n % 2 else "miss", {"n": n})
        await hub.have(5)
        outbox.add("hit", {"n": 5})
        await hub.have(6)
        assert hub.numbers() == [0, 1, 2, 3, 4, 5]
        assert [message.type for message in hub.found[:2]] == ["miss", "hit"]
        assert len({message.id for message in hub.found}) == 6
        assert outbox.dropped == 0


async def test_events_wait_for_the_hub() -> None:
    hub = _Hub()
    async with _Running() as outbox:
        outbox.add("hit", {"n": 0})
        outbox.add("hit", {"n": 1})
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(2)
            outbox.connect(None)
        assert hub.numbers() == [0, 1]


async def test_when_it_is_full_the_oldest_goes_and_is_counted() -> None:
    hub = _Hub()
    async with _Running() as outbox:
        for n in range(MAX_EVENTS + 3):
            outbox.add("hit", {"n": n})
        assert outbox.dropped == 3
        async with LinkPair(hub.handlers) as pair:
            outbox.connect(pair.near)
            await hub.have(MAX_EVENTS)
            outbox.connect(None)
        assert hub.numbers() == list(range(3, MAX_EVENTS + 3))


async def test_one_that_is_pushed_out_on_its_way_takes_no_other_along() -> None:
    hub = _Hub()
    hub.go.clear()
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        outbox.add("hit", {"n": 0})
        await hub.have(1)
        for n in range(1, MAX_EVENTS + 1):
            outbox.add("hit", {"n": n})
        hub.go.set()
        await hub.have(MAX_EVENTS + 1)
        assert hub.numbers() == list(range(MAX_EVENTS + 1))


async def test_an_event_without_its_ack_goes_again_over_the_next_link() -> None:
    deaf, hub = _Hub(), _Hub()
    deaf.silent = True
    async with _Running() as outbox:
        async with LinkPair(deaf.handlers) as pair:
            outbox.connect(pair.near)
            outbox.add("hit", {"n": 0})
            outbox.add("hit", {"n": 1})
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
            outbox.add("hit", {"n": 0})
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
        outbox.add("hit", {"n": 0})
        outbox.add("hit", {"n": 1})
        await hub.have(4)
        assert hub.numbers() == [0, 0, 0, 1]
        assert outbox.dropped == 0


async def test_an_event_that_the_hub_can_never_take_does_not_hold_up_the_next() -> None:
    hub = _Hub()
    hub.refuse = [ErrorCode.BAD_MESSAGE]
    async with LinkPair(hub.handlers) as pair, _Running() as outbox:
        outbox.connect(pair.near)
        outbox.add("hit", {"n": 0})
        outbox.add("hit", {"n": 1})
        await hub.have(2)
        assert hub.numbers() == [0, 1]
        assert outbox.dropped == 1

"""The hub's router: who may say what, and what becomes of a command and its answers."""

import asyncio

from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import Peer, Registry
from snyper.firmware.master.router import MAX_ITEMS, Command, Result, Router, is_reading
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


WORDS = [
    "ping",
    "subscribe",
    "list_targets",
    "list_games",
    "get_game",
    "read_log",
    "read_trace",
    "list_x",
    "get_",
    "read_",
    "stand_up",
    "lay_down",
    "activate",
    "configure",
    "start_game",
    "stop_game",
    "identify",
    "listen",
    "list",
    "lists",
    "get",
    "reads",
    "pinged",
    "subscribe_all",
    "dance",
]


class _Link:
    """As much of a link as a command needs. What it was sent is in `requests`, by id."""

    lines = 0

    def __init__(self, takes: bool = True) -> None:
        self.requests: "dict[Any, tuple[Callable[..., None], object]]" = {}
        self.cancelled: "list[Any]" = []
        self._takes = takes

    def start_request(self, id: "Any", line: bytes, on_reply: "Callable[..., None]", token: object) -> None:
        if not self._takes:
            raise ProtocolError(ErrorCode.BUSY, "the peer reads too slowly")
        self.requests[id] = (on_reply, token)

    def cancel_request(self, id: "Any") -> None:
        self.cancelled.append(id)

    def answer(self, message: "SocketMessage | ProtocolError") -> None:
        on_reply, token = self.requests.pop("c1")
        on_reply(token, message)


def _peer(name: str, link: "_Link | None") -> Peer:
    peer = Peer(name)
    peer.role = "target"
    peer.link = link  # type: ignore[assignment]
    return peer


def _answer(message_type: str = "reply", **data: object) -> SocketMessage:
    return SocketMessage(message_type, "c1", status="ok", data=data)


def _router() -> Router:
    return Router(Registry(4), EventLog(4), "boot")


def _command(*peers: Peer) -> Command:
    return Command(SocketMessage("dance", "c1"), list(peers), 60_000, _router())


def test_who_may_only_read_sends_what_changes_nothing() -> None:
    assert [word for word in WORDS if is_reading(word)] == WORDS[: WORDS.index("stand_up")]


async def test_any_answer_but_an_error_is_a_success() -> None:
    links = [_Link() for _ in range(4)]
    command = _command(*[_peer("t%d" % number, link) for number, link in enumerate(links)])
    links[0].answer(_answer(MessageType.STANDING))
    links[1].answer(_answer("danced", steps=3))
    links[2].answer(ProtocolError(ErrorCode.UNKNOWN_TYPE, "what?").to_message("c1"))
    links[3].answer(ProtocolError(ErrorCode.DISCONNECTED, "gone", unknown_fate=True))
    results = await command.results()
    assert [result.ok for result in results] == [True, True, False, False]
    assert results[1].reply is not None
    assert results[1].reply.data == {"steps": 3}
    errors = [result.error for result in results[2:]]
    assert [(error.code, error.unknown_fate) for error in errors if error] == [
        (ErrorCode.UNKNOWN_TYPE, False),
        (ErrorCode.DISCONNECTED, True),
    ]


async def test_who_is_away_or_takes_nothing_has_failed_at_once() -> None:
    results = await _command(_peer("away", None), _peer("slow", _Link(takes=False))).results()
    assert [result.error.code for result in results if result.error] == [
        ErrorCode.DISCONNECTED,
        ErrorCode.BUSY,
    ]


async def test_items_come_before_the_result_of_their_peer() -> None:
    link, other = _Link(), _Link()
    peer = _peer("t", link)
    command = _command(peer, _peer("other", other))
    for number in (1, 2):
        command.on_item(peer, SocketMessage("item", "c1", data={"number": number}))
    link.answer(_answer())
    other.answer(_answer())
    answers = []
    for _ in range(5):
        answers.append(await command.next_answer())
    assert [answer.data for answer in answers if isinstance(answer, SocketMessage)] == [
        {"number": 1},
        {"number": 2},
    ]
    assert [answer.target_id for answer in answers if answer is not None] == ["t", "t", "t", "other"]
    assert answers[4] is None
    # Whoever wants only results gets only those.
    command = _command(peer)
    command.on_item(peer, SocketMessage("item", "c1", data={}))
    link.answer(_answer())
    async for result in command:
        assert isinstance(result, Result)


async def test_items_that_nobody_takes_end_the_command() -> None:
    link = _Link()
    peer = _peer("t", link)
    command = _command(peer)
    for number in range(MAX_ITEMS + 3):
        command.on_item(peer, SocketMessage("item", "c1", data={"number": number}))
    assert link.cancelled == ["c1"]
    [result] = await command.results()
    assert result.error is not None
    assert (result.error.code, result.error.unknown_fate) == (ErrorCode.BUSY, True)
    for number in range(MAX_ITEMS):
        item = await command.next_answer()
        assert isinstance(item, SocketMessage)
        assert item.data == {"number": number}
    assert isinstance(await command.next_answer(), Result)


async def test_each_of_many_has_place_for_its_items() -> None:
    links = [_Link() for _ in range(MAX_ITEMS + 1)]
    peers = [_peer("t%d" % number, link) for number, link in enumerate(links)]
    command = _command(*peers)
    for peer in peers:
        for _ in range(2):
            command.on_item(peer, SocketMessage("item", "c1", data={}))
    for link in links:
        link.answer(_answer())
    results = await command.results()
    assert all(result.ok for result in results)


async def test_items_of_who_has_but_the_name_are_dropped() -> None:
    link = _Link()
    peer, namesake = _peer("t", link), _peer("t", _Link())
    command = _command(peer)
    for _ in range(MAX_ITEMS + 1):
        command.on_item(namesake, SocketMessage("item", "c1", data={}))
    link.answer(_answer())
    result = await command.next_answer()
    assert isinstance(result, Result)
    assert result.ok
    assert await command.next_answer() is None


async def test_items_after_the_result_are_dropped() -> None:
    link = _Link()
    peer = _peer("t", link)
    command = _command(peer)
    link.answer(_answer())
    command.on_item(peer, SocketMessage("item", "c1", data={}))
    assert isinstance(await command.next_answer(), Result)
    assert await command.next_answer() is None


async def test_each_command_expires_at_its_own_deadline() -> None:
    router = _router()
    commands = []
    for number, timeout_ms in enumerate((60_000, 90, 30, 30)):
        message = SocketMessage("dance", number)
        commands.append(Command(message, [_peer("t1", _Link())], timeout_ms, router))
    commands[3].cancel()
    for command, timeout_ms in ((commands[2], 30), (commands[1], 90)):
        [result] = await within(command.results())
        assert result.error is not None
        assert result.error.unknown_fate
        assert result.error.code == ErrorCode.TIMEOUT
        assert result.round_trip_us >= timeout_ms * 1000, result.round_trip_us
    commands[0].cancel()


class _BrokenLink(_Link):
    """A link for which there is no memory when a request is cancelled, for the first time."""

    def cancel_request(self, id: "Any") -> None:
        super().cancel_request(id)
        if len(self.cancelled) == 1:
            raise MemoryError


async def test_a_command_that_cannot_expire_takes_no_deadline_of_others() -> None:
    told: "list[object]" = []
    asyncio.get_event_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    router = _router()
    link = _BrokenLink()
    broken = Command(SocketMessage("dance", 1), [_peer("t1", link)], 20, router)
    other = Command(SocketMessage("dance", 2), [_peer("t2", _Link())], 20, router)
    for command in (other, broken):
        [result] = await within(command.results())
        assert result.error is not None
        assert result.error.code == ErrorCode.TIMEOUT
    assert link.cancelled == [1, 1]
    assert [type(error) for error in told] == [MemoryError]

"""Requests, replies, handlers and the end of a link, over a real loopback connection."""

import asyncio

from snyper.shared.clock import now_ms
from snyper.shared.link import Link
from snyper.shared.link_core import LINGER_MS, MAX_HANDLERS
from snyper.shared.runtime import call_later, sleep_ms
from snyper.shared.socket_protocol import (
    MAX_LINE_BYTES,
    MIN_HEARTBEAT_MS,
    ErrorCode,
    ProtocolError,
    SocketMessage,
)
from tests.portable.loopback import LinkAndPeer, LinkPair, echo, never
from tests.portable.support import begin, failed, fields_of, raises, raises_async, within

TIMEOUT_MS = 5_000  # of requests that are answered


def _code(message: "SocketMessage | None") -> object:
    """What an `error` message says."""
    assert message is not None
    assert message.type == "error", message
    assert message.status == "error"
    assert message.data is not None
    return message.data["code"]


async def _defect(link: Link, message: SocketMessage) -> SocketMessage:
    raise KeyError("a defect")


class _Gate:
    """A handler that answers when it is told to, and says when each request has come in."""

    def __init__(self) -> None:
        self.waiting: "list[tuple[SocketMessage, asyncio.Event]]" = []
        self.arrived = asyncio.Event()

    async def handle(self, link: Link, message: SocketMessage) -> SocketMessage:
        go = asyncio.Event()
        self.waiting.append((message, go))
        self.arrived.set()
        await go.wait()
        return message.reply("ack", "ok", message.data)

    async def have(self, count: int) -> None:
        while len(self.waiting) < count:
            self.arrived.clear()
            await within(self.arrived.wait())


# --- requests and replies


async def test_a_ping_is_answered_with_the_health() -> None:
    async with LinkPair() as pair:
        pair.far.health = lambda: b'{"uptime_ms":7}'
        pong = await pair.near.request(SocketMessage("ping", "p"), TIMEOUT_MS)
        assert pong == SocketMessage("pong", "p", None, "alive", {"uptime_ms": 7})
        assert await pair.far.request(SocketMessage("ping", 1), TIMEOUT_MS) == SocketMessage(
            "pong", 1, None, "alive"
        )


async def test_each_line_counts_once() -> None:
    ping = SocketMessage("ping", 1).to_line()
    async with LinkAndPeer() as both:
        for sent, count in ((b"", 1), (b"\n" * 1_000, 1_001), (ping, 2), (b"\r\n \n", 3)):
            both.link.lines = 0
            await both.peer.send(sent + ping)
            for _ in range(1 + sent.count(ping)):
                message = await both.peer.next()
                assert message is not None
                assert message.type == "pong"
            assert both.link.lines == count


async def test_a_ping_to_a_target_is_the_handlers() -> None:
    async with LinkPair({"ping": echo}) as pair:
        assert (await pair.near.request(SocketMessage("ping", 1, "t_1"), TIMEOUT_MS)).type == "ack"
        assert (await pair.near.request(SocketMessage("ping", 2), TIMEOUT_MS)).type == "pong"


async def test_replies_find_their_requests_in_any_order() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}) as pair:
        requests = [
            begin(pair.near.request(SocketMessage("hit", "r%d" % n, data={"n": n}), TIMEOUT_MS))
            for n in range(MAX_HANDLERS)
        ]
        await gate.have(MAX_HANDLERS)
        for at in (5, 0, 7, 2, 1, 6, 3, 4):
            gate.waiting[at][1].set()
        for n, request in enumerate(requests):
            reply = await within(request)
            assert reply == SocketMessage("ack", "r%d" % n, None, "ok", {"n": n})


async def test_both_sides_may_use_the_same_ids_at_once() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}, {"hit": gate.handle}) as pair:
        near = begin(pair.near.request(SocketMessage("hit", 1, data={"of": "near"}), TIMEOUT_MS))
        far = begin(pair.far.request(SocketMessage("hit", 1, data={"of": "far"}), TIMEOUT_MS))
        await gate.have(2)
        for _, go in gate.waiting:
            go.set()
        assert (await within(near)).data == {"of": "near"}
        assert (await within(far)).data == {"of": "far"}


async def test_many_requests_one_after_the_other() -> None:
    async with LinkPair({"hit": echo}) as pair:
        for n in range(200):
            message = SocketMessage("hit", n, data={"text": "x" * (n * 10)})
            assert (await pair.near.request(message, TIMEOUT_MS)).data == message.data


async def test_a_request_without_an_answer_times_out_and_its_fate_is_unknown() -> None:
    async with LinkPair({"hit": never}) as pair:
        error = await raises_async(ErrorCode.TIMEOUT, pair.near.request(SocketMessage("hit", "x"), 50))
        assert error.unknown_fate
        assert error.id == "x"
        assert error.to_message().status == "unknown"
        assert (await pair.near.request(SocketMessage("ping", "x"), TIMEOUT_MS)).type == "pong"


async def test_an_error_reply_is_raised() -> None:
    async def refuse(link: Link, message: SocketMessage) -> SocketMessage:
        raise ProtocolError(ErrorCode.EXPIRED, "too old")

    async def unknown(link: Link, message: SocketMessage) -> SocketMessage:
        raise ProtocolError(ErrorCode.TIMEOUT, "who knows", unknown_fate=True)

    async with LinkPair({"hit": refuse, "miss": unknown}) as pair:
        error = await raises_async(ErrorCode.EXPIRED, pair.near.request(SocketMessage("hit", 9), TIMEOUT_MS))
        assert (error.message, error.id, error.unknown_fate) == ("too old", 9, False)
        error = await raises_async(
            ErrorCode.TIMEOUT, pair.near.request(SocketMessage("miss", 10), TIMEOUT_MS)
        )
        assert (error.message, error.id, error.unknown_fate) == ("who knows", 10, True)


async def test_two_requests_with_one_id_are_refused_before_sending() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}) as pair:
        first = begin(pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        await gate.have(1)
        await raises_async(ErrorCode.BUSY, pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        gate.waiting[0][1].set()
        assert (await within(first)).type == "ack"
        assert len(gate.waiting) == 1


async def test_a_reply_to_a_cancelled_request_is_dropped() -> None:
    heard: "list[object]" = []
    async with LinkAndPeer() as both:
        for id in ("a", "b"):
            line = SocketMessage("hit", id).to_line()
            both.link.start_request(id, line, lambda token, reply: heard.append((token, reply)), id)
            assert await both.peer.next() == SocketMessage("hit", id)
        both.link.cancel_request("a")
        both.link.cancel_request("never asked")
        await both.peer.send(SocketMessage("ack", "a").to_line() + SocketMessage("ack", "b").to_line())
        await both.peer.send(SocketMessage("reply", "unknown").to_line())
        await both.peer.send(SocketMessage("pong", "unknown").to_line())
        await both.peer.send(SocketMessage("ping", 1).to_line())
        assert (await both.peer.next()) == SocketMessage("pong", 1, None, "alive")
        assert heard == [("b", SocketMessage("ack", "b"))]


async def test_an_answer_of_any_type_is_the_reply() -> None:
    async with LinkAndPeer({"hit": echo}) as both:
        for message_type in ("ack", "juggled", "reply", "error"):
            request = begin(both.link.exchange(SocketMessage("juggle", 5), TIMEOUT_MS))
            assert await both.peer.next() == SocketMessage("juggle", 5)
            await both.peer.send(SocketMessage(message_type, 5).to_line())
            assert await within(request) == SocketMessage(message_type, 5)


async def test_what_this_side_serves_is_no_reply() -> None:
    """Both sides may have a request with one id under way."""
    async with LinkAndPeer({"hit": echo}) as both:
        request = begin(both.link.exchange(SocketMessage("juggle", 5), TIMEOUT_MS))
        assert await both.peer.next() == SocketMessage("juggle", 5)
        for message_type, answer in (("hit", "ack"), ("ping", "pong")):
            await both.peer.send(SocketMessage(message_type, 5).to_line())
            reply = await both.peer.next()
            assert reply is not None
            assert (reply.type, reply.id) == (answer, 5)
        assert not request.done()
        await both.peer.send(SocketMessage("juggled", 5).to_line())
        assert (await within(request)).type == "juggled"


async def test_items_come_before_the_reply() -> None:
    async with LinkAndPeer() as both:
        items: "list[SocketMessage]" = []
        both.link.on_stream = items.append
        request = begin(both.link.exchange(SocketMessage("list_balls", 5), TIMEOUT_MS))
        assert await both.peer.next() == SocketMessage("list_balls", 5)
        sent = [
            SocketMessage(message_type, 5)
            for message_type in ("item", "event", "target", "result", "game", "reply")
        ]
        await both.peer.send(b"".join([message.to_line() for message in sent]))
        assert await within(request) == sent[-1]
        assert items == sent[:-1]


async def test_a_reply_that_comes_too_late_is_dropped_once() -> None:
    """As often as its id was waited for in vain; then it is a request, of a type that nobody serves."""
    async with LinkAndPeer() as both:
        for _ in range(2):
            both.link.start_request("h", SocketMessage("hit", "h").to_line(), lambda token, reply: None, 0)
            assert await both.peer.next() == SocketMessage("hit", "h")
            both.link.cancel_request("h")
        await both.peer.send(SocketMessage("struck", "h").to_line() * 3)
        assert _code(await both.peer.next()) == ErrorCode.UNKNOWN_TYPE
        await both.peer.send(SocketMessage("ping", 1).to_line())
        assert (await both.peer.next()) == SocketMessage("pong", 1, None, "alive")


async def test_few_late_replies_are_remembered() -> None:
    async with LinkAndPeer() as both:
        for number in range(MAX_HANDLERS + 1):
            line = SocketMessage("hit", number).to_line()
            both.link.start_request(number, line, lambda token, reply: None, 0)
            assert await both.peer.next() == SocketMessage("hit", number)
            both.link.cancel_request(number)
        late = [SocketMessage("struck", number).to_line() for number in range(MAX_HANDLERS + 1)]
        await both.peer.send(b"".join(late) + SocketMessage("ping", "p").to_line())
        refused = await both.peer.next()
        assert _code(refused) == ErrorCode.UNKNOWN_TYPE
        assert refused is not None
        assert refused.id == 0
        assert (await both.peer.next()) == SocketMessage("pong", "p", None, "alive")


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}) as pair:
        request = begin(pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        await gate.have(1)
        request.cancel()
        try:
            await request
        except asyncio.CancelledError:
            pass
        again = begin(pair.near.request(SocketMessage("hit", 1, data={"n": 2}), TIMEOUT_MS))
        await gate.have(2)
        gate.waiting[1][1].set()
        assert (await within(again)).data == {"n": 2}


# --- what is not served


async def test_an_unknown_type_is_one_error() -> None:
    async with LinkPair() as pair:
        error = await raises_async(
            ErrorCode.UNKNOWN_TYPE, pair.near.request(SocketMessage("juggle", "j"), TIMEOUT_MS)
        )
        assert error.id == "j"
        assert (await pair.near.request(SocketMessage("ping", 1), TIMEOUT_MS)).type == "pong"


async def test_before_admission_nothing_is_served() -> None:
    def admit(link: Link, message: SocketMessage) -> None:
        if message.type == "register":
            link.open({"hit": echo}, "known")
        link.send_nowait(message.reply("ack" if message.type == "register" else "error"))

    async with LinkPair(admit=admit) as pair:
        for message_type in ("ping", "hit", "juggle"):
            request = pair.near.request(SocketMessage(message_type, 1), TIMEOUT_MS)
            await raises_async(ErrorCode.INTERNAL, request)
        # In one piece: what follows the message that is admitted is served.
        pasted = [SocketMessage(message_type, message_type) for message_type in ("register", "ping", "hit")]
        replies = [asyncio.create_task(pair.near.request(message, TIMEOUT_MS)) for message in pasted]
        for reply, message_type in zip(replies, ("ack", "pong", "ack")):
            assert (await reply).type == message_type


async def test_an_error_is_never_answered_with_an_error() -> None:
    async with LinkAndPeer() as both:
        await both.peer.send(b'{"type":"error"}\n{"type":"error","id":5}\n')
        await both.peer.send(b'{"type":"error","id":7,"data":{"code":5,"message":null}}\n')
        await both.peer.send(SocketMessage("ping", 1).to_line())
        assert await both.peer.next() == SocketMessage("pong", 1, None, "alive")


async def test_a_garbage_line_costs_one_error() -> None:
    async with LinkAndPeer() as both:
        await both.peer.send(b'nonsense\n\xff\xfe\n{"type":"ping"}\n{"type":"ping","id":4,"data":1}\n')
        await both.peer.send(SocketMessage("ping", 1).to_line())
        found = []
        for _ in range(5):
            found.append(await both.peer.next())
        assert [_code(message) for message in found[:4]] == [
            ErrorCode.BAD_JSON,
            ErrorCode.BAD_JSON,
            ErrorCode.BAD_MESSAGE,
            ErrorCode.BAD_MESSAGE,
        ]
        assert [message.id for message in found if message is not None] == [None, None, None, 4, 1]
        assert both.link.close_error is None


async def test_an_over_long_line_ends_the_connection_with_its_reason() -> None:
    async with LinkAndPeer() as both:
        await both.peer.send(b"x" * MAX_LINE_BYTES + b"\n" + SocketMessage("ping", 1).to_line())
        assert _code(await both.peer.next()) == ErrorCode.LINE_TOO_LONG
        # It lingers until the peer hangs up, so that the reason arrives.
        await both.peer.send(b"y" * 4_000)
        await both.peer.close()
        assert (await within(both.run)).code == ErrorCode.LINE_TOO_LONG


async def test_a_peer_that_does_not_hang_up_after_an_over_long_line_is_hung_up_on() -> None:
    async with LinkAndPeer() as both:
        await both.peer.send(b"x" * MAX_LINE_BYTES)
        assert _code(await both.peer.next()) == ErrorCode.LINE_TOO_LONG
        told_ms = now_ms()
        assert await both.peer.next() is None
        assert now_ms() - told_ms >= LINGER_MS // 2, "it has time to read why"
        assert (await within(both.run)).code == ErrorCode.LINE_TOO_LONG


async def test_a_line_that_the_peer_does_not_take_is_not_sent() -> None:
    async with LinkPair({"hit": echo}) as pair:
        pair.near.peer_max_line_bytes = 512
        long = SocketMessage("hit", 1, data={"x": "x" * 512})
        await raises_async(ErrorCode.LINE_TOO_LONG, pair.near.request(long, TIMEOUT_MS))
        short = SocketMessage("hit", 1, data={"x": "x" * 400})
        assert (await pair.near.request(short, TIMEOUT_MS)).data == short.data


# --- handlers


async def test_a_handler_that_raises_is_an_internal_error() -> None:
    async with LinkPair({"hit": _defect, "miss": echo}) as pair:
        error = await raises_async(ErrorCode.INTERNAL, pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        assert error.id == 1
        assert (await pair.near.request(SocketMessage("miss", 2), TIMEOUT_MS)).type == "ack"
        assert pair.far.close_error is None


async def test_a_reply_that_cannot_be_sent_is_answered_with_why() -> None:
    async def too_long(link: Link, message: SocketMessage) -> SocketMessage:
        return message.reply("ack", "ok", {"x": "x" * MAX_LINE_BYTES})

    async def impossible(link: Link, message: SocketMessage) -> SocketMessage:
        return message.reply("ack", "ok", {"x": float("nan")})

    async with LinkPair({"hit": too_long, "miss": impossible}) as pair:
        await raises_async(ErrorCode.LINE_TOO_LONG, pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        await raises_async(ErrorCode.BAD_MESSAGE, pair.near.request(SocketMessage("miss", 2), TIMEOUT_MS))
        assert (await pair.near.request(SocketMessage("ping", 3), TIMEOUT_MS)).type == "pong"


async def test_too_many_handlers_are_busy() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}) as pair:
        requests = [
            begin(pair.near.request(SocketMessage("hit", n), TIMEOUT_MS)) for n in range(MAX_HANDLERS)
        ]
        await gate.have(MAX_HANDLERS)
        error = await raises_async(ErrorCode.BUSY, pair.near.request(SocketMessage("hit", "x"), TIMEOUT_MS))
        assert error.id == "x"
        assert not error.unknown_fate
        assert (await pair.near.request(SocketMessage("ping", "p"), TIMEOUT_MS)).type == "pong"
        for _, go in gate.waiting:
            go.set()
        for request in requests:
            assert (await within(request)).type == "ack"
        last = begin(pair.near.request(SocketMessage("hit", "x"), TIMEOUT_MS))
        await gate.have(MAX_HANDLERS + 1)
        gate.waiting[-1][1].set()
        assert (await within(last)).type == "ack"


# --- the end of a link


async def test_the_peers_end_fails_what_is_pending() -> None:
    gate = _Gate()
    async with LinkPair({"hit": gate.handle}) as pair:
        requests = [begin(pair.near.request(SocketMessage("hit", n), TIMEOUT_MS)) for n in range(3)]
        await gate.have(3)
        pair.far.close(ProtocolError(ErrorCode.DISCONNECTED, "that was it"))
        for n, request in enumerate(requests):
            error = await failed(ErrorCode.DISCONNECTED, request)
            assert error.unknown_fate
            assert error.id == n
        assert (await within(pair.far_run)).message == "that was it"
        assert (await within(pair.near_run)).code == ErrorCode.DISCONNECTED


async def test_after_the_end_nothing_is_sent() -> None:
    async with LinkPair() as pair:
        pair.near.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
        await within(pair.near_run)
        raises(ErrorCode.DISCONNECTED, pair.near.send_nowait, SocketMessage("ping", 1))
        await raises_async(ErrorCode.DISCONNECTED, pair.near.send(SocketMessage("ping", 1)))
        error = await raises_async(ErrorCode.DISCONNECTED, pair.near.request(SocketMessage("ping", 1), 1000))
        assert not error.unknown_fate


async def test_the_end_is_told_once() -> None:
    async with LinkPair() as pair:
        told: "list[tuple[Link, str]]" = []
        pair.near.on_close = lambda link, error: told.append((link, error.code))
        pair.near.close(ProtocolError(ErrorCode.BUSY, "first"))
        pair.near.close(ProtocolError(ErrorCode.TIMEOUT, "second"))
        assert (await within(pair.near_run)).code == ErrorCode.BUSY
        assert told == [(pair.near, ErrorCode.BUSY)]


async def test_a_peer_that_hangs_up_ends_the_link() -> None:
    async with LinkAndPeer() as both:
        await both.peer.send(b'{"type":"pi')
        await both.peer.close()
        assert (await within(both.run)).code == ErrorCode.DISCONNECTED


async def test_a_link_that_is_cut_in_mid_request_fails_it() -> None:
    async with LinkAndPeer() as both:
        request = begin(both.link.request(SocketMessage("hit", "h"), TIMEOUT_MS))
        assert await both.peer.next() == SocketMessage("hit", "h")
        # Unread bytes make the close a reset.
        both.link.send_nowait(SocketMessage("ping", 1))
        both.link.send_nowait(SocketMessage("ping", 2))
        await both.peer.close()
        error = await failed(ErrorCode.DISCONNECTED, request)
        assert error.unknown_fate
        assert (await within(both.run)).code == ErrorCode.DISCONNECTED


class _Tasks:
    """Every task that is created meanwhile, but for the one that MicroPython's timers share. For `with`."""

    def __enter__(self) -> "list[asyncio.Task[object]]":
        self._timer = call_later(60_000, lambda: None)
        tasks: "list[asyncio.Task[object]]" = []
        self._create_task = create_task = asyncio.create_task

        def recording(coroutine):  # type: ignore[no-untyped-def]
            task = create_task(coroutine)
            tasks.append(task)
            return task

        asyncio.create_task = recording  # type: ignore[assignment]
        return tasks

    def __exit__(self, *_: object) -> None:
        asyncio.create_task = self._create_task
        self._timer.cancel()


def _fill(link: Link) -> None:
    """Posts until no more is taken: the peer does not read."""
    line = SocketMessage("event", 1, data={"x": "x" * 1_500}).to_line()
    try:
        for _ in range(100_000):
            link.send_line_nowait(line)
    except ProtocolError as error:
        if error.code != ErrorCode.BUSY:
            raise
        return
    raise AssertionError("the queue has no end")


async def test_closing_leaves_no_task() -> None:
    gate = _Gate()
    with _Tasks() as tasks:
        async with LinkPair({"hit": gate.handle, "miss": never}) as pair:
            pair.near.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
            pair.far.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
            requests = [
                begin(pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS)),
                begin(pair.near.request(SocketMessage("miss", 2), TIMEOUT_MS)),
            ]
            await gate.have(1)
            pair.near.close(ProtocolError(ErrorCode.DISCONNECTED, "enough"))
            for request in requests:
                await failed(ErrorCode.DISCONNECTED, request)
    assert len(tasks) >= 2 + 2 + 2  # two runs, two handlers, two requests
    assert all(task.done() for task in tasks)


async def test_cancelling_run_amid_a_drain_leaves_no_task() -> None:
    with _Tasks() as tasks:
        async with LinkAndPeer() as both:
            both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
            idle = len(tasks)
            _fill(both.link)
            assert len(tasks) <= idle + 1, "at most one waits for the network"
            waits = begin(both.link.send(SocketMessage("ping", 1)))
            await sleep_ms(0)
            both.run.cancel()
            try:
                await within(both.run)
            except asyncio.CancelledError:
                pass
            assert all(task.done() for task in tasks if task is not waits)
            await failed(ErrorCode.DISCONNECTED, waits)
            both.run = waits


async def test_a_peer_that_hangs_up_after_the_end_leaves_no_task() -> None:
    with _Tasks() as tasks:
        async with LinkAndPeer() as both:
            both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
            both.link.close(ProtocolError(ErrorCode.BUSY, "full"), linger=True)
            await both.peer.close()
            assert (await within(both.run)).code == ErrorCode.BUSY
            assert all(task.done() for task in tasks)


async def test_a_link_whose_peer_has_read_all_has_no_task_for_it() -> None:
    with _Tasks() as tasks:
        async with LinkAndPeer() as both:
            for _ in range(2):
                idle = len(tasks)
                _fill(both.link)
                drains = tasks[idle:]
                assert len(drains) <= 1
                last = begin(both.link.send(SocketMessage("ping", "last")))
                message = await both.peer.next()
                while message is not None and message.id != "last":
                    message = await both.peer.next()
                await within(last)
                for drain in drains:
                    await within(drain)


async def test_a_heartbeat_that_begins_after_the_end_does_not_keep_the_link() -> None:
    async with LinkAndPeer() as both:
        both.link.close(ProtocolError(ErrorCode.BUSY, "full"), linger=True)
        both.link.start_heartbeat(MIN_HEARTBEAT_MS, MIN_HEARTBEAT_MS)
        assert (await within(both.run)).code == ErrorCode.BUSY


async def test_cancelling_run_leaves_no_socket() -> None:
    async with LinkPair({"hit": never}) as pair:
        request = begin(pair.near.request(SocketMessage("hit", 1), TIMEOUT_MS))
        pong = await pair.near.request(SocketMessage("ping", 2), TIMEOUT_MS)
        assert pong.type == "pong"
        pair.near_run.cancel()
        try:
            await within(pair.near_run)
        except asyncio.CancelledError:
            pass
        await failed(ErrorCode.DISCONNECTED, request)
        assert (await within(pair.far_run)).code == ErrorCode.DISCONNECTED
        pair.near_run = pair.far_run


async def test_fields_pass_through_unchanged() -> None:
    async with LinkPair({"stand_up": echo}) as pair:
        message = SocketMessage(
            "stand_up", "\u00e9", "group:left", None, {"\u4e2d": [1, None, {"a": "\U0001f3af"}]}
        )
        reply = await pair.near.request(message, TIMEOUT_MS)
        assert fields_of(reply) == {
            "type": "ack",
            "id": "\u00e9",
            "target_id": "group:left",
            "status": "ok",
            "data": message.data,
        }


# --- bytes that follow a line

_BYTES = bytes(range(256)) * 4


async def _echo_bytes(link: Link, message: SocketMessage) -> SocketMessage:
    reply = message.reply("reply", "ok")
    reply.attachment = message.attachment
    return reply


async def test_bytes_go_with_a_request_and_come_with_its_reply() -> None:
    async with LinkPair({"chunk": _echo_bytes}) as pair:
        pair.near.peer_max_chunk_bytes = pair.far.peer_max_chunk_bytes = len(_BYTES)
        requests = [
            begin(pair.near.request(SocketMessage("chunk", number, attachment=_BYTES), TIMEOUT_MS))
            for number in range(4)
        ]
        pong = await pair.near.request(SocketMessage("ping", "between"), TIMEOUT_MS)
        assert pong.status == "alive"
        for request in requests:
            assert (await within(request)).attachment == _BYTES


async def test_a_peer_gets_no_more_bytes_than_it_takes() -> None:
    async with LinkPair({"chunk": _echo_bytes}) as pair:
        for limit in (0, len(_BYTES) - 1):
            pair.near.peer_max_chunk_bytes = limit
            message = SocketMessage("chunk", "c", attachment=_BYTES)
            error = await raises_async(ErrorCode.LINE_TOO_LONG, pair.near.request(message, TIMEOUT_MS))
            assert str(limit) in error.message
            assert not error.unknown_fate
        assert pair.near.close_error is None
        await pair.near.request(SocketMessage("chunk", "c"), TIMEOUT_MS)


async def test_more_bytes_than_are_taken_are_one_error_and_the_end() -> None:
    async with LinkAndPeer({"chunk": _echo_bytes}) as joined:
        await joined.peer.send(b'{"type":"chunk","id":1,"bytes":%d}\nx' % (1 << 20))
        assert _code(await joined.peer.next()) == ErrorCode.LINE_TOO_LONG
        assert joined.link.close_error is not None

"""A connection through a hub: bytes both ways in order, whatever overtakes what."""

from collections import deque
from random import Random

import pytest
from hypothesis import given, strategies as st

from snyper.services.carrying import (
    MAX_HELD,
    MAX_UNDER_WAY,
    ClientEnd,
    InOrder,
    ServiceEnd,
    connection_of,
)
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

MAX_BYTES = 8


def passed_on(message: SocketMessage) -> SocketMessage:
    """A message as it comes out at the other end of a wire."""
    line, _, piece = message.to_line().partition(b"\n")
    parsed = SocketMessage.from_line(line + b"\n")
    parsed.attachment = piece or None
    return parsed


def piece(at: int, content: bytes, **more: object) -> SocketMessage:
    return SocketMessage(MessageType.REPLY, 1, None, "ok", {"at": at, **more}, content or None)


@given(st.integers(0, 1 << 32))
def test_both_streams_arrive_as_they_were_sent_in_whatever_order_messages_come(seed: int) -> None:
    random = Random(seed)
    client, service = ClientEnd("c" * 32, "lab1", MAX_BYTES), ServiceEnd(MAX_BYTES)
    up, down = (
        deque(random.randbytes(random.randint(1, MAX_BYTES)) for _ in range(random.randrange(13)))
        for _ in range(2)
    )
    wanted = b"".join(up), b"".join(down)
    came_up, came_down = b"", b""
    requests = [client.begin()]
    replies: list[SocketMessage] = []
    up_ends = down_ends = False
    while not (client.is_over and service.is_over):
        moves = []
        if client.may_send and not up_ends:
            moves.append("send")
        if client.wants_another:
            moves.append("ask")
        if requests:
            moves.append("request")
        if replies:
            moves.append("reply")
        if service.room_bytes and (down or not down_ends):
            moves.append("answer")
        if service.has_surplus:
            moves.append("surplus")
        assert moves, "both wait for each other"
        move = random.choice(moves)
        if move == "send":
            content = up.popleft() if up else b""
            up_ends = not content
            requests.append(client.exchange(content, ends=up_ends))
        elif move == "ask":
            requests.append(client.exchange())
        elif move == "request":
            at = random.randrange(len(requests))
            came_up += b"".join(service.take(passed_on(requests.pop(at))))
        elif move == "reply":
            at = random.randrange(len(replies))
            came_down += b"".join(client.take(passed_on(replies.pop(at))))
        elif move == "answer":
            content = down.popleft() if down else b""
            down_ends = not content
            replies.append(service.answer(content, ends=down_ends))
        else:
            replies.append(service.answer())
        assert client.under_way <= MAX_UNDER_WAY
    assert (came_up, came_down) == wanted


def test_the_client_keeps_more_requests_with_a_service_that_has_much_to_say() -> None:
    client = ClientEnd("c", "lab1", MAX_BYTES)
    client.exchange()
    assert not client.wants_another
    client.take(piece(0, b"x" * MAX_BYTES))
    for _ in range(MAX_HELD):
        assert client.wants_another
        client.exchange()
    assert not client.wants_another


def test_a_request_without_room_gets_no_bytes() -> None:
    client, service = ClientEnd("c", "lab1", MAX_BYTES), ServiceEnd(MAX_BYTES)
    service.take(passed_on(client.exchange(has_room=False)))
    assert service.room_bytes == 0
    service.take(passed_on(client.exchange()))
    assert service.room_bytes == MAX_BYTES
    assert service.answer(b"bytes").id == 2
    assert service.answer().id == 1


def test_a_client_says_how_many_requests_are_kept() -> None:
    client, service = ClientEnd("c", "lab1", MAX_BYTES), ServiceEnd(MAX_BYTES)
    for _ in range(MAX_HELD):
        service.take(passed_on(client.exchange()))
    assert not service.has_surplus
    asking = client.exchange()
    asking.data = {**(asking.data or {}), "max_held": 1}
    service.take(passed_on(asking))
    while service.has_surplus:
        service.answer()
    assert [id for id, _ in service.held] == [asking.id]


@pytest.mark.parametrize(
    "messages",
    [
        [piece(0, b"abc"), piece(0, b"abc")],
        [piece(0, b"abc"), piece(2, b"c")],
        [piece(5, b"abc"), piece(5, b"abc")],
        [piece(at, b"x") for at in range(1, 100)],
        [piece(-1, b"x")],
        [SocketMessage(MessageType.REPLY, 1, None, "ok", {"at": "0"}, b"x")],
    ],
)
def test_bytes_that_belong_nowhere_are_refused(messages: list[SocketMessage]) -> None:
    stream = InOrder()

    def take_all() -> None:
        for message in messages:
            stream.take(message)

    with pytest.raises(ProtocolError) as caught:
        take_all()
    assert caught.value.code == ErrorCode.BAD_MESSAGE


def test_a_client_that_asks_without_end_is_busy() -> None:
    service = ServiceEnd(MAX_BYTES)
    for _ in range(MAX_UNDER_WAY + 1):
        service.take(piece(0, b""))
    with pytest.raises(ProtocolError) as caught:
        service.take(piece(0, b""))
    assert caught.value.code == ErrorCode.BUSY


def test_a_request_says_its_connection() -> None:
    client = ClientEnd("c" * 32, "lab1", MAX_BYTES)
    assert connection_of(client.begin()) == ("c" * 32, True)
    assert connection_of(client.exchange()) == ("c" * 32, False)
    wrong: list[dict[str, object] | None] = [None, {}, {"connection": ""}, {"connection": 5}]
    for data in wrong:
        with pytest.raises(ProtocolError):
            connection_of(SocketMessage("exchange", 1, None, data=data))

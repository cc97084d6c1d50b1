"""Watches, without a socket: who is told which value, and what of it a slow one misses."""

import json
from typing import Any

import pytest

from snyper.services.remote_exceptions import Busy, to_wire
from snyper.services.surface import Surface
from snyper.services.watching import MAX_PERIODS, Watched, Watcher, Watches
from snyper.services.wire import RAISED, RETURNED, Pieces, reply, unpack
from snyper.shared.socket_protocol import MessageType, SocketMessage


class Powermeter:
    """A powermeter."""

    range = property(lambda self: 1, lambda self, value: None)
    gain = property(lambda self: 1)

    def read(self) -> float:
        """Read."""
        return 0.5


SURFACE = Surface()
SURFACE.add(Powermeter(), "a_")
SURFACE.add(Powermeter(), "b_")
RANGE = SURFACE.find("get_a_range")


def returned(value: object, seq: int = 1) -> Pieces:
    return reply(seq, RETURNED, value)


class Client:
    """One who watches, and what has come to him."""

    def __init__(self, name: str = "one") -> None:
        self.got: list[Any] = []
        self.ended: SocketMessage | None = None
        self.watcher = Watcher(f"watch-{name}", name, self.take)

    def take(self, pieces: Pieces) -> None:
        message = SocketMessage.from_line(bytes(pieces[0]))
        message.attachment = b"".join(bytes(piece) for piece in pieces[1:])
        assert message.id == self.watcher.id
        if message.type == MessageType.REPLY:
            self.ended = message
        elif message.status is None:
            assert message.data is not None
            self.got.append((message.data["n"], unpack(message, "value")))


def test_each_change_comes_once() -> None:
    watched, one, late = Watched(RANGE, None), Client(), Client("late")
    watched.add(one.watcher)
    for value in (1, 1, 2, 2):
        watched.take(returned(value, seq=len(one.got) + 7))
        one.watcher.taken()
    assert one.got == [(1, 1), (2, 2)]
    watched.add(late.watcher)
    assert late.got == []  # what was known may not be so any more
    watched.take(returned(2))
    assert (late.got, len(one.got)) == ([(2, 2)], 2)


def test_in_a_period_all_come_and_who_is_late_gets_the_last() -> None:
    watched, one, late = Watched(RANGE, 0.2), Client(), Client("late")
    assert not watched.has_value
    watched.add(one.watcher)
    for _ in range(3):
        watched.take(returned(1.5))
        one.watcher.taken()
    assert one.got == [(1, 1.5), (2, 1.5), (3, 1.5)]
    assert watched.has_value
    watched.add(late.watcher)
    assert late.got == [(3, 1.5)]


def test_a_slow_one_gets_the_newest_and_can_count() -> None:
    watched, slow, fast = Watched(RANGE, None), Client("slow"), Client("fast")
    watched.add(slow.watcher)
    watched.add(fast.watcher)
    for value in range(100):
        watched.take(returned(value))
        fast.watcher.taken()
    assert slow.got == [(1, 0)]
    slow.watcher.taken()
    assert slow.got == [(1, 0), (100, 99)]
    slow.watcher.taken()
    watched.take(returned("next"))
    assert slow.got[2:] == [(101, "next")]
    assert len(fast.got) == 101


def test_what_does_not_fit_in_a_line_comes_behind_it() -> None:
    watched, one = Watched(RANGE, None), Client()
    watched.add(one.watcher)
    watched.take(returned([b"x" * 100_000, {1: 2}]))
    assert one.got == [(1, [b"x" * 100_000, {1: 2}])]


def test_an_exception_ends_it() -> None:
    watched, one = Watched(RANGE, None), Client()
    watched.add(one.watcher)
    watched.take(reply(3, RAISED, to_wire(ValueError("no light"))))
    assert one.ended is not None
    assert one.ended.status == RAISED
    assert json.dumps(one.ended.data).count("no light") == 1
    assert watched.watchers == {}


def test_what_sets_a_property_is_of_that_alone() -> None:
    watches = Watches()
    for name in ("a_range", "b_range", "a_gain"):
        watches.find(SURFACE.find_read(name), None).add(Client(name).watcher)
    watches.find(SURFACE.find_read("a_range"), 0.5).add(Client("each").watcher)
    names = [(one.member.name, one.every_s) for one in watches.of(SURFACE.find("set_a_range"))]
    assert names == [("get_a_range", None), ("get_a_range", 0.5)]
    assert [one.member.name for one in watches.of(SURFACE.find("get_b_range"))] == ["get_b_range"]
    assert list(watches.of(SURFACE.find("a_read"))) == []


def test_who_leaves_is_told_no_more_and_what_nobody_watches_is_forgotten() -> None:
    watches, one = Watches(), Client()
    watched = watches.find(RANGE, None)
    watched.add(one.watcher)
    assert watches.find(RANGE, None) is watched
    assert not watches.leave("other")
    assert not watches.leave("one", "watch-other")
    assert watches.leave("one", "watch-one")
    assert not watches.watched


def test_one_that_leaves_while_all_are_told_disturbs_nobody() -> None:
    watches, clients = Watches(), [Client(name) for name in "abc"]
    watched = watches.find(RANGE, None)
    for client in clients:
        watched.add(client.watcher)

    def leave(pieces: Pieces) -> None:
        for client in clients:
            if client.got or client is clients[1]:
                watches.leave(client.watcher.session)

    clients[1].watcher.send = leave
    watched.take(returned(1))
    assert [client.got for client in clients] == [[(1, 1)], [], [(1, 1)]]
    assert list(watched.watchers) == [("c", "watch-c")]


def test_there_are_so_many_periods_and_changes_are_watched_all_the_same() -> None:
    watches = Watches()
    for number in range(MAX_PERIODS):
        watches.find(RANGE, 1.0 + number).add(Client(str(number)).watcher)
    with pytest.raises(Busy, match="1,000 periods"):
        watches.find(RANGE, 0.5)
    watches.find(RANGE, 1.0).add(Client("0").watcher)
    watches.find(RANGE, None).add(Client("0").watcher)
    assert watches.count("0") == 2

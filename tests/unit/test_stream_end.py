"""A client's end of a stream: what was taken is told, and each end means one thing."""

from typing import Any

import pytest

from snyper.services import wire
from snyper.services.client_session import ClientSession
from snyper.services.remote_exceptions import StreamLost, to_wire
from snyper.services.stream_end import Arrivals, StreamEnd
from snyper.services.streaming import lost
from snyper.services.window import MAX_ITEMS
from snyper.services.wire import RAISED, RETURNED, Pieces
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

BROKEN = ProtocolError(ErrorCode.DISCONNECTED, "the connection has ended")


def message(pieces: Pieces) -> SocketMessage:
    return SocketMessage.from_line(bytes(pieces[0]))


def item(value: object) -> SocketMessage:
    return message(wire.item(1, value))


def reply(status: str, value: object) -> SocketMessage:
    return message(wire.reply(1, status, value))


class End(StreamEnd):
    _stop = StopIteration

    def __init__(self) -> None:
        self.told: list[int] = []
        self.gave_up = 0
        super().__init__(
            Arrivals(), "scan()", ClientSession("lab1:4440"), None, self.told.append, self._count
        )

    def _count(self) -> None:
        self.gave_up += 1

    def step(self) -> Any:
        """Take what has come."""
        self._check()
        return self._take(self._items.next())

    def put(self, *came: SocketMessage | Exception) -> None:
        for one in came:
            self._items.put(one)


def test_what_has_come_is_taken_in_order_and_then_the_end() -> None:
    arrivals = Arrivals()
    assert arrivals.next() is None
    items = [item(at) for at in range(3)]
    came: list[SocketMessage | Exception] = [*items, BROKEN, reply(RETURNED, 3)]
    for one in came:
        arrivals.put(one)
    assert [arrivals.next() for _ in range(5)] == [*items, BROKEN, BROKEN]  # the first end is the end


def test_of_a_watch_the_newest_is_kept_and_each_is_told() -> None:
    told: list[None] = []
    arrivals = Arrivals(lambda: told.append(None))
    items = [item(at) for at in range(3)]
    for one in items:
        arrivals.put(one)
    arrivals.put(BROKEN)
    assert len(told) == 3
    assert [arrivals.next(), arrivals.next()] == [items[2], BROKEN]


def test_what_was_taken_is_told_often_enough_for_the_sender_to_go_on() -> None:
    end = End()
    for at in range(10 * MAX_ITEMS):
        end.put(item(at))
        assert end.step() == at
        assert at + 1 - (end.told[-1] if end.told else 0) < MAX_ITEMS
    assert len(end.told) <= 20


def test_the_end_of_the_generator_is_the_end_with_what_it_returned() -> None:
    end = End()
    end.put(item("a"), reply(RETURNED, 3))
    assert end.step() == "a"
    with pytest.raises(StopIteration) as stop:
        end.step()
    assert stop.value.value == 3
    with pytest.raises(StopIteration):
        end.step()
    end._close()
    assert end.gave_up == 0  # there is nothing any more


def test_what_it_raised_is_raised_once() -> None:
    end = End()
    end.put(reply(RAISED, to_wire(ValueError("the lamp is out"))))
    with pytest.raises(ValueError, match="the lamp is out"):
        end.step()
    with pytest.raises(StopIteration):
        end.step()


@pytest.mark.parametrize("came", [BROKEN, message(lost(1))], ids=["cut", "the server has lost it"])
def test_a_loss_says_after_how_many_items(came: SocketMessage | Exception) -> None:
    end = End()
    end.put(item(1), item(2), came)
    assert [end.step(), end.step()] == [1, 2]
    with pytest.raises(StreamLost) as raised:
        end.step()
    assert raised.value.after == 2
    with pytest.raises(StopIteration):
        end.step()


def test_a_deadline_and_leaving_give_up_once() -> None:
    end = End()
    with pytest.raises(StreamLost):
        end.step()  # nothing has come
    end._close()
    assert end.gave_up == 1
    end = End()
    end.put(item(1))
    end._close()
    end._close()
    with pytest.raises(StopIteration):
        end.step()
    assert end.gave_up == 1


def test_in_a_child_it_is_lost_and_left_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    end = End()
    end.put(item(1))
    monkeypatch.setattr(ClientSession, "is_inherited", True)
    with pytest.raises(StreamLost, match="after 0 items"):
        end.step()
    end._close()
    assert end.gave_up == 0

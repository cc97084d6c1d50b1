"""The reader of a stream, of which a hub on a board forwards whatever the source says."""

from typing import Any

import pytest

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage
from snyper.streams import subscriber
from snyper.streams.link_clock import LinkClock
from snyper.streams.subscriber import StreamReader

SPEC: dict[str, Any] = {"dtype": "<f8", "shape": [], "rate_hz": 1, "epoch": "e", "seq": 5}
BLOCK: dict[str, Any] = {"seq": 5, "at_us": 1, "uncertainty_us": 1, "source_us": 1}


def reader_of(*items: SocketMessage) -> StreamReader:
    """Return a reader that these items came to."""
    reader = StreamReader(None, "lab1/count", None, None, None, 1 << 20, True)  # type: ignore[arg-type]
    for item in items:
        reader.take(item)
    return reader


def begun(**other: Any) -> SocketMessage:
    return SocketMessage("item", 1, "lab1", "streams", SPEC | other)


def block(**other: Any) -> SocketMessage:
    message = SocketMessage("item", 1, "lab1", None, BLOCK | other)
    message.attachment = bytes(80)
    return message


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([begun(evicted="x")], id="evicted is a text"),
        pytest.param([begun(evicted=-1)], id="evicted is negative"),
        pytest.param([begun(lost=[])], id="lost is a list"),
        pytest.param([begun(seq=-1)], id="a number below zero"),
        pytest.param([begun(), block(seq=-5)], id="a block before the first"),
        pytest.param([begun(), block(seq=0)], id="a block before those that come"),
        pytest.param([begun(), block(), block(seq=14)], id="numbers that go back"),
        pytest.param([begun(), begun(epoch="f"), begun(dtype="<u8")], id="a second spec of an epoch"),
        pytest.param([begun(), block(marks=[["a", float("inf")]])], id="a mark beyond all time"),
        pytest.param([begun(), block(marks=[["a"]])], id="a mark without an instant"),
    ],
)
def test_what_is_no_stream_ends_it_with_an_error(items: list[SocketMessage]) -> None:
    end = reader_of(*items)._end
    assert isinstance(end, ProtocolError)
    assert end.code == ErrorCode.BAD_MESSAGE


def test_it_asks_for_what_follows_on_all_that_came() -> None:
    assert reader_of(begun()).request()["from_seq"] == 5
    reader = reader_of(begun(), block(), block(seq=20))
    assert reader.request() | {"epoch": "e", "from_seq": 30} == reader.request()


def test_of_an_epoch_of_which_nothing_has_come_it_asks_for_all() -> None:
    """Its numbers have nothing to do with those of the epoch before."""
    request = reader_of(begun(), block(), begun(epoch="f", seq=0)).request()
    assert request | {"epoch": "f", "from_seq": 0} == request


def test_what_it_dropped_itself_at_the_end_of_an_epoch_is_lost() -> None:
    """A reader that is behind while its source starts anew counts all of the old epoch that it had not."""
    items = [begun(), block(), block(seq=15), begun(epoch="f", seq=0, lost=3), block(seq=0)]
    items += [begun(epoch="g", seq=0, lost=2), block(seq=4)]
    reader = reader_of(*items)
    reader._max_bytes = 0
    reader._drop_oldest()
    [last] = reader._queue
    found = reader._block(last, LinkClock(None))  # type: ignore[arg-type]
    assert (found.epoch, found.seq, found.lost, reader.lost) == ("g", 4, 20 + 3 + 10 + 2 + 4, 39)


def test_the_lag_has_the_time_that_a_block_waited_for_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LinkClock(None)  # type: ignore[arg-type]
    clock._clock.add(1_000, 1_000, 1_000)
    reader = reader_of(begun(), block(at_us=1_000))
    monkeypatch.setattr(subscriber, "now_us", lambda: 2_001_000)
    assert reader._block(reader._queue.popleft(), clock).lag_us == 2_000_000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"epoch": "e"}, "give both"),
        ({"history": -1}, "0 to 600 s"),
        ({"history": 601}, "0 to 600 s"),
        ({"history": float("nan")}, "0 to 600 s"),
    ],
)
def test_what_is_no_begin_is_refused(asked: dict[str, Any], said: str) -> None:
    asked = {"from_seq": None, "epoch": None, "history": None} | asked
    with pytest.raises(ValueError, match=said):
        StreamReader(None, "lab1/count", **asked, max_queued_bytes=1, wait=True)  # type: ignore[arg-type]

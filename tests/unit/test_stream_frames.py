"""Packets as WebSockets carry them: whatever the numbers are, and however many."""

import json
import math

import numpy
import pytest

from snyper.gateway.stream_frames import Frames
from snyper.streams.demonstration import DemonstrationSignal
from snyper.streams.packet import Array, Packet
from tests.integration.test_gateway_stream import numbers_of

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "y",
    [
        numpy.array([NAN, INF, -INF, 1.5]),
        numpy.array([[1, NAN], [-INF, 2]], "<f4"),
        numpy.array([], "<f8"),
        numpy.array([1, -(2**62)], ">i8"),
        numpy.array([True, False]),
        numpy.array([1, 2, 3], "u1"),
    ],
    ids=lambda y: f"{y.dtype.str} {y.shape}",
)
def test_a_packet_comes_back_as_it_was(y: Array) -> None:
    x = numpy.arange(y.size, dtype="<f4").reshape(y.shape)
    frames = Frames(Packet(1.5, x, y))
    told = json.loads(frames.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    rebuilt = numpy.array(told["y"], dtype=told["dtype"])
    assert (told["type"], told["timestamp"], told["shape"]) == ("data", 1.5, list(y.shape))
    numpy.testing.assert_array_equal(rebuilt, y)
    assert rebuilt.dtype == y.dtype
    head, got_x, got_y = numbers_of(frames.binary)
    assert head == {**{name: told[name] for name in told if name not in "xy"}, "x_dtype": "float32"}
    assert (got_x.tobytes(), got_y.tobytes()) == (x.tobytes(), y.tobytes())


def test_numbers_lie_where_a_browser_can_have_them() -> None:
    """A Float64Array begins at a multiple of 8 bytes."""
    for count in range(1, 6):
        x = numpy.arange(count, dtype="<f4")
        message = Frames(Packet(float("1" * count), x, x.astype("<f8"))).binary
        assert (4 + int.from_bytes(message[:4], "little")) % 8 == 0
        assert (len(message) - 8 * count) % 8 == 0


def test_a_packet_is_encoded_once() -> None:
    frames = Frames(DemonstrationSignal(1).next_packet())
    assert frames.text is frames.text
    assert frames.binary is frames.binary


def test_the_demonstration_signal_goes_on() -> None:
    signal, same = DemonstrationSignal(7), DemonstrationSignal(7)
    packets = [signal.next_packet() for _ in range(1_000)]
    assert [packet.timestamp for packet in packets] == [index / 10 for index in range(1_000)]
    for packet in packets:
        assert packet.x.shape == packet.y.shape == (100,)
        assert packet.x[0] == packet.timestamp
        assert (same.next_packet().y == packet.y).all()
    noise = numpy.concatenate([packet.y - numpy.sin(packet.x) for packet in packets])
    assert abs(noise.mean()) < 0.002
    assert abs(noise.std() - 0.1) < 0.002

"""The serial port as mpremote gets it, on a pseudo-terminal."""

import os
import time
from collections.abc import Iterator

import pytest
import serial  # type: ignore[import-untyped]

from snyper.boards.usb import _ReadAhead, _Transport

DEADLINE_S = 15.0
STALL_S = 0.6  # in which this process stands still, and for longer than an answer may take
TIMEOUT_S = 0.3


@pytest.fixture
def line() -> Iterator[tuple[int, _ReadAhead]]:
    """A line's two ends: the board's descriptor, and the port."""
    board, terminal = os.openpty()
    with serial.Serial(os.ttyname(terminal), timeout=DEADLINE_S) as port:
        yield board, _ReadAhead(port)
    os.close(board)
    os.close(terminal)


def test_all_that_has_come_is_read_at_once_and_given_out_byte_by_byte(line: tuple[int, _ReadAhead]) -> None:
    board, port = line
    os.write(board, b"raw REPL")
    while port.in_waiting < 8:
        time.sleep(0.001)
    assert port.read() == b"r"
    os.write(board, b"; CTRL-B")
    assert port.in_waiting >= 7, "what was read with the first byte is still there"
    assert port.read(7) == b"aw REPL"
    assert port.read(8) == b"; CTRL-B"
    assert port.in_waiting == port.inWaiting() == 0


def test_a_read_waits_for_what_is_missing_and_no_longer_than_its_timeout(
    line: tuple[int, _ReadAhead],
) -> None:
    board, port = line
    os.write(board, b"OK")
    port.timeout = 0.02
    assert port.timeout == 0.02
    assert port.read(3) == b"OK"
    assert port.read() == b""


class StallingPort:
    """A port in whose first read this computer stands still. The board, on it or held up by it, answers two
    looks later.
    """

    def __init__(self, port: serial.Serial, board: int, answer: bytes) -> None:
        self._port = port
        self._board = board
        self._answer = answer
        self._looks = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)

    def read(self, size: int) -> bytes:
        self._looks += 1
        if self._looks == 1:
            time.sleep(STALL_S)
            return b""
        if self._looks == 3:
            os.write(self._board, self._answer)
        return bytes(self._port.read(size))


def test_a_computer_that_stands_still_takes_no_board_for_silent() -> None:
    board, terminal = os.openpty()
    transport = _Transport(os.ttyname(terminal))
    for reads in ("a whole read", "up to an ending"):
        port = _ReadAhead(StallingPort(transport._port, board, b"OK"))
        port.timeout = TIMEOUT_S
        transport.serial = port
        if reads == "a whole read":
            assert port.read(2) == b"OK"
        else:
            assert transport.read_until(1, b"K", timeout=TIMEOUT_S) == b"OK"
            assert transport.read_until(1, b"K", timeout_overall=TIMEOUT_S) == b""
    transport.close()
    os.close(board)
    os.close(terminal)


def test_a_board_that_is_silent_is_known_in_time() -> None:
    board, terminal = os.openpty()
    transport = _Transport(os.ttyname(terminal))
    told: list[float] = []
    transport.on_wait = lambda: told.append(time.monotonic())
    for limits in ({"timeout": TIMEOUT_S}, {"timeout": None, "timeout_overall": TIMEOUT_S}):
        began_s = time.monotonic()
        assert transport.read_until(1, b"K", **limits) == b""
        assert TIMEOUT_S <= time.monotonic() - began_s < DEADLINE_S
    assert len(told) >= 2
    transport.close()
    os.close(board)
    os.close(terminal)

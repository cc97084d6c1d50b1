"""The serial port as mpremote gets it, on a pseudo-terminal."""

import os
import time
from collections.abc import Iterator

import pytest
import serial  # type: ignore[import-untyped]

from snyper.boards.usb import _ReadAhead

DEADLINE_S = 15.0


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

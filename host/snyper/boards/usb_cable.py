"""The USB cable of a virtual board: carries bytes and Ctrl-C between two pseudo-terminals."""

import os
import re
import select
import signal
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from snyper.boards.board import POLL_SECONDS

# What virtual_board/ says to whoever holds the terminal, and what MicroPython says.
_MARK = re.compile(rb"\x1b\]snyper;(booted|prompt|bytes (\d+))\x07")
_BEGUN_MARK = re.compile(rb"\x1b[^\x07\x1b]{0,32}\Z")
_LINE_FEED = re.compile(rb"(?<!\r)\n")
_RAW_REPL = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY_REPL = b'Type "help()" for more information.'

_CTRL_A = b"\x01"
_CTRL_C = b"\x03"

PATIENCE_SECONDS = 0.5  # output that the computer does not take for so long is dropped: ports/rp2's own limit
INTERRUPT_SECONDS = 1.0  # a program that a Ctrl-C has not ended after so long goes on
TICK_SECONDS = 0.002
MAX_HELD_BYTES = 65_536


class Cable:
    """Carries bytes between the computer's pseudo-terminal and the board's, as USB would, and Ctrl-C.

    Two terminals, because whoever opens the computer's sets it up as a serial port. The board's does nothing
    to what passes; one flag without a meaning there tells a running program from the prompt, where
    MicroPython clears all of them.
    """

    def __init__(self, log: BinaryIO) -> None:
        self._log = log
        self.pid: int | None = None  # the board's process
        self.starts_raw = False  # whether this boot leads to the raw prompt
        self.is_raw = False  # whether the last prompt was the raw one
        self.booted = threading.Event()
        self._wants_raw = False  # from the friendly prompt, which nobody shall see, to the raw one
        self._asks_raw = False
        self._has_interrupted = False  # a program of this boot
        self._interrupted_at: float | None = None  # since when what was typed waits for a program's end
        self._typed = b""  # from the computer, not yet given to the board
        self._unread = b""  # from the board, may be the beginning of a mark
        self._bytes_ahead = 0  # that are to pass as they are
        self._last = b""  # a carriage return, where it came last
        self._recent = b""
        self._pending = b""  # for the computer
        self._taken_at = 0.0  # when the computer last took something
        self._is_gone = False  # the computer takes nothing
        self._computer, self._computer_end = _open_terminal()
        self._relay_end, self.board = _open_terminal()
        self.port = os.ttyname(self._computer_end)
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._relay, name=self.port, daemon=True)
        self._thread.start()

    def plug_in(self) -> int:
        """Set the board's terminal up as a new process expects it."""
        _set_up(self.board)
        self.booted.clear()
        self.is_raw = self.starts_raw
        self._wants_raw = self._asks_raw = self._has_interrupted = False
        self._interrupted_at = None
        return self.board

    def is_stuck(self) -> bool:
        """Return whether a Ctrl-C of ours has stopped the process for good.

        MicroPython's unix port leaves what it does at once, even if it holds its table of words or its heap:
        the next who wants that waits for ever. As far as Linux says what a process waits for.
        """
        pid = self.pid
        return self._has_interrupted and pid is not None and _waits_for_itself(pid)

    def say(self, text: bytes) -> None:
        """Print what a board without a process says, after all that the last one has said."""
        os.write(self.board, text)

    def close(self) -> None:
        """Close the terminals."""
        os.write(self._waker, b".")
        self._thread.join()
        for descriptor in (self._computer, self._computer_end, self._relay_end, self.board):
            os.close(descriptor)
        os.close(self._wake)
        os.close(self._waker)
        self._log.close()

    def _relay(self) -> None:
        while True:
            is_waiting = self._interrupted_at is not None or self._wants_raw or self._pending
            inputs = [self._wake]
            if len(self._typed) < MAX_HELD_BYTES:
                inputs.append(self._computer)
            if len(self._pending) < MAX_HELD_BYTES:
                inputs.append(self._relay_end)
            readable, _, _ = select.select(inputs, [], [], TICK_SECONDS if is_waiting else POLL_SECONDS)
            if self._wake in readable:
                return
            if self._relay_end in readable:
                self._take_output(os.read(self._relay_end, 4096))
            if self._computer in readable:
                self._typed += os.read(self._computer, 4096)
            self._give_input()
            self._give_output()

    # --- from the board to the computer

    def _take_output(self, data: bytes) -> None:
        data, self._unread = self._unread + data, b""
        while data:
            if self._bytes_ahead:
                piece, data = data[: self._bytes_ahead], data[self._bytes_ahead :]
                self._bytes_ahead -= len(piece)
                self._hear(piece)
                continue
            mark = _MARK.search(data)
            if mark is None:
                begun = _BEGUN_MARK.search(data)
                at = begun.start() if begun else len(data)
                self._unread = data[at:]
                self._hear(self._cooked(data[:at]))
                return
            self._hear(self._cooked(data[: mark.start()]))
            self._obey(mark)
            data = data[mark.end() :]

    def _obey(self, mark: re.Match[bytes]) -> None:
        if mark[1] == b"booted":
            self.booted.set()
        elif mark[1] == b"prompt":
            self._wants_raw = self._asks_raw = self.starts_raw
        else:
            self._bytes_ahead = int(mark[2])

    def _cooked(self, text: bytes) -> bytes:
        """Return text as a board sends it."""
        cooked = _LINE_FEED.sub(b"\r\n", self._last + text)[len(self._last) :]
        self._last = b"\r" if text.endswith(b"\r") else b""
        return cooked

    def _hear(self, data: bytes) -> None:
        seen = self._recent + data
        self._recent = seen[-len(_FRIENDLY_REPL) :]
        raw, friendly = seen.rfind(_RAW_REPL), seen.rfind(_FRIENDLY_REPL)
        if raw != friendly:
            self.is_raw = raw > friendly
        if self._wants_raw:
            if not self.is_raw or raw < 0:
                return
            self._wants_raw = False
            data = seen[raw:]
        self._log.write(data)
        self._log.flush()
        self._pending += data

    def _give_output(self) -> None:
        now = time.monotonic()
        if not self._pending:
            self._taken_at = now
            return
        with suppress(BlockingIOError):
            taken = os.write(self._computer, self._pending)
            self._pending = self._pending[taken:]
            self._taken_at = now
            self._is_gone = False
        if self._pending and (self._is_gone or now - self._taken_at > PATIENCE_SECONDS):
            self._is_gone = True
            self._pending = b""

    # --- from the computer to the board

    def _give_input(self) -> None:
        if self.pid is None:
            if not self.starts_raw:
                self._typed = b""
            return
        if not self.booted.is_set():
            return
        if self._wants_raw:
            if self._asks_raw and _is_at_prompt(self.pid, self._relay_end):
                os.write(self._relay_end, _CTRL_A)
                self._asks_raw = False
            return
        if self._interrupted_at is not None:
            # What is typed now is for the prompt, which throws away what was there before it.
            is_over = time.monotonic() - self._interrupted_at > INTERRUPT_SECONDS
            if not is_over and not _is_at_prompt(self.pid, self._relay_end):
                return
            self._interrupted_at = None
        while self._typed:
            before, interrupt, _ = self._typed.partition(_CTRL_C)
            if not before and interrupt and _interrupt(self.pid, self._relay_end):
                self._typed = self._typed[1:]
                self._has_interrupted = True
                self._interrupted_at = time.monotonic()
                return
            try:
                given = os.write(self._relay_end, before or interrupt)
            except BlockingIOError:
                return
            self._typed = self._typed[given:]


def _open_terminal() -> tuple[int, int]:
    """Open a pseudo-terminal; return the end that does not block, and the terminal."""
    end, terminal = os.openpty()
    _set_up(terminal)
    os.set_blocking(end, False)
    return end, terminal


def _set_up(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    control = attributes[6]
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    attributes[:4] = [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, termios.NOFLSH]
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _is_prompt_set_up(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] == 0)


def _status_of(pid: int) -> dict[str, str]:
    """Return what Linux says of a process; empty elsewhere, and when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _waits_for_itself(pid: int) -> bool:
    """Return whether the only thread of a process waits for another to let a lock go."""
    with suppress(OSError):
        is_alone = len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
        return is_alone and Path(f"/proc/{pid}/wchan").read_text().startswith("futex")
    return False


def _catches_interrupt(pid: int, terminal: int) -> bool:
    """Return whether a program runs that Ctrl-C interrupts: MicroPython handles SIGINT as long as it does."""
    status = _status_of(pid)
    if "SigCgt" not in status:
        return not _is_prompt_set_up(terminal)
    return bool(int(status["SigCgt"], 16) & 1 << signal.SIGINT - 1)


def _is_at_prompt(pid: int, terminal: int) -> bool:
    """Return whether MicroPython waits for what is typed."""
    is_idle = _status_of(pid).get("State", "S").startswith("S")
    return is_idle and _is_prompt_set_up(terminal) and not _catches_interrupt(pid, terminal)


def _interrupt(pid: int, terminal: int) -> bool:
    """Interrupt a program as Ctrl-C does; return False where none runs: Ctrl-C is a byte like others."""
    if not _catches_interrupt(pid, terminal):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    return True

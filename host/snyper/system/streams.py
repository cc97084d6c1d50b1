"""stdout and stderr of a command: what becomes of a reader that leaves, and of a disk that is full."""

import asyncio
import errno
import io
import os
import select
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TextIO

from snyper.system.process import EXIT_FAILED, EXIT_GONE
from snyper.system.text import harmless, json_text

_GONE = {errno.EPIPE, errno.ECONNRESET}  # the latter of a socket


class _Guarded(io.RawIOBase):
    """A standard stream below its buffer. What it does not take is left to `on_error`."""

    def __init__(self, stream: TextIO | None, fd: int, on_error: Callable[[OSError], None]) -> None:
        buffer: Any = getattr(stream, "buffer", None)
        self._raw: Any = getattr(buffer, "raw", buffer)  # None where it was closed from the start
        self._fd = fd
        self._on_error = on_error

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._raw is not None and bool(self._raw.isatty())

    def write(self, data: Any) -> int:
        try:
            if self._raw is None:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            while (count := self._raw.write(data)) is None:  # a peer of the same pipe made it non-blocking
                select.select([], [self._fd], [])
            return int(count)
        except OSError as error:
            self._on_error(error)
            return len(data)


class _Stdout:
    """Ends the command, once, when stdout takes nothing."""

    def __init__(self) -> None:
        self.status: int | None = None  # once it has failed; then what is written is dropped

    def failed(self, error: OSError) -> None:
        """Return a SystemExit, and no OSError, since those are files' and the network's. It ends asyncio's
        loop from any task, and a thread in silence: there the next write of the main thread is what ends the
        command.
        """
        if self.status is not None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise SystemExit
        self.status = EXIT_GONE if error.errno in _GONE else EXIT_FAILED
        if self.status == EXIT_FAILED:
            say(f"snyper: stdout cannot be written: {error.strerror}")
        raise SystemExit(self.status)

    def left(self) -> None:
        """Record that nobody reads the stream any more."""
        self.failed(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))


_stdout = _Stdout()


@contextmanager
def guarded() -> Iterator[None]:
    """Guard stdout and stderr while a command runs, up to the last byte.

    A stdout whose reader has left, or that is closed, ends the command silently with EXIT_GONE; one that
    takes nothing for another reason, such as a full disk, is named and ends it with EXIT_FAILED. What stderr
    does not take is lost: nobody could be told.
    """
    _fill_closed_descriptors()
    sys.stderr = _text(sys.stderr, 2, lambda error: None)
    sys.stdout = _text(sys.stdout, 1, _stdout.failed)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    try:
        yield
    finally:
        sys.stdout.flush()
        if _stdout.status is not None:
            raise SystemExit(_stdout.status)


@asynccontextmanager
async def noticing_its_end() -> AsyncIterator[None]:
    """End, for what may say nothing for long, as soon as the reader of stdout has left, not with the next
    line.
    """
    if not stat.S_ISFIFO(os.fstat(1).st_mode):
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(1, _stdout.left)  # of a pipe's writing end only its end is news
    try:
        yield
    finally:
        loop.remove_reader(1)


def pause(seconds: float) -> None:
    """Wait, and end the command where the reader of stdout, a pipe, leaves meanwhile."""
    if not (hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(1).st_mode)):
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(1, 0)  # of a pipe's writing end its end is told all the same
    if poll.poll(seconds * 1000):
        _stdout.left()


def say(text: str) -> None:
    """Write a line to stderr, for people."""
    sys.stderr.write(harmless(text) + "\n")


def print_json(value: object) -> None:
    """Write a line of JSON to stdout, at once."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()


def _fill_closed_descriptors() -> None:
    """Open the closed ones of the standard streams, so that no file or socket gets the number of a stream,
    and with it what others write to that.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _text(stream: TextIO | None, fd: int, on_error: Callable[[OSError], None]) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(stream, fd, on_error)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=fd == 2 or getattr(stream, "line_buffering", False),
    )

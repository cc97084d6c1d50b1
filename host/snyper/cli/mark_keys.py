"""Marks that a person makes at the keyboard: with a key, or a name and Enter."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from snyper.cli.output import err
from snyper.client import HubClient, ProtocolError
from snyper.client.labels import mark_name
from snyper.system.text import harmless, one_line

HINT = "a key is a mark; Enter, a name and Enter one of that name"
_STDIN = 0
_ENTER, _ESCAPE, _ERASE = "\r\n", "\x1b", "\x7f\b"


class Typing:
    """The keys that are typed. `line` is the name that is being typed, None while there is none."""

    def __init__(self, on_mark: Callable[[str], object], on_line: Callable[[str], object]) -> None:
        self.line: str | None = None
        self._on_mark = on_mark
        self._on_line = on_line

    def take(self, text: str) -> None:
        """Take what came at once: keys, or the sequence of one that is no character, such as an arrow."""
        if text.startswith(_ESCAPE):
            self._set(None)
            return
        for key in text:
            self._press(key)

    def _press(self, key: str) -> None:
        if self.line is None:
            if key in _ENTER:
                self._set("")
            elif key.isalnum():
                self._on_mark(key)
        elif key in _ENTER:
            name = mark_name(self.line)
            self._set(None)
            if name:
                self._on_mark(name)
        elif key in _ERASE:
            self._set(self.line[:-1])
        elif key.isprintable():
            self._set(self.line + key)

    def _set(self, line: str | None) -> None:
        if line != self.line:
            self.line = line
            self._on_line(self.shown())

    def shown(self) -> str:
        """Return the name that is being typed, for people; empty where there is none."""
        return "" if self.line is None else f"mark: {self.line}_"


class TypedLine:
    """The name that is being typed, at the end of a terminal that has lines alone."""

    _typed = ""

    def show(self, typed: str) -> None:
        """Show it as it is now."""
        if typed != self._typed:
            self._typed = typed
            self._write()

    def above(self, write: Callable[[], object]) -> None:
        """Have `write` write lines, which come above it."""
        if self._typed:
            err.file.write("\r\x1b[K")
            err.file.flush()
        write()
        if self._typed:
            self._write()

    def _write(self) -> None:
        err.file.write(f"\r\x1b[K{harmless(self._typed)}")
        err.file.flush()


@contextmanager
def marking(
    on_mark: Callable[[str], object], on_line: Callable[[str], object], takes_lines: bool = False
) -> Iterator[None]:
    """Have `on_mark` called for each mark that is typed in the block, in this event loop, and `on_line` with
    what is shown of the name that is being typed. At a terminal that this process is in front of, keys come
    as they are pressed, and it is as it was at the block's end; from elsewhere, with `takes_lines`, lines.
    """
    if _is_terminal():
        with _keys(Typing(on_mark, on_line)):
            yield
        return
    if takes_lines and sys.stdin is not None and not sys.stdin.isatty():
        _take_lines(on_mark)
    yield


def _is_terminal() -> bool:
    """Tell whether keys can be taken: in the background a process that tries is stopped."""
    if sys.platform == "win32" or sys.stdin is None or not sys.stdin.isatty():
        return False
    with suppress(OSError):
        return os.tcgetpgrp(_STDIN) == os.getpgrp()
    return False


class StreamMarks:
    """The marks that are typed for one stream. `on_said` is called with what became of each, for people."""

    def __init__(self, hub: HubClient, name: str, on_said: Callable[[str], object]) -> None:
        self._hub = hub
        self._on_said = on_said
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def mark(self, name: str) -> None:
        """Make one, now."""
        self._tasks.add(task := asyncio.create_task(self._mark(name)))
        task.add_done_callback(self._tasks.discard)

    async def _mark(self, name: str) -> None:
        try:
            await self._hub.mark_stream(self._name, name)
        except ProtocolError as error:
            self._on_said(one_line(f"no mark {name}: {error.message}"))
        else:
            self._on_said(one_line(f"marked {name}"))


@contextmanager
def _keys(typing: Typing) -> Iterator[None]:
    import termios
    import tty

    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(_STDIN)

    def take() -> None:
        try:
            content = os.read(_STDIN, 4_096)
        except OSError:
            content = b""
        if content:
            typing.take(content.decode(errors="replace"))
        else:
            loop.remove_reader(_STDIN)

    def begin() -> None:
        if _is_terminal():
            tty.setcbreak(_STDIN)

    def give_back() -> None:
        # In the background meanwhile, it would be stopped for that.
        ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(termios.error):
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, ignored)

    def quit(*_: object) -> None:
        # Once as Ctrl-C, which puts all away; if that does not come to it, the next one ends the process.
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        give_back()
        signal.raise_signal(signal.SIGINT)

    begin()
    loop.add_reader(_STDIN, take)
    loop.add_signal_handler(signal.SIGCONT, begin)  # a shell has had it meanwhile
    quits = signal.signal(signal.SIGQUIT, quit)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        signal.signal(signal.SIGQUIT, quits)
        loop.remove_reader(_STDIN)
        give_back()


def _take_lines(on_mark: Callable[[str], object]) -> None:
    """Have `on_mark` called for each line that comes from now on."""
    loop: Any = asyncio.get_running_loop()

    def read() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when the process ends.
        waiting = b""
        with suppress(OSError, RuntimeError):  # the loop has ended
            while data := os.read(_STDIN, 4_096):
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(on_mark, mark_name(line.decode(errors="replace")) or "mark")

    threading.Thread(target=read, daemon=True).start()

"""`snyper` at a terminal of its own."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.harness import ROOT

COLUMNS, ROWS = 100, 30


class InTerminal:
    """A command that runs, and our end of its terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int) -> None:
        self.process = process
        self.terminal = terminal


@asynccontextmanager
async def in_terminal(*arguments: str, **variables: str) -> AsyncIterator[tuple[InTerminal, Any]]:
    """Run `snyper` at a terminal of its own; the second says what stands on its screen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    shown: list[bytes] = []
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            shown.append(os.read(ours, 65_536))
        except OSError:  # the process has ended
            loop.remove_reader(ours)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _AT_TERMINAL, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm", **variables},
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(theirs)
    loop.add_reader(ours, read)
    try:
        yield InTerminal(process, ours), lambda: b"".join(shown).decode(errors="replace")
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        os.close(ours)


# Ctrl-C comes from the terminal that controls the process, which its standard input is to be.
_AT_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from snyper.cli.__main__ import main
main()
"""

"""Commands of `snyper` as processes beside this one, which end with the block that started them."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from snyper.system.process import killed_with_parent

READY_TIMEOUT_S = 60.0  # a small machine that is busy takes 20 s to load the dashboard
_STOP_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 1 << 20  # `simulate` names each of its targets


class Running:
    """A command that runs. `said` is the first line of its output."""

    def __init__(self, pid: int, said: dict[str, Any], ended: Callable[[], Awaitable[OSError]]) -> None:
        self.pid = pid
        self.said = said
        self.ended = ended  # waits until it has ended by itself; the error says which, and its last words


@asynccontextmanager
async def running(*arguments: str, **environment: str) -> AsyncIterator[Running]:
    """Run `snyper ARGUMENTS --json`, with more `environment` than ours, and go on once it has said its first
    line.

    Raises OSError with its name and last words when it ends before that, or says nothing in READY_TIMEOUT_S.
    At the end of the block it is ended as by Ctrl-C; on Linux also if this process is killed.
    """

    async def ended() -> OSError:
        status = await process.wait()
        await reading
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return failure(how)

    def failure(how: str) -> OSError:
        return OSError(f"`snyper {arguments[0]}` {how}; it said last: {words[-1] if words else 'nothing'}")

    # -P: what lies in the current folder, such as a snyper.py, is no part of it.
    command = killed_with_parent(
        [sys.executable, "-P", "-m", "snyper.cli", *arguments, "--json"], signal.SIGTERM
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=_MAX_LINE_BYTES,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[str] = []
    reading = asyncio.create_task(_keep_last(process.stderr, words))
    try:
        try:  # not by wait_for, which before Python 3.12 can lose a cancellation
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            raise failure(f"was not ready within {READY_TIMEOUT_S:g} s") from None
        if not line:
            raise await ended()
        yield Running(process.pid, json.loads(line), ended)
    finally:
        await _end(process)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _keep_last(stream: asyncio.StreamReader, words: list[str]) -> None:
    """Read to the end, so that the process never waits for a reader, and keep the last line."""
    async for line in stream:
        if line.strip():
            words[:] = [line.decode(errors="replace").strip()]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await process.wait()
        finally:  # also where another Ctrl-C cuts that short
            if process.returncode is None:
                process.kill()
                await process.wait()

"""A worker as the pool has it: started, given work, killed with all that it has started."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from snyper.offload.declarations import Kind, Service
from snyper.offload.guard import Guard
from snyper.offload.loading import ServicesError
from snyper.offload.work import Died, Done, Malformed, Raised, Rejected, TimedOut, Work
from snyper.offload.work_queue import NotStarted

# What a pipe that is empty takes at once, on every system (POSIX's PIPE_BUF is at least 512; Linux's, 4096).
_AT_ONCE_BYTES = 4096 if sys.platform == "linux" else 512
_THREADS = "OMP_NUM_THREADS"  # which numpy's libraries ask for, of OpenMP or not
_KILL_LIMIT_S = 5.0  # what waits for a disk that does not answer cannot be killed before that does
_HAS_GROUPS = hasattr(os, "killpg")  # of processes: all but Windows
_NO_WORDS = (OSError, ValueError, LookupError, TypeError)  # what is raised of a pipe that has none of ours
_READ_BYTES = 65_536  # at once: what a pipe holds, on Linux


class _Run:
    """The piece of work that a worker is at, and who waits for it."""

    def __init__(self, on_progress: Callable[[float], None]) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self.on_progress = on_progress
        self.is_started = False


class Words:
    """The words of a worker, out of the bytes in which they come: a line of JSON each, and its bytes."""

    def __init__(self, on_word: Callable[[str, Any, bytes], None]) -> None:
        self._on_word = on_word
        self._bytes = bytearray()
        self._said: dict[str, Any] | None = None  # whose bytes are to come

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises LookupError, TypeError and ValueError for what is no line of ours."""
        self._bytes += data
        while True:
            if self._said is None:
                end = self._bytes.find(b"\n") + 1
                if not end:
                    return
                self._said = json.loads(self._bytes[:end])
                del self._bytes[:end]
            size = self._said["bytes"]
            if len(self._bytes) < size:
                return
            with memoryview(self._bytes) as came:
                body = bytes(came[:size])
            del self._bytes[:size]
            said, self._said = self._said, None
            self._on_word(said["is"], said["value"], body)


class WorkerProcess:
    """One worker. A thread sees its end and reaps it; all else is in the event loop. On Windows the thread
    reads what it says, too.

    Libraries that compute in threads are told to use `threads` of them, unless the environment says another.
    """

    def __init__(self, services: Path, guard: Guard, threads: int = 1) -> None:
        self._loop = asyncio.get_running_loop()
        self._guard = guard
        self._command = [sys.executable, "-P", "-m", "snyper.offload.worker", str(services)]
        self._env = {_THREADS: str(threads), **os.environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._reaping = threading.Lock()  # what is reaped must not be killed: its number may be another's
        self._ready: asyncio.Future[tuple[Service, ...]] = self._loop.create_future()
        self._run: _Run | None = None
        self._pong: asyncio.Future[None] | None = None
        self.ended = asyncio.Event()
        self.works = 0  # that it has begun
        self._is_killed = False

    @property
    def is_alive(self) -> bool:
        """Whether it takes work, or is at some."""
        return not self._is_killed and not self.ended.is_set()

    @property
    def pid(self) -> int | None:
        """The number of its process; None before there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self, limit_s: float) -> tuple[Service, ...]:
        """Start it and wait until it has imported the services; return them.

        Raises ServicesError where it cannot, or takes longer than `limit_s`; it has ended then.
        """
        threading.Thread(target=self._attend, name="snyper-worker", daemon=True).start()
        try:
            async with asyncio.timeout(limit_s):
                return await self._ready
        except TimeoutError:
            raise ServicesError(f"the file of services takes longer than {limit_s:g} s to import") from None
        finally:
            if not self._ready.done() or self._ready.cancelled() or self._ready.exception() is not None:
                await self.kill()

    async def run(self, work: Work, on_progress: Callable[[float], None]) -> Done:
        """Do a piece of work. Raises NotStarted, WorkError.

        At its limit, or cancelled, the process is killed, and has ended when this returns.
        """
        line = _line_of(work)
        if not self.is_alive:
            raise NotStarted
        run = self._run = _Run(on_progress)
        try:
            async with asyncio.timeout(work.service.limit_s):
                await self._send(line)
                return await run.done
        except TimeoutError:
            await self.kill()
            raise TimedOut(
                f"{work.service.name} took longer than its limit of {work.service.limit_s:g} s"
            ) from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        finally:
            self._run = None
            if run.done.done() and not run.done.cancelled():
                run.done.exception()  # nobody may be left to hear it

    async def answers(self, limit_s: float) -> bool:
        """Tell whether it answers while it has no work; where it does not in time it is killed."""
        if not self.is_alive:
            return False
        self._pong = self._loop.create_future()
        try:
            async with asyncio.timeout(limit_s):
                await self._send(b"null\n")
                await self._pong
            return True
        except TimeoutError:
            await self.kill()
            return False
        finally:
            self._pong = None

    async def kill(self) -> None:
        """Kill it with all that it has started, and wait for its end. Calling it again does no harm."""
        self._is_killed = True
        self._kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_LIMIT_S):
                await self.ended.wait()

    async def close(self, limit_s: float) -> None:
        """Let it end by itself where it has no work, and kill it where it has some, or takes too long."""
        if self._run is None and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self.ended.wait()
        await self.kill()

    async def _send(self, line: bytes) -> None:
        assert self._process is not None
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):  # its end is told where it is seen
            if len(line) <= _AT_ONCE_BYTES:
                stdin.write(line)
                stdin.flush()
            else:
                await asyncio.to_thread(_write, stdin, line)

    # What follows is in the thread, but for `_kill`.

    def _attend(self) -> None:
        try:
            with self._reaping:
                if self._is_killed:
                    self._tell(self._on_end, "was not needed any more")
                    return
                self._process = _start(self._command, self._env)
        except OSError as error:
            self._tell(self._on_end, f"no worker can be started: {error}")
            return
        if _HAS_GROUPS:
            self._guard.add(self._process.pid)
        assert self._process.stdout is not None
        said_all = threading.Event()
        if _HAS_GROUPS:
            self._tell(self._listen, self._process.stdout.fileno(), said_all)
        else:
            self._listen_here(self._process.stdout.fileno(), said_all)
        said_all.wait()
        self._kill()
        if _HAS_GROUPS:
            self._guard.discard(self._process.pid)
        with self._reaping:
            status = self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._tell(self._on_end, _describe(status))

    def _listen_here(self, stdout: int, said_all: threading.Event) -> None:
        words = Words(lambda *said: self._tell(self._on_word, *said))
        with contextlib.suppress(*_NO_WORDS):
            while data := os.read(stdout, _READ_BYTES):
                words.feed(data)
        said_all.set()

    def _tell(self, callback: Callable[..., None], *said: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(callback, *said)

    def _kill(self) -> None:
        with self._reaping:
            if self._process is not None and self._process.returncode is None:
                _kill_tree(self._process)

    # And this in the loop again.

    def _listen(self, stdout: int, said_all: threading.Event) -> None:
        """Read in the loop: another thread would have to wake it for each word."""
        words = Words(self._on_word)
        os.set_blocking(stdout, False)

        def read() -> None:
            try:
                data = os.read(stdout, _READ_BYTES)
                words.feed(data)
            except BlockingIOError:
                return
            except _NO_WORDS:
                data = b""
            if not data:
                self._loop.remove_reader(stdout)
                said_all.set()

        self._loop.add_reader(stdout, read)

    def _on_word(self, word: str, value: Any, body: bytes) -> None:
        if word == "ready" and not self._ready.done():
            self._ready.set_result(tuple(Service(**{**one, "kind": Kind(one["kind"])}) for one in value))
        elif word == "failed" and not self._ready.done():
            self._ready.set_exception(ServicesError(value))
        elif word == "pong" and self._pong is not None and not self._pong.done():
            self._pong.set_result(None)
        elif self._run is not None:
            self._on_word_of_work(self._run, word, value, body)

    def _on_word_of_work(self, run: _Run, word: str, value: Any, body: bytes) -> None:
        if word == "started":
            run.is_started = True
            self.works += 1
        elif word == "progress":
            run.on_progress(value)
        elif not run.done.done():
            if word == "json":
                run.done.set_result(Done(json=body))
            elif word == "file":
                run.done.set_result(Done(file=Path(value)))
            elif word == "error":
                run.done.set_exception(Raised(value))
            elif word == "rejected":
                run.done.set_exception(Rejected(value))
            elif word == "malformed":
                run.done.set_exception(Malformed(value))

    def _on_end(self, how: str) -> None:
        self.ended.set()
        if not self._ready.done():
            self._ready.set_exception(ServicesError(f"the worker {how} while it imported the services"))
        if self._pong is not None and not self._pong.done():
            self._pong.set_exception(TimeoutError())
        run = self._run
        if run is not None and not run.done.done():
            run.done.set_exception(Died(f"the worker {how}") if run.is_started else NotStarted())


def _line_of(work: Work) -> bytes:
    asked = {
        "service": work.service.name,
        "folder": str(work.folder),
        "input": None if work.input is None else str(work.input),
        "value": work.value,
        "options": work.options,
    }
    try:
        return json.dumps(asked).encode() + b"\n"
    except RecursionError:
        raise Malformed(f"what was sent to {work.service.name} is nested too deeply") from None


def _start(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that no signal from the terminal reaches, in a group of its own."""
    if _HAS_GROUPS:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    if _HAS_GROUPS:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)


def _write(stream: IO[bytes], line: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.write(line)
        stream.flush()


def _describe(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"

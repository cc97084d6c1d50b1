"""A process, its start and its end: exit statuses, signals, how many files it may open, its memory."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130
EXIT_GONE = 141  # 128 + SIGPIPE: what a shell says of a command whose reader has left

# Linux's PR_SET_PDEATHSIG (1). A Python that then becomes the command sets it, since preexec_fn is unsafe
# beside threads.
_WATCH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    sys.exit()
del sys.argv[:3]
"""
_COMMAND = "os.execv(sys.argv[0], sys.argv)"

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

T = TypeVar("T")


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage while modules are imported in the block, nor ever in what stays of them: that is a
    quarter of the time that it takes a large program to start and to end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a command as Ctrl-C does: SIGTERM, and the end of its terminal, unless it
    was started to outlive that, as by `nohup`.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


async def ended_by_signals(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, which `ending_signals` cancel as asyncio does at Ctrl-C: what it started is put away.
    Another Ctrl-C meanwhile breaks that off, in whichever task, without a traceback.
    """
    this = asyncio.current_task()
    assert this is not None

    def end() -> None:
        if not this.cancelling():  # or it is putting things away already, after Ctrl-C
            this.cancel()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report_unless_interrupt)
    with suppress(NotImplementedError):  # on Windows
        for number in ending_signals():
            loop.add_signal_handler(number, end)
    return await work


def _report_unless_interrupt(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(context)


def raise_descriptor_limit(needed: int) -> int:
    """Let this process have at least `needed` more open files, as far as the system allows it. Returns how
    many it may have open now.
    """
    try:
        import resource
    except ImportError:
        return needed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed + 256:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else needed


def give_memory_back() -> None:
    """Have glibc, where that is, give large blocks back to the system as they are freed. Else it keeps up to
    64 MB for each thread once some of 16 MB were freed. Up to a megabyte is quicker to have again.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1_000_000)
        mallopt(_M_TRIM_THRESHOLD, 2_000_000)


def killed_with_parent(command: Sequence[str], end: int | None = None, source: str = _COMMAND) -> list[str]:
    """Return `command` for a process that does not outlive this one, even if this one is killed: it then gets
    the signal `end`, by default SIGKILL. Only on Linux; elsewhere `command` as it is.

    `source` is Python that does what `command` would do, with it as `sys.argv`: one start of Python less for
    a command that is itself written in it.
    """
    if sys.platform != "linux":
        return list(command)
    number = int(signal.SIGKILL if end is None else end)
    starter = [sys.executable, "-I", "-S", "-c", _WATCH_PARENT + source, str(os.getpid()), str(number)]
    return [*starter, *command]

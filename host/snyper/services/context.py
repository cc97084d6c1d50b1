"""The circumstances of a call: its deadline at the caller, and at the server what it is a part of."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import Any

_until_s: ContextVar[float | None] = ContextVar("until_s", default=None)
current_job: ContextVar[Any] = ContextVar("current_job", default=None)
_on_progress: ContextVar[Callable[[float], object] | None] = ContextVar("on_progress", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give all calls in the block together so many seconds.

    One that has not ended then raises OutcomeUnknown, one that waits for its server Unreachable. Of deadlines
    within each other the earliest counts. Raises TypeError, ValueError for no positive number.
    """
    check_seconds(seconds, "deadline")
    before_s = _until_s.get()
    with grace(seconds if before_s is None else min(seconds, before_s - time.monotonic())):
        yield


def check_seconds(seconds: object, what: str) -> None:
    """Raise TypeError, ValueError for what is no time that a call may take."""
    if not isinstance(seconds, Real):
        raise TypeError(f"a {what} is a number of seconds, not {seconds!r}")
    if not float(seconds) > 0:
        raise ValueError(f"a {what} is a number of seconds above 0, not {seconds!r}")


@contextmanager
def grace(seconds: float) -> Iterator[None]:
    """Give all calls in the block together so many seconds, whatever deadline there is around it."""
    token = _until_s.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until_s.reset(token)


def until(timeout_s: float | None) -> float | None:
    """Return the instant, by `time.monotonic`, at which a call that begins now has to have ended; None for
    never.
    """
    until_s = _until_s.get()
    if timeout_s is None:
        return until_s
    ends_s = time.monotonic() + timeout_s
    return ends_s if until_s is None else min(until_s, ends_s)


@contextmanager
def on_progress(show: Callable[[float], object]) -> Iterator[None]:
    """Have `show` called with how much of a call is done, from 0 to 1, for all calls that begin in the block.

    It is called in the thread that reads, while a call waits, as often as its function says it; never where
    that says nothing. It is to return soon, makes no calls itself, and what it raises is passed over.
    """
    token = _on_progress.set(show)
    try:
        yield
    finally:
        _on_progress.reset(token)


def shower() -> Callable[[float], object] | None:
    """Return what is to be called with the progress of a call that begins now."""
    return _on_progress.get()


def cancelled() -> bool:
    """Tell a served function whether its caller has given it up: it may end early. False elsewhere."""
    job = current_job.get()
    return job is not None and job.is_given_up


def chain() -> tuple[str, ...]:
    """Return the calls within which this one is made, the outermost first."""
    job = current_job.get()
    return () if job is None else (*job.chain, job.key)

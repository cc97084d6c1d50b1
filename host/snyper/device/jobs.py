"""Work that takes longer than anybody waits for an answer: begun, asked about, and called off."""

import contextlib
from typing import Any, Callable, Dict, Optional

from snyper.device.answer import Answer
from snyper.device.connection import Connection
from snyper.device.errors import (
    BadAnswer,
    Refused,
    ServerFailed,
    Stopped,
    TimedOut,
    TransferError,
    Unreachable,
)
from snyper.device.limits import Limits
from snyper.device.retrying import TRIES, Tries, check

# Called with the share that is done, and while it waits with how many are to begin before it.
OnProgress = Callable[[float, Optional[int]], Any]

PREFER = {"Prefer": "respond-async"}
_ACCEPTED, _UNKNOWN = 202, 404
_FIRST_PAUSE_S = 0.1  # between two questions, then more and more
_LONGEST_PAUSE_S = 2.0
_CANCEL_S = 5.0  # that a server has to hear that nobody wants it any more


class _Gone(Exception):
    """The server has not got the job any more, or ended before it was done."""


class _Begun:
    def __init__(self, target: str) -> None:
        self.target = target


class LongWork:
    """A piece of work for `connection`, whose server may say that it has begun with it, in place of a result.

    `begin(take)` sends it with the headers PREFER, and under the same key each time, so it is done once
    however often that is; `take` makes the result of an answer. A server that knows no such thing answers
    with the result.
    """

    def __init__(
        self,
        connection: Connection,
        endpoint: str,
        begin: Callable[[Callable[[Answer], Any]], Any],
        take: Callable[[Answer], Any],
        limits: Limits,
        tries: int = TRIES,
        on_progress: Optional[OnProgress] = None,
    ) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._begin = begin
        self._take = take
        self._limits = limits
        self._tries = Tries(limits, tries)
        self._servers = Tries(limits, tries)  # that ended before it was done: it may be what ends them
        self._on_progress = on_progress

    def run(self) -> Any:
        """Return its result, over lost connections and restarts of the server.

        Cut short by Ctrl-C, by another thread or by the end of its time, it is called off at the server.
        Raises Refused, ServerFailed, Unreachable, BadAnswer, and what the limits raise.
        """
        while True:
            begun = self._begin(self._take_begun)
            if not isinstance(begun, _Begun):
                return begun
            opened = self._connection.opened
            try:
                return self._wait(begun.target)
            except _Gone as gone:
                if self._connection.opened == opened:  # it is the same server: somebody has removed it there
                    raise Refused(404, "the job was called off at the server") from gone
                self._tries.succeeded()
                self._servers.failed(ServerFailed(404, "the server has the job no more"))
            except (KeyboardInterrupt, Stopped, TimedOut):
                self._cancel(begun.target)
                raise

    def _take_begun(self, answer: Answer) -> Any:
        location = answer.header("Location")
        if answer.status != _ACCEPTED or not location:
            return self._take(answer)
        answer.discard()
        return _Begun(self._connection.target_of(location, self._endpoint))

    def _wait(self, target: str) -> Any:
        pause_s = _FIRST_PAUSE_S
        while True:
            job = self._tries.run(lambda: self._get(target, _job_of))
            self._tries.succeeded()
            if job["state"] == "cancelled":
                raise _Gone
            if job["state"] not in ("queued", "running"):
                return self._result(target + "/result")
            if self._on_progress is not None:
                self._on_progress(job["progress"], job.get("place"))
            self._limits.wait(pause_s)
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)

    def _result(self, target: str) -> Any:
        """Ask for the result until there is an answer. That the work has failed is one."""
        while True:
            try:
                return self._get(target, self._take)
            except Unreachable as error:
                self._tries.failed(error)

    def _get(self, target: str, take: Callable[[Answer], Any]) -> Any:
        def taken(answer: Answer) -> Any:
            if answer.status == _UNKNOWN:
                answer.discard()
                raise _Gone
            check(answer.status, answer.detail, answer.retry_after_s)
            return take(answer)

        return self._connection.request_target("GET", target, limits=self._limits, take=taken)

    def _cancel(self, target: str) -> None:
        self._connection.close()
        with contextlib.suppress(TransferError, OSError):
            self._connection.request_target("DELETE", target, limits=Limits(_CANCEL_S))


def standing(share: float, place: Optional[int]) -> str:
    """Say in few words how a job stands, as OnProgress is told."""
    return f"{share:.0%} done" if place is None else f"queued, {place} before it"


def _job_of(answer: Answer) -> Dict[str, Any]:
    job = answer.value()
    if not isinstance(job, dict) or not isinstance(job.get("progress"), (int, float)) or "state" not in job:
        raise BadAnswer("the server does not say how the job is")
    return job

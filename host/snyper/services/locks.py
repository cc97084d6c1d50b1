"""The leases of a client: `lock`, which has an instance for itself, `break_lock`, and `leases`."""

import os
import threading
import time
from types import TracebackType
from typing import Any

from snyper.services.client import BaseClient, caller_of
from snyper.services.context import deadline
from snyper.services.leasing import MAX_LEASE_S, MIN_LEASE_S
from snyper.services.members import commands_of
from snyper.services.mirror import class_and_prefix
from snyper.services.remote_exceptions import CallError, LeaseLost
from snyper.services.wire import LEASES, LOCK, RENEW, UNLOCK

_RENEWALS = 3  # in the time of a lease: two may fail
_GIVE_BACK_S = 3.0  # for which the end of a block waits for a server that does not answer


class lock:
    """Has instances of a server for this client alone, from all its threads, while a block runs.

        with snyper.lock(pm, lease=60, why="cooldown"):
            ...

    Calls of others to them raise Locked at once, also those that have waited; one that runs goes on, and
    those of this client wait for its end. `names` are those of prefixes, functions, methods or properties;
    without any it is of what the client's classes show, and of all that is served where it has none.

    A thread of the client's own renews it. `lease`, in seconds from 0.5 to a day, is for how long it outlives
    a client that is gone without a word.

    Raises Locked where somebody else has one of them; ValueError; CallError. A lease that was lost, because
    somebody broke it, or it was not renewed in time, raises LeaseLost at the next call to what it is of, and
    at the end of the block.
    """

    def __init__(self, client: object, *names: str, lease: float = 60.0, why: str = "") -> None:
        if not MIN_LEASE_S <= lease <= MAX_LEASE_S:
            raise ValueError(f"a lease lasts {MIN_LEASE_S} to {MAX_LEASE_S:,.0f} s, not {lease!r}")
        self._caller = caller_of(client)
        self._names = list(names or _names_shown(client))
        self._lease_s = lease
        self._why = why
        self._id = ""

    def __enter__(self) -> "lock":
        if self._id:
            raise RuntimeError("this lock is held already: make another")
        caller, id = self._caller, os.urandom(8).hex()
        asked_s = time.monotonic()
        data: dict[str, Any] = {"names": self._names, "lease_ms": round(self._lease_s * 1000)}
        caller.ask(LOCK, lease=id, why=self._why, **data)
        self._id = id
        self._pid = os.getpid()
        self._until_s = asked_s + self._lease_s
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(id,), name="snyper lease", daemon=True)
        caller.session.rely(id)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid != os.getpid():  # a fork: the lease is the parent's
            return
        self._ends.set()
        self._caller.session.rely(self._id, False)
        id, self._id = self._id, ""
        was_held = time.monotonic() < self._until_s
        try:
            with deadline(_GIVE_BACK_S):
                self._caller.ask(UNLOCK, lease=id)
        except CallError as failure:
            lost = failure
            if not isinstance(failure, LeaseLost):
                if was_held:
                    return  # it ends by itself
                lost = LeaseLost("", f"it was not renewed for {self._lease_s:g} s")
            if error is None:
                raise lost from None
            error.add_note(str(lost))

    def _renew(self, id: str) -> None:
        wait_s = self._lease_s / _RENEWALS
        while not self._ends.wait(wait_s):
            asked_s = time.monotonic()
            if asked_s >= self._until_s:
                return
            try:
                with deadline(self._until_s - asked_s):
                    self._caller.ask(RENEW, lease=id)
            except LeaseLost:
                return
            except CallError:
                continue
            self._until_s = asked_s + self._lease_s


def break_lock(client: object, *names: str, why: str = "") -> list[str]:
    """End the leases of instances whoever has them, and return who had them. `names` as with `lock`.

    Who had one gets LeaseLost, with `why` and by whom. Raises CallError.
    """
    found: list[str] = caller_of(client).ask(UNLOCK, names=list(names or _names_shown(client)), why=why)
    return found


def leases(client: object) -> list[dict[str, Any]]:
    """Return the leases that there are at the server of a client.

    Of each: `names`, as they were given or none for all; `who` has it; `since`, `until` unless it is
    renewed; `why`. Raises CallError.
    """
    found: list[dict[str, Any]] = caller_of(client).ask(LEASES)
    return found


def _names_shown(client: object) -> list[str]:
    assert isinstance(client, BaseClient)
    shown = [class_and_prefix(item) for item in client._shown]
    return [prefix or commands_of(cls, "")[0].name for cls, prefix in shown if prefix or commands_of(cls, "")]

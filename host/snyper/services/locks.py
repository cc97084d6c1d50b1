"""The leases of a client: `lock`, which has an instance for itself, `break_lock`, and `leases`."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import Context
from typing import Any, Self, overload

from snyper.services.client_face import Awaited, ClientFace, face_of
from snyper.services.client_session import ClientSession
from snyper.services.context import check_seconds, grace
from snyper.services.leasing import MAX_LEASE_S, MAX_WHY_CHARS, MIN_LEASE_S
from snyper.services.members import commands_of
from snyper.services.mirror import class_and_prefix
from snyper.services.remote_exceptions import CallError, LeaseLost, OutcomeUnknown, Unreachable
from snyper.services.wire import LEASES, LOCK, RENEW, UNLOCK

_RENEWALS = 3  # in the time of a lease: two may fail
_GIVE_BACK_S = 3.0  # for which the end of a block waits for a server that does not answer
# Ends of a wait for a lease after which the server may have granted it all the same.
_UNSURE = (OutcomeUnknown, Unreachable, KeyboardInterrupt, asyncio.CancelledError)


@overload
def lock(  # type: ignore[overload-overlap]
    client: Awaited, *names: str, lease: float = 60.0, why: str = ""
) -> "AsyncLock": ...
@overload
def lock(client: object, *names: str, lease: float = 60.0, why: str = "") -> "Lock": ...
def lock(client: object, *names: str, lease: float = 60.0, why: str = "") -> "Lock | AsyncLock":
    """Have instances of a server for this client alone, from all its threads or tasks, while a block runs.

        with snyper.lock(pm, lease=60, why="cooldown"):
            ...

    Calls of others to them raise Locked at once, also those that have waited; one that runs goes on, and
    those of this client wait for its end. `names` are those of prefixes, functions, methods or properties;
    without any it is of what the client's classes show, and of all that is served where it has none.

    A thread of the client's own renews it; for an AsyncClient, where it is `async with`, a task of the event
    loop. `lease`, in seconds from 0.5 to a day, is for how long it outlives a client that is gone without a
    word, or a loop that is held up.

    Raises ValueError, TypeError; at the beginning of the block Locked where somebody else has one of them,
    CallError. A lease that was lost, because somebody broke it, or it was not renewed in time, raises
    LeaseLost at the next call to what it is of, and at the end of the block.
    """
    face = face_of(client)
    return (AsyncLock if face._is_async else Lock)(face, names, lease, why)


class _Held:
    """A lease that a client asks for, and then has as far as it knows."""

    session: ClientSession  # whose calls rely on it

    def __init__(self, lease_s: float) -> None:
        self.id = os.urandom(8).hex()
        self.pause_s = lease_s / _RENEWALS
        self._lease_s = lease_s
        self._until_s = time.monotonic() + lease_s
        self._lost: LeaseLost | None = None

    @property
    def lasts(self) -> bool:
        """Tell whether it can be renewed."""
        return self._lost is None and time.monotonic() < self._until_s

    @contextlib.contextmanager
    def renewal(self) -> Iterator[None]:
        """Renew it in the block, which may fail."""
        asked_s = time.monotonic()
        try:
            with grace(self._until_s - asked_s):
                yield
        except LeaseLost as lost:
            self._lost = lost
        except CallError:
            pass  # it may go better the next time
        else:
            self._until_s = asked_s + self._lease_s

    @contextlib.contextmanager
    def giving_back(self, error: BaseException | None) -> Iterator[None]:
        """Give it back in the block. Where it was lost raise LeaseLost, or note that on the `error`."""
        lasts = self.lasts
        try:
            with grace(_GIVE_BACK_S):
                yield
            return
        except LeaseLost as known:
            lost = known
        except CallError:
            if lasts:
                return  # it ends by itself
            lost = self._lost or LeaseLost("", f"it was not renewed for {self._lease_s:g} s")
        if error is None:
            raise lost from None
        error.add_note(str(lost))


class _Locking:
    """A block that has a lease, but for the waiting."""

    def __init__(self, face: ClientFace, names: Sequence[str], lease_s: float, why: str) -> None:
        check_seconds(lease_s, "lease")
        if not MIN_LEASE_S <= lease_s <= MAX_LEASE_S:
            raise ValueError(f"a lease lasts {MIN_LEASE_S} to {MAX_LEASE_S:,.0f} s, not {lease_s!r}")
        self._caller = face._snyper
        self._lease_s = lease_s
        self._data = {
            "lease_ms": round(lease_s * 1000),
            **_of_and_why(face, names, why),
        }
        self._held: _Held | None = None  # or asked for

    @contextlib.contextmanager
    def _asking(self) -> Iterator[_Held]:
        """Ask for the lease in the block. Raises RuntimeError where there is one already."""
        if self._held is not None:
            raise RuntimeError("this lock is held already: make another")
        held = self._held = _Held(self._lease_s)
        try:
            yield held
        except BaseException as error:
            self._held = None
            if isinstance(error, _UNSURE):
                self._forget(held)
            raise
        held.session = self._caller.session
        held.session.rely(held.id)

    def _forget(self, held: _Held) -> None:
        """Give a lease back beside everything else, as far as that can be done."""
        raise NotImplementedError

    def _end(self) -> _Held | None:
        """Take that the block has ended; return what is to be given back, if that is not the parent's."""
        held, self._held = self._held, None
        if held is None or held.session.is_inherited:
            return None
        held.session.rely(held.id, False)
        return held


class Lock(_Locking):
    """A block that has a lease, which a thread renews: `with`."""

    def __enter__(self) -> Self:
        ends = threading.Event()
        with self._asking() as held:
            try:
                self._caller.ask(LOCK, lease=held.id, **self._data)
                self._ends = ends
                _start(self._renew, held, ends)
            except BaseException:  # Ctrl-C: nobody would end the renewals
                ends.set()
                raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        held = self._end()
        if held is not None:
            self._ends.set()
            with held.giving_back(error):
                self._caller.ask(UNLOCK, lease=held.id)

    def _renew(self, held: _Held, ends: threading.Event) -> None:
        while not ends.wait(held.pause_s) and held.lasts:
            with held.renewal():
                self._caller.ask(RENEW, lease=held.id)

    def _forget(self, held: _Held) -> None:
        def give_back() -> None:
            with contextlib.suppress(CallError), grace(_GIVE_BACK_S):
                self._caller.ask(UNLOCK, lease=held.id)

        _start(give_back)


def _start(target: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=target, args=args, name="snyper lease", daemon=True).start()


class AsyncLock(_Locking):
    """A block that has a lease, which a task of the event loop renews: `async with`."""

    async def __aenter__(self) -> Self:
        with self._asking() as held:
            await self._caller.ask(LOCK, lease=held.id, **self._data)
        self._renewals = _spawn(self._renew(held))
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        held = self._end()
        if held is None:
            return
        self._renewals.cancel()
        with held.giving_back(error):
            await self._caller.ask(UNLOCK, lease=held.id)

    async def _renew(self, held: _Held) -> None:
        while True:
            await asyncio.sleep(held.pause_s)
            if not held.lasts:
                return
            with held.renewal():
                await self._caller.ask(RENEW, lease=held.id)

    def _forget(self, held: _Held) -> None:
        async def give_back() -> None:
            with contextlib.suppress(CallError), grace(_GIVE_BACK_S):
                await self._caller.ask(UNLOCK, lease=held.id)

        _spawn(give_back())


_spawned: set[asyncio.Task[None]] = set()  # which an event loop alone would not keep


def _spawn(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(coroutine, context=Context())
    _spawned.add(task)
    task.add_done_callback(_spawned.discard)
    return task


@overload
def break_lock(  # type: ignore[overload-overlap]
    client: Awaited, *names: str, why: str = ""
) -> Coroutine[Any, Any, list[str]]: ...
@overload
def break_lock(client: object, *names: str, why: str = "") -> list[str]: ...
def break_lock(client: object, *names: str, why: str = "") -> Any:
    """End the leases of instances whoever has them, and return who had them; to be awaited where it is an
    AsyncClient. `names` as with `lock`.

    Who had one gets LeaseLost, with `why` and by whom. Raises CallError; ValueError, TypeError.
    """
    face = face_of(client)
    return face._snyper.ask(UNLOCK, **_of_and_why(face, names, why))


@overload
def leases(  # type: ignore[overload-overlap]
    client: Awaited,
) -> Coroutine[Any, Any, list[dict[str, Any]]]: ...
@overload
def leases(client: object) -> list[dict[str, Any]]: ...
def leases(client: object) -> Any:
    """Return the leases that there are at the server of a client; to be awaited where it is an AsyncClient.

    Of each: `names`, as they were given or none for all; `who` has it; `since`, `until` unless it is
    renewed; `why`. Raises CallError.
    """
    return face_of(client)._snyper.ask(LEASES)


def _of_and_why(face: ClientFace, names: Sequence[str], why: str) -> dict[str, object]:
    """Return the fields that say of what a lease is, and why. Raises TypeError, ValueError."""
    for text in (*names, why):
        if not isinstance(text, str):
            raise TypeError(f"names and why are texts, not {text!r}")
    if len(why) > MAX_WHY_CHARS:
        raise ValueError(f"why is at most {MAX_WHY_CHARS} characters, not {len(why)}")
    return {"names": list(names or _names_shown(face)), "why": why}


def _names_shown(face: ClientFace) -> list[str]:
    shown = [class_and_prefix(item) for item in face._shown]
    return [prefix or commands_of(cls, "")[0].name for cls, prefix in shown if prefix or commands_of(cls, "")]

"""The thread that writes what cameras send: what waits is written together, then each is answered."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from snyper.cameras.batch import Incoming, Item
from snyper.cameras.records import Accepted, Detection, Health, Overloaded
from snyper.cameras.store import Store

T = TypeVar("T")
_GATHER_S = 0.05  # 1,000 cameras report 100 times a second: five for a commit
_GATHER_PICTURES_S = 0.006  # in which a fast disk takes the pictures of a few others
_MAX_GATHERED = 100


@dataclass(frozen=True)
class Limits:
    """Limits of what waits to be written: who finds no room within `hold_s` is refused. With less than
    `keep_free_bytes` of the disk free no pictures are taken.
    """

    max_waiting: int = 2_000
    max_waiting_bytes: int = 64_000_000
    hold_s: float = 5.0
    keep_free_bytes: int = 64_000_000


@dataclass
class _Waiting:
    """A thing that is to be written, and who waits for it. Ready: its pictures are on the disk."""

    incoming: Incoming
    future: asyncio.Future[Accepted]
    is_ready: bool


class Writer:
    """Writes into a store, in a thread of its own. Its methods belong to the event loop that made it; none of
    them blocks it. `on_written` is called there with each item that was, before whoever sent it is answered.
    """

    def __init__(
        self, store: Store, limits: Limits, on_written: Callable[[Incoming, Accepted], object]
    ) -> None:
        self._store, self._limits, self._on_written = store, limits, on_written
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._unready = 0  # of what waits
        self._jobs: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._bytes = self._count = 0
        self._change = threading.Condition()
        self._gathers_since_s, self._wakes_s = -math.inf, math.inf  # of the thread
        self._door = asyncio.Lock()
        self._at_door = 0  # how many wait there, whom nobody overtakes
        self._room = asyncio.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._write_all, name="camera writer", daemon=True)
        self._thread.start()

    async def take(self, item: Item, principal: str, is_live: bool) -> Accepted:
        """Write an item; return once it is on the disk. Raises Overloaded where it is not, and may be sent
        again; cancelled, it may be written all the same.
        """
        incoming = Incoming(item, time.time(), principal, is_live)
        size = _size(item)
        if self._at_door or not self._has_room(size):
            await self._wait_for_room(size)
        if self._is_closing:
            raise Overloaded("the server is ending: send it again")
        future: asyncio.Future[Accepted] = self._loop.create_future()
        self._bytes += size
        self._count += 1
        waiting = _Waiting(incoming, future, is_ready=not size)
        with self._change:
            self._waiting.append(waiting)
            if waiting.is_ready:
                self._wake_in_time()
            else:
                self._unready += 1
        if not waiting.is_ready:
            self._store.prepare(incoming, lambda: self._become_ready(waiting))
        return await future

    async def do(self, job: Callable[[], T]) -> T:
        """Do something in the thread, after what waits. Raises Overloaded once it closes."""
        future: asyncio.Future[T] = self._loop.create_future()
        with self._change:
            if self._is_closing:
                raise Overloaded("the server is ending")
            self._jobs.append((job, future))
            self._change.notify()
        return await future

    async def close(self) -> None:
        """Write what waits, and end."""
        with self._change:
            self._is_closing = True
            self._change.notify()
        await asyncio.to_thread(self._thread.join)

    async def _wait_for_room(self, size: int) -> None:
        """Wait until so much more may wait. Raises Overloaded."""
        self._at_door += 1
        try:
            async with asyncio.timeout(self._limits.hold_s), self._door:  # which lets in by turns
                while not self._has_room(size):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise Overloaded("too much is being written: send it again") from None
        finally:
            self._at_door -= 1

    def _has_room(self, size: int) -> bool:
        limits = self._limits
        has_bytes = not self._bytes or self._bytes + size <= limits.max_waiting_bytes
        return has_bytes and self._count < limits.max_waiting

    # --- in its thread, but for what says so

    def _write_all(self) -> None:
        while True:
            with self._change:
                while not self._split()[0] and not self._jobs and not self._is_over():
                    self._change.wait()
                self._gather()
                batch, self._waiting = self._split()
                jobs, self._jobs = self._jobs, []
            if not batch and not jobs:
                return
            if batch:
                self._store.write([one.incoming for one in batch])
                self._loop.call_soon_threadsafe(self._answer, batch)
            for job, future in jobs:
                self._loop.call_soon_threadsafe(_finish, future, *_outcome(job))

    def _is_over(self) -> bool:
        return self._is_closing and not self._waiting

    def _become_ready(self, waiting: _Waiting) -> None:
        """Have something written whose pictures are on the disk. In any thread."""
        with self._change:
            waiting.is_ready = True
            self._unready -= 1
            self._wake_in_time()

    def _split(self) -> tuple[list[_Waiting], list[_Waiting]]:
        """Return what may be written now, and what may not yet. Of a camera what is new keeps its order, and
        so does what is old; otherwise nobody waits for the pictures of others.
        """
        taken: list[_Waiting] = []
        left: list[_Waiting] = []
        held: set[tuple[str, bool]] = set()
        for one in self._waiting:
            key = (one.incoming.item.camera_id, one.incoming.is_live)
            if one.is_ready and key not in held:
                taken.append(one)
            else:
                left.append(one)
                held.add(key)
        return taken, left

    def _gather(self) -> None:
        """Wait a little for more, since all that is committed together costs little more than one."""
        self._gathers_since_s = time.monotonic()
        while (until_s := self._gathers_since_s + self._patience_s()) > (now_s := time.monotonic()):
            self._wakes_s = until_s
            self._change.wait(until_s - now_s)
        self._gathers_since_s, self._wakes_s = -math.inf, math.inf

    def _wake_in_time(self) -> None:
        """Wake the thread where it would look too late at what is ready now. In any thread."""
        if self._gathers_since_s + self._patience_s() < self._wakes_s:
            self._change.notify()

    def _patience_s(self) -> float:
        """Return for how long what is ready may wait for more."""
        if self._jobs or self._is_closing or len(self._waiting) - self._unready >= _MAX_GATHERED:
            return 0.0
        if all(isinstance(one.incoming.item, Health) for one in self._waiting):
            return _GATHER_S
        return _GATHER_PICTURES_S if self._unready else 0.0

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Tell everybody of a batch what came of it. In the event loop's thread."""
        self._count -= len(batch)
        self._bytes -= sum(_size(one.incoming.item) for one in batch)
        self._room.set()
        for one in batch:
            incoming, future, outcome = one.incoming, one.future, one.incoming.outcome
            if isinstance(outcome, Accepted):
                self._on_written(incoming, outcome)
                if not future.done():
                    future.set_result(outcome)
            elif not future.done():
                future.set_exception(outcome or Overloaded("it was not written: send it again"))


def _outcome(job: Callable[[], object]) -> tuple[object, Exception | None]:
    try:
        return job(), None
    except Exception as error:
        return None, error


def _finish(future: asyncio.Future[object], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _size(item: Item) -> int:
    """Return the bytes that wait with an item: its pictures."""
    if not isinstance(item, Detection):
        return 0
    return sum(len(one) for one in (item.picture or b"", *item.cropped_plates))

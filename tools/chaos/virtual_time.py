"""An event loop whose time is a number, without socket, thread or waiting; and machines with clocks.

What runs on it believes that time passes: when nothing is ready, the loop's time is that of the next timer.
Each machine (a board, a hub, a console) is a context in which its tasks and callbacks run, so that code which
asks for the time, dials or listens does it as that machine. Its clock begins anywhere and drifts.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any

from snyper.shared import runtime_cpython

STEP_S = 1e-6  # what each round of callbacks takes: else one that waits for the clock would never end
MAX_ROUNDS = 20_000  # without a timer in between: then something spins
MAX_S = 3_600.0  # of virtual time: then something waits for what will not come


class Spinning(Exception):
    """Callbacks that begin one another, or timers, for ever."""


class Machine:
    """A computer with a clock. `drift_ppm` is how much faster than the world's it runs."""

    flash: Any = None  # where it keeps its files

    def __init__(self, loop: "VirtualLoop", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self.pace = 1.0
        self._began_s = 0.0
        self._began_ns = 0
        self.context = copy_context()
        self.context.run(_machine.set, self)

    def set_clock(self, at_ns: int, drift_ppm: float) -> None:
        """Let its clock be at `at_ns` now."""
        self.pace = 1.0 + drift_ppm / 1_000_000
        self._began_s = self.loop.time()
        self._began_ns = at_ns

    def add_task(self, task: "asyncio.Task[Any]") -> None:
        """Count a task as one of its own."""
        if len(self._tasks) > 32:
            self._tasks = self.tasks()
        self._tasks.append(task)

    def tasks(self) -> "list[asyncio.Task[Any]]":
        """Return those of its tasks that have not ended, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def has_more_tasks(self, count: int) -> bool:
        """Return whether more than `count` of its tasks have not ended."""
        return len(self._tasks) > count and len(self.tasks()) > count

    def now_ns(self) -> int:
        """Return what its clock says."""
        return self.ns_at(self.loop.time())

    def ns_at(self, at_s: float) -> int:
        """Return what its clock says at `at_s` of the world's time."""
        return self._began_ns + int((at_s - self._began_s) * self.pace * 1e9)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Begin a task on it."""
        return self.context.run(self.loop.create_task, coroutine)

    def soon(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call `callback` on it as soon as the loop can."""
        self.loop.call_soon(callback, *arguments, context=self.context)

    def later(
        self, delay_s: float, callback: Callable[..., object], *arguments: object
    ) -> asyncio.TimerHandle:
        """Call `callback` on it in `delay_s` of the world's time."""
        return self.loop.call_at(self.loop.time() + delay_s, callback, *arguments, context=self.context)


_machine: ContextVar[Machine] = ContextVar("machine")


def current() -> Machine:
    """Return the machine whose code runs."""
    return _machine.get()


class EachMachines(dict[Any, Any]):
    """Stands in for a dict that has something for each loop: here it is for each machine."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__((key, current()))

    def __getitem__(self, key: object) -> Any:
        return super().__getitem__((key, current()))

    def __setitem__(self, key: object, value: Any) -> None:
        super().__setitem__((key, current()), value)

    def __delitem__(self, key: object) -> None:
        super().__delitem__((key, current()))


class MachineTime:
    """Stands in for the module `time`: the clock of the machine that asks."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def monotonic_ns(self) -> int:
        return _machine.get().ns_at(self._loop._now_s)

    def time_ns(self) -> int:
        """Return the world's time: what surrounds a virtual board goes by it."""
        return int(self._loop.time() * 1e9)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. `network` makes its connections, and is set by whoever makes the network."""

    network: Any = None
    _ready: Any  # the base class's: what is called next
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = self._begun_s = 1.0
        self._rounds = 0
        # The base class's timers compare themselves in Python, which took a tenth of a run.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        """Call what is ready; before it let time pass up to the next timer, where nothing is. Raises
        Spinning.
        """
        timers, ready = self._timers, self._ready
        while timers and timers[0][2].cancelled():
            heappop(timers)
        wait_s = 0.0
        if not ready and not self._stopping:
            if not timers:
                raise Spinning("nothing will ever happen any more")
            wait_s = max(0.0, timers[0][0] - self._now_s)
        self._now_s += wait_s + STEP_S
        self._rounds = 0 if wait_s else self._rounds + 1
        if self._rounds > MAX_ROUNDS:
            raise Spinning(f"{MAX_ROUNDS} rounds of callbacks, and no end")
        if self._now_s > self._begun_s + MAX_S:
            self._begun_s = self._now_s  # what ends it takes a while too
            raise Spinning(f"{MAX_S:.0f} s, and no end")
        while timers and timers[0][0] <= self._now_s:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def drop_timers(self, machine: Machine) -> None:
        """Cancel all timers and callbacks of a machine: whatever made them is gone."""
        for handle in [*[timer[2] for timer in self._timers], *self._ready]:
            if handle._context is not None and handle._context.get(_machine) is machine:
                handle.cancel()

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a timer that is cancelled goes when its time comes."""

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        machine = _machine.get(None)
        pace = 1.0 if machine is None else machine.pace
        return self.call_at(self._now_s + delay / pace, callback, *args, context=context)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        task = super().create_task(coro, **options)
        machine = _machine.get(None)
        if machine is not None:
            machine.add_task(task)
        return task

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        return await self.network.connect(current(), protocol_factory, host, port)

    async def listen(
        self, on_connection: Any, host: str, port: int, backlog: int, may_accept: Callable[[], bool]
    ) -> Any:
        """Listen as the runtime would."""
        return self.network.listen(current(), lambda: runtime_cpython.Stream(on_connection), port)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call `func` after as long as a thread would need."""
        future = self.create_future()
        self.call_later(0.0005, _resolve, future, func, args)
        return future

    def _write_to_self(self) -> None:
        """Do nothing: no other thread wakes this loop."""


def _resolve(future: "asyncio.Future[Any]", func: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if not future.done():
        try:
            future.set_result(func(*arguments))
        except Exception as error:
            future.set_exception(error)

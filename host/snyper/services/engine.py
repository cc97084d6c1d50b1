"""The threads of a server: the one that reads also runs what it read; when that lasts another reads on.

So a short call costs no change of threads, and a long one holds up nobody. One thread leads: it alone touches
the sockets and the desk. The watcher looks whether it runs a function for longer than TAKEOVER_S; if so it
leads from then on, and the outcome is handed to it when the function returns.
"""

import contextlib
import heapq
import itertools
import logging
import math
import os
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

TAKEOVER_S = 0.005  # a function that takes longer is left to its thread
_TICK_S = 1.0
_DEFECT = "a defect of the server: what it was about to do is not done"
T = TypeVar("T")
_log = logging.getLogger("snyper")


class Engine:
    """Waits for sockets and runs functions. `on_tick` is called each second by the thread that leads, and
    `on_end` by the last one that does.
    """

    def __init__(self, on_tick: Callable[[], None], on_end: Callable[[], object]) -> None:
        self.selector = selectors.DefaultSelector()
        self._on_tick = on_tick
        self._on_end = on_end
        self._lock = threading.Lock()
        self._turn = 0  # which counts who leads
        self._running: list[float] = []  # since when the leader runs a function: who takes that out leads on
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._posted: deque[Callable[[], object]] = deque()
        self.ready: deque[Callable[[], bool]] = deque()  # functions whose turn it is, each as `run` takes it
        self.rest: Callable[[], object] | None = None  # what the thread that leads has still to do after one
        self._is_woken = False  # there is a byte to read, or was just now
        self._wakes, self._wake = socket.socketpair()
        for sock in (self._wakes, self._wake):
            sock.setblocking(False)
        self.selector.register(self._wakes, selectors.EVENT_READ, self._on_wake)
        self._watches = threading.Event()
        self._is_watching = False
        self._ran = 0
        self._is_polling = False  # sockets have their turn now, not what was posted
        self._is_ending = False  # as the next says, for the thread that leads
        self.stopped = threading.Event()
        self._closed = threading.Event()
        self._is_inherited = False  # this process was forked from the server's
        _engines.add(self)

    def start(self) -> None:
        """Begin, in threads of its own."""
        self._start(self._lead, 0)
        self._start(self._watch)

    def end(self) -> None:
        """Have all sockets closed and the threads ended, but those whose functions still run."""
        self._is_ending = True
        self.stopped.set()
        self._watches.set()
        self.post(lambda: None)

    def discard(self) -> None:
        """Close all sockets of one that is not to begin."""
        _engines.discard(self)
        self._close_sockets()

    def stop(self) -> None:
        """End, and return once that is done."""
        self.end()
        self._closed.wait()

    def post(self, callback: Callable[[], object]) -> None:
        """Have the thread that leads call `callback`. Any thread may."""
        self._posted.append(callback)
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake.send(b"\0")

    def call_at(self, at_s: float, callback: Callable[[], object]) -> None:
        """Call `callback` at an instant by `time.monotonic`. For the thread that leads."""
        heapq.heappush(self._timers, (at_s, next(self._numbers), callback))

    def run(self, function: Callable[[T], Any], on_done: Callable[[T, Any], None], job: T) -> bool:
        """Run `function(job)` in the thread that leads, which this has to be, and give what it returns to
        `on_done(job, ...)`, there too. Return whether this thread leads still: if not, it has nothing left to
        do.
        """
        self._ran += 1
        running = self._running = [time.monotonic()]
        if not self._is_watching:
            self._is_watching = True
            self._watches.set()
        outcome = function(job)
        if self._is_inherited:
            os._exit(0)  # the answer is the parent's
        try:
            running.pop()
        except IndexError:
            with self._lock:  # the watcher is still about to lead
                self.post(lambda: on_done(job, outcome))
            return False
        on_done(job, outcome)
        return True

    def run_aside(self, function: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        """Run a function in a thread of its own, and give what it returns to `on_done` in the one that
        leads.
        """

        def run() -> None:
            outcome = function()
            if self._is_inherited:
                os._exit(0)
            self.post(lambda: on_done(outcome))

        self._start(run)

    # ---

    def _start(self, target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, name="snyper", daemon=True).start()

    def _lead(self, turn: int, *, polls_first: bool = False) -> None:
        ticked_s = 0.0
        while not self._is_ending:
            if not polls_first:
                # What these post themselves is for the next round: before that the sockets have their turn.
                self._is_polling = False
                for _ in range(len(self._posted)):
                    self.rest = None
                    _call(self._posted.popleft())
                    if self._turn != turn:
                        return
                if self.ready:
                    self.rest = None
                    _call(self.ready.popleft())
                    if self._turn != turn:
                        return
            polls_first, self._is_polling = False, True
            now_s = time.monotonic()
            if now_s - ticked_s >= _TICK_S:
                ticked_s = now_s
                _call(self._on_tick)
            if self._timers and self._timers[0][0] <= now_s:
                _call(heapq.heappop(self._timers)[2])
            wait_s = _TICK_S
            if self._posted or self.ready:
                wait_s = 0.0
            elif self._timers:
                wait_s = min(max(0.0, self._timers[0][0] - now_s), _TICK_S)
            try:
                ready = self.selector.select(wait_s)
            except OSError:  # a function has closed what is not its own
                _log.exception("the server ends: its sockets are gone")
                self.stopped.set()
                break
            for key, mask in ready:
                try:
                    key.data(mask)
                except Exception:
                    _log.exception(_DEFECT)
                if self._turn != turn:
                    return
        self._close()

    def _watch(self) -> None:
        while not self._closed.is_set():
            ran = self._ran
            time.sleep(TAKEOVER_S)
            running = self._running
            if not running:
                if self._ran == ran:
                    self._watches.clear()
                    self._is_watching = False
                    if not (self._running or self._closed.is_set()):
                        self._watches.wait()
                continue
            if time.monotonic() - next(iter(running), math.inf) < TAKEOVER_S:
                continue
            with self._lock:
                try:
                    running.pop()
                except IndexError:  # it has returned
                    continue
                self._turn += 1
                turn, polls_first = self._turn, not self._is_polling
                if self.rest is not None:
                    self._posted.append(self.rest)
            self._start(self._watch)
            self._lead(turn, polls_first=polls_first)
            return

    def _on_wake(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakes.recv(4_096)
        # Last: the byte of whoever posts before is read, and what he posts is called before the next wait.
        self._is_woken = False

    def _close(self) -> None:
        _engines.discard(self)
        self._close_sockets()
        self._closed.set()
        self._watches.set()
        self._on_end()

    def _leave(self) -> None:
        """Leave all to the parent of this process: else both would serve, and no connection would end before
        both have closed it.
        """
        self._is_inherited = True
        self.stopped, self._closed = threading.Event(), threading.Event()  # nobody has their locks
        self.stopped.set()
        self._closed.set()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for closed in (*[key.fileobj for key in self.selector.get_map().values()], self._wake, self.selector):
            with contextlib.suppress(OSError):
                closed.close()  # type: ignore[union-attr]


_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()  # that run


def _on_fork() -> None:
    for engine in list(_engines):
        engine._leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_on_fork)


def _call(callback: Callable[[], object]) -> None:
    """Call what a server has to do, of which a defect costs nobody else anything."""
    try:
        callback()
    except Exception:
        _log.exception(_DEFECT)

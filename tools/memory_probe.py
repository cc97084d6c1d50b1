"""Measures how much of a board's heap is in use, on the board itself. Runs on MicroPython; no board needs it.

    begin(), cost(module)               around an import: prints what the module takes
    baseline()                          prints what is in use now: before the first line of the firmware
    watch(load_read, load_application)  for `boot.run` of a board: the same firmware, and beside it a task
                                        that measures whenever somebody makes the file MEASURE

Each line is a word and JSON.
"""

import gc
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MEASURE = "/measure"
_POLL_MS = 500
_STEP = 64


_used = 0


def begin() -> None:
    """Begin to count what the next module takes."""
    global _used
    _used = _memory()["used"]


def cost(module: str) -> None:
    """Print `cost {"module", "bytes"}`: what is in use now and was not at `begin`."""
    _say("cost", {"module": module, "bytes": _memory()["used"] - _used})


def baseline() -> None:
    """Print `baseline {"free", "used"}`, in bytes."""
    _say("baseline", _memory())


def watch(
    load_read: "Callable[[], Any]", load_application: "Callable[[], Any]"
) -> "tuple[Callable[[], Any], Callable[[], Any]]":
    """Wrap both loaders for a firmware that also says `memory {"free", "used", "at_s", "largest"}` for each
    file MEASURE; and `modules [NAME]` for each, each time that some may have been unloaded since.
    """
    from snyper.shared import runtime_micropython as runtime

    _say_modules(sys.modules)
    unload = runtime.unload

    def unload_aloud(*names: str) -> None:
        _say_modules(names)
        unload(*names)

    runtime.unload = unload_aloud

    def load_watched_read() -> "Any":
        read = load_read()
        _say_modules(sys.modules)
        return read

    def load_watched_application() -> "Any":
        import asyncio

        application: Any = load_application()

        class Watched(application):  # type: ignore[misc, unused-ignore]
            async def run(self) -> None:
                self._measuring = asyncio.create_task(_measure())
                await super().run()

        return Watched

    return load_watched_read, load_watched_application


async def _measure() -> None:
    from snyper.shared.runtime_micropython import now_ms, sleep_ms

    while True:
        await sleep_ms(_POLL_MS)
        try:
            os.remove(MEASURE)  # noqa: PTH107
        except OSError:
            continue
        memory = _memory()
        memory["at_s"] = now_ms() // 1000
        memory["largest"] = _largest_free()
        _say("memory", memory)
        _say_modules(sys.modules)


def _memory() -> "dict[str, int]":
    gc.collect()
    return {"free": gc.mem_free(), "used": gc.mem_alloc()}  # type: ignore[attr-defined, unused-ignore]


def _largest_free() -> int:
    """Find the largest piece of the heap that is free, to within _STEP bytes."""
    fits, fails = 0, gc.mem_free() + _STEP  # type: ignore[attr-defined, unused-ignore]
    while fails - fits > _STEP:
        size = (fits + fails) // 2
        try:
            bytearray(size)
            fits = size
        except MemoryError:
            fails = size
        gc.collect()
    return fits


def _say_modules(names: "Iterable[str]") -> None:
    """Print one name at a time: a heap in pieces has no space for a line of all."""
    for name in names:
        print('modules ["' + name + '"]')


def _say(word: str, value: object) -> None:
    print(word, json.dumps(value))

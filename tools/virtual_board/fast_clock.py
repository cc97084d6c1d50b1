"""A board's clock that runs faster than the world's: `time`, and the waiting of asyncio.

asyncio keeps the world's clock for its queues, which partly are C, and waits for less long instead.
"""

import asyncio
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_world: "Any" = time
_asyncio: "Any" = asyncio
_modules: "dict[str, Any]" = sys.modules


class _Time:
    """`time`, with everything that tells or takes time `speed` times as fast from now on."""

    def __init__(self, speed: int) -> None:
        self._speed = speed
        self._began_us: int = _world.ticks_us()
        self._began_ns: int = _world.time_ns()

    def __getattr__(self, name: str) -> object:
        return getattr(_world, name)

    def ticks_us(self) -> int:
        elapsed_us: int = _world.ticks_diff(_world.ticks_us(), self._began_us)
        now_us: int = _world.ticks_add(self._began_us, elapsed_us * self._speed)
        return now_us

    def ticks_ms(self) -> int:
        return self.ticks_us() // 1000

    def time_ns(self) -> int:
        elapsed_ns: int = _world.time_ns() - self._began_ns
        return self._began_ns + elapsed_ns * self._speed

    def time(self) -> float:
        return self.time_ns() / 1_000_000_000

    def sleep(self, seconds: float) -> None:
        _world.sleep(seconds / self._speed)

    def sleep_ms(self, duration_ms: int) -> None:
        _world.sleep_us(duration_ms * 1000 // self._speed)

    def sleep_us(self, duration_us: int) -> None:
        _world.sleep_us(duration_us // self._speed)


def install(speed: int) -> None:
    """From now on an import finds the fast clock."""
    wait_ms = _asyncio.core.sleep_ms

    def sleep_ms(duration_ms: int) -> object:
        return wait_ms((duration_ms + speed - 1) // speed)  # rounded up: no wait is too short

    def sleep(seconds: float) -> object:
        return sleep_ms(int(seconds * 1000))

    for module in (_asyncio.core, _asyncio):
        module.sleep_ms = sleep_ms
        module.sleep = sleep
    _modules["time"] = _Time(speed)

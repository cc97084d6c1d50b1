"""A board's clock that is not the world's: faster, started anywhere, drifting. `time`, and asyncio's waiting.

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

_BOARD_TICKS = 1 << 30  # of a board, whose small integers have 31 bits


class _Time:
    """`time`, with everything that tells or takes time as a board tells it that began with `offset_us` and
    gains `drift_ppm` on the world times `speed`. Without an offset its ticks begin with the world's and, like
    those, do not wrap.
    """

    def __init__(self, speed: int, offset_us: "int | None", drift_ppm: int) -> None:
        self._speed = speed
        self._drift_ppm = drift_ppm
        self._began_us: int = _world.ticks_us()
        self._began_ns: int = _world.time_ns()
        self._offset_us = self._began_us if offset_us is None else offset_us
        self._wraps = offset_us is not None

    def __getattr__(self, name: str) -> object:
        return getattr(_world, name)

    def _passed(self, world: int) -> int:
        """Return what the board counts while the world counts so much."""
        board = world * self._speed
        return board + board * self._drift_ppm // 1_000_000

    def ticks_us(self) -> int:
        return self._wrapped(self._us())

    def ticks_ms(self) -> int:
        return self._wrapped(self._us() // 1000)

    def ticks_diff(self, later: int, earlier: int) -> int:
        half = _BOARD_TICKS // 2
        return (later - earlier + half) % _BOARD_TICKS - half if self._wraps else later - earlier

    def ticks_add(self, ticks: int, delta: int) -> int:
        return self._wrapped(ticks + delta)

    def _us(self) -> int:
        return self._offset_us + self._passed(_world.ticks_diff(_world.ticks_us(), self._began_us))

    def _wrapped(self, ticks: int) -> int:
        return ticks % _BOARD_TICKS if self._wraps else ticks

    def time_ns(self) -> int:
        return self._began_ns + self._passed(_world.time_ns() - self._began_ns)

    def time(self) -> float:
        return self.time_ns() / 1_000_000_000

    def sleep(self, seconds: float) -> None:
        _world.sleep(seconds / self._speed)

    def sleep_ms(self, duration_ms: int) -> None:
        _world.sleep_us(duration_ms * 1000 // self._speed)

    def sleep_us(self, duration_us: int) -> None:
        _world.sleep_us(duration_us // self._speed)


def install(speed: int, clock: "dict[str, int] | None") -> None:
    """Let every later import find the board's clock. `clock` has `offset_us` and `drift_ppm`."""
    if speed != 1:
        wait_ms = _asyncio.core.sleep_ms

        def sleep_ms(duration_ms: int) -> object:
            return wait_ms((duration_ms + speed - 1) // speed)  # rounded up: no wait is too short

        def sleep(seconds: float) -> object:
            return sleep_ms(int(seconds * 1000))

        for module in (_asyncio.core, _asyncio):
            module.sleep_ms = sleep_ms
            module.sleep = sleep
    offset_us, drift_ppm = (clock["offset_us"], clock["drift_ppm"]) if clock else (None, 0)
    _modules["time"] = _Time(speed, offset_us, drift_ppm)

"""A board that says how much of its heap is free: the very firmware with `memory_probe` beside it."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snyper.boards import image
from snyper.boards.board import HEAP_BYTES, STAND_INS_BYTES, WORDS_BYTES, BoardProcess
from snyper.boards.micropython import find_micropython

SETTLED_S = 20.0  # of the world's time, for whoever was lost to come back: a busy machine needs it

_PROBE = Path(__file__).with_name("memory_probe.py")
_BOOT = "import memory_probe\nmemory_probe.baseline()\n"
_LOADERS = "load_read, load_application)"

# What the firmware needs of MicroPython itself, and what the fast clock has loaded before it.
_BARE = "import asyncio, gc; gc.collect(); print(gc.mem_free(), gc.mem_alloc())"


@dataclass(frozen=True)
class Sample:
    """Bytes free after `gc.collect()`, and the `largest` piece of them, `at_s` seconds after the board's
    start, by its own clock. `is_quiet`: everybody was connected and nothing was under way.
    """

    at_s: int
    free: int
    largest: int
    is_quiet: bool


def bare_heap() -> tuple[int, int]:
    """Return the size of a board's heap and how much of it MicroPython and its asyncio take before anything
    of ours. Raises OSError.
    """
    command = [str(find_micropython()), "-X", f"heapsize={HEAP_BYTES}", "-c", _BARE]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    free, used = done.stdout.split()
    return int(free) + int(used), int(used)


async def _used_before_firmware(directory: Path, role: str, speed: int) -> int:
    board = _idle_board(directory, role, speed)
    board.start()
    try:
        await until(lambda: _said(board, "baseline"), "the board should start", board)
        return int(_said(board, "baseline")[0]["used"])
    finally:
        board.kill()


def _idle_board(directory: Path, role: str, speed: int) -> BoardProcess:
    empty = directory / "empty_main.py"
    directory.mkdir(parents=True)
    empty.touch()
    board = BoardProcess(directory / "board", role, main=empty, speed=speed)
    _install_probe(board)
    return board


async def watched_board(
    directory: Path, role: str, config: Mapping[str, Any], options: Mapping[str, Any], speed: int
) -> tuple[BoardProcess, int, int]:
    """Make a board that is off and will say what is free of its heap, the size of that heap, and what stands
    in there for its hardware and is not counted. `options` are BoardProcess's. Raises OSError, TimeoutError,
    RuntimeError.
    """
    heap, bare = bare_heap()
    stand_ins = await _used_before_firmware(directory / "empty", role, speed) - bare - WORDS_BYTES
    source = image.files(role)["main.py"].read_text()
    assert source.count(_LOADERS) == 1
    watched = directory / "watched_main.py"
    watched.write_text(source.replace(_LOADERS, f"*memory_probe.watch({_LOADERS})"))
    given = {**config, "watchdog_ms": 0}  # at this pace a busy machine would make it bite
    board = BoardProcess(
        directory / "board",
        role,
        given,
        main=watched,
        speed=speed,
        heap_bytes=HEAP_BYTES + stand_ins - STAND_INS_BYTES,  # and the probe's part
        **options,
    )
    _install_probe(board)
    return board, heap, stand_ins


def _install_probe(board: BoardProcess) -> None:
    (board.flash / "boot.py").write_text(_BOOT)
    (board.flash / "memory_probe.mpy").write_bytes(image.compile_module(_PROBE))


async def sample(board: BoardProcess, is_quiet: bool) -> Sample:
    count = len(_said(board, "memory"))
    (board.flash / "measure").touch()
    await until(lambda: len(_said(board, "memory")) > count, "the board should measure", board)
    memory = _said(board, "memory")[-1]
    return Sample(memory["at_s"], memory["free"], memory["largest"], is_quiet)


def modules_of(board: BoardProcess) -> set[str]:
    return {name for names in _said(board, "modules") for name in names}


def _said(board: BoardProcess, word: str) -> list[Any]:
    """Return what the probe has said with that word, in order.

    A line that is not complete yet is not there.
    """
    lines = board.log.split("\n")[:-1]
    return [json.loads(line[len(word) + 1 :]) for line in lines if line.startswith(word + " ")]


async def until(condition: Callable[[], object], what: str, board: BoardProcess) -> None:
    end = time.monotonic() + SETTLED_S
    while not condition():
        if "Traceback" in board.log or board.resets:
            raise RuntimeError(f"{what}, and failed:\n{board.log[-2_000:]}")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}, and did not within {SETTLED_S:.0f} s:\n{board.log[-2_000:]}")
        await asyncio.sleep(0.005)

"""Fuzzing, guided by what of the code an input reaches."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

from snyper.system.process import killed_with_parent
from tools.faults.case import Case, Figure, Scale, Skipped, none_of
from tools.faults.fuzz import alike, on_micropython
from tools.faults.fuzz_targets import TARGETS, verdict
from tools.faults.ranges import need_micropython

# Inputs of each target, quick and full: the slow ones have fewer. In full they are 10^7.
RUNS = {
    "parser": (2_000, 1_000_000),
    "handshake": (25_000, 2_500_000),
    "keys": (4_000, 1_000_000),
    "chunks": (5_000, 1_500_000),
    "settings": (25_000, 2_000_000),
    "reports": (25_000, 2_000_000),
}
FOUND = 300  # of what each run has found, on MicroPython too: the shortest
_DONE = re.compile(r"Done (\d+) runs")
_SEED = 11


async def fuzzing(scale: Scale) -> AsyncIterator[Figure]:
    if find_spec("atheris") is None:
        raise Skipped("no atheris here: it has wheels for Linux on x86-64, CPython 3.11 to 3.13")
    turn = asyncio.Semaphore(2)
    corpus = scale.place("corpus")

    async def fuzz(name: str) -> tuple[str, int, str]:
        async with turn:
            scale.tell(name)
            return await _fuzz(name, scale.pick(*RUNS[name]), corpus / name)

    assert RUNS.keys() == TARGETS.keys()
    failed: list[str] = []
    for fuzzed in asyncio.as_completed([fuzz(name) for name in RUNS]):
        name, runs, raised = await fuzzed
        yield none_of(f"{name}: inputs that raise", 1 if raised else 0, runs)
        if raised:
            failed.append(f"{name}: {raised}")
    if failed:
        raise AssertionError("\n".join(failed))
    need_micropython()
    inputs = [(name, data) for name in RUNS for data in _shortest(corpus / name)]
    there = await asyncio.to_thread(on_micropython, inputs)
    # Aside, since some of them run a loop of their own.
    here = await asyncio.to_thread(lambda: [verdict(name, data) for name, data in inputs])
    odd = [which for which, one, other in zip(inputs, here, there, strict=True) if not alike(one, other)]
    yield none_of("judged otherwise by MicroPython, beyond what protocol.md names", len(odd), len(inputs))
    if odd:
        raise AssertionError(f"for instance {odd[0]!r}")


def _shortest(directory: Path) -> list[bytes]:
    found = (path.read_bytes() for path in directory.iterdir())
    return sorted(found, key=len)[:FOUND]


async def _fuzz(name: str, runs: int, corpus: Path) -> tuple[str, int, str]:
    """Fuzz a target; return its name, how many inputs it had, and what one of them raised."""
    command = [sys.executable, "-m", "tools.faults.fuzz", name, str(runs), str(corpus), str(_SEED)]
    process = await asyncio.create_subprocess_exec(
        *killed_with_parent(command), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=dict(os.environ)
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()  # not `wait`: a pipe that nobody reads has no end
    text = said.decode(errors="replace")
    done = _DONE.search(text)
    if process.returncode or done is None:
        return name, runs, text[-2_500:]
    return name, int(done[1]), ""


CASES = (
    Case(
        13,
        "fuzzing",
        "Parser, handshake, keys, chunks, settings and reports get inputs guided by what they reach.",
        "None raises what is not meant to be raised; MicroPython judges them like CPython, but for what"
        " protocol.md names.",
        fuzzing,
    ),
)

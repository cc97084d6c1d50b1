"""Inject random faults into a hub with boards, and check its promises: `make chaos`.

    python -m tools.chaos [--runs N] [--first N] [--ranges N] [--seed N]
    python -m tools.chaos --simulated [--seeds N] [--first N] [--jobs N] [--seed N]

Ends with 1 when a promise was broken. A seed decides everything in a run. The first form has real processes,
sockets and disks (`processes.py`): its boards do what the seed says, and the computer's scheduler does the
rest. The second has virtual time in one process (`simulation.py`): ten times as many runs in less time, each
checked after every step, and a seed repeats its run to the microsecond. What breaks is run again, and shown.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from snyper.boards.temporary import temporary_directory
from tools.chaos import processes, simulation

RUNS = {False: 1_000, True: 10_000}
TRACE_LINES = 80  # before what was broken
_CHUNK = 25  # seeds that a process does before it says so
_PROGRESS = {False: 50, True: 1_000}


class _Progress:
    """Says how far it is, and what is broken."""

    def __init__(self, count: int, is_simulated: bool) -> None:
        self.began_s = time.monotonic()
        self.broken = 0
        self._count = count
        self._done = 0
        self._is_simulated = is_simulated

    def on_done(self, seed: int, why: str) -> None:
        """Take note of a run; `why` is empty where every promise held."""
        self._done += 1
        if why:
            self.broken += 1
            mode = "--simulated " if self._is_simulated else ""
            print(f"seed {seed}: {why}\n  again: make chaos ARGS='{mode}--seed {seed}'", flush=True)
        if self._done % _PROGRESS[self._is_simulated] == 0 and self._done < self._count:
            print(f"{self._done} of {self._count} after {time.monotonic() - self.began_s:.0f} s", flush=True)

    def finish(self) -> int:
        """Say how it went; return the exit status."""
        held = self._done - self.broken
        took_s = time.monotonic() - self.began_s
        print(f"chaos: {held} of {self._done} kept every promise, in {took_s:.0f} s")
        return 1 if self.broken or self._done < self._count else 0


def simulate(seeds: Sequence[int], jobs: int) -> Iterator[tuple[int, str]]:
    """Simulate every seed in `jobs` processes; yield each with what is broken, empty for nothing."""
    if len(seeds) <= _CHUNK:
        yield from simulation.run_some(seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for outcomes in pool.map(
            simulation.run_some, [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
        ):
            yield from outcomes


def explained(seed: int, lines: int = TRACE_LINES) -> str:
    """Run a simulated seed again, and return its steps and the end of its trace."""
    outcome = simulation.run(seed, is_traced=True)
    steps = "\n".join(map(str, simulation.plan(seed)))
    trace = outcome.trace
    ends = [at for at, (_, who, _) in enumerate(trace) if who == "broken"] or [len(trace)]
    shown = trace[max(0, ends[0] + 1 - lines) : ends[0] + 1]
    told = "\n".join(f"{at_s:11.6f} s  {who}: {what}" for at_s, who, what in shown)
    return f"{steps}\n{told}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", action="store_true", help="without processes and sockets")
    parser.add_argument(
        "--runs", "--seeds", type=int, help=f"how many: {RUNS[False]}, simulated {RUNS[True]}"
    )
    parser.add_argument("--first", type=int, default=1, help="the first one's seed")
    parser.add_argument("--ranges", type=int, default=processes.RANGES, help="real ones at once")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that simulate")
    parser.add_argument("--seed", type=int, help="only this one, step by step")
    options = parser.parse_args()
    runs = options.runs or RUNS[options.simulated]
    seeds = [options.seed] if options.seed is not None else list(range(options.first, options.first + runs))
    progress = _Progress(len(seeds), options.simulated)
    if options.simulated:
        for seed, why in simulate(seeds, options.jobs):
            progress.on_done(seed, f"{why}\n{explained(seed)}" if why else "")
        if options.seed is not None and not progress.broken:
            print(explained(options.seed, 1_000_000))
        return progress.finish()
    if options.seed is not None:
        print("\n".join(map(str, processes.plan(options.seed))))
    with temporary_directory("snyper-chaos-") as directory:
        asyncio.run(processes.run(seeds, options.ranges, Path(directory), progress.on_done))
    return progress.finish()


if __name__ == "__main__":
    sys.exit(main())

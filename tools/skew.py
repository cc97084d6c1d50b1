"""Measures how well targets keep the hub's clock: `make skew`. Ends with 1 when an aim is missed.

    python -m tools.skew [--boards N] [--rises N] [--warm-up SECONDS] [--seed N] [--jitter LOW HIGH] [--json]

Real MicroPython on virtual boards, whose clocks start anywhere and drift, each behind a link of its own whose
delay changes with every line. All are told to rise at one instant of the hub's clock, and every second time
they are struck. The truth is the computer's monotonic clock, which is the hub's here and which no board sees.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from snyper.boards.board import BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.firmware.master.router import Result
from snyper.firmware.master.server import Hub
from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import ALL_TARGETS, MessageType
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS
from tools.impaired_link import Delay, ImpairedLink
from tools.loopback import HOST

PAGE = Path(__file__).resolve().parents[1] / "docs" / "timing.md"
BEGIN = "<!-- measured: make skew ARGS=--write -->"
END = "<!-- end of what was measured -->"

MAX_SKEW_US = 5_000  # at the 95th percentile of the common rises
MIN_COVERAGE = 0.95  # of all instants, that lie within the uncertainty that their target stated

SERVO = 16
MAX_DRIFT_PPM = 200
LEAD_MS = 1_000  # from the command to the instant: many times the greatest delay
REGISTER_S = 30.0
REPORT_S = 5.0
STRIKE_PEAK = 48_000
STRIKE_MS = 100
STRIKE_IN_MS = 20  # the board is to know of it before it comes
DEAF_S = 0.1  # some time longer than the debouncing after arming
CONFIG = {"servo": {"travel_ms": 150}, "piezo": {"debounce_ms": 20}}


@dataclass(frozen=True)
class Instant:
    """One thing that a target did or detected: when by its own account, how far off that may be, when in
    truth. All in µs of the hub's clock.
    """

    said_us: int
    uncertainty_us: int
    true_us: int

    @property
    def error_us(self) -> int:
        return self.said_us - self.true_us

    @property
    def is_covered(self) -> bool:
        return abs(self.error_us) <= self.uncertainty_us


@dataclass
class Findings:
    """The findings of a run. `faults` are results and reports that did not come."""

    skews_us: list[int] = field(default_factory=list)  # of each rise: the last to begin after the first
    offsets_us: list[int] = field(default_factory=list)  # of each board in each rise: truth after `at_us`
    rises: list[Instant] = field(default_factory=list)
    hits: list[Instant] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def coverage(self) -> float:
        instants = self.rises + self.hits
        return sum(instant.is_covered for instant in instants) / len(instants) if instants else 0.0

    def missed(self) -> list[str]:
        """List the aims that are not met."""
        missed = list(self.faults)
        if not self.skews_us or percentile(self.skews_us, 95) > MAX_SKEW_US:
            missed.append(f"the skew of a common rise should be at most {_ms(MAX_SKEW_US)} ms at p95")
        if self.coverage < MIN_COVERAGE:
            missed.append(f"{MIN_COVERAGE:.0%} of the instants should lie within the stated uncertainty")
        return missed


async def measure(
    directory: Path,
    boards: int = 8,
    rises: int = 30,
    warm_up_s: float = 60.0,
    seed: int = 0,
    jitter_ms: Delay = (1, 80),
    on_step: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Findings:
    """Run it, in `directory`. `on_step(what, done, total)` hears how far it is. Raises OSError,
    MicropythonNotFoundError, TimeoutError when a board does not come.
    """
    rng = random.Random(seed)
    hub = Hub(HOST, 0, boards, 1)
    found = Findings()
    async with AsyncExitStack() as stack:
        await hub.start()
        stack.push_async_callback(hub.shut_down)
        range_: dict[str, BoardProcess] = {}
        for number in range(1, boards + 1):
            link = ImpairedLink(hub.port, seed=seed + number, to_hub_ms=jitter_ms, from_hub_ms=jitter_ms)
            await stack.enter_async_context(link)
            name = f"target_{number}"
            config = {"target_id": name, "hub": [f"{HOST}:{link.port}"], **CONFIG}
            range_[name] = BoardProcess(directory / name, "target", config, clock=_clock(number, rng))
            range_[name].start()
            stack.callback(range_[name].kill)
        await _everybody(hub, boards, on_step)
        await _wait(warm_up_s, on_step)
        for done in range(rises):
            on_step("rises", done, rises)
            await _rise(hub, range_, done % 2 == 1, rng, found)
        on_step("rises", rises, rises)
    return found


def _clock(number: int, rng: random.Random) -> dict[str, int]:
    """Return the settings of a clock: the first wraps after eight seconds; the first two drift apart as fast
    as they can.
    """
    offset_us = (1 << 30) - 8_000_000 if number == 1 else rng.randrange(1 << 30)
    drift_ppm = {1: MAX_DRIFT_PPM, 2: -MAX_DRIFT_PPM}.get(number) or rng.randint(
        -MAX_DRIFT_PPM, MAX_DRIFT_PPM
    )
    return {"offset_us": offset_us, "drift_ppm": drift_ppm}


async def _everybody(hub: Hub, boards: int, on_step: Callable[[str, int, int], None]) -> None:
    """Wait until all have registered. Raises TimeoutError."""
    async with asyncio.timeout(REGISTER_S):
        while (here := len(hub.router.registry.connected())) < boards:
            on_step("boards", here, boards)
            await asyncio.sleep(0.05)
    on_step("boards", boards, boards)


async def _wait(warm_up_s: float, on_step: Callable[[str, int, int], None]) -> None:
    for second in range(round(warm_up_s)):
        on_step("seconds to learn the clock", second, round(warm_up_s))
        await asyncio.sleep(1)
    on_step("seconds to learn the clock", round(warm_up_s), round(warm_up_s))


async def _command(hub: Hub, message_type: str, data: dict[str, Any] | None) -> list[Result]:
    peers = hub.router.registry.select(ALL_TARGETS)
    return await hub.router.send(message_type, peers, data, COMMAND_TIMEOUT_MS).results()


async def _rise(
    hub: Hub, range_: dict[str, BoardProcess], with_hits: bool, rng: random.Random, found: Findings
) -> None:
    """Let all rise together, hit them if wanted, and lower them."""
    hits: dict[str, dict[str, Any]] = {}

    def on_event(seq: int, event: str, target_id: str, data: dict[str, Any]) -> None:
        if event == "hit":
            hits[target_id] = data

    stop_listening = hub.router.events.listen(on_event)
    at_us = now_us() + LEAD_MS * 1000
    rise = MessageType.ACTIVATE if with_hits else MessageType.STAND_UP
    results = await _command(hub, rise, {"at_us": at_us})
    _record_rise(range_, results, at_us, found)
    if with_hits:
        await _strike(range_, hits, rng, found)
    for result in await _command(hub, MessageType.LAY_DOWN, None):
        if result.error is not None:
            found.faults.append(f"{result.target_id}: lay_down: {result.error}")
    stop_listening()


def _record_rise(range_: dict[str, BoardProcess], results: list[Result], at_us: int, found: Findings) -> None:
    begun = []
    for result in results:
        if result.reply is None:
            found.faults.append(f"{result.target_id}: {result.error}")
            continue
        data: dict[str, Any] = result.reply.data or {}
        true_us = int(range_[result.target_id].outputs()["motions"][str(SERVO)])
        begun.append(true_us)
        found.offsets_us.append(true_us - at_us)
        found.rises.append(Instant(at_us + data["error_us"], data["uncertainty_us"], true_us))
    if begun:
        found.skews_us.append(max(begun) - min(begun))


async def _strike(
    range_: dict[str, BoardProcess], hits: dict[str, dict[str, Any]], rng: random.Random, found: Findings
) -> None:
    true_us = {}
    await asyncio.sleep(DEAF_S)
    for name in rng.sample(sorted(range_), len(range_)):
        await asyncio.sleep(rng.uniform(0.02, 0.08))
        true_us[name] = range_[name].strike(STRIKE_PEAK, STRIKE_MS, in_ms=STRIKE_IN_MS) // 1000
    try:
        async with asyncio.timeout(REPORT_S):
            while len(hits) < len(range_):  # noqa: ASYNC110 — a listener is a plain function
                await asyncio.sleep(0.02)
    except TimeoutError:
        found.faults += [f"{name}: no hit was reported" for name in range_ if name not in hits]
    for name, hit in hits.items():
        found.hits.append(Instant(hit["at_us"], hit["uncertainty_us"], true_us[name]))


# --- what is said


def percentile(values: list[int], percent: int) -> int:
    """Return the least value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.2f}"


def rows(found: Findings) -> list[list[str]]:
    """Return the table, its head first. Milliseconds."""
    told = [["ms", "p50", "p95", "most", "of"]]

    def add(what: str, values: list[int]) -> None:
        if values:
            numbers = [percentile(values, 50), percentile(values, 95), max(values)]
            told.append([what, *map(_ms, numbers), str(len(values))])

    add("skew of a common rise", found.skews_us)
    add("one board's rise, off the instant asked for", [abs(offset) for offset in found.offsets_us])
    add("what a board says of its rise, off the truth", [abs(rise.error_us) for rise in found.rises])
    add("what it says that this can be", [rise.uncertainty_us for rise in found.rises])
    add("a hit's stamp, off the truth", [abs(hit.error_us) for hit in found.hits])
    add("what it says that this can be, for a hit", [hit.uncertainty_us for hit in found.hits])
    return told


def verdict(found: Findings) -> str:
    instants = len(found.rises) + len(found.hits)
    skew = _ms(percentile(found.skews_us, 95)) if found.skews_us else "-"
    return (
        f"{'missed' if found.missed() else 'met'}: skew {skew} ms at p95 (at most {_ms(MAX_SKEW_US)}),"
        f" {found.coverage:.1%} of {instants} instants within the stated uncertainty"
        f" (at least {MIN_COVERAGE:.0%})"
    )


def _write(found: Findings, arguments: argparse.Namespace) -> None:
    head, *body = rows(found)
    lines = [
        f"Measured on {date.today()}: {arguments.boards} boards, {arguments.rises} rises,"
        f" {arguments.jitter[0]:g} to {arguments.jitter[1]:g} ms each way, seed {arguments.seed},"
        f" {arguments.warm_up:g} s after the last board had registered.",
        "",
        "| " + " | ".join(head) + " |",
        "| --- | ---: | ---: | ---: | ---: |",
        *("| " + " | ".join(row) + " |" for row in body),
        "",
        f"Verdict: {verdict(found)}.",
    ]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make skew", description="How well targets keep the hub's clock.")
    parser.add_argument("--boards", type=int, default=8, help="virtual boards (8)")
    parser.add_argument("--rises", type=int, default=30, help="common rises, every second with hits (30)")
    parser.add_argument("--warm-up", type=float, default=60, metavar="S", help="seconds before them (60)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same delays (0)")
    parser.add_argument(
        "--jitter", type=float, nargs=2, default=(1, 80), metavar=("LOW", "HIGH"), help="ms each way (1 80)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/timing.md")
    arguments = parser.parse_args()
    if arguments.boards < 2 or arguments.rises < 1 or not 0 <= arguments.jitter[0] <= arguments.jitter[1]:
        parser.error("at least 2 boards and 1 rise, and LOW is from 0 to HIGH")
    return arguments


def main() -> None:
    arguments = _arguments()
    console = Console(stderr=True)
    with suppress(PermissionError, AttributeError):  # not everybody may, and only Linux has it
        # A board has its processor for itself; so whatever else runs here waits for the boards.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        with (
            temporary_directory("snyper-skew-") as name,
            Progress(console=console, transient=True) as progress,
        ):
            tasks: dict[str, Any] = {}

            def on_step(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=total)
                progress.update(tasks[what], completed=done)

            found = asyncio.run(
                measure(
                    Path(name),
                    arguments.boards,
                    arguments.rises,
                    arguments.warm_up,
                    arguments.seed,
                    tuple(arguments.jitter),
                    on_step,
                )
            )
    except (OSError, RuntimeError) as error:
        sys.exit(f"skew: {error or 'a board did not come'}")
    except KeyboardInterrupt:
        sys.exit(130)
    missed = found.missed()
    if arguments.json:
        print(
            json.dumps(
                {
                    "skews_us": found.skews_us,
                    "rows": rows(found),
                    "coverage": found.coverage,
                    "missed": missed,
                }
            )
        )
    else:
        table = Table()
        head, *body = rows(found)
        for at, title in enumerate(head):
            table.add_column(title, justify="right" if at else "left")
        for row in body:
            table.add_row(*row)
        Console().print(table)
    if arguments.write:
        _write(found, arguments)
    for line in missed:
        console.print(f"skew: {line}", style="red", highlight=False)
    console.print(f"skew: {verdict(found)}", highlight=False)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

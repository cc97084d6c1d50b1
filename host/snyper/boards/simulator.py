"""Many targets without boards, with somebody who shoots at them: a process each, or all within this one."""

import asyncio
import importlib
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from snyper.boards.board import (
    MIN_IMPACT_MS,
    POLL_SECONDS,
    PWRON_RESET,
    VIRTUAL_BOARD,
    WIFI,
    BoardProcess,
    unique_id,
)
from snyper.boards.micropython import MicropythonNotFoundError, find_micropython
from snyper.boards.status import last_status_in
from snyper.boards.temporary import temporary_directory
from snyper.client.addresses import TLS_SCHEME
from snyper.firmware.board.status import Status
from snyper.firmware.target.config import read
from snyper.shared.address import format_address, parse_hub
from snyper.system.process import raise_descriptor_limit
from snyper.system.text import one_line

MAX_PROCESSES = 16  # beyond it `simulate` prefers one process
RESTART_SECONDS = 1.0
START_INTERVAL_SECONDS = 0.002  # between two boards in one process: a listening socket's backlog is finite
SAMPLES_PER_MS = 20  # of all boards of one process together: about half of a core
MAX_SAMPLE_MS = 100
SAMPLES_PER_IMPACT = 4
DESCRIPTORS_PER_BOARD = 2
STATUS_POLL_SECONDS = 0.5
MAX_NAMES = 4  # in one notice


@dataclass(frozen=True)
class Notice:
    """A notice of what happened to a simulated target, or with `target_id` None to the simulation."""

    target_id: str | None
    text: str


OnNotice = Callable[[Notice], None]


def _ignore(notice: Notice) -> None:
    """Drop a notice, for a caller that wants none."""


async def simulate(
    targets: int,
    engine: str | None = None,
    hub: str | Sequence[str] = "127.0.0.1:8081",
    hit_rate: float = 0.7,
    seed: int = 0,
    on_notice: OnNotice = _ignore,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Run `target_1` to `target_N` against the hub, or hubs tried in order, until it is cancelled.

    `engine` is "micropython" (a process each), "cpython" (all in this one), or None for the first where
    there is MicroPython and at most MAX_PROCESSES targets. Each target's shooter hits with `hit_rate` and is
    seeded by `seed` and the target's number. `config` is added to every target's config.json. A target that
    dies is started again, with a notice. When this returns, processes, tasks and files are gone. Raises
    ValueError, MicropythonNotFoundError. Only a process has a watchdog that bites.
    """
    if targets < 1 or not 0.0 <= hit_rate <= 1.0:
        raise ValueError("targets are 1 or more, and `hit_rate` is from 0 to 1")
    engine = engine or _best_engine(targets)
    hubs = [_with_address(name) for name in ([hub] if isinstance(hub, str) else hub)]
    plans = [_Plan(number, hubs, hit_rate, seed, config or {}) for number in range(1, targets + 1)]
    on_notice(Notice(None, f"{targets} on {engine}"))
    if engine == "micropython":
        await _simulate_in_processes(plans, on_notice)
    elif engine == "cpython":
        await _simulate_in_this_process(plans, on_notice)
    else:
        raise ValueError(f"the engine is micropython or cpython, not {engine!r}")


def _with_address(hub: str) -> str:
    """Return `hub` with its host's address, IPv4 if it has one: a virtual board has no name server. Raises
    OSError, ValueError.
    """
    host, port, wants_tls = parse_hub(hub)
    if ":" not in host:
        found = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)
        host = str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
    return (TLS_SCHEME if wants_tls else "") + format_address(host, port)


def _best_engine(targets: int) -> str:
    if targets > MAX_PROCESSES:
        return "cpython"
    try:
        find_micropython()
    except MicropythonNotFoundError:
        return "cpython"
    return "micropython"


class _Plan:
    """The plan of one simulated target."""

    def __init__(
        self, number: int, hubs: list[str], hit_rate: float, seed: int, config: Mapping[str, Any]
    ) -> None:
        self.target_id = f"target_{number}"
        self.hit_rate = hit_rate
        self.seed = seed * 1_000_003 + number
        self.config = {"target_id": self.target_id, "hub": hubs, "wifi": WIFI, **config}
        self.status: Callable[[], Mapping[str, Any]] = self._last_status  # fields of its status line
        self._status: dict[str, Any] = {"status": ""}

    def on_status(self, status: str, **fields: object) -> None:
        """Keep the status of a session that has no board to print it."""
        self._status = {"status": status, **fields}

    def _last_status(self) -> Mapping[str, Any]:
        return self._status


async def _simulate_in_processes(plans: list[_Plan], on_notice: OnNotice) -> None:
    micropython = find_micropython()
    boards: list[BoardProcess] = []
    with temporary_directory("snyper-simulate-") as directory:
        try:
            for plan in plans:
                board = BoardProcess(
                    directory / plan.target_id,
                    "target",
                    plan.config,
                    seed=plan.seed,
                    hit_rate=plan.hit_rate,
                    micropython=micropython,
                )
                boards.append(board)
            async with asyncio.TaskGroup() as group:
                for plan, board in zip(plans, boards, strict=True):
                    plan.status = partial(_status_of, board)
                    group.create_task(_keep_board_on(board, on_notice))
                group.create_task(_report_refusals(plans, on_notice))
        finally:
            # Not in the loop's hands: a second Ctrl-C must not leave half of it undone.
            _stop_all(boards)


async def _keep_board_on(board: BoardProcess, on_notice: OnNotice) -> None:
    while True:
        board.start()
        resets = board.resets
        while board.is_on:
            await asyncio.sleep(POLL_SECONDS)
            if board.resets > resets:
                resets = board.resets
                on_notice(Notice(board.name, "was reset"))
        last_line = board.log.rstrip().rpartition("\n")[2]
        on_notice(Notice(board.name, f"ended by itself with {board.returncode}, starts again: {last_line}"))
        await asyncio.sleep(RESTART_SECONDS)


def _status_of(board: BoardProcess) -> Mapping[str, Any]:
    return last_status_in(board.log)


async def _report_refusals(plans: Sequence[_Plan], on_notice: OnNotice) -> None:
    """Report that no hub answers at first, and each target that it refuses, once for as long as it does.

    That is the targets' own status: a connection made only to see would cost a hub board one of its five
    places for 10 s.
    """
    is_hub_known = False
    refused: set[str] = set()
    while True:
        await asyncio.sleep(STATUS_POLL_SECONDS)
        now = {plan.target_id: plan.status() for plan in plans}
        first = now[plans[0].target_id]
        is_without_hub = first["status"] == Status.SEEKING and "last_error" in first
        if not is_hub_known and is_without_hub:
            on_notice(Notice(None, "nothing answers there yet; the targets try until it does"))
        is_hub_known = is_hub_known or is_without_hub or first["status"] == Status.REGISTERED
        refusals = {
            name: one_line(str(status["last_error"]))  # a hub's own words
            for name, status in now.items()
            if status["status"] == Status.REFUSED
        }
        reasons: dict[str, list[str]] = {}
        for name in refusals.keys() - refused:
            reasons.setdefault(refusals[name].replace(name, "NAME"), []).append(name)
        refused = set(refusals)
        for names in reasons.values():
            names.sort(key=lambda name: (len(name), name))
            others = f", nor {', '.join(names[1:MAX_NAMES])}" if names[1:] else ""
            more = f" and {len(names) - MAX_NAMES} more" if names[MAX_NAMES:] else ""
            on_notice(Notice(names[0], f"is not let in{others}{more}: {refusals[names[0]]}"))


def _stop_all(boards: list[BoardProcess]) -> None:
    threads = [threading.Thread(target=board.stop) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _simulate_in_this_process(plans: list[_Plan], on_notice: OnNotice) -> None:
    machine = import_virtual_hardware()
    raise_descriptor_limit(len(plans) * DESCRIPTORS_PER_BOARD)
    sample_ms = min(MAX_SAMPLE_MS, len(plans) // SAMPLES_PER_MS)
    async with asyncio.TaskGroup() as group:
        group.create_task(_report_refusals(plans, on_notice))
        for plan in plans:
            config = read(plan.config, "rp2")
            config["piezo"]["sample_ms"] = max(config["piezo"]["sample_ms"], sample_ms)
            group.create_task(_keep_session_on(machine, plan, config, on_notice))
            await asyncio.sleep(START_INTERVAL_SECONDS)


async def _keep_session_on(machine: Any, plan: _Plan, config: dict[str, Any], on_notice: OnNotice) -> None:
    from snyper.firmware.board.hardware import light
    from snyper.firmware.board.led import Led
    from snyper.firmware.target.session import TargetSession

    impact_ms = max(MIN_IMPACT_MS, config["piezo"]["sample_ms"] * SAMPLES_PER_IMPACT)
    board = machine.VirtualBoard(
        unique_id(plan.target_id),
        seed=plan.seed,
        hit_rate=plan.hit_rate,
        air={"networks": config["wifi"]["networks"]},
        impact_ms=impact_ms,
        rest_ms=max(100, impact_ms),
    )
    while True:
        machine.use(board)
        led = Led(light(config["led"]["pin"]))
        try:
            session = TargetSession(config, led, plan.on_status, on_flash=False)
            await session.run()
            why = "ended by itself, starts again"
        except machine.BoardReset as reset:
            board.boot(reset.args[0])
            on_notice(Notice(plan.target_id, "was reset"))
            continue
        except Exception as error:
            why = f"ended by itself, starts again: {error!r}"
        finally:
            led.stop()
        on_notice(Notice(plan.target_id, why))
        await asyncio.sleep(RESTART_SECONDS)
        board.boot(PWRON_RESET)


def import_virtual_hardware() -> Any:
    """Import the virtual `machine`, found only by this call; the firmware then imports what is there."""
    sys.path.insert(0, str(VIRTUAL_BOARD))
    try:
        importlib.import_module("network")
        return importlib.import_module("machine")
    finally:
        sys.path.remove(str(VIRTUAL_BOARD))

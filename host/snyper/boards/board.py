"""One board without a board: the firmware's own files on virtual hardware, in a process of its own."""

import atexit
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from snyper.boards import image
from snyper.boards.micropython import find_micropython, micropython_killed_with_parent
from snyper.boards.surroundings import Surroundings
from snyper.boards.watchdog import LOOK_S, Watchdog

VIRTUAL_BOARD = Path(__file__).resolve().parent / "virtual_board"
HEAP_BYTES = 180 * 1024  # what a Pico W has once it has joined its network; objects take twice that here
STAND_INS_BYTES = 58 * 1024  # on top: what virtual_board's modules take of the same heap, and no board has
SCREEN_BYTES = 7 * 1024  # and for a screen
# Of what MicroPython's table of words takes before the firmware runs, the part that a board's own would take:
# 1,260 of them at 6 bytes. It is the firmware's to pay.
WORDS_BYTES = 7 * 1024
WIFI = {"networks": [{"ssid": "snyper", "password": "simulated-range"}]}
ACCESS_POINT = {"password": "simulated-range"}  # its own: with the default a hub lets nobody in
PICO_W = {
    "machine": "Raspberry Pi Pico W with RP2040",
    "platform": "rp2",
    "version": None,  # MicroPython's: that of the runtime
    "has_wifi": True,
}
SCREEN = {"sda": 4, "scl": 5, "address": 0x3C, "plugged": 1}  # as a hub board expects it
PWRON_RESET = 1
WDT_RESET = 3

STOP_SECONDS = 1.0  # from Ctrl-C to SIGKILL
POLL_SECONDS = LOOK_S

MIN_IMPACT_MS = 30

_POWER_ON = "__import__('power_on').run(globals())"


class Board(Surroundings):
    """One board: its flash, its virtual hardware, and a MicroPython process while it has power.

    Everything but the flash lives in `directory`, which is made if need be and is the caller's to remove. A
    reset by the firmware or its watchdog starts the process again, as on a board. The process dies with this
    one, however that ends (on Linux; elsewhere if it ends in order). Methods may be called from any thread;
    `start`, `kill` and `stop` wait a moment for the process.
    """

    has_usb = False

    def __init__(
        self,
        directory: Path,
        flash: Path,
        *,
        name: str | None = None,
        seed: int = 0,
        hit_rate: float = 0.0,
        reaction_ms: tuple[int, int] = (150, 900),
        impact_ms: int = MIN_IMPACT_MS,
        air: Mapping[str, object] | None = None,
        identity: Mapping[str, object] | None = None,
        faults: Mapping[str, object] | None = None,
        chip: Path | None = None,
        speed: int = 1,
        clock: Mapping[str, int] | None = None,
        screen: Mapping[str, int] | None = None,
        micropython: Path | None = None,
        heap_bytes: int | None = None,
    ) -> None:
        """Make a board whose power is off.

        `name` decides the unique id and is by default the directory's. `air` is the radio around the board, a
        network that anybody can join by default; `identity` is what differs from a Pico W (see PICO_W);
        `faults` are the flash's (see `set_faults`), None for a flash that is sound; with `chip` the flash is
        no directory but that file, with LittleFS on it (see littlefs.py). The board's clock runs `speed`
        times as fast as the world's; with `clock` its ticks begin at `offset_us`, gain `drift_ppm` and wrap
        as a board's. `screen` is what is not as in SCREEN, None for no screen. `heap_bytes` is the
        firmware's part of the heap, by default HEAP_BYTES. The others are the seeded shooter's. Raises
        OSError, MicropythonNotFoundError.
        """
        super().__init__(directory, name or "")
        self.flash = flash.resolve()
        self._hardware = self.directory / "hardware"
        self.unique_id = unique_id(self.name).hex()
        self.resets = 0
        self._micropython = micropython or find_micropython()
        self._heap_bytes = heap_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._started: threading.Event = threading.Event()
        self._ended = threading.Event()
        self._start_error: OSError | None = None
        self._power = False
        self._cause = PWRON_RESET
        self._returncode: int | None = None
        self._watchdog = Watchdog()
        self.flash.mkdir(parents=True, exist_ok=True)
        self._hardware.mkdir(parents=True, exist_ok=True)
        self._stage_hardware()
        self._board = {
            "unique_id": self.unique_id,
            "seed": seed,
            "hit_rate": hit_rate,
            "reaction_ms": reaction_ms,
            "impact_ms": impact_ms,
            "air": {"networks": [], "up": True, "rejoins": False, **(air or {})},
            "flash": str(self._flash_link()),
            "usb": self.has_usb,
            "identity": {**PICO_W, **(identity or {})},
            "faults": None if faults is None else dict(faults),
            "chip": None if chip is None else str(chip.resolve()),
            "speed": speed,
            "clock": None if clock is None else dict(clock),
            "screen": None if screen is None else {**SCREEN, **screen},
        }
        self._write("board.json", self._board)

    # --- power

    def start(self) -> None:
        """Switch the power on. Raises RuntimeError when it is on, OSError when MicroPython does not run."""
        if self.is_on:
            raise RuntimeError(f"{self.name} is on already")
        for name in ("outputs.json", "screen.json", "strike", "levels", "watchdog", "reset", "cut", "steps"):
            (self.directory / name).unlink(missing_ok=True)
        self._power = True
        self._returncode = None
        self._start_error = None
        self._started.clear()
        self._ended.clear()
        self._supervisor = threading.Thread(target=self._supervise, name=self.name, daemon=True)
        self._supervisor.start()
        self._started.wait()
        if self._start_error is not None:
            raise self._start_error

    def kill(self) -> None:
        """Take the power away: the firmware cleans nothing up. May be called when it is off."""
        with self._lock:
            self._power = False
            if self._process is not None:
                self._process.kill()
        self._join()

    def stop(self) -> None:
        """End the firmware with Ctrl-C; after STOP_SECONDS without effect take the power away."""
        with self._lock:
            self._power = False
            if self._process is not None:
                self._process.send_signal(signal.SIGINT)
        self._join(STOP_SECONDS)
        self.kill()

    def restart(self) -> None:
        """Take the power away and give it back."""
        self.kill()
        self.start()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended for good; return its exit code. Raises TimeoutError after
        `timeout` seconds.
        """
        self._join(timeout)
        if self.is_on or self._returncode is None:
            raise TimeoutError(f"{self.name} still runs")
        return self._returncode

    @property
    def is_on(self) -> bool:
        """Return whether the board has a process, or gets one again at once: during a reset too."""
        return self._supervisor is not None and self._supervisor.is_alive()

    @property
    def pid(self) -> int | None:
        """Return the process, while there is one."""
        with self._lock:
            return self._process.pid if self._process is not None else None

    @property
    def returncode(self) -> int | None:
        """Return how the process ended, as in `subprocess`; None while it runs."""
        return None if self.is_on else self._returncode

    # --- its files

    def _flash_link(self) -> Path:
        """Return the flash by a name that MicroPython can read: its own may be no text."""
        link = self.directory / "flash-link"
        link.unlink(missing_ok=True)
        link.symlink_to(self.flash)
        return link

    def _stage_hardware(self) -> None:
        """Compile the virtual hardware, so that what stands in for the board's own C takes little of the
        board's memory.
        """
        self._hardware.mkdir(exist_ok=True)
        for name, compiled in image.compile_folder(VIRTUAL_BOARD).items():
            (self._hardware / f"{name}.mpy").write_bytes(compiled)

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
            self._ended.set()

    def _boot(self, reset_cause: int) -> subprocess.Popen[bytes] | None:
        self._cause = reset_cause
        environment = {
            **os.environ,
            "MICROPYPATH": os.pathsep.join([str(self._hardware), ".frozen"]),
            "SNYPER_BOARD": str(self.directory),
            "SNYPER_RESET_CAUSE": str(reset_cause),
            **self._environment(),
        }
        stand_ins = STAND_INS_BYTES
        if self._board["screen"] is not None:
            stand_ins += SCREEN_BYTES
        heap = f"heapsize={(self._heap_bytes or HEAP_BYTES) + stand_ins}"
        with self._lock, self._terminal() as (stdin, stdout):
            if not self._power:
                return None
            try:
                self._process = subprocess.Popen(
                    micropython_killed_with_parent(self._micropython, "-X", heap, "-c", _POWER_ON),
                    cwd=self.flash,
                    env=environment,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stdout,
                    start_new_session=True,  # a terminal's Ctrl-C is this process's to pass on
                    umask=0o077,  # what it writes has passwords and keys in it
                )
            except OSError as error:
                self._start_error = error
                return None
            return self._process

    def _environment(self) -> dict[str, str]:
        """Return what else the process finds in its environment."""
        return {}

    @contextmanager
    def _terminal(self) -> Iterator[tuple[int, int]]:
        """Return where the process reads and writes."""
        with self._log_path.open("ab") as log:
            yield subprocess.DEVNULL, log.fileno()

    def _watch(self, process: subprocess.Popen[bytes]) -> int | None:
        """Wait for the end of one boot; return the cause of its reset, or None when it stays off."""
        self._watchdog = Watchdog()
        was_bitten = False
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
            if self._watchdog_bites():
                process.kill()
                process.wait()
                was_bitten = True
            elif self._is_stuck():
                process.kill()
        with self._lock:
            self._process = None
            self._returncode = process.returncode
        return self._reset_cause(was_bitten)

    def _is_stuck(self) -> bool:
        """Return whether the process waits for what never comes, as no board does."""
        return False

    def _reset_cause(self, was_bitten: bool) -> int | None:
        with suppress(FileNotFoundError):
            reset_cause = int(self._read("reset"))
            (self.directory / "reset").unlink()
            (self.directory / "watchdog").unlink(missing_ok=True)
            return reset_cause if self._power else None
        if not self._power or (self.directory / "cut").exists():
            return None
        if was_bitten:
            (self.directory / "watchdog").unlink(missing_ok=True)
            return WDT_RESET
        assert self._returncode is not None
        return self._cause_after_power_cut() if self._returncode < 0 else self._cause_after_end()

    def _cause_after_power_cut(self) -> int | None:
        """Return what follows when somebody has killed the process."""
        return None

    def _cause_after_end(self) -> int | None:
        """Return what follows when the process has ended by itself and nobody asked for a reset."""
        # A watchdog that runs bites also when there is no firmware left to feed it.
        while self._power and (self.directory / "watchdog").exists():
            if self._watchdog_bites():
                (self.directory / "watchdog").unlink()
                return WDT_RESET
            time.sleep(POLL_SECONDS)
        return None

    def _watchdog_bites(self) -> bool:
        try:
            return self._watchdog.bites(int(self._read("watchdog")), time.time_ns())
        except FileNotFoundError:
            return False

    def _join(self, timeout: float | None = None) -> None:
        # Not `join` alone: a Ctrl-C in it makes Python take the thread for one that has ended.
        supervisor = self._supervisor
        if supervisor is None or supervisor is threading.current_thread():
            return
        if self._ended.wait(timeout):
            supervisor.join()


class BoardProcess(Board):
    """A board without USB, for which it is enough that the firmware runs.

    All of it lives in `directory`. Where `main.py` ends, a board sits idle and this one is off.
    """

    def __init__(
        self,
        directory: Path,
        role: str,
        config: Mapping[str, Any] | None = None,
        *,
        main: Path | None = None,
        air: Mapping[str, object] | None = None,
        **options: Any,
    ) -> None:
        """Write the flash; the power is off.

        `main` is a file to flash as main.py instead of the role's own, with what it imports. `air` is added
        to the radio around the board, which is by default what `config` needs. `options` are `Board`'s.
        Raises ValueError for an unknown role, OSError, MicropythonNotFoundError.
        """
        around = {"wifi": WIFI} if role == "target" else {"access_point": ACCESS_POINT}
        config = {**around, **(config or {})}
        networks = config.get("wifi", WIFI).get("networks", WIFI["networks"])
        super().__init__(directory, directory / "flash", air={"networks": networks, **(air or {})}, **options)
        image.stage(role, self.flash, config, main)


def unique_id(name: str) -> bytes:
    """Return the serial number of the virtual board of that name: 8 bytes."""
    return hashlib.sha256(os.fsencode(name)).digest()[:8]

"""The machines of a simulated range: boards, a hub, its disk. Firmware, hub and log of events are the real
ones.
"""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snyper.boards.board import unique_id
from snyper.boards.simulator import import_virtual_hardware
from snyper.history.schema import LEAP
from snyper.shared.runtime import end_task
from tools.chaos.board_flash import Flash
from tools.chaos.network import Network
from tools.chaos.virtual_time import Machine, VirtualLoop, current

virtual_machine = import_virtual_hardware()  # before the firmware, which imports it as `machine`

from snyper.firmware.board.hardware import light  # noqa: E402
from snyper.firmware.board.led import Led  # noqa: E402
from snyper.firmware.master.access import set_limits  # noqa: E402
from snyper.firmware.master.cease_fire import restore  # noqa: E402
from snyper.firmware.master.server import Hub  # noqa: E402
from snyper.firmware.target.config import read  # noqa: E402
from snyper.firmware.target.session import TargetSession  # noqa: E402
from snyper.hub.journaled_events import JournaledEvents  # noqa: E402
from snyper.hub.limits import LIMITS  # noqa: E402

HUB = "10.0.0.1"
PORT = 8081
SERVO = 16
PIEZO = 26
THRESHOLD = 20_000
SAMPLE_MS = 10
DEBOUNCE_MS = 30
FILES = "files"  # where a target keeps what it is sent
DOWN_NS = 600_000  # less is down
STRIKE_MS = 60
RING = 20  # events that the hub has in memory: few, so that consoles read the disk too
DRIFT_PPM = 100
WRAPS_US = (1 << 30, 1 << 32)  # where counters of a board wrap
_CONFIG = {
    "hub": [f"{HUB}:{PORT}"],
    "wifi": {"networks": [{"ssid": "range", "password": "pop-up-targets"}]},
    "servo": {"travel_ms": 100},
    "piezo": {"threshold": THRESHOLD, "debounce_ms": DEBOUNCE_MS, "sample_ms": SAMPLE_MS, "burst": 2},
}


class _Hardware(virtual_machine.VirtualBoard):  # type: ignore[misc, name-defined]
    """A board's hardware for one boot of it."""

    def __init__(self, board: "Board") -> None:
        self._board = board
        self._rises = 0
        self._was_low_s = -1.0
        self._peaks: set[int] = set()
        super().__init__(unique_id(board.machine.name), air={"ssid": "range", "password": "pop-up-targets"})

    def changed(self) -> None:
        servo = self.pwms.get(SERVO)
        if servo is not None and servo.rises > self._rises and self._board.hardware is self:
            self._rises = servo.rises
            self._board.on_rise()

    def sample(self, gpio: int) -> int:
        raw: int = super().sample(gpio)
        now_s = self._board.machine.loop.time()
        peak = raw << 4 | raw >> 8
        if peak < THRESHOLD:
            self._was_low_s = now_s
        elif peak not in self._peaks and self._board.hardware is self:
            self._peaks.add(peak)
            # A sample not long ago, and below the threshold: it was armed, and the time for debouncing over.
            self._board.on_strike(peak, now_s - self._was_low_s < 2 * SAMPLE_MS / 1000)
        return raw

    def is_down(self) -> bool:
        """Return whether the servo is sent down."""
        servo = self.pwms.get(SERVO)
        return servo is not None and 0 < servo.duty_ns() < DOWN_NS

    def is_sampling(self) -> bool:
        """Return whether the piezo is sampled."""
        adc = self.adc_inputs.get(PIEZO)
        return adc is not None and self._board.machine.loop.time() * 1e9 - adc.at_ns < 3e6 * DEBOUNCE_MS


class Board:
    """A target's board. `see_rise(board)` is called when its servo begins to rise, `see_strike(board, peak,
    is_certain)` at the first sample of each strike; a certain one is one that the firmware must report.
    """

    hardware: Any = None
    session: TargetSession

    def __init__(self, loop: VirtualLoop, network: Network, rng: random.Random, number: int) -> None:
        self.machine = Machine(loop, f"target_{number}", f"10.0.1.{number}")
        self.route = network.add(self.machine)
        self.flash = self.machine.flash = Flash(rng)
        self.boot = 0
        self.has_power = False
        self.see_rise: Callable[[Board], None] = lambda board: None
        self.see_strike: Callable[[Board, int, bool], None] = lambda board, peak, is_certain: None
        self._network = network
        self._rng = rng
        self._config = read({"target_id": self.machine.name, **_CONFIG}, "rp2")
        self._running: asyncio.Task[None] | None = None

    def on_rise(self) -> None:
        self.see_rise(self)

    def on_strike(self, peak: int, is_certain: bool) -> None:
        self.see_strike(self, peak, is_certain)

    def power_on(self) -> None:
        """Boot it. Its clock begins anew, not long before a counter wraps."""
        self.boot += 1
        self.has_power = True
        before_ns = self._rng.randrange(0, 10_000_000_000)
        wrap_ns = self._rng.choice(WRAPS_US) * 1000
        self.machine.set_clock(wrap_ns - before_ns, self._rng.uniform(-DRIFT_PPM, DRIFT_PPM))
        self.hardware = _Hardware(self)
        self.route.is_on = True
        self._network.heal(self.machine)
        self._running = self.machine.start(self._run(self.hardware))

    async def _run(self, hardware: Any) -> None:
        virtual_machine.use(hardware)
        led = Led(light("LED"))
        self.session = TargetSession(self._config, led, lambda status, **fields: None)
        virtual_machine.use(None)
        try:
            await self.session.run()
        finally:
            led.stop()

    async def power_off(self, orderly: bool) -> None:
        """Take its power, or let its firmware end, which hangs up."""
        if not self.has_power:
            return
        self.has_power = False
        self.hardware, hardware = None, self.hardware
        if orderly:
            self.hardware = hardware
            await self._end()
        self.hardware = None
        self.route.is_on = False
        for end in self._network.ends_of(self.machine):
            end.vanish()
        self.flash.lose_power()
        await self._end()

    async def _end(self) -> None:
        if self._running is not None:
            await end_task(self._running)
        await end_all(self.machine)

    def strike(self, raw: int) -> None:
        """Strike it with a peak of 12 bits."""
        if self.hardware is not None:
            self.hardware.strike(raw << 4, STRIKE_MS)


class Disk:
    """The content of a hub's disk, whatever becomes of the hub. `on_row(row)` is called for each new row."""

    def __init__(self, rng: random.Random) -> None:
        self.log_id = "log"
        self.rows: list[tuple[int, str, str, str, str]] = []  # seq, event, target_id, data, report
        self.reports: set[str] = set()
        self.reserved_seq = 0
        self.write_ms = (0.5, 12.0)
        self.cease_fire: dict[str, Any] | None = None
        self.rng = rng
        self.on_row: Callable[[tuple[int, str, str, str, str]], None] = lambda row: None

    def add(self, row: tuple[int, str, str, str, str]) -> None:
        self.rows.append(row)
        if row[4]:
            self.reports.add(row[4])
        self.on_row(row)


class DiskJournal:
    """`snyper.hub.journal.Journal`, with a Disk for its file and a timer for its thread."""

    state = "ok"
    oldest_seq = 1
    is_behind = is_full = False  # its disk is sound

    def __init__(
        self,
        path: Path,
        keep_days: int,
        on_written: Callable[[int], None],
        on_state: Callable[[str, str, int], None],
        on_exchange: Callable[[], None],
    ) -> None:
        self.path = path
        self._machine = current()
        self._disk = disk_of(self._machine)
        self.log_id = self._disk.log_id
        rows = self._disk.rows
        self.seq = max(self._disk.reserved_seq, rows[-1][0] if rows else 0)
        self._disk.reserved_seq = (self.seq // LEAP + 1) * LEAP
        self._on_written = on_written
        self._queue: list[tuple[int, str, str, str, str]] = []
        self._batch: list[tuple[int, str, str, str, str]] = []
        self._is_dead = False

    def record(
        self,
        log_id: str,
        seq: int,
        event: str,
        target_id: str,
        data: dict[str, Any],
        report_key: str | None = None,
        ago_ms: int = 0,
    ) -> None:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        self._queue.append((seq, event, target_id, text, report_key or ""))
        self._write()

    def _write(self) -> None:
        if self._queue and not self._batch and not self._is_dead:
            self._batch, self._queue = self._queue, []
            self._machine.later(self._disk.rng.uniform(*self._disk.write_ms) / 1000, self._commit)

    def _commit(self) -> None:
        if not self._is_dead:
            for row in self._batch:
                self._disk.add(row)
            self._machine.later(self._disk.rng.random() / 1000, self._notify, self._batch[-1][0])

    def _notify(self, seq: int) -> None:
        self._batch = []
        if not self._is_dead:
            self._on_written(seq)
            self._write()

    def die(self) -> None:
        """End as a process does that is killed: what is being written may be on the disk, or not."""
        batch, self._batch = self._batch, []
        if batch and batch[-1] not in self._disk.rows[-1:] and self._disk.rng.random() < 0.5:
            for row in batch:
                self._disk.add(row)
        self._is_dead = True

    def close(self) -> None:
        """Write what is left."""
        if not self._is_dead:
            on_disk = self._disk.rows[-1][0] if self._disk.rows else 0
            for row in self._batch + self._queue:
                if row[0] > on_disk:
                    self._disk.add(row)
            self._is_dead = True
            self._disk.reserved_seq = self._disk.rows[-1][0] if self._disk.rows else 0


class DiskReader:
    """`snyper.hub.journal_reader.JournalReader`, on a Disk."""

    def __init__(self, path: Path) -> None:
        self._disk = disk_of(current())

    async def page(self, after: int) -> list[tuple[int, str, str, dict[str, Any]]]:
        return await asyncio.get_running_loop().run_in_executor(None, self._page, after)

    async def is_known(self, report_key: str) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._disk.reports.__contains__, report_key)

    def _page(self, after: int) -> list[tuple[int, str, str, dict[str, Any]]]:
        later = [row for row in self._disk.rows if row[0] > after][:5]
        return [(seq, event, target_id, json.loads(data)) for seq, event, target_id, data, _ in later]

    async def close(self) -> None:
        """Do nothing: there is no file."""


class DiskCeaseFire:
    """`snyper.hub.cease_fire_file.CeaseFireFile`, on a Disk. A hub that is killed has done it, or not."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self) -> dict[str, Any] | None:
        return self._disk.cease_fire

    async def write(self, said: dict[str, Any]) -> None:
        await self._wait()
        self._disk.cease_fire = said
        await self._wait()

    async def remove(self) -> None:
        await self._wait()
        self._disk.cease_fire = None
        await self._wait()

    async def _wait(self) -> None:
        await asyncio.sleep(self._disk.rng.uniform(*self._disk.write_ms) / 2_000)


_disks: dict[Machine, Disk] = {}


def disk_of(machine: Machine) -> Disk:
    """Return the disk of a machine that has one."""
    return _disks[machine]


class HubMachine:
    """A computer with a hub, which may be killed, or lose its power, and starts again."""

    hub: Hub

    def __init__(self, loop: VirtualLoop, network: Network, rng: random.Random) -> None:
        self.machine = Machine(loop, "hub", HUB)
        self.route = network.add(self.machine)
        self.disk = Disk(rng)
        _disks.clear()
        _disks[self.machine] = self.disk
        self.is_on = False
        self._is_ending = False
        self.boots = 0
        self._network = network
        self._rng = rng
        self._events: Any = None
        self._running: asyncio.Task[None] | None = None
        self._set_clock()

    def _set_clock(self) -> None:
        drift_ppm = self._rng.uniform(-DRIFT_PPM, DRIFT_PPM)
        self.machine.set_clock(self._rng.randrange(1_000_000_000, 1 << 50), drift_ppm)

    def start(self) -> None:
        """Start the hub's process, unless it runs. While one ends, whoever ends it starts the next."""
        if not self.is_on and not self._is_ending:
            self.is_on = True
            self.boots += 1
            self.route.is_on = True
            self._network.heal(self.machine)
            self._running = self.machine.start(self._run())

    async def _run(self) -> None:
        self._events = JournaledEvents(RING, Path("journal.sqlite3"))
        self.hub = Hub("", PORT, 16, 8, max_events=RING, events=self._events)
        # Whoever there is may come at once: nobody waits in this network. All else is as on a computer.
        floods = ("lines_at_once", "lines_per_s", "events_at_once", "events_per_s")
        set_limits(self.hub, {"unregistered": 24, **{name: LIMITS[name].default for name in floods}})
        self.hub.cease_fire_file = DiskCeaseFire(self.disk)
        restore(self.hub)
        await self.hub.start()

    async def stop(self) -> bool:
        """End the process in an orderly way; return whether there was one."""
        if not self.is_on:
            return False
        self.is_on = False
        self._is_ending = True
        ending = self.machine.start(self._stop())
        await asyncio.wait((ending,))
        ending.result()
        await end_all(self.machine)
        self._is_ending = False
        return True

    async def _stop(self) -> None:
        if self._running is not None:
            await self._running
        await self.hub.shut_down()
        await self._events.close()

    async def kill(self, power: bool) -> None:
        """Kill the process, or take the computer's power: then nobody is told."""
        if not self.is_on:
            return
        self.is_on = False
        if self._events is not None:
            self._events._journal.die()
        self.route.is_on = not power
        for key in [key for key in self._network.servers if key[0] == HUB]:
            del self._network.servers[key]
        for end in self._network.ends_of(self.machine):
            if power:
                end.vanish()
            else:
                end.abort()
        await end_all(self.machine)
        if power:
            self._set_clock()


async def end_all(machine: Machine) -> None:
    """End all tasks and timers of a machine, which by now reaches nobody."""
    while True:
        tasks = [task for task in machine.tasks() if task is not asyncio.current_task()]
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    machine.loop.drop_timers(machine)

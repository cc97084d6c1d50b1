"""Disks and journals that fail, clocks that jump, and a computer that has no more to give."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from ast import literal_eval
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from tools.faults.case import Case, Figure, Scale, all_of, at_most, none_of, not_run
from tools.faults.ranges import CPYTHON, AttackedHub, attacked_hub, descriptors, environment, until
from tools.faults.wire import (
    Peer,
    console_of,
    dial,
    peer_of,
    reset,
    status_kb,
    stranger_address,
    target_of,
)
from tools.loopback import HOST, free_port

SHOTS = 20
PAUSE_S = 0.05  # no faster than a limit of rates bears
ANSWERED_S = 3.0
LOG_BYTES_A_S = 2_000
_COMMIT_US = 250_000
_FAKETIME = "faketime/libfaketimeMT.so.1"


class Shooter:
    """A target that is hit again and again, and remembers which hits were acknowledged."""

    def __init__(self, peer: Peer) -> None:
        self.acknowledged: set[str] = set()
        self._peer = peer
        self._shots = 0

    async def shoot(self, count: int = SHOTS) -> int:
        """Report so many hits, one after the other, each for ANSWERED_S; return how many were
        acknowledged.
        """
        taken = 0
        for _ in range(count):
            self._shots += 1
            id = f"e{self._shots}"
            await self._peer.send({"type": "hit", "id": id, "data": {"peak": 40_000, "reaction_ms": 300}})
            if await self._is_acknowledged(id):
                self.acknowledged.add(id)
                taken += 1
            await asyncio.sleep(PAUSE_S)
        return taken

    async def _is_acknowledged(self, id: str) -> bool:
        with suppress(TimeoutError):
            while (message := await self._peer.next(ANSWERED_S)).get("id") != id:
                pass
            return bool(message["type"] == "ack")
        return False


@asynccontextmanager
async def shooter_at(hub: AttackedHub) -> AsyncIterator[Shooter]:
    async with target_of(
        hub.port, "shot", hardware_id="shot", boot_id=f"b{time.time_ns()}", heartbeat_ms=60_000
    ) as peer:
        yield Shooter(peer)


def missing(shooter: Shooter, journal: Path) -> int:
    """Return how many hits were acknowledged and are not in the file, or twice."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT report FROM events WHERE event = 'hit' AND report IS NOT NULL").fetchall()
    ids = [str(literal_eval(report)[-1]) for (report,) in rows if report]
    return sum(ids.count(id) != 1 for id in shooter.acknowledged)


async def _goes_on(hub: AttackedHub) -> bool:
    """Return whether a console is admitted and answered."""
    async with console_of(hub.port) as console:
        return bool((await console.ask("ping"))["status"] == "alive")


@asynccontextmanager
async def _journaled(scale: Scale, name: str, directory: Path | None = None) -> AsyncIterator[AttackedHub]:
    place = directory if directory is not None else scale.place(name)
    async with attacked_hub(CPYTHON, place, options=("--journal", str(place / "journal.sqlite3"))) as hub:
        yield hub


async def _wounded(
    scale: Scale, name: str, wound: Callable[[AttackedHub], None], heal: Callable[[AttackedHub], None]
) -> AsyncIterator[Figure]:
    """Shoot before, while and after the journal is wounded; then kill the hub, and look into the file."""
    async with _journaled(scale, name) as hub:
        async with shooter_at(hub) as shooter:
            before = await shooter.shoot()
            wound(hub)
            during = await shooter.shoot(4)
            goes_on = await _goes_on(hub)
            heal(hub)
            await asyncio.sleep(1.5)  # the hub tries again every second
            after = await shooter.shoot()
        yield all_of(f"{name}: hits acknowledged before and after it", before + after, 2 * SHOTS)
        yield all_of(f"{name}: a console is answered", int(goes_on), 1)
        await hub.kill()
        count = missing(shooter, hub.journal)
        yield none_of(f"{name}: acknowledged, and not on the disk", count, before + during + after)
        await hub.start()


def _limit(size: int) -> Callable[[AttackedHub], None]:
    def limit(hub: AttackedHub) -> None:
        hard = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (size, hard))

    return limit


async def disks(scale: Scale) -> AsyncIterator[Figure]:
    locks: list[sqlite3.Connection] = []

    def lock(hub: AttackedHub) -> None:
        locks.append(sqlite3.connect(hub.journal, isolation_level=None, check_same_thread=False))
        locks[-1].execute("BEGIN EXCLUSIVE")

    for figures in (
        _wounded(scale, "disk full", _limit(4_096), _limit(resource.RLIM_INFINITY)),
        _wounded(scale, "journal locked", lock, lambda hub: locks[-1].close()),
        *(part(scale) for part in (_slow, _exchanged, _refused, _clocks, _no_descriptors, _no_memory)),
    ):
        async for figure in figures:
            yield figure


async def _slow(scale: Scale) -> AsyncIterator[Figure]:
    strace = shutil.which("strace")
    if strace is None:
        yield not_run("disk slow: there is no strace here")
        return
    async with _journaled(scale, "slow") as hub:
        inject = f"inject=fdatasync,fsync:delay_enter={_COMMIT_US}"
        tracer = await asyncio.create_subprocess_exec(
            *(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject),
            *("-p", str(hub.pid)),
            stdin=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            await until(lambda: _is_traced(hub.pid), "strace should attach")
            async with shooter_at(hub) as shooter:
                taken = await shooter.shoot()
                noise = asyncio.create_task(_make_noise(hub, scale.pick(500, 10_000)))
                taken += await shooter.shoot()
                goes_on = await _goes_on(hub)
                await noise
        finally:
            tracer.kill()
            await tracer.wait()
        os.kill(hub.pid, signal.SIGCONT)
        await hub.kill()
        yield all_of("disk slow: a console is answered", int(goes_on), 1)
        yield none_of("disk slow: acknowledged, and not on the disk", missing(shooter, hub.journal), taken)
        await hub.start()


def _is_traced(pid: int) -> bool:
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()


async def _make_noise(hub: AttackedHub, count: int) -> None:
    """Have a target change its state so often: an event each, that nobody waits for."""
    with suppress(EOFError, OSError):
        async with target_of(hub.port, "noisy", hardware_id="noisy", boot_id="b") as peer:
            for number in range(count):
                data = {"state": ("down", "standing")[number % 2]}
                await peer.send({"type": "ping", "id": f"n{number}", "data": data})
                await peer.next()


async def _exchanged(scale: Scale) -> AsyncIterator[Figure]:
    for name, names in (("removed", ("", "-wal", "-shm")), ("without its log", ("-wal", "-shm"))):
        async with _journaled(scale, f"journal {name}") as hub:
            async with shooter_at(hub) as shooter:
                await shooter.shoot()
                _remove(hub.journal, names)
                before = set(shooter.acknowledged)
                await shooter.shoot()
                await asyncio.sleep(2.5)
                again = await shooter.shoot(5)
                after = shooter.acknowledged - before
                goes_on = await _goes_on(hub)
            await hub.kill()
            shooter.acknowledged = after
            lost = missing(shooter, hub.journal) if hub.journal.exists() else len(after)
            yield all_of(f"journal {name} meanwhile: a console is answered", int(goes_on), 1)
            yield all_of(f"journal {name}: hits acknowledged once there is another", again, 5)
            yield Figure(
                f"journal {name}: acknowledged since, and not in the file",
                f"{lost:,} of {len(after):,}",
                "0",
                lost == 0,
            )
            await hub.start()


def _remove(journal: Path, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        Path(f"{journal}{suffix}").unlink(missing_ok=True)


async def _refused(scale: Scale) -> AsyncIterator[Figure]:
    """Start hubs on journals that they cannot write: a clear word, and the file as it was."""
    place = scale.place("sound")
    async with _journaled(scale, "", place) as hub, shooter_at(hub) as shooter:
        await shooter.shoot(3)
    sound = place / "journal.sqlite3"
    with closing(sqlite3.connect(sound)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = sound.read_bytes()

    def damaged(path: Path) -> None:
        path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))

    def not_one(path: Path) -> None:
        path.write_bytes(b"no database\n" * 400)

    def newer(path: Path) -> None:
        path.write_bytes(content)
        with closing(sqlite3.connect(path)) as db:
            [[version]] = db.execute("PRAGMA user_version").fetchall()
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.commit()

    for name, spoil in (("damaged", damaged), ("of something else", not_one), ("of a newer version", newer)):
        path = scale.place(name) / "journal.sqlite3"
        spoil(path)
        was = path.read_bytes()
        status, said = await asyncio.to_thread(_start, path)
        is_clear = status not in (0, None) and said.strip() and "Traceback" not in said
        yield all_of(f"journal {name}: refused with a word", int(bool(is_clear)), 1)
        yield all_of(f"journal {name}: as it was", int(path.read_bytes() == was), 1)
    path = scale.place("read-only") / "journal.sqlite3"
    async for figure in _read_only(path.parent, content):
        yield figure


async def _read_only(place: Path, content: bytes) -> AsyncIterator[Figure]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    done = await asyncio.to_thread(subprocess.run, mount, capture_output=True, check=False)
    if done.returncode:
        yield not_run("disk read-only: nothing may be mounted here")
        return
    try:
        path = place / "journal.sqlite3"
        path.write_bytes(content)
        again = ["mount", "-o", "remount,ro", str(place)]
        await asyncio.to_thread(subprocess.run, again, capture_output=True, check=True)
        status, said = await asyncio.to_thread(_start, path)
        is_clear = status not in (0, None) and said.strip() and "Traceback" not in said
        yield all_of("disk read-only: refused with a word", int(bool(is_clear)), 1)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(place)], check=True)


def _start(journal: Path) -> tuple[int | None, str]:
    """Start a hub that is to refuse; return its exit status, None where it runs on, and what it said."""
    command = ["hub", "--listen", f"{HOST}:{free_port()}", "--journal", str(journal)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "snyper.cli", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def _faketime() -> Path | None:
    return next(Path("/usr/lib").glob(f"*/{_FAKETIME}"), None)


async def _clocks(scale: Scale) -> AsyncIterator[Figure]:
    library = _faketime()
    if library is None:
        yield not_run("clock set: there is no libfaketime here: apt install libfaketime")
        return
    for name, offset in (("ahead", "+400d"), ("back", "-400d")):
        async with _journaled(scale, f"clock-{name}") as hub:
            async with shooter_at(hub) as shooter:
                await shooter.shoot()
            kept = _rows(hub.journal)
            await hub.kill()
            hub.variables = {
                "LD_PRELOAD": str(library),
                "FAKETIME": offset,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            await hub.start()
            async with shooter_at(hub) as second:
                taken = await second.shoot()
            await hub.kill()
            hub.variables = {}
            await hub.start()
            await hub.kill()
            gone = max(0, kept - _rows(hub.journal))
            yield none_of(f"clock 400 days {name} for one start: rows gone", gone, kept)
            yield all_of(f"clock 400 days {name}: hits acknowledged", taken, SHOTS)
            yield none_of(f"clock 400 days {name}: of these not on the disk", missing_of(second, hub), taken)
            await hub.start()


def missing_of(shooter: Shooter, hub: AttackedHub) -> int:
    """Return how many hits of the latest shooter are not in the hub's file."""
    with closing(sqlite3.connect(f"file:{hub.journal}?mode=ro", uri=True)) as db:
        [[count]] = db.execute("SELECT count(*) FROM events WHERE event = 'hit'").fetchall()
    return max(0, SHOTS + len(shooter.acknowledged) - int(count))


def _rows(journal: Path) -> int:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        [[count]] = db.execute("SELECT count(*) FROM events").fetchall()
    return int(count)


async def _no_descriptors(scale: Scale) -> AsyncIterator[Figure]:
    async with _journaled(scale, "descriptors") as hub:
        async with shooter_at(hub) as shooter:
            held = descriptors(hub.pid)
            _, hard = resource.prlimit(hub.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (held + 6, hard))
            strangers = []
            for number in range(40):
                with suppress(OSError, TimeoutError):
                    strangers.append(await dial(hub.port, stranger_address(number)))
            began, log = time.monotonic(), len(hub.log)
            taken = await shooter.shoot()
            rate = (len(hub.log) - log) / (time.monotonic() - began)
            for sock in strangers:
                reset(sock)
            resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (hard, hard))
            goes_on = await _goes_on(hub)
        await hub.kill()
        yield all_of("no descriptors: hits of who is there acknowledged", taken, SHOTS)
        yield at_most("no descriptors: the hub's log grows by", rate, LOG_BYTES_A_S, "B a second")
        yield all_of("no descriptors: afterwards a console is in", int(goes_on), 1)
        yield none_of(
            "no descriptors: acknowledged, and not on the disk", missing(shooter, hub.journal), taken
        )
        await hub.start()


async def _no_memory(scale: Scale) -> AsyncIterator[Figure]:
    async with _journaled(scale, "memory") as hub:
        async with shooter_at(hub) as shooter:
            taken = await shooter.shoot()
            limit = (status_kb(hub.pid, "VmSize") + 4_096) * 1024
            resource.prlimit(hub.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            gluttons = [asyncio.create_task(_be_glutton(hub, number)) for number in range(100)]
            with suppress(EOFError, OSError):
                taken += await shooter.shoot()
            await asyncio.gather(*gluttons)
            resource.prlimit(hub.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            goes_on = await _goes_on(hub)
        await hub.kill()
        yield all_of("no memory: the hub runs on, and a console is answered", int(goes_on), 1)
        yield none_of("no memory: acknowledged, and not on the disk", missing(shooter, hub.journal), taken)
        await hub.start()


async def _be_glutton(hub: AttackedHub, number: int) -> None:
    """Register a target with all that a registration may hold, and ask for much."""
    with suppress(OSError, EOFError, TimeoutError):
        async with peer_of(hub.port, stranger_address(number)) as peer:
            await peer.ask("register", f"glutton_{number}", firmware="x" * 60, groups=["g" * 32] * 8)
            for at in range(50):
                await peer.send(
                    {"type": "ping", "id": at + 1, "data": {"state": "x" * 30, "pad": "y" * 3_000}}
                )
                await asyncio.sleep(0.02)


CASES = (
    Case(
        17,
        "disks, clocks, no more room",
        "The disk is full, slow, read-only; the journal locked, damaged, removed, of a newer version; the"
        " clock jumps by 400 days; there are no descriptors or no memory left.",
        "A clear word, the range goes on, and nothing that was acknowledged is lost.",
        disks,
    ),
)

"""Streams, recordings and arrays: each of their processes is killed again and again, on a bad network."""

import asyncio
import hashlib
import io
import random
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import numpy

from snyper.client import connect
from snyper.recordings import Recording, open_recording
from snyper.recordings.recording import NOT_RECORDED
from snyper.shared.runtime import end_task
from snyper.streams.subscriber import StreamReader
from snyper.system.process import killed_with_parent
from tools.faults.case import Case, Figure, Scale, all_of, at_most, none_of
from tools.faults.counting_source import NAME, STREAM, samples_of
from tools.faults.ranges import CPYTHON, AttackedHub, attacked_hub, environment, until
from tools.impaired_link import ImpairedLink
from tools.loopback import HOST, free_port

BACK_S = 60.0  # that all of it takes to go on, on a busy computer too
_QUIET_S = (0.2, 1.5)  # between two kills
_DELAY_MS = (0.0, 20.0)
_CUT_S = 1.5  # between two cuts of the network


class _Mortal:
    """A command that is killed and started again."""

    def __init__(self, log: Path, command: Sequence[str]) -> None:
        self._log = log
        self._command = killed_with_parent([sys.executable, "-m", *command])
        self._process: Process | None = None
        self.is_down = False  # on purpose

    async def start(self) -> None:
        """Start it."""
        self.is_down = False
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=DEVNULL, stdout=DEVNULL, stderr=log, env=environment()
            )

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it by a signal, SIGKILL, and wait until it is gone."""
        self.is_down = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            await self._process.wait()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def has_ended(self) -> bool:
        """Return whether it has ended by itself."""
        return self._process is None or self._process.returncode is not None


class _Tally:
    """A reader that lives through all of it: what came to it and what it was told is lost, of each epoch."""

    def __init__(self, reader: StreamReader) -> None:
        self.counts: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        self.firsts: dict[str, int] = {}
        self.lost = 0
        self.wrong = 0
        self._reader = reader

    async def run(self) -> None:
        async for block in self._reader:
            expected = self.ends.get(block.epoch)
            self.lost += block.lost
            if expected is None:
                self.firsts[block.epoch] = block.seq
                self.counts[block.epoch] = 0
            elif block.seq != expected + block.lost:
                self.wrong += 1
            if (block.samples != samples_of(block.epoch, block.seq, len(block.samples))).any():
                self.wrong += 1
            self.counts[block.epoch] += len(block.samples)
            self.ends[block.epoch] = block.next_seq


class _Uploads:
    """Uploads of small arrays, one after the other, and which of them were acknowledged."""

    def __init__(self, port: int) -> None:
        self.acknowledged: dict[int, str] = {}
        self.unanswered = 0
        self._url = f"http://{HOST}:{port}"
        self._rng = numpy.random.default_rng(20)

    async def run(self) -> None:
        # The network here passes lines, and what has no end of line once the connection ends.
        async with httpx.AsyncClient(timeout=10, headers={"connection": "close"}) as client:
            while True:
                file = io.BytesIO()
                numpy.save(file, self._rng.random(int(self._rng.integers(1, 4_000))))
                content = file.getvalue()
                try:
                    answer = await client.post(f"{self._url}/upload", files={"file": ("a.npy", content)})
                except httpx.TransportError:
                    self.unanswered += 1
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    self.acknowledged[answer.json()["index"]] = hashlib.sha256(content).hexdigest()

    async def intact(self) -> int:
        """Return how many of those that were acknowledged are there as they were sent."""
        headers = {"accept": "application/x-npy", "connection": "close"}
        async with httpx.AsyncClient(timeout=30, headers=headers) as client:
            found = 0
            for index, digest in self.acknowledged.items():
                answer = await client.get(f"{self._url}/array/{index}")
                loaded = numpy.load(io.BytesIO(answer.content)) if answer.status_code == 200 else None
                if loaded is not None:
                    file = io.BytesIO()
                    numpy.save(file, loaded)
                    found += hashlib.sha256(file.getvalue()).hexdigest() == digest
            return found


class _Range:
    """All that is attacked, and what it has come to."""

    def __init__(
        self, directory: Path, hub: AttackedHub, near: ImpairedLink, far: ImpairedLink, web: ImpairedLink
    ) -> None:
        self.hub = hub
        self.links = (near, far, web)
        self.sent_file = directory / "sent"
        self.folder = directory / "recordings"
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.web_port = web.port
        where = ("--hub", f"{HOST}:{far.port}")
        self.source = _Mortal(
            self.logs / "source",
            ("tools.faults.counting_source", f"{HOST}:{near.port}", str(self.sent_file)),
        )
        self.recorder = _Mortal(
            self.logs / "recorder",
            (
                *("snyper.cli", "arrays", "record", f"{NAME}/{STREAM}", "--continue"),
                *("--folder", str(self.folder), *where),
            ),
        )
        self.gateway = _Mortal(
            self.logs / "gateway",
            (
                *("snyper.cli", "gateway", "--listen", f"{HOST}:{web.hub_port}", *where),
                *("--arrays", str(directory / "arrays"), "--stream", f"{NAME}/{STREAM}"),
            ),
        )
        self._recording: Recording | None = None

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()

    def sent(self) -> dict[str, int]:
        """Return how many samples each epoch of the source had sent at most."""
        lines = self.sent_file.read_text().split("\n") if self.sent_file.exists() else []
        return {epoch: int(end) for epoch, _, end in (line.partition(" ") for line in lines) if end}

    def recorded(self) -> dict[str, int]:
        """Return the end of each epoch in the recording as it grows."""
        if self._recording is None:
            folders = self.recordings()
            if not folders:
                return {}
            self._recording = open_recording(folders[0])
        self._recording.refresh()
        return {epoch.id: epoch.end for epoch in self._recording.epochs}

    def recordings(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("*/recording.json"))

    async def tend(self) -> None:
        """Start what has ended by itself, as who has services does: without a hub there is nothing to do."""
        while True:
            for one in (self.recorder, self.gateway):
                if one.has_ended and not one.is_down:
                    await one.start()
            await asyncio.sleep(0.2)

    async def cut(self, rng: random.Random) -> None:
        """Cut the network, or hold it back, again and again."""
        while True:
            await asyncio.sleep(rng.uniform(0, 2 * _CUT_S))
            link = rng.choice(self.links)
            if rng.random() < 0.5:
                link.cut()
            else:
                link.is_held = True
                try:
                    await asyncio.sleep(rng.uniform(0, 0.5))
                finally:
                    link.is_held = False


@asynccontextmanager
async def _range_of(directory: Path) -> AsyncIterator[_Range]:
    async with (
        attacked_hub(CPYTHON, directory / "hub") as hub,
        ImpairedLink(hub.port, seed=1, to_hub_ms=_DELAY_MS, from_hub_ms=_DELAY_MS) as near,
        ImpairedLink(hub.port, seed=2, to_hub_ms=_DELAY_MS, from_hub_ms=_DELAY_MS) as far,
        ImpairedLink(free_port(), seed=3, to_hub_ms=_DELAY_MS, from_hub_ms=_DELAY_MS) as web,
    ):
        found = _Range(directory, hub, near, far, web)
        mortals = (found.source, found.recorder, found.gateway)
        try:
            for one in mortals:
                await one.start()
            yield found
        finally:
            found.close()
            for one in mortals:
                await one.kill()


async def killed_in_the_middle(scale: Scale) -> AsyncIterator[Figure]:
    kills = scale.pick(12, 300)
    rng = random.Random(20)
    async with _range_of(scale.place("range")) as found:
        uploads = _Uploads(found.web_port)
        async with connect(found.hub.address, "", reconnect=True) as console:
            tally = _Tally(console.read_stream(f"{NAME}/{STREAM}", wait=True))
            tasks = [asyncio.create_task(work) for work in (tally.run(), uploads.run(), found.tend())]
            cutting = asyncio.create_task(found.cut(rng))
            back_s = [await _goes_on(found, tally, uploads)]
            for number in range(kills):
                scale.tell(f"{number} of {kills}")
                victim = (found.source, found.recorder, found.gateway, found.hub)[number % 4]
                await asyncio.sleep(rng.uniform(*_QUIET_S))
                await victim.kill()
                await asyncio.sleep(rng.uniform(0, 1))
                await victim.start()
                back_s.append(await _goes_on(found, tally, uploads))
            await end_task(cutting)
            found.source.tell(signal.SIGTERM)
            last = list(found.sent())[-1]
            await until(lambda: found.recorded().get(last) == found.sent()[last], "all is recorded", BACK_S)
            await until(lambda: tally.ends.get(last) == found.sent()[last], "all has come", BACK_S)
            for task in tasks:
                assert not task.done(), task.exception()
                await end_task(task)
        await found.recorder.kill(signal.SIGTERM)
        intact = await uploads.intact()
        sent = found.sent()
        with open_recording(found.recordings()[0]) as recording:
            check = Check(recording, sent)
        yield at_most("recordings of the one stream", len(found.recordings()), 1)
        yield none_of("samples that are stored as others", check.wrong, check.stored)
        yield none_of("numbers neither stored nor in one gap, or both", check.holes, check.numbers)
        yield none_of("numbers that no source has sent", check.beyond, check.numbers)
        yield all_of(
            "of the last epoch: stored and in gaps",
            check.ends[last] - check.firsts[last],
            sent[last] - check.firsts[last],
        )
        yield none_of(
            "blocks with other samples, or a wrong count of what is lost",
            tally.wrong,
            sum(tally.counts.values()),
        )
        yield all_of("arrays acknowledged: there, as they were sent", intact, len(uploads.acknowledged))
        yield at_most(f"samples and arrays go on, worst of {len(back_s)}", max(back_s), BACK_S, "s")
        logs = [path.read_text(errors="replace") for path in found.logs.iterdir()]
        yield none_of("processes that said a traceback", sum("Traceback" in log for log in logs), len(logs))


async def _goes_on(found: _Range, tally: _Tally, uploads: _Uploads) -> float:
    """Wait until samples come to the recording and to the reader, and an array is acknowledged; return after
    how long they do.
    """

    counts: dict[str, Callable[[], int]] = {
        "the recording": lambda: sum(found.recorded().values()),
        "the reader": lambda: sum(tally.counts.values()),
        "uploading": lambda: len(uploads.acknowledged),
    }
    began = time.monotonic()
    for what, before in [(what, count()) for what, count in counts.items()]:
        await until(lambda: counts[what]() > before, f"{what} goes on", BACK_S)  # noqa: B023
    return time.monotonic() - began


class Check:
    """The check of a recording: of each epoch each number is stored, or in one gap."""

    def __init__(self, recording: Recording, sent: dict[str, int]) -> None:
        self.wrong = self.stored = self.holes = self.numbers = self.beyond = 0
        self.firsts: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        for epoch in recording.epochs:
            self.firsts.setdefault(epoch.id, epoch.first)
            self.ends[epoch.id] = max(epoch.end, self.ends.get(epoch.id, 0))
        for epoch_id, first in self.firsts.items():
            told = numpy.zeros(self.ends[epoch_id] - first, "u1")
            for run in recording.read(0, 1 << 60, epoch_id):
                self.wrong += int((run.samples != samples_of(epoch_id, run.first, len(run.samples))).sum())
                self.stored += len(run.samples)
                told[run.first - first : run.first - first + len(run.samples)] += 1
            for gap in recording.gaps:
                if gap.epoch == epoch_id and gap.why != NOT_RECORDED:
                    told[gap.first - first : gap.last + 1 - first] += 1
            self.numbers += len(told)
            self.holes += int((told != 1).sum())
            self.beyond += max(0, self.ends[epoch_id] - sent.get(epoch_id, 0))


CASES = (
    Case(
        20,
        "streams, recordings, arrays",
        "Source, recorder, gateway and hub are killed with SIGKILL in turn, while samples are recorded and "
        "arrays uploaded, over networks that delay, hold back and break off.",
        "What was sent is stored or in one gap, exactly, in one recording; a reader that lives on is told "
        "what it lost; no array that was acknowledged is missing.",
        killed_in_the_middle,
    ),
)

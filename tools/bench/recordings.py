"""An hour of a recording at 10 kHz, opened and drawn, over reading all of it."""

import tempfile
import time
from pathlib import Path

import numpy

from snyper.recordings import open_recording
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec
from tools.bench.rounds import Row, alternate, row

RATE_HZ = 10_000
SECONDS = 3_600
BLOCK = 1_000
COLUMNS = 1_500
ZOOMS = 8  # each a sixth of the one before
AIM = "1 s"


async def recording_rows(rounds: int, seconds: int = SECONDS) -> list[Row]:
    """Measure it in `rounds` alternating repetitions; of the zooms the slowest counts. Raises OSError."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "recording")
        _record(folder, seconds)

        async def read() -> float:
            began = time.perf_counter()
            with open_recording(folder) as recording:
                (run,) = recording.read(0, seconds * RATE_HZ)
                run.samples.min(), run.samples.max()
            return time.perf_counter() - began

        async def draw() -> float:
            slowest = 0.0
            length_us = seconds * 1_000_000
            for zoom in range(ZOOMS):
                began = time.perf_counter()
                with open_recording(folder) as recording:
                    wanted_us = length_us // 6**zoom
                    recording.overview(length_us // 7, length_us // 7 + wanted_us, COLUMNS)
                slowest = max(slowest, time.perf_counter() - began)
            return slowest

        taken = await alternate(rounds, {"floor": read, "measured": draw})
    what = f"{seconds // 60} min at 10 kHz, opened and drawn at any zoom, over reading them"
    return [row(what, taken["measured"], taken["floor"], "s", 2, AIM)]


def _record(folder: Path, seconds: int) -> None:
    writer = RecordingWriter(folder, "bench", "signal")
    writer.begin("e1", StreamSpec("<f4", (), RATE_HZ))
    random = numpy.random.default_rng(1)
    for seq in range(0, seconds * RATE_HZ, BLOCK):
        samples = random.normal(size=BLOCK).astype("<f4")
        writer.write_block(seq, samples, seq * 1_000_000 // RATE_HZ, 0, 0)
    writer.close()

"""Recordings of real processes, which are killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snyper.recordings import Recording, RecordingError, open_recording
from tests.integration.harness import WallClock, at_length

WRITER = Path(__file__).with_name("recording_writer.py")
RECORDER = Path(__file__).with_name("clock_recorder.py")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(at_length(100, 10)))
def test_a_writer_is_killed_and_what_it_wrote_is_there(seed: int, tmp_path: Path) -> None:
    """At a random instant, watched by a reader that follows; nothing that this has seen is lost."""
    folder = tmp_path / "recording"
    with subprocess.Popen([sys.executable, WRITER, folder]) as process:
        try:
            follower = _opened(folder)
            target = random.Random(seed).randrange(1, 20_000)
            while not follower.epochs or follower.epochs[0].end < target:
                follower.refresh()
        finally:
            process.kill()
    follower.close()
    seen = follower.epochs[0].end
    with open_recording(folder) as recording:
        (epoch,) = recording.epochs
        assert epoch.first == 0
        assert epoch.end >= seen
        (run,) = recording.read(0, epoch.end)
        assert run.samples.tolist() == (run.times_us // 1_000).tolist() == [*range(epoch.end)]
        assert recording.gaps == ()


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_wall_clock_that_is_set_moves_no_sample(jump: str, tmp_path: Path) -> None:
    """By an hour, in the middle of a recording: its samples stay where they are, also in UTC."""
    clock = WallClock(tmp_path / "faketime")
    began_us = time.time_ns() // 1_000
    with subprocess.Popen(
        [sys.executable, RECORDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | clock.variables,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(8):
            if number == 4:
                clock.set(jump)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n"
        process.stdin.close()
    assert process.returncode == 0
    ended_us = time.time_ns() // 1_000
    with open_recording(tmp_path / "recording") as recording:
        ahead_us = [at.utc_us - at.hub_us for at in recording.clocks]
        assert abs(abs(ahead_us[-1] - ahead_us[0]) - 3_600_000_000) < 60_000_000
        (run,) = recording.read(0, 8)
        assert run.samples.tolist() == list(range(8))
        times = [recording.utc_us(int(at)) or 0 for at in run.times_us]
        assert times == sorted(times)
        assert began_us - 1_000_000 < times[0] <= times[-1] < ended_us + 1_000_000


def _opened(folder: Path) -> Recording:
    while True:
        try:
            return open_recording(folder)
        except (RecordingError, FileNotFoundError):  # it has only begun
            continue

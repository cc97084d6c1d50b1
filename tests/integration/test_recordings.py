"""Recordings of real processes, which are killed."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from snyper.recordings import Recording, RecordingError, open_recording

WRITER = Path(__file__).with_name("recording_writer.py")


@pytest.mark.parametrize("seed", range(30))
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


def _opened(folder: Path) -> Recording:
    while True:
        try:
            return open_recording(folder)
        except (RecordingError, FileNotFoundError):  # it has only begun
            continue

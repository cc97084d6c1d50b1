"""The check of what a recorder that was killed has recorded finds what is wrong."""

from pathlib import Path

import numpy
import pytest

from snyper.recordings import open_recording
from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec
from tools.faults.cases.recordings import Check
from tools.faults.counting_source import samples_of


@pytest.mark.parametrize(
    ("gap", "changed", "sent", "found"),
    [
        pytest.param((10, 14), 0, 30, (0, 0, 0), id="all is there"),
        pytest.param((11, 14), 0, 30, (0, 1, 0), id="a number is missing without a word"),
        pytest.param((10, 14), 3, 30, (3, 0, 0), id="samples that are others"),
        pytest.param((10, 14), 0, 28, (0, 0, 2), id="what nobody sent"),
    ],
)
def test_what_is_wrong_is_counted(
    gap: tuple[int, int], changed: int, sent: int, found: tuple[int, int, int], tmp_path: Path
) -> None:
    writer = RecordingWriter(tmp_path / "r", "lab1", "count")
    writer.begin("e", StreamSpec("<u4", (), 1_000))
    writer.write_block(0, samples_of("e", 0, 10), 0, 0, 0)
    writer.write_gap(*gap, "lost")
    samples = samples_of("e", 15, 15)
    samples[:changed] += numpy.uint32(1)
    writer.write_block(15, samples, 15_000, 0, 0)
    writer.close()
    with open_recording(tmp_path / "r") as recording:
        check = Check(recording, {"e": sent})
    assert (check.wrong, check.holes, check.beyond) == found
    assert (check.stored, check.numbers) == (25, 30)

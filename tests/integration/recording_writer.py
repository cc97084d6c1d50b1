"""Writes a recording until it is killed: blocks of 1 to 50 numbers from 0 on, as fast as it goes."""

import random
import sys
from pathlib import Path

import numpy

from snyper.recordings.writer import RecordingWriter
from snyper.streams import StreamSpec


def main(folder: Path) -> None:
    """Write into `folder`."""
    writer = RecordingWriter(folder, "lab1", "signal", segment_bytes=20_000)
    writer.begin("e1", StreamSpec("<i8", (), 1_000))
    seq = 0
    while True:
        count = random.randrange(1, 50)
        writer.write_block(seq, numpy.arange(seq, seq + count), seq * 1_000, 0, 0)
        writer.sync_if_due()
        seq += count


if __name__ == "__main__":
    main(Path(sys.argv[1]))

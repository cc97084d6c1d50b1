"""The end of a recording, for a recorder that goes on in it."""

import time
from dataclasses import dataclass
from pathlib import Path

from snyper.recordings.errors import RecordingError
from snyper.recordings.layout import DESCRIPTION
from snyper.recordings.recording import ClockReading, Epoch, Recording, read_description
from snyper.recordings.retention import recordings_in
from snyper.shared.clock import now_us


@dataclass(frozen=True)
class Continuation:
    """The end of a recording: its epochs by their names, the last one last; its hub and that one's clock."""

    epochs: dict[str, Epoch]
    hub_id: str
    base_us: int
    clock: ClockReading | None  # the last reading
    latest_us: int  # no sample is later
    read_us: int  # when it was read, by the steady clock here

    def now_us(self) -> int:
        """Return the instant of now in the recording, by the time of day: of all clocks that one outlives the
        hub and this computer.
        """
        if self.clock is None:
            return self.latest_us
        return max(self.latest_us, self.clock.hub_us + time.time_ns() // 1_000 - self.clock.utc_us)


def last_recording(place: Path, source: str, stream: str) -> Path | None:
    """Return the folder of the newest recording of a stream in a folder of them. Raises OSError."""
    for folder in reversed(recordings_in(place)):
        try:
            description = read_description(folder / DESCRIPTION)
        except RecordingError:
            continue
        if (description["source"], description["stream"]) == (source, stream):
            return folder
    return None


def continuation_of(folder: Path) -> Continuation:
    """Return how a recording ended. Raises RecordingError, OSError."""
    with Recording(folder) as recording:
        epochs: dict[str, Epoch] = {}
        for epoch in recording.epochs:
            known = epochs.pop(epoch.id, epoch)
            epochs[epoch.id] = epoch if epoch.end >= known.end else known
        latest_us = recording.span_us[1] if any(epoch.samples for epoch in epochs.values()) else 0
        return Continuation(epochs, *recording.last_hub, recording.last_clock, latest_us, now_us())

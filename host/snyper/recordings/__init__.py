"""Recordings of streams: append-only segments on the disk, which open after any crash as they always do."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.recordings.errors import InUse, RecordingError
    from snyper.recordings.recorder import Progress, Recorder
    from snyper.recordings.recording import Epoch, Gap, Recording, Run, open_recording

__all__ = [
    "Epoch",
    "Gap",
    "InUse",
    "Progress",
    "Recorder",
    "Recording",
    "RecordingError",
    "Run",
    "open_recording",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what is asked for, so that numpy is needed by whoever reads samples alone."""
        if name not in __all__:
            raise AttributeError(f"module 'snyper.recordings' has no attribute {name!r}")
        from snyper.recordings import errors, recorder, recording

        return next(getattr(room, name) for room in (errors, recorder, recording) if hasattr(room, name))

"""Recordings of streams: append-only segments on the disk, which open after any crash as they always do."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.recordings.errors import RecordingError
    from snyper.recordings.recording import Epoch, Gap, Recording, Run, open_recording

__all__ = ["Epoch", "Gap", "Recording", "RecordingError", "Run", "open_recording"]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what is asked for, so that numpy is needed by whoever reads samples alone."""
        if name not in __all__:
            raise AttributeError(f"module 'snyper.recordings' has no attribute {name!r}")
        from snyper.recordings import errors, recording

        return getattr(errors if name == "RecordingError" else recording, name)

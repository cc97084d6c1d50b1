"""The errors of recordings."""


class RecordingError(ValueError):
    """A folder that is no recording, or one that is damaged. The message says where, and what is wrong."""


class InUse(RuntimeError):
    """A folder is used by another recorder."""

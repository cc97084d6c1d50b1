"""The words of a shell for what is sent: which of FILE and JSON it is, and how it ended."""

import json
import ssl
from pathlib import Path
from typing import Any, Tuple, Union

from snyper.device.errors import Unreachable

EXIT_FAILED = 1  # refused, failed, or not to be read
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130


def file_or_json(text: str) -> Union[Path, Tuple[Any]]:
    """Return the path of a file that is there, or a tuple of the value that JSON has for it. Raises
    ValueError for what is neither.
    """
    path = Path(text)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # too long for a name
        is_there = False
    if is_there:
        return path
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError):
        raise ValueError(f"there is no file {text}, and it is no JSON") from None


def message_of(error: Exception) -> str:
    """Say what an error of sending is, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the server's certificate is not trusted ({error.verify_message})"
        return f"{why}: SNYPER_CA_FILE names a file with it, or with that of who signed it"
    return str(error)


def status_of(error: Exception) -> int:
    """Return the exit status for an error of sending."""
    return EXIT_UNREACHABLE if isinstance(error, Unreachable) else EXIT_FAILED

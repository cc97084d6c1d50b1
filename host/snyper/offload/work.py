"""A piece of work, its result, and the errors instead of one."""

from dataclasses import dataclass
from pathlib import Path

from snyper.offload.declarations import Service


@dataclass(slots=True)
class Work:
    """A piece of work for a service. Whoever submits it makes its folder, and removes it afterwards."""

    service: Service
    folder: Path  # of this work alone: what it takes and gives lies there, and its temporary files
    input: Path | None = None  # in `folder`: a file, or the body of JSON that `value` and `options` are not
    filename: str = ""  # what the sender calls that file
    value: object = None  # for a service of data: what JSON can say
    options: object = None


@dataclass(slots=True)
class Done:
    """The result of it: a file in the work's folder, or else JSON."""

    json: bytes = b"null"  # UTF-8
    file: Path | None = None


class WorkError(Exception):
    """A piece of work came to nothing. `detail` says why, to people, in one sentence."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(ValueError):
    """An input that the function cannot work with: the message tells its sender what it could.

    Raised by functions. Unlike with any other exception nobody sends the same again, and nothing is logged.
    """


class Rejected(WorkError):
    """The function raised InvalidInput."""


class Malformed(Rejected):
    """The body is no JSON at all. The function was not called."""


class Raised(WorkError):
    """The function raised an exception, or returned what cannot be sent."""


class TimedOut(WorkError):
    """The function took longer than its limit, and was killed."""


class Died(WorkError):
    """The worker's process ended while it was at it."""


class Lost(Died):
    """The worker is gone for a reason that is not the work's: its computer is. It may have done the work."""

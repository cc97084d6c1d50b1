"""Errors of sending to a server.

TransferError
├── Unreachable      no answer from the server, after all tries
│   └── TimedOut     nor within the time that the whole may take
├── Refused          the server does not take it: a 4xx, or an answer that leads elsewhere
├── ServerFailed     the server could not do it, after all tries: a 5xx, or one that is busy
├── BadAnswer        the answer is none that can be used
├── FileChanged      the file was changed while it was sent
├── Stopped          another thread called it off
├── OutboxFull       the outbox takes no more
└── OutboxLocked     another process delivers from the outbox
"""

from typing import Optional

from snyper.device.text import one_line


class TransferError(Exception):
    """An error of sending something, or of an outbox. A server may have a word in its text, which is one line
    and does nothing to a terminal.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class Unreachable(TransferError):
    """Nothing answers at the server's address, or the connection to it was lost each time."""


class TimedOut(Unreachable):
    """The time that the whole may take is over."""


class _Answered(TransferError):
    def __init__(self, status: int, detail: str, retry_after_s: Optional[float] = None) -> None:
        super().__init__(f"{detail} ({status})" if detail else f"status {status}")
        self.status = status
        self.detail = one_line(detail)
        self.retry_after_s = retry_after_s


class Refused(_Answered):
    """The server refuses it, with `status` and its reason, `detail`: it would refuse it again."""


class ServerFailed(_Answered):
    """The server failed or was busy each time, with `status` and its reason, `detail`."""


class BadAnswer(TransferError):
    """The answer is no JSON though it says so, is cut off, or is larger than it may be."""


class FileChanged(TransferError):
    """The file is not what it was when sending it began: what the server has of it is not used."""


class Stopped(TransferError):
    """Another thread called it off."""


class OutboxFull(TransferError):
    """The outbox takes no more: what was to be added is not in it."""


class OutboxLocked(TransferError):
    """Another process is delivering from this outbox."""

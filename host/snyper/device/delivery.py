"""The delivery of an outbox: its items one after the other, each until its receiver has it or refuses it."""

import logging
import ssl
import threading
from typing import Callable, NamedTuple, Optional

from snyper.device import settings
from snyper.device.answer import Answer
from snyper.device.connection import TIMEOUT_S, Connection
from snyper.device.errors import (
    FileChanged,
    OutboxLocked,
    Refused,
    ServerFailed,
    Stopped,
    TransferError,
)
from snyper.device.limits import Limits
from snyper.device.outbox import DAMAGED, DATA, Item, Outbox
from snyper.device.retrying import TRIES, delay_s
from snyper.device.sending import send_file, send_text

# How a delivery ends, or goes on.
DELIVERING = "delivering"  # all that waits is sent
AWAY = "away"  # the receiver does not answer, or is busy: later
PAUSED = "paused"  # it takes nothing of us: somebody has to see to the key, or to its certificate

_LOOK_S = 1.0  # between two looks at an outbox that is empty
_PAUSE_S = 60.0  # before a receiver that takes nothing of us is asked once more

_log = logging.getLogger("snyper.device")


class Report(NamedTuple):
    """The outcome of a flush: how many items were sent, refused, are left; the state, and why."""

    sent: int
    refused: int
    left: int
    state: str
    why: str
    retry_after_s: Optional[float] = None


class Delivery:
    """Delivers an outbox to the server at `server_url`, which left out is SERVICE_SERVER_URL.

    `timeout` is in seconds, for the connection and each wait; `key` and `ca_file` are as in the environment,
    if left out. `on_item` is told of each item that has left the outbox, with why it was refused, or "".

    An item's id goes along as its Idempotency-Key: a receiver that keeps it has no item twice, whenever
    either side was cut off. What it refuses (4xx) goes aside with the reason; after a 401 or 403 all of it
    waits.
    """

    def __init__(
        self,
        outbox: Optional[Outbox] = None,
        server_url: Optional[str] = None,
        timeout: float = TIMEOUT_S,
        *,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        on_item: Callable[[Item, str], None] = lambda item, reason: None,
    ) -> None:
        self.outbox = Outbox() if outbox is None else outbox
        self._url = settings.service_server_url() if server_url is None else server_url
        self._timeout = timeout
        self._key = key
        self._ca_file = ca_file
        self._connection().close()  # which says what is wrong with the URL
        self._on_item = on_item
        self._limits = Limits()
        self._thread: Optional[threading.Thread] = None

    def flush(self, tries: int = TRIES) -> Report:
        """Send what waits, as far as the receiver takes it now: each item in so many tries.

        Raises OutboxLocked where another process delivers; OSError for an outbox that cannot be read.
        """
        return self._flush(tries, Limits())

    def _flush(self, tries: int, limits: Limits) -> Report:
        sent = refused = 0
        state, why, retry_after_s = DELIVERING, "", None
        with self.outbox.sending(), self._connection() as connection:
            for item in self.outbox.in_order():
                try:
                    self._send(connection, item, tries, limits)
                except Refused as error:
                    if error.status in (401, 403):
                        state, why = PAUSED, f"the receiver refuses the key: {error}"
                    else:
                        refused += self._put_aside(item, str(error))
                except ssl.SSLCertVerificationError as error:
                    state, why = PAUSED, f"the receiver is another: {error.verify_message}"
                except (FileChanged, OSError, ValueError) as error:
                    refused += self._put_aside(item, str(error))
                except Stopped:
                    raise
                except TransferError as error:
                    state, why = AWAY, str(error)
                    retry_after_s = error.retry_after_s if isinstance(error, ServerFailed) else None
                else:
                    self.outbox.remove(item)
                    self._on_item(item, "")
                    sent += 1
                if state != DELIVERING:
                    break
            self.outbox.record_status(state, why)
        return Report(sent, refused, self.outbox.count(), state, why, retry_after_s)

    def run(self) -> None:
        """Deliver in a thread from now on, whatever is added, until `stop`."""
        self._limits = Limits()
        self._thread = threading.Thread(target=self.run_here, args=(self._limits,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What it was sending waits, and goes on from where it was."""
        self._limits.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run_here(self, limits: Optional[Limits] = None) -> None:
        """Deliver in this thread, whatever is added, until the limits' end."""
        limits = limits or Limits()
        failures = 0
        last_why = ""
        try:
            while True:
                try:
                    report = self._flush(1, limits)
                except OutboxLocked as error:
                    report = Report(0, 0, 0, AWAY, str(error))
                except OSError as error:
                    report = Report(0, 0, 0, AWAY, f"the outbox cannot be read: {error}")
                if report.why and report.why != last_why:
                    _log.warning("the outbox waits: %s", report.why)
                last_why = report.why
                failures = 0 if report.sent or report.state != AWAY else failures + 1
                limits.wait(_pause_s(report, failures))
        except Stopped:
            pass

    def _connection(self) -> Connection:
        return Connection(self._url, self._timeout, self._key, self._ca_file)

    def _send(self, connection: Connection, item: Item, tries: int, limits: Limits) -> None:
        if item.kind == DAMAGED:
            raise ValueError(item.reason)
        item.check()
        if item.kind == DATA:
            text = item.payload.read_bytes()
            send_text(connection, item.endpoint, text, item.id, limits, tries, Answer.discard)
        else:
            send_file(
                *(connection, item.endpoint, item.payload, item.id, item.field, item.filename, item.fields),
                limits=limits,
                tries=tries,
                take=Answer.discard,
            )

    def _put_aside(self, item: Item, reason: str) -> int:
        is_there = self.outbox.refuse(item, reason)
        if is_there:
            self._on_item(item, reason)
        return int(is_there)


def _pause_s(report: Report, failures: int) -> float:
    if report.state == PAUSED:
        return _PAUSE_S
    return _LOOK_S if report.state == DELIVERING else delay_s(max(failures, 1), report.retry_after_s)

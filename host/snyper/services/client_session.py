"""A client's session, over all its connections: the numbers of its calls, and what a reply means. Pure."""

import contextlib
import os
import threading
import weakref
from typing import TypeGuard

from snyper.services import wire
from snyper.services.context import chain, shower
from snyper.services.remote_exceptions import (
    CallError,
    OutcomeUnknown,
    Refused,
    RemoteError,
    Unreachable,
    from_wire,
)
from snyper.services.wire import (
    CANCEL,
    MAX_OPEN,
    PROGRESS,
    RAISED,
    REFUSED,
    RETURNED,
    Pieces,
    Returned,
    unpack,
)
from snyper.shared.link_core import error_of
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from snyper.system.text import one_line

_FAR = 32  # calls behind one that takes long: so often the server is told which have no answer yet
_sessions: "weakref.WeakSet[ClientSession]" = weakref.WeakSet()


def _on_fork() -> None:
    for session in _sessions:
        session.is_inherited = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_on_fork)


class Request:
    """A request of the server, sent as often as it takes until it answers: a call under the same number."""

    sent_to = ""  # the run of the server that may have it

    def __init__(self, id: str | int, pieces: Pieces, name: str) -> None:
        self.id = id
        self.pieces = pieces
        self.name = name
        self._show = shower()

    @property
    def shows_progress(self) -> bool:
        """Tell whether somebody wants to know how much of it is done."""
        return self._show is not None

    def take_progress(self, message: SocketMessage) -> None:
        """Show how much is done, where an item says it and somebody wants to know."""
        done = (message.data or {}).get("done")
        if self._show is not None and message.status == PROGRESS and isinstance(done, int | float):
            with contextlib.suppress(Exception):  # of others: the call goes on
                self._show(float(done))

    def send_to(self, instance: str, is_known: bool, where: str) -> None:
        """Note that it is sent to a run of the server, which knows the session or not.

        Raises OutcomeUnknown where another run may have it.
        """
        if self.sent_to and (instance != self.sent_to or not is_known):
            raise OutcomeUnknown(self.name, f"{where} was started anew meanwhile")
        if isinstance(self.id, int):
            self.sent_to = instance

    def unreached(self, error: Unreachable | Refused) -> CallError:
        """Return what it means that no server is reached: where one may have it, nobody can say."""
        return OutcomeUnknown(self.name, str(error)) if self.sent_to else error


class ClientSession:
    """Counts the calls of a client, and tells the server which answers have come. Any thread may use it."""

    is_inherited = False  # from the parent, with its connection: this process was forked since

    def __init__(self, where: str) -> None:
        self.id = os.urandom(16).hex()
        self.where = where
        self.leases: tuple[str, ...] = ()  # that its calls rely on
        self.unanswered = 0  # connections, one after the other, that have brought no value
        self._seq = 0
        self._asked = 0
        self._open: set[int] = set()  # the calls that have no answer yet
        self._lock = threading.Lock()
        _sessions.add(self)

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[int, Pieces, str]:
        """Begin a call, to be ended by `end`; return what makes a Request of it.

        Raises TypeError, ValueError for an argument that does not travel; CallError.
        """
        with self._lock:
            self._seq += 1
            seq = self._seq
            seen = (min(self._open) if self._open else seq) - 1
            open: tuple[int, ...] = ()
            if seq - seen > _FAR and seq % _FAR == 0 and len(self._open) <= MAX_OPEN:
                seen, open = seq - 1, tuple(self._open)
            self._open.add(seq)
        try:
            return seq, wire.call(seq, name, seen, chain(), self.leases, args, kwargs, open), f"{name}()"
        except BaseException as error:
            self._open.discard(seq)
            if isinstance(error, ProtocolError):
                raise CallError(str(error)) from None
            raise

    def rely(self, lease: str, does: bool = True) -> None:
        """Have all calls from now on rely on a lease, or no longer do so."""
        with self._lock:
            others = tuple(one for one in self.leases if one != lease)
            self.leases = (*others, lease) if does else others

    def end(self, seq: int) -> None:
        """Take that nobody waits for the answer to a call any more."""
        self._open.discard(seq)

    def ask(self, message_type: str, data: dict[str, object]) -> tuple[str, Pieces, str]:
        """Return what makes a Request of a message that calls no function. Raises CallError."""
        with self._lock:
            self._asked += 1
            id = f"{message_type}-{self._asked}"
        try:
            line = SocketMessage(message_type, id, data=data).to_line()
        except ProtocolError as error:
            raise CallError(str(error)) from None
        return id, (line,), message_type

    def value(self, message: SocketMessage, name: str) -> object:
        """Return the value that a message has. Raises CallError for none."""
        self.unanswered = 0
        try:
            return unpack(message, "value")
        except ValueError as error:
            raise CallError(f"{self.where} answers {name} with what is no value: {error}") from None

    def result(self, reply: SocketMessage, name: str) -> object:
        """Return what a call has returned, or raise what it has raised. Raises CallError."""
        if type(reply) is Returned:
            self.unanswered = 0
            return reply.value
        if reply.type == MessageType.ERROR:
            raise CallError(f"{self.where}: {one_line(str(error_of(reply)))}")
        value = self.value(reply, name)
        if reply.status == RETURNED:
            return value
        if reply.status in (RAISED, REFUSED):
            raised = from_wire(value, name, self.where)
            if reply.status == RAISED and isinstance(raised, CallError):  # of a link that the function has
                raised = RemoteError(type(raised).__name__, str(raised))
            raise raised
        raise CallError(f"{self.where} answers {name} with `{reply.status}`")


def is_answer(outcome: SocketMessage | Exception) -> TypeGuard[SocketMessage]:
    """Tell whether what came of a request is its answer; false where it is to be sent again.

    Raises what else came of it; CallError.
    """
    if isinstance(outcome, SocketMessage):
        return True
    if not isinstance(outcome, ProtocolError):
        raise outcome
    if outcome.code != ErrorCode.DISCONNECTED:
        raise CallError(str(outcome))
    return False


def cancelling(id: str | int) -> bytes:
    """Return the line by which a call or a watch is given up."""
    return SocketMessage(CANCEL, "cancel", data={"call": id}).to_line()

"""Calls to one server, from any number of threads: each once, over one connection after the other."""

import contextlib
import logging
import os
import select
import socket
import threading
import time
from typing import Any

from snyper.services.client_connection import ClientConnection, dial
from snyper.services.context import chain, until
from snyper.services.remote_exceptions import (
    CallError,
    OutcomeUnknown,
    Refused,
    RemoteError,
    Unreachable,
    from_wire,
)
from snyper.services.wire import CALL, RAISED, REFUSED, RETURNED, Pieces, pack, unpack
from snyper.shared.address import format_address
from snyper.shared.link_core import error_of
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

_log = logging.getLogger("snyper")
_HANDOVER_S = 0.02  # after which a thread that waits for its reply leaves the connection to the watcher
_DIAL_S = 3.0  # that a server may take to answer, before it is dialled anew
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
_SAY_S = 2.0  # after which a caller that waits for a server is told so
_IDLE_S = 5.0  # after which a connection is tried before it is used
_SLICE_S = 0.3  # Windows ends no wait for Ctrl-C


class _DeadlineError(Exception):
    """The deadline of a call is over."""


class _Request:
    """A request of a thread, and what comes of it."""

    def __init__(self, id: str | int, pieces: Pieces, name: str) -> None:
        self.id = id
        self.name = name
        self.sent_to = ""  # the run of the server that may have it
        self.outcome: SocketMessage | Exception | None = None
        self.done: threading.Event | None = None  # for the thread, once another reads
        self._pieces = pieces

    def begin(self, connection: ClientConnection, where: str) -> None:
        """Send it. Raises OutcomeUnknown where it was sent to another run of the server; ProtocolError."""
        if connection.is_closed:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the connection has ended")
        if self.sent_to and (connection.instance != self.sent_to or not connection.is_known):
            raise OutcomeUnknown(self.name, f"{where} was started anew meanwhile")
        if isinstance(self.id, int):
            self.sent_to = connection.instance
        self.outcome = None
        connection.begin(self.id, self._pieces, _Request.set, self)

    def set(self, outcome: SocketMessage | Exception) -> None:
        """Take what comes of it."""
        self.outcome = outcome
        if self.done is not None:
            self.done.set()


class Caller:
    """Makes calls to one server. Any thread may use it.

    Each call has a number. A connection that breaks is made anew, and the call is sent again under its
    number: the server carries it out once, and answers again.

    One thread has the connection at a time: the one that calls, and reads its own reply. When that lasts, the
    watcher has it instead, a thread that reads for all, and ends when nobody waits any more.
    """

    def __init__(self, address: str, port: int, secret: str | None, timeout_s: float | None) -> None:
        self.where = format_address(address, port)
        self._address = (address, port)
        self._secret = secret
        self._timeout_s = timeout_s
        self._connection: ClientConnection | None = None
        self._begin_session()

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Have the server call what it serves as `name`, and return what that returns; raise what it raises.

        Raises TypeError, ValueError for an argument that does not travel; CallError.
        """
        self._check_process()
        data: dict[str, object] = {"name": name}
        within = chain()
        if within:
            data["chain"] = list(within)
        with self._lock:
            self._seq += 1
            seq = self._seq
            data["seen"] = min(self._open, default=seq) - 1
            self._open.add(seq)
        try:
            pieces = pack(CALL, seq, None, data, "arguments", [list(args), kwargs])
            reply = self._ask(_Request(seq, pieces, f"{name}()"))
        finally:
            self._open.discard(seq)
        return self._outcome(reply, f"{name}()")

    def ask(self, message_type: str, **data: object) -> Any:
        """Ask the server what needs no function. Raises CallError."""
        self._check_process()
        with self._lock:
            self._asked += 1
            id = f"{message_type}-{self._asked}"
        line = SocketMessage(message_type, id, data=data).to_line()
        return self._outcome(self._ask(_Request(id, (line,), message_type)), message_type)

    def close(self) -> None:
        """Hang up. The next call connects anew; one that is under way does so at once."""
        self._check_process()
        with self._turns:
            while self._is_taken:
                self._turns.wait(_SLICE_S)
            if self._is_watched:
                self._post(lambda connection: connection.close())
            else:
                self._drop()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    # ---

    def _begin_session(self) -> None:
        self._pid = os.getpid()
        self._session = os.urandom(16).hex()
        self._seq = 0
        self._asked = 0
        self._open: set[int] = set()  # the calls that have no answer yet
        self._lock = threading.Lock()
        self._turns = threading.Condition(self._lock)
        self._is_taken = False  # by a thread that calls
        self._is_watched = False
        self._posted: list[Any] = []  # for the watcher, with the connection
        self._wake: tuple[socket.socket, socket.socket] | None = None

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # a fork: the connection is the parent's
            self._connection = None
            self._begin_session()

    def _ask(self, request: _Request) -> SocketMessage:
        until_s = until(self._timeout_s)
        while True:
            try:
                outcome = self._exchange(request, until_s)
            except _DeadlineError:
                raise OutcomeUnknown(request.name, "it has not ended at its deadline") from None
            except ProtocolError as error:
                outcome = error
            if isinstance(outcome, SocketMessage):
                return outcome
            if not isinstance(outcome, ProtocolError):
                raise outcome
            if outcome.code != ErrorCode.DISCONNECTED:
                raise CallError(str(outcome))

    def _exchange(self, request: _Request, until_s: float | None) -> SocketMessage | Exception:
        """Send a request and return what comes of it. Raises ProtocolError, CallError, _DeadlineError."""
        request.done = None
        if not self._take_turn(request, until_s):
            return self._wait_aside(request, until_s)
        is_handed_over = False
        try:
            connection = self._connected(until_s)
            request.begin(connection, self.where)
            is_handed_over = not _read_until_done(connection, request)
        except CallError:
            raise
        except BaseException as error:
            if not isinstance(error, ProtocolError) and self._connection is not None:
                self._connection.give_up(request.id)
            self._drop()  # of what came a part may be lost
            raise
        finally:
            if is_handed_over:
                self._hand_over(request)
            else:
                self._end_turn()
        if is_handed_over:
            return self._wait_aside(request, until_s)
        connection.used_s = time.monotonic()
        assert request.outcome is not None
        return request.outcome

    def _take_turn(self, request: _Request, until_s: float | None) -> bool:
        """Take the connection for this thread; return false if the watcher has it, and now the request."""
        with self._turns:
            while self._is_taken:
                self._turns.wait(_left_s(until_s))
            if not self._is_watched:
                self._is_taken = True
                return True
            request.done = threading.Event()
            self._post(lambda connection: _begin(request, connection, self.where))
            return False

    def _end_turn(self) -> None:
        with self._turns:
            self._is_taken = False
            self._turns.notify()

    def _wait_aside(self, request: _Request, until_s: float | None) -> SocketMessage | Exception:
        """Wait for what comes of a request while the watcher reads."""
        assert request.done is not None
        try:
            while not request.done.wait(_left_s(until_s)):
                pass
        except BaseException:
            with self._turns:
                if self._is_watched:
                    self._post(lambda connection: connection.give_up(request.id))
            raise
        assert request.outcome is not None
        return request.outcome

    # --- the watcher

    def _hand_over(self, request: _Request) -> None:
        with self._turns:
            request.done = threading.Event()
            self._wake = socket.socketpair()
            for sock in self._wake:
                sock.setblocking(False)
            self._is_taken = False
            self._is_watched = True
            self._turns.notify_all()
        threading.Thread(target=self._watch, name="snyper watcher", daemon=True).start()

    def _post(self, action: Any) -> None:
        """Have the watcher call `action` with the connection. Called with the lock held."""
        assert self._wake is not None
        self._posted.append(action)
        with contextlib.suppress(BlockingIOError):
            self._wake[1].send(b"\0")

    def _watch(self) -> None:
        connection, wake = self._connection, self._wake
        assert connection is not None
        assert wake is not None
        fileno: Any = connection.fileno()
        while True:
            with self._turns:
                posted, self._posted = self._posted, []
                if not posted and not connection.has_pending:
                    self._is_watched = False
                    self._wake = None
                    for sock in wake:
                        sock.close()
                    connection.used_s = time.monotonic()
                    self._turns.notify_all()
                    return
            for action in posted:
                action(connection)
            if not connection.has_pending:
                continue
            if connection.is_readable(0.0) or fileno in select.select((fileno, wake[0]), (), ())[0]:
                connection.read()
            with contextlib.suppress(BlockingIOError):
                wake[0].recv(4_096)

    # --- connections

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, until_s: float | None) -> ClientConnection:
        connection = self._connection
        if connection is not None:
            is_fresh = time.monotonic() - connection.used_s < _IDLE_S
            if not connection.has_ended() and (is_fresh or connection.is_alive()):
                return connection
            self._drop()
        self._connection = connection = self._dial(until_s)
        return connection

    def _dial(self, until_s: float | None) -> ClientConnection:
        began_s = time.monotonic()
        said = False
        tries = 0
        while True:
            try:
                timeout_s = _DIAL_S
                if until_s is not None:
                    timeout_s = max(0.001, min(timeout_s, until_s - time.monotonic()))
                return dial(self._address, self._session, self._secret, timeout_s)
            except socket.gaierror as error:
                raise Unreachable(
                    self.where, f"no computer is known by that name ({error.strerror})"
                ) from None
            except ProtocolError as error:
                if error.code != ErrorCode.DISCONNECTED:
                    raise Refused(f"{self.where}: {error.message}") from None
                why = error.message
            except OSError as error:
                why = error.strerror or str(error) or type(error).__name__
            now_s = time.monotonic()
            if until_s is not None and now_s >= until_s:
                raise Unreachable(self.where, why)
            if not said and now_s - began_s >= _SAY_S:
                said = True
                _log.warning("nobody serves at %s yet (%s): waiting", self.where, why)
            time.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1

    def _outcome(self, reply: SocketMessage, name: str) -> object:
        if reply.type == MessageType.ERROR:
            raise CallError(f"{self.where}: {error_of(reply)}")
        try:
            value = unpack(reply, "value")
        except ValueError as error:
            raise CallError(f"{self.where} answers {name} with what is no value: {error}") from None
        if reply.status == RETURNED:
            return value
        if reply.status in (RAISED, REFUSED):
            raised = from_wire(value, name, self.where)
            if reply.status == RAISED and isinstance(raised, CallError):  # of a link that the function has
                raised = RemoteError(type(raised).__name__, str(raised))
            raise raised
        raise CallError(f"{self.where} answers {name} with `{reply.status}`")


def _read_until_done(connection: ClientConnection, request: _Request) -> bool:
    """Read until a request is done; return false if that lasts."""
    while request.outcome is None:
        if not connection.is_readable(_HANDOVER_S):
            return False
        connection.read()
    return True


def _begin(request: _Request, connection: ClientConnection, where: str) -> None:
    try:
        request.begin(connection, where)
    except (ProtocolError, CallError) as error:
        request.set(error)


def _left_s(until_s: float | None) -> float:
    """Return for how long to wait at once. Raises _DeadlineError when the deadline is over."""
    if until_s is None:
        return _SLICE_S
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise _DeadlineError
    return min(left_s, _SLICE_S)

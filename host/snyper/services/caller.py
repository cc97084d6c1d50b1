"""Calls to one server, from any number of threads: each once, over one connection after the other."""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from snyper.services.bell import SLICE_S, Bell
from snyper.services.client_connection import ClientConnection, DeadlineError, dial, left_s
from snyper.services.client_session import ClientSession, Request, is_answer
from snyper.services.client_stream import Items, RemoteStream
from snyper.services.context import until
from snyper.services.dialling import Dialling
from snyper.services.places import Place
from snyper.services.remote_exceptions import CallError, OutcomeUnknown, Refused, Unreachable
from snyper.services.sockets import wait_for_first
from snyper.services.wire import STREAMS, WATCH
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

TELL_S = 0.2  # that the watcher has to give a request up: a Ctrl-C ends within 0.5 s

Action = Callable[[ClientConnection], None]


class _Turn:
    """A thread's turn to have the connection, or its waiting for that.

    Ctrl-C may come anywhere. So a turn that `is_over` counts as none, whether its end was still told or not.
    """

    is_over = False
    came: Bell | None = None  # where it waits

    def act(self, connection: ClientConnection) -> None:
        """Do what it is for. Where the watcher has the connection it calls this instead."""
        raise NotImplementedError


class _Closing(_Turn):
    def act(self, connection: ClientConnection) -> None:
        connection.close()


class _Request(Request, _Turn):
    """A request of a thread, its turn, and what comes of it."""

    outcome: SocketMessage | Exception | None = None
    done: Bell | None = None  # for the thread, once another reads
    items: Items | None = None  # of a stream, which `outcome` has begun
    is_watch = False
    _connection: ClientConnection

    def begin(self, connection: ClientConnection) -> None:
        """Send it. Raises OutcomeUnknown where it was sent to another run of the server; ProtocolError."""
        self.send_to(connection.instance, connection.is_known, connection.where)
        self._connection = connection
        connection.begin(self.id, self.pieces, _Request.set, self)

    def act(self, connection: ClientConnection) -> None:
        """Send it, or have what hinders that come of it."""
        if connection.is_closed:
            self.set(ProtocolError(ErrorCode.DISCONNECTED, "the connection has ended"))
            return
        try:
            self.begin(connection)
        except (ProtocolError, CallError) as error:
            self.set(error)

    def set(self, outcome: SocketMessage | Exception) -> None:
        """Take what comes of it."""
        if self.items is not None:
            self.items.put(outcome)
            return
        if isinstance(outcome, SocketMessage) and outcome.type == MessageType.ITEM:
            if outcome.status != STREAMS:
                self.take_progress(outcome)
                return
            self.items = Items(self._say_taken if self.is_watch else None)
        self.outcome = outcome
        if self.done is not None:
            self.done.ring()

    def _say_taken(self) -> None:
        self._connection.tell(SocketMessage(MessageType.ITEM, self.id))


class Caller:
    """Makes calls to one server. Any thread may use it.

    Each call has a number. A connection that breaks is made anew, and the call is sent again under its
    number: the server carries it out once, and answers again.

    One thread has the connection at a time: the one that calls, and reads its own reply. When that lasts, the
    watcher has it instead, a thread that reads for all, and ends when nobody waits any more.
    """

    _owner: _Turn | None  # whose the connection is

    def __init__(self, place: Place, secret: str | None, timeout_s: float | None) -> None:
        self.where = place.where
        self._place = place
        self._secret = secret
        self._timeout_s = timeout_s
        self._connection: ClientConnection | None = None
        self._begin_session()

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Have the server call what it serves as `name`, and return what that returns; raise what it raises.

        Raises TypeError, ValueError for an argument that does not travel; CallError.
        """
        self._check_process()
        session = self.session
        seq, pieces, shown = session.call(name, args, kwargs)
        request = _Request(seq, pieces, shown)
        try:
            reply = self._ask(request)
        finally:
            session.end(seq)
        if request.items is not None:
            return self._stream(request.items, seq, shown)
        return session.result(reply, shown)

    def ask(self, message_type: str, **data: object) -> Any:
        """Ask the server what needs no function. Raises CallError."""
        self._check_process()
        request = _Request(*self.session.ask(message_type, data))
        return self.session.result(self._ask(request), request.name)

    def close(self) -> None:
        """Hang up. The next call connects anew; one that is under way does so at once."""
        self._check_process()
        if self._connection is None:  # whoever dials may do so for long
            return
        turn = _Closing()
        try:
            if self._take_turn(turn, None):
                self._drop()
        finally:
            if self._owner is turn:  # which nobody else changes before it is over
                self._owner = None
            turn.is_over = True
            if self._waiting:
                self._pass_on()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    # ---

    def _stream(self, items: Items, seq: int, name: str) -> RemoteStream:
        session = self.session

        def tell(count: int) -> None:
            message = SocketMessage(MessageType.ITEM, seq, data={"taken": count})
            self._have_watcher(session, lambda connection: connection.tell(message))

        def give_up() -> None:
            self._have_watcher(session, lambda connection: connection.give_up(seq))

        return RemoteStream(items, name, session, self._timeout_s, tell, give_up)

    def watch(self, data: dict[str, object], name: str) -> tuple[Items, Callable[[], None]]:
        """Have the server tell values from now on; return them as they come, and what gives that up.

        Raises CallError.
        """
        self._check_process()
        session = self.session
        request = _Request(*session.ask(WATCH, data))
        request.is_watch = True
        reply = self._ask(request)
        if request.items is None:
            session.result(reply, name)
            raise CallError(f"{self.where} watches nothing")

        def give_up() -> None:
            self._have_watcher(session, lambda connection: connection.give_up(request.id))

        return request.items, give_up

    def _have_watcher(self, session: ClientSession, action: Action) -> bool:
        """Have the watcher call `action`, and return whether it is there: it has a stream until that ends."""
        self._check_process()
        with self._lock:
            if self._is_watched and self.session is session:
                self._post(action)
                return True
        return False

    def _give_up(self, request: _Request) -> None:
        """Have the watcher tell the server that nobody waits for a request. Wait for that: the program may
        end right after it.
        """
        told = Bell()

        def tell(connection: ClientConnection) -> None:
            connection.give_up(request.id)
            told.ring()

        if self._have_watcher(self.session, tell):
            told.wait(TELL_S)

    def _begin_session(self) -> None:
        self.session = ClientSession(self.where)
        self._lock = threading.RLock()  # who lets go of a stream may do so in the midst of it
        self._owner = None
        self._waiting: deque[_Turn] = deque()
        self._is_watched = False
        self._posted: list[Action] = []  # for the watcher, with the connection
        self._wake: tuple[socket.socket, socket.socket] | None = None

    def _check_process(self) -> None:
        if self.session.is_inherited:  # the connection is the parent's
            self._connection = None
            self._begin_session()

    def _ask(self, request: _Request) -> SocketMessage:
        until_s = until(self._timeout_s)
        while True:
            try:
                outcome = self._exchange(request, until_s)
            except DeadlineError:
                if request.done is None and not request.sent_to:
                    if self._connection is None:
                        raise Unreachable(self.where, "another call waits for it") from None
                    why = "other calls of this client had the connection"
                    raise Unreachable(self.where, why, is_connected=True) from None
                raise OutcomeUnknown(request.name, "it has not ended at its deadline") from None
            except (Unreachable, Refused) as error:
                raise request.unreached(error) from None
            except ProtocolError as error:
                outcome = error
            if isinstance(outcome, SocketMessage) or is_answer(outcome):
                return outcome

    def _exchange(self, request: _Request, until_s: float | None) -> SocketMessage | Exception:
        """Send a request and return what comes of it. Raises ProtocolError, CallError, DeadlineError."""
        request.done = request.outcome = None
        request.is_over = False
        try:
            if self._take_turn(request, until_s):
                connection = self._connection
                if connection is None or not connection.is_usable(until_s):
                    connection = self._connect(until_s)
                request.begin(connection)
                is_done = connection.read_soon()
                ends_s = 0.0  # where what comes is not the answer
                while request.outcome is None and is_done:
                    ends_s = ends_s or time.monotonic() + SLICE_S
                    is_done = time.monotonic() < ends_s and connection.read_soon()
                if not is_done or (request.items is not None and connection.has_pending):
                    self._hand_over(connection)
            if request.outcome is None:
                request.done = Bell()
                while request.outcome is None:
                    request.done.wait(_slice_s(until_s))
            return request.outcome
        except CallError:
            raise
        except BaseException as error:
            if self._owner is request:
                if not isinstance(error, ProtocolError) and self._connection is not None:
                    self._connection.until_s = 0.0
                    self._connection.give_up(request.id)
                self._drop()  # of what came a part may be lost
            else:
                self._give_up(request)
            raise
        finally:
            if self._owner is request:  # which nobody else changes before it is over
                self._owner = None
            request.is_over = True
            if self._waiting:
                self._pass_on()

    def _take_turn(self, turn: _Turn, until_s: float | None) -> bool:
        """Take the connection for this thread; return false if the watcher has it, and does what it is for.

        Raises DeadlineError.
        """
        while True:
            with self._lock:
                if self._owner is turn:
                    return True
                if self._owner is None or self._owner.is_over:
                    self._owner = None
                    if self._is_watched:
                        self._post(turn.act)
                        return False
                    self._owner = turn
                    return True
                came = turn.came = turn.came or Bell()
                if turn not in self._waiting:
                    self._waiting.append(turn)
                    if self._owner is None:  # whose turn has ended since may not have seen that this waits
                        continue
            came.wait(_slice_s(until_s))

    def _pass_on(self) -> None:
        """Give the connection to who has waited longest, if anybody does, unless somebody has it."""
        with self._lock:
            while self._waiting and self._owner is None and not self._is_watched:
                following = self._waiting.popleft()
                if not following.is_over and following.came is not None:
                    self._owner = following
                    following.came.ring()

    # --- the watcher

    def _hand_over(self, connection: ClientConnection) -> None:
        connection.until_s = None
        with self._lock:
            self._wake = wake = socket.socketpair()
            for sock in wake:
                sock.setblocking(False)
            watcher = threading.Thread(target=self._watch, args=(connection, wake), name="snyper watcher")
            watcher.daemon = True
            watcher.start()  # which waits for the lock
            self._is_watched = True
            self._owner = None
            while self._waiting:
                came = self._waiting.popleft().came
                if came is not None:
                    came.ring()

    def _post(self, action: Action) -> None:
        """Have the watcher call `action` with the connection. Called with the lock held."""
        assert self._wake is not None
        self._posted.append(action)
        with contextlib.suppress(BlockingIOError):
            self._wake[1].send(b"\0")

    def _watch(self, connection: ClientConnection, wake: tuple[socket.socket, socket.socket]) -> None:
        fileno = connection.fileno()
        with self._lock:
            if self._wake is not wake or not self._is_watched:  # who hands over was interrupted
                return
        while True:
            with self._lock:
                posted, self._posted = self._posted, []
                if not posted and not connection.has_pending:
                    self._is_watched = False
                    self._wake = None
                    for sock in wake:
                        sock.close()
                    return
            for action in posted:
                action(connection)
            if not connection.has_pending:
                continue
            if connection.is_readable(0.0) or wait_for_first(fileno, wake[0].fileno()):
                connection.read()
            with contextlib.suppress(BlockingIOError):
                wake[0].recv(4_096)

    # --- connections

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, until_s: float | None) -> ClientConnection:
        self._drop()
        self._connection = connection = self._dial(until_s)
        connection.until_s = until_s
        return connection

    def _dial(self, until_s: float | None) -> ClientConnection:
        dialling = Dialling(self.where, until_s)
        time.sleep(dialling.delay_s(self.session.unanswered))
        self.session.unanswered += 1
        while True:
            try:
                return dial(self._place, self.session.id, self._secret, dialling.timeout_s())
            except (OSError, ProtocolError) as error:
                time.sleep(dialling.pause_s(error))


def _slice_s(until_s: float | None) -> float:
    """Return for how long to wait at once. Raises DeadlineError when the deadline is over."""
    return min(left_s(until_s) or SLICE_S, SLICE_S)

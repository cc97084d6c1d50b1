"""A client of a server of functions and objects: `Client`, which blocks."""

import contextlib
import getpass
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NoReturn

from snyper.services.connection import Core
from snyper.services.context import chain, until
from snyper.services.handshake import ClientHandshake
from snyper.services.mirror import mirror
from snyper.services.remote_exceptions import (
    CallError,
    OutcomeUnknown,
    Refused,
    RemoteError,
    Unreachable,
    from_wire,
)
from snyper.services.sockets import keep_alive
from snyper.services.wire import (
    CALL,
    CANCEL,
    DESCRIBE,
    PORT,
    RAISED,
    REFUSED,
    RETURNED,
    RUNNING,
    Pieces,
    pack,
    unpack,
)
from snyper.shared.address import format_address
from snyper.shared.clock import now_us
from snyper.shared.link_core import error_of
from snyper.shared.seal import SEAL_BYTES
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, MessageType, ProtocolError, SocketMessage

_log = logging.getLogger("snyper")
_DIAL_S = 3.0  # that a server may take to answer, before it is dialled anew
_RETRY_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
_SAY_S = 2.0  # after which a caller that waits for a server is told so
_IDLE_S = 5.0  # after which a connection is tried before it is used
_ALIVE_S = 2.0  # for the answer to that
_PIECE_BYTES = 1 << 14  # more goes straight to where it belongs
_SLICE_S = 0.3  # Windows ends no wait for Ctrl-C


class DeadlineError(Exception):
    """The deadline of a call is over."""


class Wire:
    """One connection of a client to its server, let in. Used by one thread at a time."""

    def __init__(self, sock: Any, handshake: ClientHandshake, rest: bytes) -> None:
        self.instance = handshake.instance
        self.is_known = handshake.is_known
        self.used_s = time.monotonic()
        self._sock = sock
        self._tail: Pieces = ()
        self._is_sending = False
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(sock, select.POLLIN)
        self._core = Core({}, "server", self._write)
        self._receive(rest)

    def exchange(self, id: str | int, pieces: Pieces, until_s: float | None) -> SocketMessage:
        """Send a request and return the reply. Raises ProtocolError, also when the connection breaks;
        DeadlineError.
        """
        replies: list[SocketMessage | ProtocolError] = []
        self._tail = pieces[1:]
        if until_s is not None:
            self._set_timeout(until_s)
        try:
            self._core.start_request(id, bytes(pieces[0]), _append, replies)
            while not replies:
                if until_s is not None:
                    self._set_timeout(until_s)
                self._read()
        finally:
            if until_s is not None:
                self._sock.settimeout(None)
        self.used_s = time.monotonic()
        if isinstance(replies[0], ProtocolError):
            raise replies[0]
        return replies[0]

    def has_ended(self) -> bool:
        """Tell whether the server has hung up while nobody asked it anything."""
        if self._core.close_error is not None:
            return True
        if not self._is_readable():
            return False
        self._sock.setblocking(False)
        try:
            data = self._sock.recv(_PIECE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self._sock.setblocking(True)
        if data:
            self._receive(data)
        return not data or self._core.close_error is not None

    def give_up(self, id: str | int) -> None:
        """Tell the server, as far as that can be told at once, that nobody waits for a call any more."""
        if isinstance(id, int) and not self._is_sending:
            line = SocketMessage(CANCEL, "cancel", data={"call": id}).to_line()
            with contextlib.suppress(OSError):
                self._sock.setblocking(False)
                self._sock.send(line)

    def is_alive(self) -> bool:
        """Ask the server for a sign of life, and tell whether one comes in time."""
        line = SocketMessage(MessageType.PING, "alive").to_line()
        try:
            self.exchange("alive", (line,), time.monotonic() + _ALIVE_S)
        except (ProtocolError, DeadlineError):
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _is_readable(self) -> bool:
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return bool(select.select((self._sock,), (), (), 0)[0])

    def _receive(self, data: Any) -> None:
        for _ in self._core.receive_data(data, now_us()):
            pass  # a server asks nothing

    def _read(self) -> None:
        parser = self._core._parser
        try:
            if parser.buffer is None:
                data: Any = self._sock.recv(_PIECE_BYTES)
                size = len(data)
            else:
                size = self._sock.recv_into(parser.buffer)
                data = parser.buffer[:size]
        except OSError as error:
            self._on_broken(error)
        if size:
            self._receive(data)
        else:
            self._core.end()

    def _on_broken(self, error: OSError) -> NoReturn:
        """Raise what an error of the socket means."""
        if isinstance(error, TimeoutError) and self._sock.gettimeout() is not None and not error.errno:
            raise DeadlineError from None
        raise ProtocolError(ErrorCode.DISCONNECTED, f"the connection broke: {error}") from None

    def _write(self, line: bytes) -> None:
        self._is_sending = True
        try:
            if self._tail and hasattr(self._sock, "sendmsg") and not isinstance(self._sock, ssl.SSLSocket):
                _send_all(self._sock, (line, *self._tail))
            else:
                for piece in (line, *self._tail):
                    self._sock.sendall(piece)
        except OSError as error:
            self._on_broken(error)
        finally:
            self._tail = ()
        self._is_sending = False

    def _set_timeout(self, until_s: float) -> None:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise DeadlineError
        self._sock.settimeout(left_s)


def _append(replies: list[Any], reply: Any) -> None:
    replies.append(reply)


def _send_all(sock: socket.socket, pieces: Pieces) -> None:
    views = [memoryview(piece) for piece in pieces]
    while views:
        sent = sock.sendmsg(views[:64])
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if views and sent:
            views[0] = views[0][sent:]


class Caller:
    """Makes calls to one server, over one connection after the other. Any thread may use it, one at a time.

    Each call has a number. A connection that breaks is made anew, and the call is sent again under its
    number: the server carries it out once, and answers again.
    """

    def __init__(self, address: str, port: int, secret: str | None, timeout_s: float | None) -> None:
        self.where = format_address(address, port)
        self._address = (address, port)
        self._secret = secret
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._wire: Wire | None = None
        self._begin_session()

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Have the server call what it serves as `name`, and return what that returns; raise what it raises.

        Raises TypeError, ValueError for an argument that does not travel; CallError.
        """
        with self._lock:
            self._check_process()
            self._seq += 1
            data: dict[str, object] = {"name": name, "seen": self._seq - 1}
            within = chain()
            if within:
                data["chain"] = list(within)
            pieces = pack(CALL, self._seq, None, data, "arguments", [list(args), kwargs])
            reply = self._ask(self._seq, pieces, name)
        return self._outcome(reply, name)

    def ask(self, message_type: str, **data: object) -> Any:
        """Ask the server what needs no function. Raises CallError."""
        with self._lock:
            self._check_process()
            reply = self._ask(
                message_type, (SocketMessage(message_type, message_type, data=data).to_line(),), message_type
            )
        return self._outcome(reply, message_type)

    def close(self) -> None:
        """Hang up. The next call connects anew."""
        with self._lock:
            if self._wire is not None:
                self._wire.close()
                self._wire = None

    def __del__(self) -> None:
        wire = getattr(self, "_wire", None)
        if wire is not None:
            wire.close()

    # ---

    def _begin_session(self) -> None:
        self._pid = os.getpid()
        self._session = os.urandom(16).hex()
        self._seq = 0

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # a fork: the connection is the parent's
            self._wire = None
            self._begin_session()

    def _ask(self, id: Any, pieces: Pieces, name: str) -> SocketMessage:
        until_s = until(self._timeout_s)
        sent_to = ""
        while True:
            wire = self._connected(until_s)
            if sent_to and (wire.instance != sent_to or not wire.is_known):
                raise OutcomeUnknown(f"{name}()", f"{self.where} was started anew meanwhile")
            sent_to = wire.instance if isinstance(id, int) else ""
            try:
                return wire.exchange(id, pieces, until_s)
            except ProtocolError as error:
                self.close()
                if error.code != ErrorCode.DISCONNECTED:
                    raise CallError(str(error)) from None
            except DeadlineError:
                wire.give_up(id)
                self.close()
                raise OutcomeUnknown(f"{name}()", "it has not ended at its deadline") from None
            except BaseException:
                wire.give_up(id)
                self.close()  # of what came a part may be lost
                raise

    def _outcome(self, reply: SocketMessage, name: str) -> object:
        if reply.type == MessageType.ERROR:
            raise CallError(f"{self.where}: {error_of(reply)}")
        try:
            value = unpack(reply, "value")
        except ValueError as error:
            raise CallError(f"{self.where} answers {name}() with what is no value: {error}") from None
        if reply.status == RETURNED:
            return value
        if reply.status in (RAISED, REFUSED):
            raised = from_wire(value, f"{name}()", self.where)
            if reply.status == RAISED and isinstance(raised, CallError):  # of a link that the function has
                raised = RemoteError(type(raised).__name__, str(raised))
            raise raised
        raise CallError(f"{self.where} answers {name}() with `{reply.status}`")

    def _connected(self, until_s: float | None) -> Wire:
        wire = self._wire
        if wire is not None:
            if not wire.has_ended() and (time.monotonic() - wire.used_s < _IDLE_S or wire.is_alive()):
                return wire
            self.close()
        self._wire = wire = self._dial(until_s)
        return wire

    def _dial(self, until_s: float | None) -> Wire:
        began_s = time.monotonic()
        said = False
        tries = 0
        while True:
            try:
                return self._dial_once(until_s)
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

    def _dial_once(self, until_s: float | None) -> Wire:
        timeout_s = _DIAL_S
        if until_s is not None:
            timeout_s = max(0.001, min(timeout_s, until_s - time.monotonic()))
        sock: Any = socket.create_connection(self._address, timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            binding = b""
            if self._secret is not None:
                sock = _client_tls().wrap_socket(sock)
                binding = sha256(sock.getpeercert(binary_form=True) or b"").digest()
            handshake = ClientHandshake(self._session, _who(), self._secret, binding)
            rest = _shake_hands(sock, handshake)
            sock.settimeout(None)
            return Wire(sock, handshake, rest)
        except ssl.SSLError as error:
            sock.close()
            if error.reason == "WRONG_VERSION_NUMBER":
                why = "it speaks no TLS: it has no secret, or is no server of calls"
                raise ProtocolError(ErrorCode.UNAUTHORIZED, why) from None
            raise ProtocolError(ErrorCode.DISCONNECTED, f"TLS failed: {error.reason}") from None
        except BaseException:
            sock.close()
            raise


def _shake_hands(sock: Any, handshake: ClientHandshake) -> bytes:
    """Be let in; return the bytes that came behind that."""
    sock.sendall(handshake.begin())
    received = b""
    while True:
        line, end, rest = received.partition(b"\n")
        if end:
            received = rest
            answer = handshake.receive_line(line + end)
            if answer is None:
                return rest
            sock.sendall(answer)
            continue
        if len(received) > MAX_LINE_BYTES + SEAL_BYTES:
            raise ProtocolError(ErrorCode.LINE_TOO_LONG, "it answers with a line that never ends")
        data = sock.recv(_PIECE_BYTES)
        if not data:
            raise ProtocolError(ErrorCode.DISCONNECTED, "it hung up")
        received += data


def _client_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No authority and no name: the proof of the secret is bound to whatever certificate is shown.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _who() -> str:
    """Return who calls, for people."""
    user = ""
    with contextlib.suppress(Exception):  # a user without a name: what it raises depends on the system
        user = getpass.getuser() + "@"
    return (user + socket.gethostname())[:64]


class Client:
    """Calls functions and objects of another machine as if they were here.

    `classes` are those whose methods and properties the client shows, each alone or with the prefix that the
    server gave its instance. Connects with the first call, and again whenever it has to: a call waits for a
    server that is not there yet. `timeout` in seconds limits each call; without it none is limited.
    """

    _snyper: Caller

    def __new__(cls, *classes: Any, **options: Any) -> "Client":
        return object.__new__(mirror(cls, classes) if classes else cls)

    def __init__(
        self,
        *classes: Any,
        address: str = "localhost",
        port: int = PORT,
        secret: str | None = None,
        timeout: float | None = None,
    ) -> None:
        object.__setattr__(self, "_snyper", Caller(address, port, secret, timeout))

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the server serves as `command`; return what it returns, raise what it raises."""
        return self._snyper.call(command, args, kwargs)

    def help(self, command: str | None = None) -> None:
        """Show what the server serves, or what one command is documented as."""
        import pydoc

        pydoc.pager(str(self._snyper.ask(DESCRIBE, help=command)) + "\n")

    def close(self) -> None:
        """Hang up. The next call connects again."""
        self._snyper.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # never on the wire: IPython and copy look for many
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def command(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

        command.__name__ = command.__qualname__ = name
        return command

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def running(client: Client) -> list[dict[str, Any]]:
    """Return the calls that run or wait at the server of a client, at once whatever it does.

    Of each: `name`; `who` called; `state`, running or waiting; `seconds` that it runs; `cancelled`, whether
    its caller has given it up. Raises CallError.
    """
    found: list[dict[str, Any]] = client._snyper.ask(RUNNING)
    return found

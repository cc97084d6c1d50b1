"""A client's connection to its server: dialled, let in, and from then on used by one thread at a time."""

import contextlib
import functools
import getpass
import socket
import ssl
import sys
import time
from hashlib import sha256
from struct import pack
from typing import Any

from snyper.services.client_session import cancelling
from snyper.services.core import Core
from snyper.services.dialling import ALIVE_S, IDLE_S
from snyper.services.handshake import ClientHandshake
from snyper.services.places import Place
from snyper.services.sockets import PIECE_BYTES, readiness, wait_for_either
from snyper.services.wire import Pieces, read_usual_reply
from snyper.shared.clock import now_us
from snyper.shared.link_core import CloseReason
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

# Where a system call can wait for so long: elsewhere it is of another form.
_RECEIVE_TIMEOUT = getattr(socket, "SO_RCVTIMEO", None) if sys.platform != "win32" else None
_IDLE_US = round(IDLE_S * 1_000_000)
SOON_S = 0.02  # in which most answers come: who waits longer leaves the connection to the watcher
MAX_LATER = 1_000  # lines that wait until what has come is read
_MAX_PIECES = 64  # that one system call takes, on any system


class DeadlineError(Exception):
    """The deadline of a call is over."""


class ClientConnection:
    """A connection on which a client is let in. `instance` names the run of the server, `is_known` tells
    whether it remembers the session. Until `until_s` by `time.monotonic`, or for ever, it waits for the
    server to take what is sent.
    """

    until_s: float | None = None

    def __init__(self, sock: Any, where: str, handshake: ClientHandshake, rest: bytes) -> None:
        self.where = where
        self.instance = handshake.instance
        self.is_known = handshake.is_known
        self._sock = sock
        self._is_sending = False
        self._is_receiving = False
        self._later: list[bytes] = []  # lines for when what has come is read
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._is_limited = not self._is_tls and _RECEIVE_TIMEOUT is not None  # each system call that receives
        if self._is_limited:
            sock.setsockopt(socket.SOL_SOCKET, _RECEIVE_TIMEOUT, pack("ll", 0, round(SOON_S * 1e6)))
        self._is_ready = readiness(sock)
        self._core = Core({}, "server", self._write, read_usual_reply)
        self._core.on_stream = self._on_item
        if rest:
            self._receive(rest, now_us())

    @property
    def is_closed(self) -> bool:
        """Tell whether it has ended, as far as that is known."""
        return self._core.close_error is not None

    @property
    def has_pending(self) -> bool:
        """Tell whether a reply is waited for."""
        return bool(self._core._pending)

    def fileno(self) -> int:
        """Return the socket's, for `select`."""
        return int(self._sock.fileno())

    def begin(self, id: str | int, pieces: Pieces, on_reply: Any, token: object) -> None:
        """Send a request. `on_reply(token, reply)` is called with each item that comes, and once with the
        reply, or with a ProtocolError when the connection ends. Raises ProtocolError where it has ended,
        DeadlineError.
        """
        self._send_now(pieces)
        if self._later:
            self._send_later()
        self._core._pending[id] = on_reply, token

    def is_readable(self, wait_s: float) -> bool:
        """Tell whether something can be read, now or within that time."""
        return bool(self._is_ready(wait_s * 1000))

    def read_soon(self) -> bool:
        """Read what comes within SOON_S, by one system call where there is one for that; return whether
        something did.
        """
        if self._is_limited:
            return self.read()
        if not self._is_ready(SOON_S * 1000):
            return False
        self.read()
        return True

    def read(self) -> bool:
        """Read what there is; return whether there was something. What it answers is told to who asked."""
        buffer = self._core._parser.buffer
        try:
            if buffer is None or len(buffer) < PIECE_BYTES:
                data: Any = self._sock.recv(PIECE_BYTES)
            else:
                data = buffer[: self._sock.recv_into(buffer)]
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            self._core.end(_broken(error), CloseReason.BROKEN)
            return True
        if not data:
            self._core.end()
            return True
        received_us = now_us()
        reply = self._core.receive_usual(data, received_us)
        if reply is None:
            self._receive(data, received_us)
        else:
            self._core.take_reply(reply)
        return True

    def is_usable(self, until_s: float | None) -> bool:
        """Tell whether the server is there: it has not hung up while nobody asked it anything, and where
        nothing has come for long it answers. What is sent from now on has until then to be taken.
        """
        self.until_s = until_s
        core = self._core
        if core.close_error is None and self._is_ready(0) and not self._read_unasked():
            return False
        if core.close_error is not None:
            return False
        return now_us() - core.received_us < _IDLE_US or self._is_alive()

    def give_up(self, id: str | int) -> None:
        """Tell the server, as far as that can be told at once, that nobody waits for a call any more."""
        self._core.cancel_request(id)
        if not self._is_sending and self._core.close_error is None:
            with contextlib.suppress(ProtocolError, DeadlineError):
                self._core.send_line_nowait(cancelling(id))

    def tell(self, message: SocketMessage) -> None:
        """Send what nobody answers. The thread that reads may do so for what it reads."""
        if (self._is_receiving or not self._is_sending) and self._core.close_error is None:
            with contextlib.suppress(ProtocolError):
                self._core.send_nowait(message)

    def close(self) -> None:
        """Hang up."""
        self._core.end(ProtocolError(ErrorCode.DISCONNECTED, "closed here"), CloseReason.STOPPING)
        self._sock.close()

    # ---

    def _read_unasked(self) -> bool:
        """Read what has come while nobody asked; return whether it has an end."""
        ends_s = time.monotonic() + ALIVE_S
        while self._core.close_error is None and self._is_ready(0):
            if time.monotonic() > ends_s:
                return False
            self._sock.setblocking(False)
            try:
                if not self.read():
                    break  # TLS's own
            finally:
                self._sock.setblocking(True)
        return True

    def _is_alive(self) -> bool:
        """Ask the server for a sign of life, and tell whether one comes in time."""
        replies: list[Any] = []
        line = SocketMessage(MessageType.PING, "alive").to_line()
        ends_s = time.monotonic() + ALIVE_S
        try:
            self.begin("alive", (line,), list.append, replies)
            while not replies:
                if not self.is_readable(max(0.0, ends_s - time.monotonic())) or time.monotonic() > ends_s:
                    return False
                self.read()
        except ProtocolError:
            return False
        return isinstance(replies[0], SocketMessage)

    def _receive(self, data: Any, received_us: int) -> None:
        self._is_receiving = True
        try:
            for _ in self._core.receive_other(data, received_us):
                pass  # a server asks nothing
        except ProtocolError as error:
            self._core.end(error, CloseReason.BROKEN)
        finally:
            self._is_receiving = False
        if self._later:
            self._send_later()

    def _send_later(self) -> None:
        with contextlib.suppress(ProtocolError):
            while self._later and not self._is_sending and self._core.close_error is None:
                self._send_now((self._later.pop(0),))

    def _on_item(self, message: SocketMessage) -> None:
        pending = None if message.id is None else self._core._pending.get(message.id)
        if pending is not None:
            on_reply, token = pending
            on_reply(token, message)

    def _write(self, line: bytes) -> None:
        if self._is_receiving:
            if len(self._later) >= MAX_LATER:
                raise ProtocolError(ErrorCode.DISCONNECTED, "it asks without end, and does not read")
            self._later.append(line)
        else:
            self._send_now((line,))
            if self._later:
                self._send_later()

    def _send_now(self, pieces: Pieces) -> None:
        self._is_sending = True
        try:
            if self._core._pending or self.until_s is not None:
                self._send_and_read(pieces)
            elif len(pieces) > 1 and not self._is_tls and hasattr(self._sock, "sendmsg"):
                _send_all(self._sock, pieces)
            else:
                for piece in pieces:
                    sent = self._sock.send(piece)  # of TLS far shorter than its `sendall`
                    if sent < len(piece):
                        self._sock.sendall(memoryview(piece)[sent:])
        except OSError as error:
            self._core.end(_broken(error), CloseReason.BROKEN)
            raise _broken(error) from None
        self._is_sending = False

    def _send_and_read(self, pieces: Pieces) -> None:
        """Send while answers to others may come: the server takes nothing while nobody reads those."""
        views = [memoryview(piece) for piece in pieces]
        self._sock.setblocking(False)
        try:
            while views and self._core.close_error is None:
                try:
                    sent = self._sock.send(views[0])
                    views[0] = views[0][sent:]
                    if not views[0]:
                        del views[0]
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    if wait_for_either(self._sock, left_s(self.until_s)):
                        self.read()
        finally:
            self._sock.setblocking(True)
        if self._core.close_error is not None:
            raise ProtocolError(ErrorCode.DISCONNECTED, "the connection has ended")


def left_s(until_s: float | None) -> float | None:
    """Return how long it is until then, None for ever. Raises DeadlineError when it is over."""
    if until_s is None:
        return None
    wait_s = until_s - time.monotonic()
    if wait_s <= 0:
        raise DeadlineError
    return wait_s


def _broken(error: OSError) -> ProtocolError:
    return ProtocolError(ErrorCode.DISCONNECTED, f"the connection broke: {error}")


def _send_all(sock: socket.socket, pieces: Pieces) -> None:
    """Send all pieces without putting them together first."""
    views = [memoryview(piece) for piece in pieces]
    while views:
        sent = sock.sendmsg(views[:_MAX_PIECES])
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if views and sent:
            views[0] = views[0][sent:]


def dial(place: Place, session: str, secret: str | None, timeout_s: float) -> ClientConnection:
    """Connect and be let in, all within that time.

    Raises OSError; ProtocolError: `disconnected` where it may go better the next time, else why this client
    is not let in.
    """
    ends_s = time.monotonic() + timeout_s
    sock: Any = place.connect(timeout_s)
    try:
        _limit(sock, ends_s)
        binding = b""
        if secret is not None:
            sock = tls_context().wrap_socket(sock)
            binding = sha256(sock.getpeercert(binary_form=True) or b"").digest()
        handshake = ClientHandshake(session, who(), secret, binding)
        rest = _shake_hands(sock, handshake, ends_s)
        sock.settimeout(None)
        return ClientConnection(sock, place.where, handshake, rest)
    except ssl.SSLError as error:
        sock.close()
        raise tls_failure(error) from None
    except BaseException:
        sock.close()
        raise


def _shake_hands(sock: Any, handshake: ClientHandshake, ends_s: float) -> bytes:
    """Be let in until then; return the bytes that came behind that."""
    steps = handshake.steps()
    answer = next(steps)
    while True:
        sock.sendall(answer)
        _limit(sock, ends_s)
        try:
            answer = steps.send(sock.recv(PIECE_BYTES))
        except StopIteration as end:
            rest: bytes = end.value
            return rest


def _limit(sock: Any, ends_s: float) -> None:
    """Let the next step on a socket take until then. Raises TimeoutError."""
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("it says too slowly that it lets this client in")
    sock.settimeout(left_s)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what a client speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No authority and no name: the proof of the secret is bound to whatever certificate is shown.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_failure(error: ssl.SSLError) -> ProtocolError:
    """Return what the failure of TLS means for a client."""
    if error.reason == "WRONG_VERSION_NUMBER":
        why = "it speaks no TLS: it has no secret, or is no server of calls"
        return ProtocolError(ErrorCode.UNAUTHORIZED, why)
    return ProtocolError(ErrorCode.DISCONNECTED, f"TLS failed: {error.reason}")


def who() -> str:
    """Return who calls, for people."""
    user = ""
    with contextlib.suppress(Exception):  # a user without a name: what it raises depends on the system
        user = getpass.getuser() + "@"
    return (user + socket.gethostname())[:64]

"""One client's connection to a server of calls: bytes in and out of a socket that never blocks."""

import contextlib
import logging
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from snyper.services.carrying import NOTHING
from snyper.services.core import Core
from snyper.services.engine import Engine
from snyper.services.handshake import Introduction, ServerHandshake
from snyper.services.sockets import PIECE_BYTES
from snyper.services.wire import Buffer, Pieces
from snyper.shared.clock import now_us
from snyper.shared.seal import SEAL_BYTES
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, ProtocolError, SocketMessage

HANDSHAKE_S = 5.0  # that a client has
_LINGER_S = 1.0  # for it to read why it is not served
_FOLLOWING_BYTES = 1 << 18  # of that at once, before others get their turn
_SENDS = 8  # of what waits, before others get their turn
_TURN_S = 0.005  # of requests that came together, likewise
_CORK_S = 0.000_2  # a call that takes longer is the last whose answer waits for others
_log = logging.getLogger("snyper")
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_CLIENT_HELLO = 0x16  # the first byte of TLS, and of no line


class Connection:
    """A client that has dialled. Used by the thread that leads alone.

    `let_in(connection, introduction)` returns a core, its first answer and whether its session was known;
    `on_request(connection, message)` serves a message, and returns whether this thread leads still;
    `on_coming(size)` is called for bytes of what follows a line, `on_end(connection)` once.
    """

    core: Core | None = None
    session: Any = None
    proven = NOTHING

    def __init__(
        self,
        sock: Any,
        address: str,
        engine: Engine,
        tls: ssl.SSLContext | None,
        handshake: ServerHandshake,
        let_in: "Callable[[Connection, SocketMessage, Introduction], bytes]",
        on_request: "Callable[[Connection, SocketMessage], bool]",
        on_coming: "Callable[[int], None]",
        on_end: "Callable[[Connection], None]",
    ) -> None:
        self.opened_s = time.monotonic()
        self.address = address
        self._sock: Any = sock
        self.engine = engine
        self._tls = tls
        self._handshake = handshake
        self._let_in = let_in
        self._on_request = on_request
        self._on_coming = on_coming
        self._on_end = on_end
        self._begun = b""  # of a line of the handshake
        self._is_refused = False
        self._is_tls = tls is not None
        self._is_shaking = False  # TLS's own handshake is under way
        self._unsent: deque[Buffer] = deque()
        self._requests: deque[SocketMessage] = deque()
        self._is_corked = False  # answers wait for those to what came with them
        self._mask = _READ
        self.has_ended = False
        engine.selector.register(sock, self._mask, self._on_ready)

    @property
    def has_unsent(self) -> bool:
        """Whether the network has not taken all that was sent."""
        return bool(self._unsent)

    def on_taking(self, takes: bool) -> None:
        """Do nothing; for who is to know whether the client takes what it is sent."""

    def is_overdue(self, now_s: float) -> bool:
        """Tell whether it is time to hang up on a client that is not let in."""
        return self.core is None and now_s - self.opened_s > (_LINGER_S if self._is_refused else HANDSHAKE_S)

    def send(self, pieces: Pieces) -> None:
        """Send a line and what follows it: now, with the answers to what has come together, or when the
        client has read what is before it.
        """
        if not self.has_ended:
            self._unsent += pieces
            if not self._is_corked and self._mask == _READ:
                self._flush()

    def close(self) -> None:
        """Hang up."""
        if not self.has_ended:
            self.has_ended = True
            with contextlib.suppress(KeyError, ValueError):  # TLS has closed it, and it was in none
                self.engine.selector.unregister(self._sock)
            self._sock.close()
            if self.core is not None:
                self.core.end()
            self._unsent.clear()
            self._requests.clear()
            self._on_end(self)

    def refuse(self, error: ProtocolError) -> None:
        """Say why the client is not served, and hang up once it had time to read it: a socket that is closed
        with unread bytes in it takes back what was sent last.
        """
        self.send((error.to_message().to_line(),))
        self._is_refused = True
        self.opened_s = time.monotonic()
        if not self.has_ended and not self._is_tls:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def serve(self) -> bool:
        """Serve what has been read; return whether this thread leads still."""
        self.engine.rest = self._go_on
        requests = self._requests
        ends_s = 0.0
        while requests and self._mask == _READ:
            request = requests.popleft()
            if requests:
                self._is_corked = True
                began_s = time.monotonic()
                ends_s = ends_s or began_s + _TURN_S
            else:
                self._is_corked = False
            if not self._on_request(self, request):
                return False
            if self._is_corked:
                now_s = time.monotonic()
                if now_s - began_s > _CORK_S:
                    self._uncork()
                if now_s > ends_s and requests:
                    self.engine.post(self._go_on)
                    break
        if self._unsent:
            self._uncork()
        return True

    # ---

    def _on_ready(self, mask: int) -> None:
        try:
            if self._is_shaking:
                self._shake_hands()
            elif mask == _READ:
                if not self._requests:  # before which nothing more is read
                    self._read()
            else:
                if mask:
                    self._flush()
                self._uncork()
                if self.serve() and not self._requests and self._mask == _READ:
                    self._read()
        except (OSError, ProtocolError):
            self.close()
        except Exception:
            _log.exception("a connection of %s ends for a defect", self.address)
            self.close()

    def _go_on(self) -> None:
        """Serve what has been read and read on: others have had their turn, or the thread that did so is busy
        with the function of a call.
        """
        self._on_ready(0)

    def _read(self) -> None:
        if self._tls is not None:
            self._begin_tls(self._tls)
            return
        came = 0
        core = self.core
        while not self.has_ended:
            buffer = None if core is None else core._parser.buffer
            try:
                if buffer is None or len(buffer) < PIECE_BYTES:
                    data: Any = self._sock.recv(PIECE_BYTES)
                else:
                    data = buffer[: self._sock.recv_into(buffer[:_FOLLOWING_BYTES])]
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                self.close()
                return
            if self._is_refused:
                return
            size = len(data)
            came += size
            if core is None:
                data = self._introduce(bytes(data))
                core = self.core
            if core is not None and data:
                received_us = now_us()
                request = core.receive_usual(data, received_us)
                if request is not None:
                    self.engine.rest = self._go_on
                    if not self._on_request(self, request):
                        return
                elif not self._take(core, core.receive_other(data, received_us)):
                    return
            if buffer is not None:
                self._on_coming(size)
            if self._requests or not self._is_tls or buffer is None or came >= _FOLLOWING_BYTES:
                return

    def _take(self, core: Core, found: "Iterable[SocketMessage | None]") -> bool:
        """Serve requests as they come; return whether this thread leads still, and the connection lives."""
        self._requests.extend(request for request in found if request is not None)
        if core.close_error is not None:
            self.close()
            return False
        return self.serve()

    def _introduce(self, data: bytes) -> bytes:
        """Take bytes of the handshake; return those behind it."""
        self._begun += data
        while self.core is None and not self.has_ended:
            line, end, rest = self._begun.partition(b"\n")
            if len(line) > MAX_LINE_BYTES + SEAL_BYTES:
                self.refuse(ProtocolError(ErrorCode.LINE_TOO_LONG, "no line is so long"))
                return b""
            if not end:
                return b""
            self._begun = rest
            try:
                answer = self._handshake.receive_line(line + end, time.monotonic())
                if isinstance(answer, bytes):
                    self.send((answer,))
                    continue
                answer = self._let_in(self, *answer)
            except ProtocolError as error:
                self.refuse(error)
                return b""
            self.send((answer,))
        rest, self._begun = self._begun, b""
        return rest

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        try:
            first = self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        if first and first[0] != _CLIENT_HELLO:
            self._tls = None
            self._is_tls = False
            self.refuse(ProtocolError(ErrorCode.UNAUTHORIZED, "this server wants a secret, under TLS"))
            return
        if not first:
            self.close()
            return
        self._tls = None
        self.engine.selector.unregister(self._sock)
        self._sock = context.wrap_socket(
            self._sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        self.engine.selector.register(self._sock, self._mask, self._on_ready)
        self._is_shaking = True
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._wait_for(_READ)
        except ssl.SSLWantWriteError:
            self._wait_for(_WRITE)
        else:
            self._is_shaking = False
            self._wait_for(_READ)
            self._read()

    def _uncork(self) -> None:
        self._is_corked = False
        if self._unsent and self._mask == _READ and not self.has_ended:
            self._flush()

    def _flush(self) -> None:
        unsent, send = self._unsent, self._sock.send
        if len(unsent) > 1 and sum(map(len, unsent)) <= PIECE_BYTES:  # one packet costs less than many
            whole = b"".join(unsent)
            unsent.clear()
            unsent.append(whole)
        try:
            for _ in range(min(len(unsent), _SENDS)):
                piece = unsent[0]
                sent = send(piece)
                if sent == len(piece):
                    unsent.popleft()
                else:
                    unsent[0] = memoryview(piece)[sent:]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.close()
        # Who asks and does not read is not read either.
        mask = _WRITE if unsent else _READ
        if mask != self._mask:
            self._wait_for(mask)

    def _wait_for(self, mask: int) -> None:
        if mask != self._mask and not self.has_ended:
            self._mask = mask
            self.engine.selector.modify(self._sock, mask, self._on_ready)
            self.on_taking(mask == _READ)

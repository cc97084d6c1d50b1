"""The entrance of a server: its listeners, and the connections of those who have dialled."""

import logging
import os
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from operator import itemgetter

from snyper.device.addresses import network_of
from snyper.services.carrying import NOTHING, Proven
from snyper.services.connection import Connection
from snyper.services.engine import Engine
from snyper.services.handshake import Introduction, ServerHandshake, new_salt, stretch
from snyper.services.server_tls import make_tls
from snyper.services.sockets import configure_connection, listen
from snyper.services.wrong_secrets import WrongSecrets
from snyper.shared.keys import Key
from snyper.shared.socket_protocol import SocketMessage

_log = logging.getLogger("snyper")
# What `select` takes at once on Windows, but for the listeners, which come and go.
MAX_SELECTED = 512 - 8
_FULL_S = 0.2  # until the next client is looked for where there are no descriptors
MAX_STRANGERS = 64  # who have dialled and are not let in
MAX_COMING_BYTES = 1 << 31  # of what follows lines and is not whole yet, of all connections
LOOK_BYTES = 1 << 26  # of these, after which they are counted


class Entrance:
    """Takes those who dial, and hangs up on those who do not introduce themselves in time.

    `let_in`, `on_request` and `on_end` are a Connection's. For the thread that leads.
    """

    def __init__(
        self,
        secret: str | None,
        let_in: Callable[[Connection, SocketMessage, Introduction], bytes],
        on_request: Callable[[Connection, SocketMessage], bool],
        on_end: Callable[[Connection], None],
    ) -> None:
        self.instance = os.urandom(8).hex()  # this run of the server
        self.connections: set[Connection] = set()
        self._secret = secret
        self._let_in, self._on_request, self._on_end = let_in, on_request, on_end
        self._uncounted_bytes = 0  # that have come
        self._salt = new_salt()
        self._wrong = WrongSecrets()
        self._key: Key | None = None
        self._tls: ssl.SSLContext | None = None
        self._binding = b""

    def open(self, engine: Engine) -> None:
        """Be ready to take those who dial. Raises RuntimeError where a secret needs what is not installed."""
        self._engine = engine
        if self._secret is not None:
            self._key = stretch(self._secret, self._salt)
            self._tls, self._binding = make_tls()

    def listen(self, address: str, port: int) -> int:
        """Listen on an address, on all of this computer's where it is empty; return the port. Raises OSError
        that says where.
        """
        engine = self._engine
        listeners = listen(address, port)
        for listener in listeners:
            engine.selector.register(listener, selectors.EVENT_READ, self._acceptor(listener))
        bound: int = listeners[0].getsockname()[1]
        return bound

    def take(self, sock: socket.socket, address: str, proven: Proven = NOTHING) -> None:
        """Take a socket on which somebody at `address` has dialled, or hang up where there is no room."""
        if self._is_full():
            sock.close()
            return
        try:
            sock.setblocking(False)
            configure_connection(sock)
        except OSError:  # it has gone
            sock.close()
            return
        self._make_room()
        handshake = ServerHandshake(self._key, self._salt, self._binding, self._wrong, network_of(address))
        connection = Connection(
            sock,
            address,
            self._engine,
            self._tls,
            handshake,
            self._let_in,
            self._on_request,
            self._on_coming,
            self._end,
        )
        connection.proven = proven
        self.connections.add(connection)

    def hang_up_on_late(self, now_s: float) -> None:
        """Hang up on those whose time to be let in is over. To be called each second."""
        for connection in list(self.connections):
            if connection.is_overdue(now_s):
                connection.close()

    # ---

    def _acceptor(self, listener: socket.socket) -> Callable[[int], None]:
        selector = self._engine.selector

        def accept(mask: int) -> None:
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:  # there are no descriptors
                wait(str(error.strerror))
                return
            self.take(sock, peer[0])
            if self._is_full():
                wait("this system waits for no more of them")

        def wait(why: str) -> None:
            """Let who dials wait until there is room for him again."""
            _log.error("the server takes no more clients for now: %s", why)
            selector.unregister(listener)
            self._engine.call_at(time.monotonic() + _FULL_S, listen_on)

        def listen_on() -> None:
            if self._is_full():
                self._engine.call_at(time.monotonic() + _FULL_S, listen_on)
            else:
                selector.register(listener, selectors.EVENT_READ, accept)

        return accept

    def _is_full(self) -> bool:
        selector = self._engine.selector
        return isinstance(selector, selectors.SelectSelector) and len(selector.get_map()) >= MAX_SELECTED

    def _make_room(self) -> None:
        strangers = [(network_of(one.address), one) for one in self.connections if one.core is None]
        if len(strangers) >= MAX_STRANGERS:
            counts = Counter(network for network, _ in strangers)
            most = max(counts.values())  # so that who dials without end keeps out nobody else
            of_those = [one for network, one in strangers if counts[network] == most]
            min(of_those, key=lambda one: one.opened_s).close()

    def _on_coming(self, size: int) -> None:
        """Hang up, where too much has come that is not whole, on those who have sent nothing for longest."""
        self._uncounted_bytes += size
        if self._uncounted_bytes < LOOK_BYTES:
            return
        self._uncounted_bytes = 0
        cores = [(one.core, one) for one in self.connections if one.core is not None]
        coming = [(core.received_us, core.coming_bytes, one) for core, one in cores]
        too_many = sum(size for _, size, _ in coming) - MAX_COMING_BYTES
        for _, size, connection in sorted(coming, key=itemgetter(0)):
            if too_many > 0 and size:
                _log.warning("cut off: %s has begun to send much, and stopped", connection.address)
                connection.close()
                too_many -= size

    def _end(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._on_end(connection)

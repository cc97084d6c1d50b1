"""A server of functions and objects: `Server`."""

import contextlib
import os
import shlex
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from snyper.client.addresses import is_loopback
from snyper.services.connection import Connection, Core
from snyper.services.desk import Desk, Job, Station
from snyper.services.engine import Engine
from snyper.services.handshake import SHORT_SECRET_CHARS, Introduction, ServerHandshake, new_salt, stretch
from snyper.services.remote_exceptions import CallError, to_wire
from snyper.services.surface import Member, Surface
from snyper.services.wire import CALL, DESCRIBE, PORT, RAISED, REFUSED, RETURNED, Pieces, pack, unpack, word
from snyper.shared.keys import Key
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from snyper.system.files import write_private

MAX_STRANGERS = 64  # who have dialled and are not let in
HANDSHAKE_S = 5.0
_BACKLOG = 128
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 13_000))


class Server:
    """Serves functions, and the methods and properties of instances, to clients that call them by name.

    An item is a function, an instance, or either with a name: of a function the one it is called by, of an
    instance a prefix. Without an `address` it listens on all of this computer's with a `secret`, and without
    one on loopback alone. With a secret all goes under TLS, and only who has it is let in.

    Calls to one instance are one at a time and in their order. A plain function has every instance to itself.
    Raises ValueError, TypeError for an item that cannot be served.
    """

    def __init__(
        self, *items: Any, address: str | None = None, port: int = PORT, secret: str | None = None
    ) -> None:
        if secret == "":
            raise ValueError("an empty secret keeps nobody out: give one, or leave it out")
        self._surface = Surface()
        self._stations: dict[int, Station] = {}
        self._functions = Station("the functions")
        self._desk = Desk()
        self._address = ("" if secret else "127.0.0.1") if address is None else address
        self.port = port
        self._secret = secret
        self._salt = new_salt()
        self._key: Key | None = None
        self._tls: ssl.SSLContext | None = None
        self._binding = b""
        self._instance = os.urandom(8).hex()
        self._engine: Engine | None = None
        self._listeners: list[socket.socket] = []
        self._connections: set[Connection] = set()
        self._handlers = dict.fromkeys((CALL, DESCRIBE), True)
        for item in items:
            self.register(*item) if isinstance(item, tuple) else self.register(item)

    def register(self, item: Any, name: str | None = None) -> None:
        """Serve one more item, from now on: `name` as with `Server(...)`. Raises ValueError, TypeError."""
        self._surface.add(item, name)

    def unregister(self, item: Any) -> None:
        """Serve an item no more, given as it was registered or by its name. Raises ValueError."""
        self._surface.remove(item)

    def run(self, threaded: bool = False) -> None:
        """Listen, print how clients reach it, and serve until Ctrl-C or `close`; with `threaded` return at
        once instead, and serve from threads.

        Raises OSError when the address cannot be used.
        """
        self._start()
        print(self._hint(), flush=True)
        if threaded:
            return
        assert self._engine is not None
        with contextlib.suppress(KeyboardInterrupt):
            while not self._engine.stopped.wait(_WAIT_S):
                pass
        self.close()

    def close(self) -> None:
        """Stop: no call is taken any more, and who waits for one learns of it."""
        if self._engine is not None:
            self._engine.stop()

    # --- start

    def _start(self) -> None:
        if self._engine is not None:
            raise RuntimeError("it runs already")
        if self._secret is not None:
            self._key = stretch(self._secret, self._salt)
            self._tls, self._binding = _make_tls()
        engine = Engine(self._on_tick)
        self._listeners = _listen(self._address, self.port)
        self.port = self._listeners[0].getsockname()[1]
        for listener in self._listeners:
            engine.selector.register(listener, 1, self._acceptor(listener))
        self._engine = engine
        engine.start()

    def _hint(self) -> str:
        where = self._address or "0.0.0.0"
        reached = where if where not in ("", "0.0.0.0", "::") else _own_address()
        options = [f"address={reached!r}"]
        if self.port != PORT:
            options.append(f"port={self.port}")
        if self._secret is not None:
            options.append("secret=...")
        calls, properties = self._surface.calls(), self._surface.properties()
        lines = [
            f"Address: {where}:{self.port} [{'TLS, with a secret' if self._secret else 'no secret'}]",
            f"Registered calls: {calls}",
            *([f"Registered properties: {properties}"] if properties else []),
            "Auxiliary calls: ['help', 'close']",
            "",
            ">>> from snyper import Client",
            f">>> c = Client({', '.join(options)})",
            *([f">>> c.help({calls[0]!r})", f">>> c.{calls[0]}(...)"] if calls else []),
            "",
        ]
        if self._secret is None and not is_loopback(where):
            lines.append(
                "No secret: whoever reaches this address may call all of it. Server(..., secret=...)"
            )
        if self._secret is not None and len(self._secret) < SHORT_SECRET_CHARS:
            lines.append("The secret is short: who plays this server to a client once can find it by trying.")
        return "\n".join(lines)

    # --- connections

    def _acceptor(self, listener: socket.socket) -> Callable[[int], None]:
        def accept(mask: int) -> None:
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_alive(sock)
                assert self._engine is not None
                self._make_room()
                handshake = ServerHandshake(self._key, self._salt, self._binding)
                connection = Connection(
                    sock, self._engine, self._tls, handshake, self._let_in, self._on_request, self._on_end
                )
                self._connections.add(connection)

        return accept

    def _make_room(self) -> None:
        strangers = [connection for connection in self._connections if connection.core is None]
        if len(strangers) >= MAX_STRANGERS:
            min(strangers, key=lambda stranger: stranger.opened_s).close()

    def _let_in(self, connection: Connection, message: SocketMessage, introduction: Introduction) -> bytes:
        before = self._desk.sessions.get(introduction.session)
        if before is not None and before.send is not None:
            for other in self._connections:
                if other.session is before and other is not connection:
                    other.close()
                    break
        who = f"{introduction.who} ({connection.address})"
        session, is_known = self._desk.open(introduction.session, who, connection.send)
        connection.session = session
        connection.core = Core(self._handlers, who, lambda line: connection.send((line,)))
        return connection._handshake.admit(message, self._instance, is_known)

    def _on_end(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection.session is not None and connection.session.send == connection.send:
            self._desk.close(connection.session)

    def _on_tick(self) -> None:
        now_s = time.monotonic()
        self._desk.expire(now_s)
        for connection in list(self._connections):
            if connection.core is None and now_s - connection.opened_s > HANDSHAKE_S:
                connection.refuse(ProtocolError(ErrorCode.NOT_REGISTERED, "the first message is `register`"))

    # --- calls

    def _on_request(self, connection: Connection, message: SocketMessage) -> bool:
        if message.type == CALL:
            return self._on_call(connection, message)
        assert message.id is not None
        data = message.data or {}
        try:
            found = self._surface.help_text(_name_in(data)) if "help" in data else self._surface.describe()
            connection.send(pack(MessageType.REPLY, message.id, RETURNED, {}, "value", found))
        except ProtocolError as error:
            connection.send((error.to_message(message.id).to_line(),))
        return True

    def _on_call(self, connection: Connection, message: SocketMessage) -> bool:
        session, seq = connection.session, message.id
        data = message.data or {}
        try:
            if type(seq) is not int:
                raise ProtocolError(ErrorCode.BAD_MESSAGE, "the id of a call is an integer that counts them")
            name = word(data, "name")
            seen = data.get("seen", 0)
            if type(seen) is not int:
                raise ProtocolError(ErrorCode.BAD_MESSAGE, "`seen` is an integer")
            self._desk.acknowledge(session, min(seen, seq - 1))
            known = self._desk.recall(session, seq, name)
            if known is True:
                return True
            if known is not False:
                connection.send(known)
                return True
            args, kwargs = _arguments(message)
            member = self._surface.find(name)
            job = Job(session, seq, member, args, kwargs, self._stations_of(member))
            if not self._desk.admit(job, time.monotonic()):
                return True
        except ProtocolError as error:
            connection.send((error.to_message(seq).to_line(),))
        except ValueError as error:
            wrong = ProtocolError(ErrorCode.BAD_MESSAGE, str(error)[:200])
            connection.send((wrong.to_message(seq).to_line(),))
        except CallError as error:
            connection.send(_refusal(seq, error))  # type: ignore[arg-type]
        else:
            return self._run(job)
        return True

    def _run(self, job: Job) -> bool:
        assert self._engine is not None
        return self._engine.run(lambda: _execute(job), lambda pieces: self._finish(job, pieces))

    def _finish(self, job: Job, pieces: Pieces) -> None:
        assert self._engine is not None
        for begun in self._desk.finish(job, pieces, time.monotonic()):
            self._engine.ready.append(lambda begun=begun: self._run(begun))  # type: ignore[misc]

    def _stations_of(self, member: Member) -> tuple[Station, ...]:
        if member.owner is not None:
            return (self._station(member.owner),)
        owners = self._surface.owners()
        return (self._functions, *(self._station(owner) for owner in owners))

    def _station(self, owner: object) -> Station:
        station = self._stations.get(id(owner))
        if station is None:
            station = self._stations[id(owner)] = Station(f"the {type(owner).__name__}")
        return station


_WAIT_S = 0.3  # Windows ends no wait for Ctrl-C


def _execute(job: Job) -> Pieces:
    try:
        value = job.member.invoke(*job.args, **job.kwargs)
        return pack(MessageType.REPLY, job.seq, RETURNED, {}, "value", value)
    except BaseException as error:  # whatever the function raises is the caller's to know
        return pack(MessageType.REPLY, job.seq, RAISED, {}, "value", to_wire(error))


def _arguments(message: SocketMessage) -> tuple[tuple[object, ...], dict[str, object]]:
    found = unpack(message, "arguments")
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("`arguments` is a list and an object")
    args, kwargs = found
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("`arguments` is a list and an object")
    if not all(isinstance(key, str) for key in kwargs):
        raise ValueError("an argument's name is a string")
    return tuple(args), kwargs


def _name_in(data: dict[str, object]) -> str | None:
    return None if data["help"] is None else word(data, "help")


def _refusal(seq: int, error: CallError) -> Pieces:
    return pack(MessageType.REPLY, seq, REFUSED, {}, "value", to_wire(error))


def keep_alive(sock: socket.socket) -> None:
    """Have the system find out that a peer has gone without a word: within 13 s, also while this process does
    nothing.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _listen(address: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, where in sorted(set(found), key=lambda entry: entry[0]):
            sock = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(sock)
            if os.name == "posix":  # elsewhere it means that two may listen
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(listeners) > 1:
                where = (where[0], listeners[0].getsockname()[1], *where[2:])
            sock.bind(where)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in listeners:
            sock.close()
        raise OSError(
            error.errno, f"cannot listen on {address or '*'}:{port}: {os.strerror(error.errno or 0)}"
        ) from None
    return listeners


def _own_address() -> str:
    """Return the address that others most likely reach this computer at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent
            address: str = sock.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return address


def _make_tls() -> tuple[ssl.SSLContext, bytes]:
    """Return what the server speaks TLS with, and the hash of the certificate that it has made for this run.

    Raises RuntimeError where `cryptography` is not installed.
    """
    try:
        from snyper.system.self_signed import make_certificate
    except ImportError:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[tls]'"
        raise RuntimeError(f"a secret needs cryptography, which is not installed: {pip}") from None
    pem = make_certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "certificate.pem")
        write_private(path, pem)
        context.load_cert_chain(path)
    begin = pem.index(b"-----BEGIN CERTIFICATE")
    return context, sha256(ssl.PEM_cert_to_DER_cert(pem[begin:].decode())).digest()

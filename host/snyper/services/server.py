"""A server of functions and objects: `Server`, and all that it has in common with `AsyncServer`."""

import contextlib
import logging
import os
import selectors
import shlex
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from snyper.client.addresses import is_loopback
from snyper.services.connection import Connection, Core
from snyper.services.context import current_job
from snyper.services.coroutines import Coroutines
from snyper.services.desk import Desk, Job, Session, Station
from snyper.services.engine import Engine
from snyper.services.handshake import SHORT_SECRET_CHARS, Introduction, ServerHandshake, new_salt, stretch
from snyper.services.leasing import MAX_LEASE_S, MIN_LEASE_S, Leases
from snyper.services.naming import key_of
from snyper.services.remote_exceptions import Busy, CallError, Cancelled, Locked, NotServed, Refused, to_wire
from snyper.services.sockets import keep_alive, listen, own_address
from snyper.services.streaming import AsyncStreaming, Streaming, lost
from snyper.services.surface import GETTER, SETTER, Member, Surface
from snyper.services.watching import Watched, Watcher, Watches
from snyper.services.wire import (
    CALL,
    CANCEL,
    DESCRIBE,
    LEASES,
    LOCK,
    PORT,
    RAISED,
    REFUSED,
    RENEW,
    RETURNED,
    RUNNING,
    UNLOCK,
    WATCH,
    Pieces,
    own,
    pack,
    unpack,
    word,
)
from snyper.services.wrong_secrets import WrongSecrets
from snyper.shared.keys import Key
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)
from snyper.system.files import write_private

_log = logging.getLogger("snyper")
_FULL_S = 0.2  # until the next client is looked for where there are no descriptors
MAX_STRANGERS = 64  # who have dialled and are not let in
MAX_TEXTS = 16  # in a list that a message has: calls within each other, leases, names
MAX_WHY_CHARS = 200
MIN_EVERY_MS, MAX_EVERY_MS = 10, 3_600_000  # between two reads for who watches
_STATUS_BYTES = 100  # of an answer, within which its status stands
_SERVED = (CALL, CANCEL, DESCRIBE, RUNNING, LOCK, RENEW, UNLOCK, LEASES, WATCH)

if TYPE_CHECKING:
    Generators = GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]
    Outcome = Pieces | Generators | Awaitable[object]  # of a function


class BaseServer:
    """Serves functions, and the methods and properties of instances, to clients that call them by name.

    An item is a function, an instance, or either with a name: of a function the one it is called by, of an
    instance a prefix. Without an `address` it listens on all of this computer's with a `secret`, and without
    one on loopback alone. With a secret all goes under TLS, and only who has it is let in.

    Calls to one instance are one at a time and in their order. A plain function has every instance to itself.
    Those that `urgent` names wait for nothing: `abort`, or with its prefix `pump_abort`; of a property its
    reading. While somebody has a lease of an instance those that `open_reads` names, or with True all
    properties, can be read all the same.
    With `tracebacks` clients get the server's traceback of an exception as text.

    Raises ValueError, TypeError for an item that cannot be served.
    """

    def __init__(
        self,
        *items: Any,
        address: str | None = None,
        port: int = PORT,
        secret: str | None = None,
        urgent: Iterable[str] = (),
        open_reads: bool | Iterable[str] = False,
        tracebacks: bool = False,
    ) -> None:
        if secret == "":
            raise ValueError("an empty secret keeps nobody out: give one, or leave it out")
        self._surface = Surface()
        self._stations: dict[int, Station] = {}
        self._functions = Station("the functions")
        self._urgent = _keys(urgent)
        self._open_reads = open_reads if isinstance(open_reads, bool) else _keys(open_reads)
        self._tracebacks = tracebacks
        self._jobs = 0
        self._desk = Desk(Leases(_wall))
        self._watches = Watches()
        self._address = ("" if secret else "127.0.0.1") if address is None else address
        self.port = port
        self._secret = secret
        self._salt = new_salt()
        self._wrong = WrongSecrets()
        self._key: Key | None = None
        self._tls: ssl.SSLContext | None = None
        self._binding = b""
        self._instance = os.urandom(8).hex()
        self._engine: Engine | None = None
        self._coroutines = Coroutines()
        self._listeners: list[socket.socket] = []
        self._connections: set[Connection] = set()
        self._handlers = dict.fromkeys(_SERVED, True)
        for item in items:
            self.register(*item) if isinstance(item, tuple) else self.register(item)

    def register(self, item: Any, name: str | None = None) -> None:
        """Serve one more item, from now on: `name` as with `Server(...)`. Raises ValueError, TypeError."""
        self._surface.add(item, name)

    def unregister(self, item: Any) -> None:
        """Serve an item no more, given as it was registered or by its name. Raises ValueError."""
        self._surface.remove(item)
        if self._engine is not None:
            self._engine.post(self._end_unserved)

    # --- start

    def _start(self, on_end: Callable[[], object] = lambda: None) -> None:
        if self._engine is not None:
            raise RuntimeError("it runs already")
        served = {key for member in self._surface.members() for key in _keys_of(member)}
        for option, names in (("urgent", self._urgent), ("open_reads", self._open_reads)):
            unknown = set() if isinstance(names, bool) else names - served
            if unknown:
                raise ValueError(f"{option}: nothing is served as {', '.join(sorted(unknown))}")
        if self._secret is not None:
            self._key = stretch(self._secret, self._salt)
            self._tls, self._binding = _make_tls()
        engine = Engine(self._on_tick, on_end)
        self._listeners = listen(self._address, self.port)
        self.port = self._listeners[0].getsockname()[1]
        self._engine = engine
        for listener in self._listeners:
            engine.selector.register(listener, selectors.EVENT_READ, self._acceptor(listener))
        engine.start()

    def _hint(self) -> str:
        where = self._address or "0.0.0.0"
        reached = where if where not in ("", "0.0.0.0", "::") else own_address()
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
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # there are no descriptors: they wait until there are some again
                _log.error("the server takes no more clients for now: %s", error.strerror)
                engine.selector.unregister(listener)
                engine.call_at(time.monotonic() + _FULL_S, listen_on)
                return
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_alive(sock)
            except OSError:  # it has gone
                sock.close()
                return
            self._make_room()
            handshake = ServerHandshake(self._key, self._salt, self._binding, self._wrong, peer[0])
            connection = Connection(
                sock, peer[0], engine, self._tls, handshake, self._let_in, self._on_request, self._on_end
            )
            self._connections.add(connection)

        def listen_on() -> None:
            engine.selector.register(listener, selectors.EVENT_READ, accept)

        assert self._engine is not None
        engine = self._engine
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
        connection.core = Core(self._handlers, who, lambda line: connection.send((line,)), CALL)
        connection.core.on_stream = lambda taken: self._on_taken(session, taken)
        return connection._handshake.admit(message, self._instance, is_known)

    def _on_end(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection.session is not None and connection.session.send == connection.send:
            self._desk.close(connection.session)
            self._watches.leave(connection.session.id)
            for job in connection.session.jobs.values():
                _stop_stream(job)

    def _on_tick(self) -> None:
        now_s = time.monotonic()
        self._desk.expire(now_s)
        self._desk.leases.expire(now_s)
        for connection in list(self._connections):
            if connection.is_overdue(now_s):
                connection.close()

    # --- calls

    def _on_request(self, connection: Connection, message: SocketMessage) -> bool:
        if message.type == CALL:
            return self._on_call(connection, message)
        assert message.id is not None
        try:
            if message.type == WATCH:
                self._on_watch(connection, message)
                return True
            found = self._answer(connection.session, message)
            connection.send(pack(MessageType.REPLY, message.id, RETURNED, {}, "value", found))
        except CallError as error:
            connection.send(_refusal(message.id, error))
        except ProtocolError as error:
            connection.send((error.to_message(message.id).to_line(),))
        return True

    def _answer(self, session: Session, message: SocketMessage) -> object:
        """Answer what needs no function. Raises ProtocolError `bad_message`, CallError."""
        data = message.data or {}
        if message.type in (LOCK, RENEW, UNLOCK, LEASES):
            return self._on_lease(session, message.type, data)
        if message.type == RUNNING:
            return self._desk.running(time.monotonic())
        if message.type == CANCEL:
            if isinstance(data.get("call"), str):
                return self._watches.leave(session.id, word(data, "call"))
            job = self._desk.cancel(session, integer_field(data, "call", 0, 1, MAX_INTEGER))
            if job is None:
                return False
            self._coroutines.cancel(job)
            _stop_stream(job)
            if session.send is not None:
                session.send(_refusal(job.seq, Cancelled(f"{job.member.name}()")))
            return True
        if "help" in data:
            return self._surface.help_text(None if data["help"] is None else word(data, "help"))
        return self._surface.describe()

    def _on_lease(self, session: Session, message_type: str, data: dict[str, object]) -> object:
        leases, now_s = self._desk.leases, time.monotonic()
        if message_type == LEASES:
            return leases.describe(now_s)
        names = _texts_in(data, "names")
        why = word(data, "why", MAX_WHY_CHARS) if data.get("why") else ""
        if message_type == UNLOCK and "lease" not in data:
            return [one.who for one in leases.break_all(self._named(names), session.who, why, now_s)]
        lease = word(data, "lease")
        if message_type == UNLOCK:
            leases.release(lease, session.id, now_s)
        elif message_type == RENEW:
            leases.renew(lease, session.id, now_s)
        else:
            limits = int(MIN_LEASE_S * 1000), int(MAX_LEASE_S * 1000)
            lease_s = integer_field(data, "lease_ms", 60_000, *limits) / 1000
            stations = self._named(names)
            for job, error in self._desk.lock(session, lease, stations, names, lease_s, why, now_s):
                if job.session.send is not None:
                    job.session.send(_refusal(job.seq, error))
            self._run_each(self._desk.next(now_s))
        return None

    def _named(self, names: Iterable[str]) -> set[Station]:
        """Return the instances that have such a prefix or a member of that name; all where no name is given.
        Raises NotServed.
        """
        members = [one for name in names for one in self._surface.find_all(name)] if names else [None]
        return {station for member in members for station in self._held_by(member)}

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
                _stop_stream(session.jobs[seq])  # of which items are lost
                return True
            if known is not False:
                connection.send(known)
                return True
            args, kwargs = _arguments(message)
            member = self._surface.find(name)
            self._jobs += 1
            key = f"{self._instance}:{self._jobs}"
            job = Job(
                session, seq, member, args, kwargs, self._stations_of(member), _texts_in(data, "chain"), key
            )
            if "leases" in data:
                job.leases = _texts_in(data, "leases")
            job.is_open = self._is_open(member)
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
        return self._engine.run(
            lambda: _execute(job, self._tracebacks), lambda outcome: self._take(job, outcome)
        )

    def _take(self, job: Job, outcome: "Outcome") -> None:
        """Take what has come of a call: its answer, a stream, or what is to be awaited for the answer."""
        if isinstance(outcome, tuple):
            self._finish(job, outcome)
            return
        if isinstance(outcome, GeneratorType | AsyncGeneratorType):
            self._begin_stream(job, outcome)
            return
        self._run_on_loop(job, _await(job, outcome, self._tracebacks))

    def _run_on_loop(self, job: Job, answering: Coroutine[Any, Any, Pieces]) -> None:
        engine = self._engine
        assert engine is not None
        self._coroutines.run(job, answering, lambda pieces: engine.post(lambda: self._finish(job, pieces)))

    def _finish(self, job: Job, pieces: Pieces) -> None:
        # One who has not learned that it is a stream has lost it.
        kept = None if job.stream is None else lost(job.seq)
        if kept is not None and job.stream.is_stopped:
            pieces = kept
        read = self._tell_watchers(job, pieces) if self._watches else None
        self._run_each(self._desk.finish(job, pieces, time.monotonic(), kept, read))

    def _begin_stream(self, job: Job, generator: "Generators") -> None:
        engine, send = self._engine, job.session.send
        assert engine is not None
        if job.is_cancelled or send is None:
            self._finish(job, lost(job.seq))
            return

        def post(pieces: Pieces) -> None:
            engine.post(lambda: send(pieces))

        if isinstance(generator, AsyncGeneratorType):
            stream = AsyncStreaming(job, generator, post, engine.stopped.is_set, self._tracebacks)
            job.stream = stream
            self._run_on_loop(job, stream.run_async())
            return
        job.stream = Streaming(job, generator, post, engine.stopped.is_set, self._tracebacks)
        engine.run_aside(job.stream.run, lambda pieces: self._finish(job, pieces))

    def _on_taken(self, session: Session, message: SocketMessage) -> None:
        if isinstance(message.id, str):
            self._watches.taken(session.id, message.id)
            return
        job = None if message.id is None else session.jobs.get(message.id)
        if job is not None and job.stream is not None:
            try:
                job.stream.taken(integer_field(message.data or {}, "taken", 0, 0, MAX_INTEGER))
            except ValueError as error:
                raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error)) from None

    # --- watches

    def _on_watch(self, connection: Connection, message: SocketMessage) -> None:
        """Begin to tell a client the values of a property. Raises ProtocolError, CallError."""
        session, data = connection.session, message.data or {}
        if not isinstance(message.id, str):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "the id of a watch is a string")
        every_s = None
        if "every_ms" in data:
            every_s = integer_field(data, "every_ms", 0, MIN_EVERY_MS, MAX_EVERY_MS) / 1000
        member = self._surface.find_read(word(data, "name"))
        if every_s is None and member.kind != GETTER:
            raise Refused(f"{member.name} is no property: watch(..., every=...) calls it once for all")
        watched = self._watches.find(member, every_s)
        if not (watched.has_value or watched.is_read):
            try:
                self._read(watched, session)
            except CallError:
                self._watches.tidy()
                raise
        if every_s is not None and not watched.watchers:
            self._poll_after(watched, every_s)
        watched.add(Watcher(message.id, session.id, connection.send))

    def _poll_after(self, watched: Watched, every_s: float) -> None:
        assert self._engine is not None
        self._engine.call_at(time.monotonic() + every_s, lambda: self._poll(watched, every_s))

    def _poll(self, watched: Watched, every_s: float) -> None:
        if not watched.watchers:
            return
        self._poll_after(watched, every_s)
        for session in {session for session, _ in watched.watchers}:
            if watched.is_read:
                break
            with contextlib.suppress(Locked, Busy):  # then it is one time the less
                self._read(watched, self._desk.sessions[session])

    def _end_unserved(self) -> None:
        """End the watches of what is served no more."""
        for watched in list(self._watches):
            try:
                self._surface.find(watched.member.name)
            except NotServed as error:
                watched.take(_refusal(0, error))
        self._watches.tidy()

    def _read(self, watched: Watched, session: Session) -> None:
        """Read what is watched, with the leases of a client that does. Raises Locked, Busy."""
        job = self._job_of_read(watched, session)
        if self._desk.admit(job, time.monotonic()):
            self._run_each([job])
        watched.is_read = True

    def _job_of_read(self, watched: Watched, session: Session) -> Job:
        member = watched.member
        reader = Session(session.id, f"a watch of {session.who}", seen=MAX_INTEGER)  # nobody has its answers
        job = Job(reader, 0, member, (), {}, self._stations_of(member), watched=watched)
        job.is_open = self._is_open(member)
        return job

    def _tell_watchers(self, job: Job, pieces: Pieces) -> Job | None:
        """Tell what has come of a call to who watches that; return the read that follows one which has set
        it.
        """
        is_returned = b'"status":"returned"' in bytes(pieces[0][:_STATUS_BYTES])
        follows = None
        if job.watched is not None:
            job.watched.is_read = False
        for watched in list(self._watches.of(job.member)):
            if job.member.kind != SETTER:
                if job.watched is watched or (is_returned and watched.every_s is None):
                    watched.take(pieces)
            elif is_returned and watched.every_s is None:
                read = self._job_of_read(watched, job.session)
                if read.stations == job.stations:
                    follows = read
                else:  # it was urgent
                    with contextlib.suppress(Locked, Busy):
                        self._read(watched, job.session)
        self._watches.tidy()
        return follows

    def _run_each(self, jobs: Iterable[Job]) -> None:
        assert self._engine is not None
        for begun in jobs:
            self._engine.ready.append(lambda begun=begun: self._run(begun))  # type: ignore[misc]

    def _stations_of(self, member: Member) -> tuple[Station, ...]:
        if self._urgent and not self._urgent.isdisjoint(_keys_of(member)):
            return ()
        return self._held_by(member)

    def _held_by(self, member: Member | None) -> tuple[Station, ...]:
        """Return the instances that a call has to itself; without a member all."""
        if member is not None and member.owner is not None:
            return (self._station(member.owner),)
        owners = self._surface.owners()
        return (self._functions, *(self._station(owner) for owner in owners))

    def _is_open(self, member: Member) -> bool:
        """Tell whether all may call it while somebody has a lease."""
        if isinstance(self._open_reads, bool):
            return self._open_reads and member.kind == GETTER
        return not self._open_reads.isdisjoint(_keys_of(member))

    def _station(self, owner: object) -> Station:
        station = self._stations.get(id(owner))
        if station is None:
            station = self._stations[id(owner)] = Station(f"the {type(owner).__name__}")
        return station


class Server(BaseServer):
    """Serves functions, and the methods and properties of instances, from threads of its own.

    Coroutine functions run on an event loop of its own, in a thread.
    """

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
        """Stop: no call is taken any more, and who waits for one learns of it. Coroutines are cancelled."""
        if self._engine is not None:
            self._engine.stop()
            self._coroutines.end()


def _keys(names: Iterable[str]) -> set[str]:
    return {key_of(name) for name in ([names] if isinstance(names, str) else names)}


def _keys_of(member: Member) -> set[str]:
    """Return the names that mean it, with its prefix or without. A property's own means its reading."""
    names = [member.name]
    if member.attribute:
        verb = member.name.removesuffix(member.attribute)
        own = member.attribute.removeprefix(member.prefix)
        names += [verb + own, *([member.attribute, own] if member.kind == GETTER else [])]
    else:
        names.append(member.name.removeprefix(member.prefix))
    return {key_of(name) for name in names}


_WAIT_S = 0.3  # Windows ends no wait for Ctrl-C


def _stop_stream(job: Job) -> None:
    if job.stream is not None:
        job.stream.stop()


def _execute(job: Job, tracebacks: bool) -> "Outcome":
    """Call the function of a call; return the answer, or what it has returned where that makes one."""
    current_job.set(job)
    try:
        value = job.member.invoke(*job.args, **job.kwargs)
        if isinstance(value, GeneratorType | AsyncGeneratorType):
            return value
        if hasattr(type(value), "__await__"):
            awaitable: Awaitable[object] = value
            return awaitable
        return own(pack(MessageType.REPLY, job.seq, RETURNED, {}, "value", value))
    except BaseException as error:  # whatever the function raises is the caller's to know
        return _raised(job, error, tracebacks)
    finally:
        current_job.set(None)


async def _await(job: Job, awaitable: Awaitable[object], tracebacks: bool) -> Pieces:
    """Return the answer to a call whose function is a coroutine's."""
    current_job.set(job)  # for this task
    try:
        return own(pack(MessageType.REPLY, job.seq, RETURNED, {}, "value", await awaitable))
    except BaseException as error:
        return _raised(job, error, tracebacks)


def _raised(job: Job, error: BaseException, tracebacks: bool) -> Pieces:
    return pack(MessageType.REPLY, job.seq, RAISED, {}, "value", to_wire(error, tracebacks))


def _texts_in(data: dict[str, object], name: str) -> tuple[str, ...]:
    found = data.get(name, [])
    if (
        not isinstance(found, list)
        or len(found) > MAX_TEXTS
        or not all(isinstance(text, str) for text in found)
    ):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`{name}` is a list of at most {MAX_TEXTS} strings")
    return tuple(found)


def _wall(at_s: float) -> datetime:
    """Return what people call an instant by `time.monotonic`."""
    return datetime.now(UTC) + timedelta(seconds=at_s - time.monotonic())


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


def _refusal(seq: str | int, error: CallError) -> Pieces:
    return pack(MessageType.REPLY, seq, REFUSED, {}, "value", to_wire(error))


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

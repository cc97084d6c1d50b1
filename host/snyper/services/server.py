"""A server of functions and objects: `Server`, and all that it has in common with `AsyncServer`."""

import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Self

from snyper.services.bell import SLICE_S
from snyper.services.carrying import Proven
from snyper.services.connection import Connection
from snyper.services.context import current_job
from snyper.services.core import Core
from snyper.services.coroutines import Coroutines
from snyper.services.desk import Desk, Job, Needs, Session
from snyper.services.engine import Engine
from snyper.services.entrance import Entrance
from snyper.services.execution import complete, execute
from snyper.services.handshake import Introduction
from snyper.services.hint import hint
from snyper.services.hub_service import HubService
from snyper.services.lease_requests import LeaseRequests
from snyper.services.leasing import Leases
from snyper.services.places import check_place
from snyper.services.recording import Recording
from snyper.services.remote_exceptions import Busy, CallError, Cancelled
from snyper.services.server_log import CallLog
from snyper.services.shown import Shown
from snyper.services.stations import Stations
from snyper.services.streaming import AsyncStreaming, Streaming, lost
from snyper.services.surface import Member, Surface
from snyper.services.watch_requests import WatchRequests
from snyper.services.watching import Watches
from snyper.services.wire import (
    CALL,
    CANCEL,
    DESCRIBE,
    LEASES,
    LOCK,
    LOG,
    PORT,
    PROGRESS,
    RENEW,
    RETURNED,
    RUNNING,
    STATISTICS,
    UNLOCK,
    WATCH,
    Call,
    Pieces,
    read_call,
    read_usual_call,
    refusal,
    reply,
    word,
)
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

if TYPE_CHECKING:
    from snyper.services.execution import Generators, Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a call of a member: its instances, and how the log shows what it is called with."""

    member: Member
    needs: Needs
    shown: Shown | None


_ENDING = "this server is ending: call again later, or another one"
_LOOK_S = 0.02  # until it is seen that what ran is over, and its answers have gone out
_SERVED = (CALL, CANCEL, DESCRIBE, RUNNING, LOCK, RENEW, UNLOCK, LEASES, WATCH, LOG, STATISTICS)


class BaseServer:
    """Serves functions, and the methods and properties of instances, to clients that call them by name.

    An item is a function, an instance, or either with a name: of a function the one it is called by, of an
    instance a prefix. Without an `address` it listens on all of this computer's with a `secret`, and without
    one on loopback alone. With a secret all goes under TLS, and only who has it is let in.

    Calls to one instance are one at a time and in their order. A plain function has every instance to itself,
    or those that `register(f, uses=(pm,))` names. Calls that `concurrent` names, and all those of an instance
    in it, may overlap each other.
    Those that `urgent` names wait for nothing: `abort`, or with its prefix `pump_abort`; of a property its
    reading. While somebody has a lease of an instance those that `open_reads` names, or with True all
    properties, can be read all the same.
    With `tracebacks`, which needs a `secret` or a `hub`, clients get the traceback of an exception as text.

    With `hub` (HOST:PORT) and `name` it is a service of that hub, which its clients reach by that name, and
    listens only where it has an `address`. `key` is for a hub that wants one; by default it is this
    computer's. Consoles alone may call it there; with `devices` targets and other services may, too.
    What `statistics` returns, at once and in any thread, is told to who asks what its workers do.

    Raises ValueError, TypeError for an item that cannot be served.
    """

    def __init__(
        self,
        *items: Any,
        address: str | None = None,
        port: int = PORT,
        secret: str | None = None,
        urgent: Iterable[str] = (),
        concurrent: str | Collection[object] = (),
        open_reads: bool | Iterable[str] = False,
        tracebacks: bool = False,
        hub: str | None = None,
        name: str | None = None,
        key: str | None = None,
        devices: bool = False,
        statistics: Callable[[], object] = lambda: None,
    ) -> None:
        check_place(address, port, secret)
        if (hub is None) != (name is None) or (hub is None and key is not None):
            raise ValueError('as a service of a hub: hub="HOST:PORT" and name="lab1", both')
        if tracebacks and secret is None and hub is None:
            raise ValueError("tracebacks are for who holds a key: give secret= or hub=")
        self._surface = Surface()
        self._stations = Stations(self._surface, urgent, concurrent, open_reads)
        self._tracebacks = tracebacks
        self._statistics = statistics
        self._execute = partial(execute, tracebacks)
        self._plans: dict[str, Plan] = {}  # by the names of what is served
        self._entrance = Entrance(secret, self._let_in, self._on_request, self._on_end)
        self._log = CallLog(self._entrance.instance)
        self._recording = Recording(self._log)
        self._desk = Desk(Leases(_wall, self._recording.record_lease))
        self._lease_requests = LeaseRequests(
            self._desk, self._stations, self._recording, self._run_each, self._call_at
        )
        self._watches = Watches()
        self._watch_requests = WatchRequests(
            self._watches, self._surface, self._desk, self._stations, self._run_each, self._call_at
        )
        if address is None and hub is None:
            address = "" if secret else "localhost"
        self._address = address
        self.port = port
        self._secret = secret
        self._hub = (
            None
            if hub is None or name is None
            else HubService(hub, name, key, self._about, self._take_client, devices)
        )
        self._engine: Engine | None = None
        self._coroutines = Coroutines()
        self._handlers = dict.fromkeys(_SERVED, True)
        for item in items:
            self.register(*item) if isinstance(item, tuple) else self.register(item)

    def register(
        self, item: Any, name: str | None = None, *, uses: Sequence[object] | Set[object] | None = None
    ) -> None:
        """Serve one more item, from now on: `name` as with `Server(...)`. A plain function that says which
        instances it `uses` has those to itself, and not all.

        Raises ValueError, also where one that it uses is not served; TypeError.
        """
        self._surface.add(item, name, uses)
        self._stations.change()
        self._plans = {}

    def unregister(self, item: Any) -> None:
        """Serve an item no more, given as it was registered or by its name. Raises ValueError."""
        self._surface.remove(item)
        self._stations.change()
        self._plans = {}
        if self._engine is not None:
            self._engine.post(self._watch_requests.end_unserved)

    def progress_of_call(self) -> Callable[[float], None]:
        """Return what tells the caller of the function that runs here how much of it is done, from 0 to 1.

        Any thread may call it, also once the function has returned. A caller that does not read is told less.
        """
        job: Job = current_job.get()
        engine = self._engine
        assert engine is not None

        def tell(done: float) -> None:
            session = job.session
            if session.send is not None and session.is_taking:
                message = SocketMessage(MessageType.ITEM, job.seq, None, PROGRESS, {"done": done})
                session.send((message.to_line(),))

        return lambda done: engine.post(lambda: tell(done))

    def proof_of_caller(self) -> Proven:
        """Return what the hub has had proven of whose call the function that runs here carries out."""
        job: Job = current_job.get()
        return job.session.proven

    def id_of_caller(self) -> str:
        """Return what the caller of the function that runs here is known by over all its connections."""
        job: Job = current_job.get()
        return job.session.id

    def is_caller_away(self) -> bool:
        """Tell whether the caller of the function that runs here has no connection now."""
        job: Job = current_job.get()
        return job.session.send is None

    def when_caller_away(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, in some thread, whenever the caller of the function that runs here has
        lost its connection, also once that has returned; instead of the callback that it had.
        """
        job: Job = current_job.get()
        engine = self._engine
        assert engine is not None

        def set_it() -> None:
            job.session.on_away = callback
            if job.session.send is None:
                callback()

        engine.post(set_it)

    def when_caller_gone(self, after_s: float, callback: Callable[[], object]) -> None:
        """Have `callback` called, in some thread, once the caller of the function that runs here has had no
        connection for so many seconds; again if it comes back, and goes again.
        """
        job: Job = current_job.get()
        assert self._engine is not None
        job.when_gone = after_s, callback
        self._engine.post(lambda: self._await_return(job))

    def _await_return(self, job: Job) -> None:
        """Tell the function of a call if its caller has no connection, and gets none in time."""
        session = job.session
        if job.when_gone is None or session.send is not None:
            return
        after_s, callback = job.when_gone
        until_s = session.gone_s + after_s

        def check() -> None:
            is_away = session.send is None and session.gone_s + after_s <= until_s
            if is_away and session.jobs.get(job.seq) is job:
                callback()

        self._call_at(until_s, check)

    # --- start

    def _start(self, on_end: Callable[[], object] = lambda: None) -> None:
        if self._engine is not None:
            is_closed = self._engine.stopped.is_set()
            raise RuntimeError("it was closed: make another" if is_closed else "it runs already")
        self._stations.check()
        engine = Engine(self._on_tick, on_end)
        try:
            self._entrance.open(engine)
            if self._address is not None:
                self.port = self._entrance.listen(self._address, self.port)
        except BaseException:
            engine.discard()
            raise
        self._engine = engine
        engine.start()

    def _join(self) -> None:
        """Register with the hub, if there is one to serve at. Raises Refused."""
        if self._hub is not None:
            self._hub.start()

    def _drain(self, on_drained: Callable[[], object]) -> None:
        """Refuse what has not begun and what comes, and call `on_drained` once what runs is over."""
        engine = self._engine
        assert engine is not None

        def begin() -> None:
            for job in self._desk.end(_ENDING):
                error = Busy(_ENDING)
                self._recording.refuse(job, error)
                if job.session.send is not None:
                    job.session.send(refusal(job.seq, error))
            check()

        def check() -> None:
            if self._desk.is_idle and not any(one.has_unsent for one in self._entrance.connections):
                on_drained()
            else:
                self._call_at(time.monotonic() + _LOOK_S, check)

        engine.post(begin)

    def _leave(self) -> None:
        if self._hub is not None:
            self._hub.stop()

    def _take_client(self, sock: socket.socket, whose: str, proven: Proven) -> None:
        """Serve a client that comes through the hub."""
        assert self._engine is not None
        self._engine.post(lambda: self._entrance.take(sock, whose, proven))

    def _about(self) -> str:
        """Return in few words what is served."""
        kinds = dict.fromkeys(type(owner).__name__ for owner in self._surface.owners())
        functions = sum(member.owner is None for member in self._surface.members())
        return ", ".join([*kinds, *([f"{functions} function{'s' * (functions > 1)}"] if functions else [])])

    def _hint(self) -> str:
        where = None if self._address is None else (self._address, self.port)
        hub = None if self._hub is None else (self._hub.hub, self._hub.name)
        return hint(where, hub, self._secret, self._surface.calls(), self._surface.properties())

    # --- connections

    def _let_in(self, connection: Connection, message: SocketMessage, introduction: Introduction) -> bytes:
        before = self._desk.sessions.get(introduction.session)
        if before is not None and before.send is not None:
            for other in self._entrance.connections:
                if other.session is before and other is not connection:
                    other.close()
                    break
        who = f"{introduction.who} ({connection.address})"
        session, is_known = self._desk.open(introduction.session, who, connection.send)
        connection.session = session
        session.proven = connection.proven
        connection.core = Core(self._handlers, who, lambda line: connection.send((line,)), read_usual_call)
        connection.core.on_stream = lambda taken: self._on_taken(session, taken)
        connection.on_taking = lambda takes: self._on_taking(session, takes)  # type: ignore[method-assign]
        return connection._handshake.admit(message, self._entrance.instance, is_known)

    def _on_end(self, connection: Connection) -> None:
        if connection.session is not None and connection.session.send == connection.send:
            connection.session.gone_s = time.monotonic()
            if connection.session.on_away is not None:
                connection.session.on_away()
            for job in self._desk.close(connection.session):
                job.outcome = "not begun: its caller has gone"
                self._recording.end(job, 0.0)
            self._watches.leave(connection.session.id)
            for job in connection.session.jobs.values():
                job.stop_stream()
                if job.stream is not None:  # a coroutine may await something for ever, for nobody
                    self._coroutines.cancel(job)
                self._await_return(job)
            assert self._engine is not None
            self._engine.post(self._run_next)  # not at once: the desk may be sending to this very client

    def _on_taking(self, session: Session, takes: bool) -> None:
        session.is_taking = takes
        if takes:
            assert self._engine is not None
            self._engine.post(self._run_next)

    def _on_tick(self) -> None:
        now_s = time.monotonic()
        self._desk.expire(now_s)
        self._entrance.hang_up_on_late(now_s)

    # --- calls

    def _on_question(self, connection: Connection, message: SocketMessage) -> None:
        assert message.id is not None
        try:
            if message.type == WATCH:
                self._watch_requests.begin(connection, message)
                return
            found = self._answer(connection.session, message)
            connection.send(reply(message.id, RETURNED, found))
        except CallError as error:
            connection.send(refusal(message.id, error))
        except ProtocolError as error:
            connection.send((error.to_message(message.id).to_line(),))

    def _answer(self, session: Session, message: SocketMessage) -> object:
        """Answer what needs no function. Raises ProtocolError `bad_message`, CallError."""
        data = message.data or {}
        if message.type in (LOCK, RENEW, UNLOCK, LEASES):
            return self._lease_requests.answer(session, message.type, data)
        if message.type == LOG:
            run = word(data, "run") if "run" in data else ""
            return self._log.page(integer_field(data, "after", 0, 0, MAX_INTEGER), run)
        if message.type == RUNNING:
            return self._desk.running(time.monotonic())
        if message.type == STATISTICS:
            return self._statistics()
        if message.type == CANCEL:
            if isinstance(data.get("call"), str):
                return self._watches.leave(session.id, word(data, "call"))
            job = self._desk.cancel(session, integer_field(data, "call", 0, 1, MAX_INTEGER))
            if job is None:
                return False
            if not job.began_s:
                self._recording.end(job, 0.0)
            self._run_next()
            self._coroutines.cancel(job)
            job.stop_stream()
            if session.send is not None:
                session.send(refusal(job.seq, Cancelled(f"{job.member.name}()")))
            return True
        if "help" in data:
            return self._surface.help_text(None if data["help"] is None else word(data, "help"))
        return self._surface.describe()

    def _on_request(self, connection: Connection, message: SocketMessage) -> bool:
        if message.type != CALL:
            self._on_question(connection, message)
            return True
        session: Session = connection.session
        seq: Any = message.id
        try:
            call = message if type(message) is Call else read_call(message)
            self._desk.acknowledge(session, call.seen if call.seen < seq else seq - 1, call.open)
            known = self._desk.recall(session, seq, call.name)
            if known is True:
                session.jobs[seq].stop_stream()  # of which items are lost
                return True
            if known is not False:
                connection.send(known)
                return True
            plan = self._plans.get(call.name) or self._plan(call.name)
            args, kwargs = call.args, call.kwargs
            job = Job(session, seq, plan.member, args, kwargs, plan.needs)
            if call is not message:
                job.chain, job.leases, job.size = call.chain, call.leases, call.size
            if plan.shown is not None:  # before its function may change what it is called with
                job.shown, job.note = plan.shown, plan.shown.note(args, kwargs)
            try:
                is_to_run = self._desk.admit(job, time.monotonic())
            except CallError as error:
                self._recording.refuse(job, error)
                raise
        except ProtocolError as error:
            connection.send((error.to_message(seq).to_line(),))
        except ValueError as error:
            wrong = ProtocolError(ErrorCode.BAD_MESSAGE, str(error)[:200])
            connection.send((wrong.to_message(seq).to_line(),))
        except CallError as error:
            connection.send(refusal(seq, error))
        else:
            return not is_to_run or connection.engine.run(self._execute, self._finish, job)
        return True

    def _plan(self, name: str) -> "Plan":
        """Return what a call of that name takes. Raises NotServed."""
        plans = self._plans
        member = self._surface.find(name)
        plan = plans.get(member.name)
        if plan is None:
            needs = self._stations.of(member)
            plan = plans[member.name] = Plan(member, needs, self._recording.shown(member, needs))
        return plan

    def _run_on_loop(self, job: Job, answering: Coroutine[Any, Any, Pieces]) -> None:
        engine = self._engine
        assert engine is not None
        self._coroutines.run(job, answering, lambda pieces: engine.post(lambda: self._finish(job, pieces)))

    def _finish(self, job: Job, pieces: "Outcome") -> None:
        """Take what has come of a call: its answer, a stream, or what is to be awaited for the answer."""
        if not isinstance(pieces, tuple):
            self._go_on(job, pieces)
            return
        # One who has not learned that it is a stream has lost it.
        kept = None if job.stream is None else lost(job.seq)
        if kept is not None and job.stream.is_stopped:
            pieces = kept
            if job.outcome is RETURNED:
                job.outcome = "ended early"
        read = self._watch_requests.tell(job, pieces) if self._watches.watched else None
        now_s = time.monotonic()
        if job.shown is not None:
            self._recording.end(job, now_s)
        begun = self._desk.finish(job, pieces, now_s, kept, read)
        if begun:
            self._run_each(begun)

    def _go_on(self, job: Job, outcome: "Generators | Awaitable[object]") -> None:
        if isinstance(outcome, GeneratorType | AsyncGeneratorType):
            self._begin_stream(job, outcome)
        else:
            self._run_on_loop(job, complete(job, outcome, self._tracebacks))

    def _begin_stream(self, job: Job, generator: "Generators") -> None:
        engine, send = self._engine, job.session.send
        assert engine is not None
        if job.is_cancelled or send is None:
            job.outcome = "ended early"
            self._finish(job, lost(job.seq))
            return

        def post(pieces: Pieces) -> None:
            engine.post(lambda: send(pieces))

        if isinstance(generator, AsyncGeneratorType):
            stream = AsyncStreaming(job, generator, post, lambda: engine.stopped.is_set(), self._tracebacks)
            job.stream = stream
            self._run_on_loop(job, stream.run_async())
            return
        job.stream = Streaming(job, generator, post, lambda: engine.stopped.is_set(), self._tracebacks)
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

    def _run_each(self, jobs: Iterable[Job]) -> None:
        engine = self._engine
        assert engine is not None
        for job in jobs:
            engine.ready.append(partial(engine.run, self._execute, self._finish, job))

    def _run_next(self) -> None:
        self._run_each(self._desk.next(time.monotonic()))

    def _call_at(self, at_s: float, callback: Callable[[], object]) -> None:
        assert self._engine is not None
        self._engine.call_at(at_s, callback)


class Server(BaseServer):
    """Serves functions, and the methods and properties of instances, from threads of its own.

    Coroutine functions run on an event loop of its own, in a thread.
    """

    def run(self, threaded: bool = False) -> None:
        """Listen, print how clients reach it, and serve until Ctrl-C or `close`; with `threaded` return at
        once instead, and serve from threads.

        Raises OSError when the address cannot be used, Refused where the hub does not take it.
        """
        self.__enter__()
        print(self._hint(), flush=True)
        if threaded:
            return
        assert self._engine is not None
        with contextlib.suppress(KeyboardInterrupt):
            while not self._engine.stopped.wait(SLICE_S):
                pass
        self.close()

    def close(self) -> None:
        """Stop: no call is taken any more, and who waits for one learns of it. Coroutines are cancelled."""
        if self._engine is not None:
            self._engine.stop()
            self._coroutines.end()
            self._leave()

    def __enter__(self) -> Self:
        """Listen and serve from threads, without a word."""
        self._start()
        try:
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _wall(at_s: float) -> datetime:
    """Return what people call an instant by `time.monotonic`."""
    return datetime.now(UTC) + timedelta(seconds=at_s - time.monotonic())

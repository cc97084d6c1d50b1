"""Stay connected to a hub: dial, register, serve, back off, dial again. The same on both runtimes."""

import asyncio

from snyper.shared.backoff import Backoff
from snyper.shared.clock import now_ms, now_us
from snyper.shared.link import Link
from snyper.shared.link_core import CloseReason
from snyper.shared.log import keep, log, log_again
from snyper.shared.runtime import dial, end_task, sleep_ms, unload
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Any

    from snyper.shared.handshake_client import Registered
    from snyper.shared.link import Handler

FIRST_RETRY_MS = 100
# Where a person has to do something first, and an attempt now and then is enough.
_REFUSALS = (
    ErrorCode.DUPLICATE_TARGET,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNSUPPORTED,
    ErrorCode.BAD_MESSAGE,
)
_MAX_ERRORS = 8


class SessionState:
    """The states of a session: how far it is to the hub."""

    OFFLINE = "offline"  # not begun
    JOINING = "joining"  # the network
    CONNECTING = "connecting"  # finds the hub's address, dials
    HANDSHAKE = "handshake"  # registers
    CONNECTED = "connected"  # registered, and served until the link ends
    WAITING = "waiting"  # for the next attempt
    STOPPED = "stopped"


_BEGIN = "begin"
_JOINED = "joined"
_OPENED = "opened"
_ADMITTED = "admitted"
_END = "end"  # of the attempt, or of the link
_STOP = "stop"

# {(state, trigger): next state}. What is not here is a defect.
TRANSITIONS = {
    (SessionState.OFFLINE, _BEGIN): SessionState.JOINING,
    (SessionState.JOINING, _JOINED): SessionState.CONNECTING,
    (SessionState.JOINING, _END): SessionState.WAITING,
    (SessionState.CONNECTING, _OPENED): SessionState.HANDSHAKE,
    (SessionState.CONNECTING, _END): SessionState.WAITING,
    (SessionState.HANDSHAKE, _ADMITTED): SessionState.CONNECTED,
    (SessionState.HANDSHAKE, _END): SessionState.WAITING,
    (SessionState.CONNECTED, _END): SessionState.WAITING,
    (SessionState.WAITING, _BEGIN): SessionState.JOINING,
    (SessionState.WAITING, _STOP): SessionState.STOPPED,
}


class Session:
    """Keep one peer registered with a hub, or with one of several, tried in order.

    `hubs` are addresses `HOST:PORT` or `tls://HOST:PORT`, `handlers` what the hub may ask, as for a Link;
    `target_id` is the name to register, None for a peer that has none; `key` is the text of the key that both
    have, empty for none. `link` is None while there is no hub; `last_error` says why, and is None while there
    is one. `hub` is the address that is or was asked last. A subclass has the hooks.
    """

    # Hooks. They are no methods here, because on a board each that is overridden takes memory for nothing.
    # Joins the network. Raises OSError with the reason as its last argument; then no hub is asked.
    join: "Callable[[], Awaitable[None]]"
    # The address to dial for a host. Raises OSError when there is none.
    find: "Callable[[str], Awaitable[str]]"
    # What this peer says of itself when it registers.
    registration: "Callable[[], dict[str, object]]"
    # `(link, registered, asked_us)`: begins with a link over which `registered` has come, asked for at that
    # instant of `now_us()`, and no other message yet. Does not wait.
    on_registered: "Callable[[Link, Registered, int], None]"
    # What goes on beside the link for as long as it lives; it is cancelled then.
    serve: "Callable[[Link], Coroutine[Any, Any, None]]"
    # Lets go of the link, whether it was registered or not: `state` still says that, `last_error` why.
    on_lost: "Callable[[], None]"
    # `(state)`: sees each change of it.
    on_state: "Callable[[str], None]"

    # Here, and not in each session: on a board every attribute that is set takes memory.
    health: "Callable[[], bytes] | None" = None  # the `data` of each `pong`, encoded
    dial_timeout_ms = 5_000
    register_timeout_ms = 3_000
    max_retry_ms = 3_000
    # Where every hub has refused. For a target that is a sign of life, and one lost attempt after it is no
    # reason to start the radio anew: see HUB_SILENCE_MS.
    max_refused_ms = 6_000
    state = SessionState.OFFLINE
    link: "Link | None" = None
    last_error: "Exception | None" = None
    hub = ""
    is_refused = False  # by the hub that was asked last
    certificate = ""  # of a hub under TLS (base64 of DER); empty for any, to which the key's proof is bound
    _at = 0  # the hub to ask next

    def __init__(
        self, hubs: "Sequence[str]", handlers: "dict[str, Handler]", target_id: "str | None", key: str
    ) -> None:
        self.target_id = target_id
        self.changed_ms = now_ms()  # when the state last did
        self._hubs = hubs
        self._handlers = handlers
        self._key = key
        self._backoff = Backoff(FIRST_RETRY_MS, self.max_retry_ms)
        self._errors: "list[str]" = []  # why there was no hub, since there was one

    async def run(self) -> None:
        """Stay connected until cancelled; then socket and tasks are gone."""
        try:
            while True:
                await self.attempt()
                is_by_all = self.is_refused and not self._at
                await sleep_ms(self._backoff.next_ms(self.max_refused_ms if is_by_all else None))
        finally:
            if self.state == SessionState.WAITING:  # else Ctrl-C came in the middle of a change
                self._change(_STOP)

    async def attempt(self) -> None:
        """Connect once. Returns when that has failed or the link has ended; `last_error` says why. May be
        cancelled.
        """
        self._change(_BEGIN)
        self.is_refused = False
        self.hub = self._hubs[self._at]
        link: "Link | None" = None
        closed = asyncio.Event()
        serving: "asyncio.Task[Any] | None" = None
        reason = ""
        try:
            await self.join()
            self._change(_JOINED)
            link = await self._dial()
            self._change(_OPENED)
            link.start(lambda link: closed.set())
            await self._register(link)
            serving = asyncio.create_task(self.serve(link))
            await closed.wait()
            assert link.close_error is not None
            reason = self._fail(link.close_error)
        except (OSError, ProtocolError) as error:
            reason = self._fail(error, link)
        finally:
            try:
                if serving is not None:
                    serving.cancel()
                if link is not None:
                    stopped = ProtocolError(ErrorCode.DISCONNECTED, "this side ended the link")
                    link.end(stopped, CloseReason.STOPPING)
                    await link.let_go()
                if serving is not None:
                    await end_task(serving)
            finally:
                if link is not None:
                    self.link = None
                    self.on_lost()
                self._change(_END, reason)

    async def _dial(self) -> Link:
        self._at = (self._at + 1) % len(self._hubs)
        from snyper.shared.address import parse_hub  # for a moment, as what registers below

        unload("snyper.shared.address")
        host, port, wants_tls = parse_hub(self.hub)
        stream = await dial(await self.find(host), port, self.dial_timeout_ms)
        if wants_tls:
            from snyper.shared.tls import secure

            stream = await secure(stream, self.certificate, self.dial_timeout_ms)
        link = Link(stream, self._handlers, "hub")
        link.health = self.health  # now: a `ping` may come in one piece with `registered`
        return link

    async def _register(self, link: Link) -> None:
        from snyper.shared.handshake_client import Registered, prove_key, register_message

        unload("snyper.shared.handshake_client")
        data = self.registration()
        if self._key:
            await prove_key(link, self._key, data, self.target_id, self.register_timeout_ms)
            unload("snyper.shared.keys")
        asked_us = now_us()
        message = register_message(link.new_id(), data, self.target_id, link.max_chunk_bytes)
        registered = Registered(await link.request(message, self.register_timeout_ms))
        registered.apply_to(link)
        self._at = self._hubs.index(self.hub)  # this one first, next time too
        self._backoff.reset()
        self.link = link
        self.on_registered(link, registered, asked_us)
        self._change(_ADMITTED)

    def _fail(self, error: Exception, link: "Link | None" = None) -> str:
        """Note why the attempt, or the link, has ended; return it as a person reads it."""
        if link is not None and isinstance(error, ProtocolError):
            link.close(error)
            error = link.close_error or error  # which says why, where the hub did
            self.is_refused = error.code in _REFUSALS
        self.last_error = error
        if self.state == SessionState.CONNECTED:
            return "the hub is lost: %s" % error
        if self.state == SessionState.JOINING:
            return str(error.args[-1])
        if isinstance(error, ProtocolError) and error.code != ErrorCode.DISCONNECTED:
            return "%s takes no registration: %s" % (self.hub, error)
        return "no hub at %s: %s" % (self.hub, error)

    def _change(self, trigger: str, reason: str = "") -> None:
        """Set the state, and log what is worth it. A reason is kept once an outage, in which it may come back
        every few seconds and for hours.
        """
        self.state = TRANSITIONS[(self.state, trigger)]
        self.changed_ms = now_ms()
        if trigger == _ADMITTED:
            self.last_error = None
            self._errors = []
            log("session", "registered as %s" % self.target_id if self.target_id else "registered")
        elif reason:
            if reason in self._errors:
                self._errors.remove(reason)
                log_again("session", reason)
            else:
                keep("session", reason)
            self._errors = self._errors[1 - _MAX_ERRORS :] + [reason]
        self.on_state(self.state)

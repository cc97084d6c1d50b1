"""A console on the wire, for scripts and for the `snyper` command.

async with snyper.connect("127.0.0.1:8081") as hub:
    await hub.stand_up("all")
    async for event in hub.events():
        print(event)
"""

import asyncio
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from snyper.client.addresses import dial_address
from snyper.client.environment import hub_key
from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.handshake_server import Role
from snyper.shared.link import Link, error_of
from snyper.shared.names import tidied
from snyper.shared.runtime import dial
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    MAX_AHEAD_MS,
    PORT,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, PING_TIMEOUT_MS

DEFAULT_HUB = f"127.0.0.1:{PORT}"
DIAL_TIMEOUT_MS = 3_000
REPLY_TIMEOUT_MS = 5_000  # for what the hub answers by itself
MARGIN_MS = 2_000  # beyond a command's own timeout, for the hub to say that it ran out
MAX_EVENTS = 10_000  # held for a reader that is slow; beyond it the oldest go, and `seq` shows the gap

# What the hub says of a whole command, not of a target that was sent one.
_REFUSALS = {
    ErrorCode.BAD_MESSAGE,
    ErrorCode.UNKNOWN_TYPE,
    ErrorCode.NOT_REGISTERED,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNKNOWN_TARGET,
}
# What a hub says of a console that it does not serve. Any other end of registering is no hub's.
_REFUSALS_TO_REGISTER = {
    ErrorCode.BUSY,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNSUPPORTED,
    ErrorCode.BAD_MESSAGE,
    ErrorCode.NOT_REGISTERED,
    ErrorCode.INTERNAL,
}


@dataclass(frozen=True)
class TargetInfo:
    """What the hub knows of one target. What is None is not known: before the first heartbeat, or at all.

    `uncertainty_us` is how far the target's idea of the hub's clock can be wrong, `dropped` how many reports
    it had to give up since its boot. `last_error` is "duplicate" where another board asks for this name, or
    empty. `rests_at` is where its piezo rests, if that was not below the threshold all the last round, in
    which nothing could be felt; else 0.
    """

    target_id: str
    connected: bool
    state: str
    groups: list[str]
    firmware: str
    seen_ms_ago: int
    round_trip_us: int | None
    uptime_ms: int | None = None
    dropped: int | None = None
    uncertainty_us: int | None = None
    heap_free_bytes: int | None = None
    last_error: str = ""
    rests_at: int | None = None


@dataclass(frozen=True)
class HubStatus:
    """What the hub says of itself. `hub_us` is its clock, `round_trip_us` how long the answer took; `targets`
    are connected now. `journal` is "ok", "failing", or "" where the hub keeps none.
    """

    uptime_ms: int
    targets: int
    hub_us: int
    round_trip_us: int
    journal: str = ""


@dataclass(frozen=True)
class TargetResult:
    """What one target made of one command.

    `status` is the target's own word, or `error`, or `unknown` where nobody can say whether the command was
    carried out; then `code` and `message` say why.
    """

    target_id: str
    ok: bool
    status: str
    round_trip_us: int
    code: str = ""
    message: str = ""
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Heard:
    """What a target's piezo gave while it listened: the greatest sample (0 to 65,535) of each `bin_ms`.
    `gap_us` is the longest time without a look; `threshold` is what a sample must reach to be a hit.
    """

    bin_ms: int
    bins: list[int]
    samples: int
    gap_us: int
    threshold: int


@dataclass(frozen=True)
class Trace:
    """What a target's piezo gave around its last hit: `values` (0 to 65,535), and when each was measured, in
    microseconds after the sample that reached the `threshold`. Both are empty where there was no hit since
    the target was last armed.
    """

    threshold: int
    reaction_ms: int
    peak: int
    times_us: list[int]
    values: list[int]


@dataclass(frozen=True)
class GameOption:
    """One thing to choose about a game; its name ends in its unit. `low` and `high` are None but for an
    integer, `choices` is empty but for a word out of a list.
    """

    name: str
    default: int | str
    meaning: str
    low: int | None = None
    high: int | None = None
    choices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GameInfo:
    """A game that the hub can play. `rules` say how one scores."""

    name: str
    title: str
    rules: str
    min_players: int
    max_players: int
    min_targets: int
    options: list[GameOption]


@dataclass(frozen=True)
class GameState:
    """The game that runs, or the last one. `status` is `running`, `over`, or `none` when there was no game
    since the hub's start. `scores` are in the order of `players`; `done` of `total` says how far it is, in
    `unit`; `turn` is whose turn it is, or empty. `reason` says why it is over: `finished`, `stopped`,
    `no_targets` or `fault`. `starts_at_us` is the instant of the hub's clock at which the countdown ends.
    """

    status: str
    game_id: str = ""
    game: str = ""
    players: list[str] = field(default_factory=list)
    scores: list[int] = field(default_factory=list)
    done: int = 0
    total: int = 0
    unit: str = ""
    turn: str = ""
    targets: int = 0
    seed: int = 0
    reason: str = ""
    starts_at_us: int = 0


@dataclass(frozen=True)
class Event:
    """What happened: to a target `registered`, `lost`, `duplicate`, `state`, `hit`, `miss`, `crosstalk`,
    `groups`; in a game what begins with `game_`; `journal`. `seq` counts them. `target_id` is empty where
    none is meant.
    """

    seq: int
    event: str
    target_id: str
    data: dict[str, object]


def crosstalk_of(data: Mapping[str, object]) -> str:
    """The target whose blow the hit with this data was no more than an echo of; empty for one that counts. A
    hit may be told first, and be taken back by a `crosstalk` with its `hit_seq`.
    """
    of = data.get("crosstalk_of")
    return of if isinstance(of, str) else ""


class NoHubError(ProtocolError):
    """There is no hub at the address: nobody answers, or what answers is none. The message says which."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.DISCONNECTED, message)


class TargetError(ProtocolError):
    """What went wrong at the one target that a command was for: its own error, or that it is away or says
    nothing. The hub is well.
    """

    def __init__(self, target_id: str, code: str, message: str) -> None:
        super().__init__(code, message)
        self.target_id = target_id


class HubClient:
    """A live connection to a hub. Made by `connect`. `boot_id` is new at each start of the hub.

    `target` is a name, `group:NAME` or `all` everywhere. Every method raises ProtocolError `disconnected`
    when the hub is lost.
    """

    def __init__(self, link: Link, boot_id: str) -> None:
        self.boot_id = boot_id
        self.log_id = ""  # whose `seq` the events carry; known once `events` is read
        self.subscribed_seq = 0  # the last event before `events` was read: those up to it are old
        self._link = link
        self._streams: dict[str | int, Callable[[SocketMessage], None]] = {}
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._news = asyncio.Event()
        self._id_prefix = secrets.token_hex(4) + "-"
        self._requests = 0
        link.on_stream = self._on_stream
        link.on_close = self._on_close

    async def targets(self) -> list[TargetInfo]:
        """Every target that the hub knows, connected or not."""
        found: list[TargetInfo] = []
        await self._call(
            SocketMessage(MessageType.LIST_TARGETS, self._new_id()),
            REPLY_TIMEOUT_MS,
            lambda message: found.append(_target_info(message)),
        )
        return found

    async def status(self) -> HubStatus:
        """The hub itself: its clock and its health."""
        sent_ns = time.monotonic_ns()
        pong = await self._call(SocketMessage(MessageType.PING, self._new_id()), REPLY_TIMEOUT_MS)
        data: dict[str, Any] = pong.data or {}
        return HubStatus(
            uptime_ms=int(data.get("uptime_ms", 0)),
            targets=int(data.get("targets", 0)),
            hub_us=int(data.get("hub_us", 0)),
            round_trip_us=(time.monotonic_ns() - sent_ns) // 1000,
            journal=str(data.get("journal", "")),
        )

    async def ping(self, target: str = ALL_TARGETS, timeout_ms: int = PING_TIMEOUT_MS) -> list[TargetResult]:
        """Whether the targets are alive. Raises ProtocolError `unknown_target` when none is meant."""
        return await self.command(MessageType.PING, target, timeout_ms)

    async def stand_up(
        self,
        target: str = ALL_TARGETS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Stands the targets up; a result says `standing` once its target stands. Raises like `ping`.

        With `at_us` they begin at that instant of the hub's clock, with `in_ms` so many milliseconds from
        now, at most 60,000; then each result's data says `at_us`, how far off its target began (`error_us`)
        and how sure it is of that (`uncertainty_us`). `timeout_ms` counts from that instant.
        """
        return await self.command(MessageType.STAND_UP, target, timeout_ms, _when({}, at_us, in_ms))

    async def lay_down(
        self,
        target: str = ALL_TARGETS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Lays the targets down; a result says `down` once its target lies. Otherwise like `stand_up`."""
        return await self.command(MessageType.LAY_DOWN, target, timeout_ms, _when({}, at_us, in_ms))

    async def activate(
        self,
        target: str = ALL_TARGETS,
        duration_ms: int = DEFAULT_DURATION_MS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Stands the targets up, armed for `duration_ms` (100 to 600,000). Each ends in one `hit` or `miss`
        event. Otherwise like `stand_up`.
        """
        data = _when({"duration_ms": duration_ms}, at_us, in_ms)
        return await self.command(MessageType.ACTIVATE, target, timeout_ms, data)

    async def configure(
        self,
        target_id: str,
        *,
        threshold: int | None = None,
        groups: list[str] | None = None,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
    ) -> TargetResult:
        """Changes what is given (`threshold` 1 to 65,535, at most 8 `groups`) and keeps it on the target's
        flash; the result's data says both as they now are. Raises like `ping`, and TargetError: `busy`
        while the target is armed or moves, `fault` when its flash does not take it.
        """
        data: dict[str, object] = {}
        if threshold is not None:
            data["threshold"] = threshold
        if groups is not None:
            data["groups"] = groups
        return await self._command_one(MessageType.CONFIGURE, target_id, timeout_ms, data)

    async def _command_one(
        self, message_type: str, target_id: str, timeout_ms: int, data: dict[str, object]
    ) -> TargetResult:
        """One target's answer. Raises like `ping`, and TargetError."""
        [result] = await self.command(message_type, target_id, timeout_ms, data)
        if not result.ok:
            raise TargetError(result.target_id, result.code, result.message)
        return result

    async def listen(self, target_id: str, duration_ms: int, above: int | None = None) -> Heard:
        """What the target's piezo gives for `duration_ms` (100 to 60,000), whether the target stands or lies.
        With `above` it returns as soon as a sample has reached that and its peak is over. Raises like `ping`,
        and TargetError: `busy` while the target is armed or moves, `superseded` when it begins to.
        """
        data: dict[str, object] = {"duration_ms": duration_ms}
        if above is not None:
            data["above"] = above
        timeout_ms = duration_ms + COMMAND_TIMEOUT_MS
        result = await self._command_one(MessageType.LISTEN, target_id, timeout_ms, data)
        heard: dict[str, Any] = result.data
        try:
            return Heard(**{name: heard[name] for name in Heard.__dataclass_fields__})
        except KeyError as missing:
            raise _bad_answer(target_id, f"no {missing}") from None

    async def trace(self, target_id: str, timeout_ms: int = PING_TIMEOUT_MS) -> Trace:
        """The samples around the target's last hit. Raises like `listen`."""
        times_us: list[int] = []
        values: list[int] = []
        offset = 0
        while True:
            data: dict[str, object] = {"offset": offset}
            result = await self._command_one(MessageType.READ_TRACE, target_id, timeout_ms, data)
            page: dict[str, Any] = result.data
            try:
                times_us += page["times_us"]
                values += page["values"]
                last, offset = offset, page["next"]
                if offset is None:
                    return Trace(page["threshold"], page["reaction_ms"], page["peak"], times_us, values)
            except KeyError as missing:
                raise _bad_answer(target_id, f"no {missing}") from None
            if offset <= last:
                raise _bad_answer(target_id, "its trace in no order")

    async def games(self) -> list[GameInfo]:
        """Every game that this hub can play."""
        found: list[GameInfo] = []
        await self._call(
            SocketMessage(MessageType.LIST_GAMES, self._new_id()),
            REPLY_TIMEOUT_MS,
            lambda message: found.append(_game_info(message)),
        )
        return found

    async def start_game(
        self,
        game: str,
        players: Sequence[str] = (),
        options: Mapping[str, int | str] | None = None,
        seed: int | None = None,
        target: str = ALL_TARGETS,
    ) -> GameState:
        """Starts a game with these targets; options that are left out have their defaults. The same `seed`
        (0 to 2^31 - 1) gives the same order. Names are sent composed (Unicode's NFC) and without blanks
        around them. Raises ProtocolError `busy` while a game runs, `bad_message` for options or players that
        the game does not take, `unknown_target` where there is none.
        """
        data: dict[str, object] = {
            "game": game,
            "players": [tidied(player) for player in players],
            "options": dict(options or {}),
        }
        if seed is not None:
            data["seed"] = seed
        return await self._game_call(SocketMessage(MessageType.START_GAME, self._new_id(), target, data=data))

    async def stop_game(self) -> GameState:
        """Ends the game that runs; its targets lie down. Without a game nothing happens."""
        return await self._game_call(SocketMessage(MessageType.STOP_GAME, self._new_id()))

    async def game(self) -> GameState:
        """The game that runs, or the last one."""
        return await self._game_call(SocketMessage(MessageType.GET_GAME, self._new_id()))

    async def _game_call(self, message: SocketMessage) -> GameState:
        reply = await self._call(message, REPLY_TIMEOUT_MS)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return _game_state(reply)

    async def identify(
        self, target: str, duration_ms: int | None = None, timeout_ms: int = PING_TIMEOUT_MS
    ) -> list[TargetResult]:
        """Makes the targets' lights flicker for `duration_ms` (100 to 60,000; by default 10,000), so that a
        person finds them. Raises like `ping`.
        """
        data: dict[str, object] = {} if duration_ms is None else {"duration_ms": duration_ms}
        return await self.command(MessageType.IDENTIFY, target, timeout_ms, data)

    async def log(self, target_id: str, timeout_ms: int = PING_TIMEOUT_MS) -> AsyncIterator[str]:
        """The log that a target keeps on its flash, page by page, oldest first. Raises like `ping`, and
        TargetError.
        """
        offset: object = 0
        while offset is not None:
            page = await self._command_one(MessageType.READ_LOG, target_id, timeout_ms, {"offset": offset})
            yield str(page.data.get("text", ""))
            last, offset = offset, page.data.get("next")
            if offset is not None and not (isinstance(offset, int) and offset > int(str(last))):
                raise _bad_answer(target_id, "its log in no order")

    async def command(
        self,
        message_type: str,
        target: str,
        timeout_ms: int,
        data: dict[str, object] | None = None,
        on_result: Callable[[TargetResult], None] | None = None,
    ) -> list[TargetResult]:
        """Any command; `on_result` sees each result as it comes in. Raises like `ping`."""
        results: list[TargetResult] = []

        def take(message: SocketMessage) -> None:
            results.append(_target_result(message))
            if on_result is not None:
                on_result(results[-1])

        details = {**(data or {}), "timeout_ms": timeout_ms}
        ahead_ms = MAX_AHEAD_MS if "at_us" in details or "in_ms" in details else 0
        message = SocketMessage(message_type, self._new_id(), target, data=details)
        reply = await self._call(message, timeout_ms + ahead_ms + MARGIN_MS, take)
        if "ok" not in (reply.data or {}):  # one target's own answer, not the counts of many
            take(reply)
        return results

    async def events(self, after: int | None = None, log_id: str | None = None) -> AsyncIterator[Event]:
        """What happens from now on, or since the event with the `seq` that `after` gives, as far as the hub
        still has it. `log_id` says whose count that is: this object's `log_id` while it was read; from
        another, all there is comes. One reader a connection. Raises ProtocolError `disconnected` when the hub
        is lost.
        """
        data: dict[str, object] = {} if after is None else {"after": after}
        if log_id is not None:
            data["log_id"] = log_id
        subscribe = SocketMessage(MessageType.SUBSCRIBE, self._new_id(), data=data)
        subscribed = await self._call(subscribe, REPLY_TIMEOUT_MS)
        about: dict[str, Any] = subscribed.data or {}
        self.log_id = str(about.get("log_id", ""))
        self.subscribed_seq = int(about.get("seq", 0))
        while True:
            while self._events:
                yield self._events.popleft()
            if self._link.close_error is not None:
                raise ProtocolError(ErrorCode.DISCONNECTED, f"the hub is lost ({self._link.close_error})")
            self._news.clear()
            await self._news.wait()

    async def _call(
        self,
        message: SocketMessage,
        timeout_ms: int,
        on_stream: Callable[[SocketMessage], None] | None = None,
    ) -> SocketMessage:
        """The reply, an `error` of a target included; what the hub itself refuses is raised."""
        assert message.id is not None
        if on_stream is not None:
            self._streams[message.id] = on_stream
        try:
            reply = await self._link.exchange(message, timeout_ms)
        finally:
            self._streams.pop(message.id, None)
        if reply.type == MessageType.ERROR and error_of(reply).code in _REFUSALS:
            raise error_of(reply)
        return reply

    def _new_id(self) -> str:
        self._requests += 1
        return f"{self._id_prefix}{self._requests}"

    def _on_stream(self, message: SocketMessage) -> None:
        if message.type == MessageType.EVENT:
            self._events.append(_event(message))
            self._news.set()
        elif message.id in self._streams:
            self._streams[message.id](message)

    def _on_close(self, link: Link, error: ProtocolError) -> None:
        self._news.set()


@asynccontextmanager
async def connect(hub: str = DEFAULT_HUB, key: str | None = None) -> AsyncIterator[HubClient]:
    """Registers with the hub at `hub` (HOST:PORT) as a console, and hangs up at the end of the block.

    `key` is for a hub that wants one; by default it is what the variable SNYPER_KEY says. Raises ValueError
    for an address or a key that is none, NoHubError when no hub answers there, ProtocolError when it refuses.
    No OSError of the network's gets out of this, nor out of the methods of `HubClient`.
    """
    address = dial_address(hub)
    try:
        reader, writer = await dial(*address, DIAL_TIMEOUT_MS)
    except (OSError, UnicodeError) as error:  # the latter of a name that DNS cannot have
        raise NoHubError(_why_unreachable(error)) from None
    link = Link(reader, writer, {}, "hub")
    running = asyncio.create_task(link.run())
    try:
        if key is None:
            key = hub_key()
        register = register_message(link.new_id(), key, {"role": Role.CONSOLE})
        try:
            registered = Registered(await link.request(register, REPLY_TIMEOUT_MS))
        except ProtocolError as error:
            why = link.close_error or error  # which says why, where the hub did
            if why.code in _REFUSALS_TO_REGISTER:
                raise why from None
            raise NoHubError(f"what listens there does not answer as a hub: {why.message}") from None
        registered.apply_to(link)
        yield HubClient(link, registered.boot_id)
    finally:
        link.close(ProtocolError(ErrorCode.DISCONNECTED, "this side hung up"))
        await running


def _why_unreachable(error: OSError | UnicodeError) -> str:
    """Why nobody could be dialled, in few words."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "no computer is known by that name"
    if isinstance(error, TimeoutError):
        return "nothing answers there"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def _target_info(message: SocketMessage) -> TargetInfo:
    data: dict[str, Any] = message.data or {}
    return TargetInfo(
        target_id=message.target_id or "",
        connected=bool(data.get("connected")),
        state=str(data.get("state", "")),
        groups=list(data.get("groups", [])),
        firmware=str(data.get("firmware", "")),
        seen_ms_ago=int(data.get("seen_ms_ago", 0)),
        round_trip_us=data.get("round_trip_us"),
        uptime_ms=data.get("uptime_ms"),
        dropped=data.get("dropped"),
        uncertainty_us=data.get("uncertainty_us"),
        heap_free_bytes=data.get("heap_free_bytes"),
        last_error=str(data.get("last_error", "")),
        rests_at=data.get("rests_at"),
    )


def _target_result(message: SocketMessage) -> TargetResult:
    data: dict[str, Any] = dict(message.data or {})
    round_trip_us = int(data.pop("round_trip_us", 0))
    data.pop("round_trip_ms", None)
    code = str(data.pop("code", ""))
    return TargetResult(
        target_id=message.target_id or "",
        ok=not code,
        status=message.status or message.type,
        round_trip_us=round_trip_us,
        code=code,
        message=str(data.pop("message", "")),
        data=data,
    )


def _bad_answer(target_id: str, what: str) -> TargetError:
    return TargetError(target_id, ErrorCode.BAD_MESSAGE, f"it answers {what}: update its firmware")


def _when(data: dict[str, object], at_us: int | None, in_ms: int | None) -> dict[str, object]:
    if at_us is not None:
        data["at_us"] = at_us
    if in_ms is not None:
        data["in_ms"] = in_ms
    return data


def _game_info(message: SocketMessage) -> GameInfo:
    data: dict[str, Any] = message.data or {}
    options = [
        GameOption(
            name=str(option.get("name", "")),
            default=option.get("default", 0),
            meaning=str(option.get("meaning", "")),
            low=option.get("low"),
            high=option.get("high"),
            choices=list(option.get("choices", [])),
        )
        for option in data.get("options", [])
    ]
    return GameInfo(
        name=str(data.get("game", "")),
        title=str(data.get("title", "")),
        rules=str(data.get("rules", "")),
        min_players=int(data.get("min_players", 1)),
        max_players=int(data.get("max_players", 1)),
        min_targets=int(data.get("min_targets", 1)),
        options=options,
    )


def _game_state(message: SocketMessage) -> GameState:
    data: dict[str, Any] = message.data or {}
    known = {name: data[name] for name in GameState.__dataclass_fields__ if name in data}
    return GameState(**{**known, "status": message.status or "none"})


def _event(message: SocketMessage) -> Event:
    data: dict[str, Any] = dict(message.data or {})
    return Event(int(data.pop("seq", 0)), str(data.pop("event", "")), message.target_id or "", data)

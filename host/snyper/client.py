"""A console on the wire, for scripts and for the `snyper` command.

async with snyper.connect("127.0.0.1:8081") as hub:
    await hub.stand_up("all")
    async for event in hub.events():
        print(event)
"""

import asyncio
import os
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from firmware.master.controller import MOTION_TIMEOUT_MS, PING_TIMEOUT_MS
from shared.address import parse_address
from shared.dialler import dial
from shared.handshake import Role
from shared.link import Link, error_of
from shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    PORT,
    PROTOCOL_VERSION,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)
from shared.welcome import Welcome

DEFAULT_HUB = f"127.0.0.1:{PORT}"
KEY_VARIABLE = "SNYPER_KEY"  # in the environment: a key in an argument list could be read by others
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


@dataclass(frozen=True)
class TargetInfo:
    """What the hub knows of one target. `round_trip_us` is None before the first heartbeat."""

    target_id: str
    connected: bool
    state: str
    groups: list[str]
    firmware: str
    seen_ms_ago: int
    round_trip_us: int | None


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
class Event:
    """What happened to a target: `registered`, `lost`, `state`, `hit`, `miss`. `seq` counts them."""

    seq: int
    event: str
    target_id: str
    data: dict[str, object]


class Hub:
    """A live connection to a hub. Made by `connect`. `boot_id` is new at each start of the hub.

    `target` is a name, `group:NAME` or `all` everywhere. Every method raises ProtocolError `disconnected`
    when the hub is lost.
    """

    def __init__(self, link: Link, boot_id: str) -> None:
        self.boot_id = boot_id
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

    async def ping(self, target: str = ALL_TARGETS, timeout_ms: int = PING_TIMEOUT_MS) -> list[TargetResult]:
        """Whether the targets are alive. Raises ProtocolError `unknown_target` when none is meant."""
        return await self.command(MessageType.PING, target, timeout_ms)

    async def stand_up(
        self, target: str = ALL_TARGETS, timeout_ms: int = MOTION_TIMEOUT_MS
    ) -> list[TargetResult]:
        """Stands the targets up; a result says `standing` once its target stands. Raises like `ping`."""
        return await self.command(MessageType.STAND_UP, target, timeout_ms)

    async def lay_down(
        self, target: str = ALL_TARGETS, timeout_ms: int = MOTION_TIMEOUT_MS
    ) -> list[TargetResult]:
        """Lays the targets down; a result says `down` once its target lies. Raises like `ping`."""
        return await self.command(MessageType.LAY_DOWN, target, timeout_ms)

    async def activate(
        self,
        target: str = ALL_TARGETS,
        duration_ms: int = DEFAULT_DURATION_MS,
        timeout_ms: int = MOTION_TIMEOUT_MS,
    ) -> list[TargetResult]:
        """Stands the targets up, armed for `duration_ms` (100 to 600,000). Each ends in one `hit` or `miss`
        event. Raises like `ping`.
        """
        return await self.command(MessageType.ACTIVATE, target, timeout_ms, {"duration_ms": duration_ms})

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
        ProtocolError with the target's own error, or when it answers no log.
        """
        offset: object = 0
        while offset is not None:
            [page] = await self.command(MessageType.READ_LOG, target_id, timeout_ms, {"offset": offset})
            if not page.ok:
                raise ProtocolError(page.code, page.message)
            yield str(page.data.get("text", ""))
            last, offset = offset, page.data.get("next")
            if offset is not None and not (isinstance(offset, int) and offset > int(str(last))):
                raise ProtocolError(ErrorCode.BAD_MESSAGE, f"{target_id} sends its log in no order")

    async def command(
        self,
        type: str,
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
        message = SocketMessage(type, self._new_id(), target, data=details)
        reply = await self._call(message, timeout_ms + MARGIN_MS, take)
        if "ok" not in (reply.data or {}):  # one target's own answer, not the counts of many
            take(reply)
        return results

    async def events(self, after: int | None = None, boot_id: str | None = None) -> AsyncIterator[Event]:
        """What happens from now on, or since the event with the `seq` that `after` gives, as far as the hub
        still has it. `boot_id` says which start of the hub counted it; from another, all there is comes. One
        reader a connection. Raises ProtocolError `disconnected` when the hub is lost.
        """
        data: dict[str, object] = (
            {} if after is None else {"after": after, "boot_id": boot_id or self.boot_id}
        )
        await self._call(SocketMessage(MessageType.SUBSCRIBE, self._new_id(), data=data), REPLY_TIMEOUT_MS)
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
            reply = await self._link.ask(message, timeout_ms)
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
async def connect(hub: str = DEFAULT_HUB, key: str | None = None) -> AsyncIterator[Hub]:
    """Registers with the hub at `hub` (HOST:PORT) as a console, and hangs up at the end of the block.

    `key` is for a hub that wants one; by default it is what the variable SNYPER_KEY says. Raises ValueError
    for an address that is none, OSError when nothing answers there, ProtocolError when what answers is no hub
    or refuses.
    """
    host, port = parse_address(hub)
    reader, writer = await dial(host or "127.0.0.1", port, DIAL_TIMEOUT_MS)
    link = Link(reader, writer, {}, "hub")
    running = asyncio.create_task(link.run())
    try:
        data: dict[str, object] = {"role": Role.CONSOLE, "protocol": PROTOCOL_VERSION}
        if key is None:
            key = os.environ.get(KEY_VARIABLE, "")
        if key:
            data["key"] = key
        register = SocketMessage(MessageType.REGISTER, link.new_id(), data=data)
        try:
            welcome = Welcome(await link.request(register, REPLY_TIMEOUT_MS))
        except ProtocolError as error:
            raise link.close_error or error from None  # which says why, where the hub did
        welcome.apply_to(link)
        yield Hub(link, welcome.boot_id)
    finally:
        link.close(ProtocolError(ErrorCode.DISCONNECTED, "this side hung up"))
        await running


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


def _event(message: SocketMessage) -> Event:
    data: dict[str, Any] = dict(message.data or {})
    return Event(int(data.pop("seq", 0)), str(data.pop("event", "")), message.target_id or "", data)

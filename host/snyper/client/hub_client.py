"""A console on the wire, for scripts and for the `snyper` command.

async with snyper.connect("127.0.0.1:8081") as hub:
    await hub.stand_up("all")
    async for event in hub.events():
        print(event)
"""

import asyncio
import itertools
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from snyper.client.errors import TargetError
from snyper.client.events import COUNT, PEAK, event_of, is_of
from snyper.client.models import (
    CeaseFire,
    Event,
    GameInfo,
    GameState,
    HubStatus,
    PiezoPeaks,
    ServiceInfo,
    TargetInfo,
    TargetResult,
    Trace,
    cease_fire_of,
    count_in,
    game_info_of,
    game_state_of,
    hub_status_of,
    service_info_of,
    target_info_of,
    target_result_of,
    text_in,
)
from snyper.shared.attachment_sender import send_attachment
from snyper.shared.link import Link
from snyper.shared.link_core import error_of
from snyper.shared.names import normalised
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    GROUP_PREFIX,
    MAX_AHEAD_MS,
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
    is_target_id,
)
from snyper.shared.stream_spec import LIST_STREAMS, MARK_STREAM, checked_name
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, MAX_BY_CHARS, MAX_WHY_CHARS, PING_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.streams.info import StreamInfo
    from snyper.streams.subscriber import StreamReader

REPLY_TIMEOUT_MS = 5_000  # for what the hub answers by itself
MARGIN_MS = 2_000  # beyond a command's own timeout, for the hub to say that it ran out
CHUNK_TIMEOUT_MS = 10_000  # for a board that is busy with its flash, behind others
STALL_MS = 30_000  # a peer that was away is back by then, or is not soon
MAX_LOG_CHARS = 65_536  # that a target may answer of its log: its flash has an eighth of it
MAX_TRACE_SAMPLES = 4_096  # and of a trace: sixteen times as many as it keeps
MAX_READ_S = 60.0  # that either may take, page by page
MAX_EVENTS = 10_000  # held for a reader that is slow; beyond it the oldest go, and `seq` shows the gap

_ID_PREFIX = secrets.token_hex(4) + "-"
_requests = itertools.count(1)

# What the hub says of a whole command, not of a target that was sent one.
_REFUSALS = {
    ErrorCode.BAD_MESSAGE,
    ErrorCode.UNKNOWN_TYPE,
    ErrorCode.NOT_REGISTERED,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNKNOWN_TARGET,
}


class HubClient:
    """A live connection to a hub. Made by `connect`. `boot_id` is new at each start of the hub; `is_open`
    says that the hub lets everybody in who reaches it, without a key.

    `target` is a name, `group:NAME` or `all` everywhere. Every method raises ProtocolError `disconnected`
    when the hub is lost, with `unknown_fate` where it may have carried out what it was asked.
    """

    boot_id = ""
    is_open = False
    log_id = ""  # whose `seq` the events carry; known once `events` is read
    oldest_seq = 0  # the first event that the hub still had then
    subscribed_seq = 0  # the last event before `events` was read: those up to it are old
    reconnects = False  # whether it outlives its connections

    def __init__(self, link: Link, boot_id: str, is_open: bool = False) -> None:
        self.boot_id = boot_id
        self.is_open = is_open
        self._link = link
        self._streams: dict[str | int, Callable[[SocketMessage], None]] = {}
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._news = asyncio.Event()
        link.on_stream = self._on_stream
        link.on_close = self._on_close

    async def targets(self) -> list[TargetInfo]:
        """Return all targets that the hub knows, connected or not."""
        return [target_info_of(message) for message in await self._list(MessageType.LIST_TARGETS)]

    async def services(self) -> list[ServiceInfo]:
        """Return all services that the hub knows, connected or not. Raises ProtocolError `unknown_type` for a
        hub that is older.
        """
        return [service_info_of(message) for message in await self._list(MessageType.LIST_SERVICES)]

    async def status(self) -> HubStatus:
        """Return the status of the hub itself: its clock and its health."""
        sent_ns = time.monotonic_ns()
        pong = await self._call(SocketMessage(MessageType.PING, _new_id()), REPLY_TIMEOUT_MS)
        return hub_status_of(pong, (time.monotonic_ns() - sent_ns) // 1000)

    async def ping(self, target: str = ALL_TARGETS, timeout_ms: int = PING_TIMEOUT_MS) -> list[TargetResult]:
        """Ping the targets; a result says whether one is alive. Raises ProtocolError: `unknown_target` when
        no target is meant, `disconnected` or `timeout` when the hub does not answer.
        """
        return await self.command(target, MessageType.PING, timeout_ms=timeout_ms)

    async def stand_up(
        self,
        target: str = ALL_TARGETS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Stand the targets up; a result says `standing` once its target stands. Raises ProtocolError:
        `unknown_target` when no target is meant, `disconnected` or `timeout` when the hub does not answer.

        With `at_us` they begin at that instant of the hub's clock, with `in_ms` so many milliseconds from
        now, at most 60,000; then each result's data says `at_us`, how far off its target began (`error_us`)
        and how sure it is of that (`uncertainty_us`). `timeout_ms` counts from that instant.
        """
        return await self.command(
            target, MessageType.STAND_UP, timeout_ms=timeout_ms, **_when({}, at_us, in_ms)
        )

    async def lay_down(
        self,
        target: str = ALL_TARGETS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Lay the targets down; a result says `down` once its target lies. `at_us` and `in_ms` are those of
        `stand_up`. Raises ProtocolError: `unknown_target` when no target is meant, `disconnected` or
        `timeout` when the hub does not answer.
        """
        return await self.command(
            target, MessageType.LAY_DOWN, timeout_ms=timeout_ms, **_when({}, at_us, in_ms)
        )

    async def activate(
        self,
        target: str = ALL_TARGETS,
        duration_ms: int = DEFAULT_DURATION_MS,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
        *,
        at_us: int | None = None,
        in_ms: int | None = None,
    ) -> list[TargetResult]:
        """Stand the targets up, armed for `duration_ms` (100 to 600,000). Each ends in one `hit` or `miss`
        event. `at_us` and `in_ms` are those of `stand_up`. Raises ProtocolError: `unknown_target` when no
        target is meant, `disconnected` or `timeout` when the hub does not answer.
        """
        data = _when({"duration_ms": duration_ms}, at_us, in_ms)
        return await self.command(target, MessageType.ACTIVATE, timeout_ms=timeout_ms, **data)

    async def configure(
        self,
        target_id: str,
        *,
        threshold: int | None = None,
        groups: list[str] | None = None,
        timeout_ms: int = COMMAND_TIMEOUT_MS,
    ) -> TargetResult:
        """Change what is given (`threshold` 1 to 65,535, at most 8 `groups`) and keep it on the target's
        flash; the result's data says both as they now are. Raises ProtocolError: `unknown_target` when no
        target is meant, `disconnected` or `timeout` when the hub does not answer; TargetError: `busy` while
        the target is armed or moves, `fault` when its flash does not take it.
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
        """Return one target's answer. Raises ProtocolError: `unknown_target` when no target is meant,
        `disconnected` or `timeout` when the hub does not answer; TargetError when the target refuses.
        """
        results = await self.command(target_id, message_type, timeout_ms=timeout_ms, **data)
        if len(results) != 1:
            raise _bad_answer(target_id, f"{len(results)} times")
        [result] = results
        if not result.ok:
            raise TargetError(result.target_id, result.code, result.message)
        return result

    async def listen(self, target_id: str, duration_ms: int, above: int | None = None) -> PiezoPeaks:
        """Sample the target's piezo for `duration_ms` (100 to 60,000), whether the target stands or lies.
        With `above` it returns as soon as a sample has reached that and its peak is over. Raises
        ProtocolError: `unknown_target` when no target is meant, `disconnected` or `timeout` when the hub does
        not answer; TargetError: `busy` while the target is armed or moves, `superseded` when it begins to.
        """
        data: dict[str, object] = {"duration_ms": duration_ms}
        if above is not None:
            data["above"] = above
        timeout_ms = duration_ms + COMMAND_TIMEOUT_MS
        result = await self._command_one(MessageType.LISTEN, target_id, timeout_ms, data)
        answer: dict[str, Any] = result.data
        _check_answer(target_id, answer, _PEAKS)
        if not 0 < len(answer["bins"]) <= _MAX_BINS:
            raise _bad_answer(target_id, "no 'bins'")
        return PiezoPeaks(**{name: answer[name] for name in PiezoPeaks.__dataclass_fields__})

    async def trace(self, target_id: str, timeout_ms: int = PING_TIMEOUT_MS) -> Trace:
        """Return the samples around the target's last hit. Raises ProtocolError: `unknown_target` when no
        target is meant, `disconnected` or `timeout` when the hub does not answer; TargetError: `busy` while
        the target is armed or moves.
        """
        times_us: list[int] = []
        values: list[int] = []
        offset = 0
        reading = _Reading(target_id, "trace", MAX_TRACE_SAMPLES)
        while True:
            data: dict[str, object] = {"offset": offset}
            result = await self._command_one(MessageType.READ_TRACE, target_id, timeout_ms, data)
            page: dict[str, Any] = result.data
            _check_answer(target_id, page, _TRACE)
            times_us += page["times_us"]
            values += page["values"]
            if len(times_us) != len(values):
                raise _bad_answer(target_id, "samples without their times")
            next_offset = reading.next_offset(page, len(page["values"]))
            if next_offset is None:
                if times_us != sorted(times_us):
                    raise _bad_answer(target_id, "its trace in no order")
                return Trace(page["threshold"], page["reaction_ms"], page["peak"], times_us, values)
            offset = next_offset

    async def games(self) -> list[GameInfo]:
        """Return the games that this hub can play."""
        return [game_info_of(message) for message in await self._list(MessageType.LIST_GAMES)]

    async def start_game(
        self,
        game: str,
        players: Sequence[str] = (),
        options: Mapping[str, int | str] | None = None,
        seed: int | None = None,
        target: str = ALL_TARGETS,
    ) -> GameState:
        """Start a game with these targets; options that are left out have their defaults. The same `seed`
        (0 to 2^31 - 1) gives the same order. Names are sent composed (Unicode's NFC) and without blanks
        around them. Raises ProtocolError `busy` while a game runs, `bad_message` for options or players that
        the game does not take, `unknown_target` where there is none.
        """
        data: dict[str, object] = {
            "game": game,
            "players": [normalised(player) for player in players],
            "options": dict(options or {}),
        }
        if seed is not None:
            data["seed"] = seed
        return await self._game_call(SocketMessage(MessageType.START_GAME, _new_id(), target, data=data))

    async def stop_game(self) -> GameState:
        """End the game that runs; its targets lie down. Without a game nothing happens."""
        return await self._game_call(SocketMessage(MessageType.STOP_GAME, _new_id()))

    async def game(self) -> GameState:
        """Return the game that runs, or the last one."""
        return await self._game_call(SocketMessage(MessageType.GET_GAME, _new_id()))

    async def cease_fire(
        self, why: str = "", by: str = "", on_result: Callable[[TargetResult], None] = lambda result: None
    ) -> CeaseFire:
        """Stop the game, lower every target and have none raised or armed, by anybody, until `release`. `why`
        and `by`, who the person is, are shown to everybody; of them the hub keeps 96 and 48 characters.

        Returns once each target that is connected has said whether it lies, which `on_result` hears, or after
        3 s; it holds long before. Raises ProtocolError `unknown_type` for a hub that is older.
        """
        data: dict[str, object] = {"why": _sendable(why, MAX_WHY_CHARS), "by": _sendable(by, MAX_BY_CHARS)}
        reply = await self._call(
            SocketMessage(MessageType.CEASE_FIRE, _new_id(), data=data),
            REPLY_TIMEOUT_MS + COMMAND_TIMEOUT_MS,
            lambda message: on_result(target_result_of(message)),
        )
        return _checked_cease_fire(reply)

    async def release(self, by: str = "") -> CeaseFire:
        """End the cease fire; `by` is who the person is. Raises ProtocolError: `fault` where the hub cannot
        forget it, `cease_fire` when somebody has called it again meanwhile: it goes on; `unauthorized` for
        who may only read.
        """
        message = SocketMessage(MessageType.RELEASE, _new_id(), data={"by": _sendable(by, MAX_BY_CHARS)})
        return _checked_cease_fire(await self._call(message, REPLY_TIMEOUT_MS))

    async def cease_fire_state(self) -> CeaseFire | None:
        """Return whether a cease fire holds; None for a hub that is older and knows none."""
        try:
            reply = await self._call(SocketMessage(MessageType.GET_CEASE_FIRE, _new_id()), REPLY_TIMEOUT_MS)
        except ProtocolError as error:
            if error.code != ErrorCode.UNKNOWN_TYPE:
                raise
            return None
        return _checked_cease_fire(reply)

    async def _list(self, word: str) -> list[SocketMessage]:
        found: list[SocketMessage] = []
        reply = await self._call(SocketMessage(word, _new_id()), REPLY_TIMEOUT_MS, found.append)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return found

    async def _game_call(self, message: SocketMessage) -> GameState:
        reply = await self._call(message, REPLY_TIMEOUT_MS)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return game_state_of(reply)

    async def identify(
        self, target: str, duration_ms: int | None = None, timeout_ms: int = PING_TIMEOUT_MS
    ) -> list[TargetResult]:
        """Make the targets' lights flicker for `duration_ms` (100 to 60,000; by default 10,000), so that a
        person finds them. Raises ProtocolError: `unknown_target` when no target is meant, `disconnected` or
        `timeout` when the hub does not answer.
        """
        data: dict[str, object] = {} if duration_ms is None else {"duration_ms": duration_ms}
        return await self.command(target, MessageType.IDENTIFY, timeout_ms=timeout_ms, **data)

    async def log(self, target_id: str, timeout_ms: int = PING_TIMEOUT_MS) -> AsyncIterator[str]:
        """Iterate over the log that a target keeps on its flash, page by page, oldest first. Raises
        ProtocolError: `unknown_target` when no target is meant, `disconnected` or `timeout` when the hub does
        not answer; TargetError when the target refuses.
        """
        offset: int | None = 0
        reading = _Reading(target_id, "log", MAX_LOG_CHARS)
        while offset is not None:
            page = await self._command_one(MessageType.READ_LOG, target_id, timeout_ms, {"offset": offset})
            text = text_in(page.data, "text")
            offset = reading.next_offset(page.data, len(text))
            yield text

    async def command(
        self,
        target: str,
        word: str,
        on_result: Callable[[TargetResult], None] | None = None,
        on_item: Callable[[str, dict[str, object]], None] | None = None,
        /,
        **data: object,
    ) -> list[TargetResult]:
        """Send any command, also one that neither this library nor the hub knows, to whoever serves it: a
        target, a group, `all`, or another peer by its name. `data` is what the command takes; of that the
        hub keeps `timeout_ms` (100 to 600,000; by default 3,000) for itself and makes an `at_us` of `in_ms`.

        `on_result` sees each result as it comes in, `on_item` the name of the peer and the data of each of
        many answers that come before it; what they raise is raised once the command has ended. Raises
        ProtocolError: `unknown_target` when nobody is meant,
        `bad_message` for what the wire does not take, `disconnected` or `timeout` when the hub does not
        answer.
        """
        results: list[TargetResult] = []

        def take(message: SocketMessage) -> None:
            results.append(target_result_of(message))
            if on_result is not None:
                on_result(results[-1])

        def take_stream(message: SocketMessage) -> None:
            if message.type == MessageType.RESULT:
                take(message)
            elif message.type == MessageType.ITEM and on_item is not None:
                on_item(message.target_id or "", message.data or {})

        timeout_ms = data.setdefault("timeout_ms", COMMAND_TIMEOUT_MS)
        if not isinstance(timeout_ms, int):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`timeout_ms` is an integer")
        ahead_ms = MAX_AHEAD_MS if "at_us" in data or "in_ms" in data else 0
        message = SocketMessage(word, _new_id(), target, data=data)
        reply = await self._call(message, timeout_ms + ahead_ms + MARGIN_MS, take_stream)
        is_sum = _is_for_many(target) and "ok" in (reply.data or {})
        if not is_sum:  # but one peer's own answer
            take(reply)
        return results

    async def send_bytes(
        self,
        peer: str,
        name: str,
        data: bytes,
        on_progress: Callable[[int], None] = lambda received: None,
        stall_ms: int = STALL_MS,
    ) -> None:
        """Have a peer that receives files keep `data` as `name` (1 to 64 of `A-Z a-z 0-9 _ - .`). Returns
        once it is there whole; `on_progress` gets how many bytes are. A transfer that was cut goes on where
        it stopped when this is called again, with a ReconnectingClient by itself.

        Raises ProtocolError: `unknown_target` or `unknown_type` where no such peer is, `bad_message` where it
        does not take it, `fault` where it has no room, `line_too_long` where the peer is too old; and what
        has stopped it, after `stall_ms` in which nothing came through. May be cancelled.
        """
        source = (lambda offset, count: data[offset : offset + count]), len(data), sha256(data).hexdigest()
        await self._send_attachment(peer, name, source, on_progress, stall_ms)

    async def send_file(
        self,
        peer: str,
        path: str | Path,
        name: str | None = None,
        on_progress: Callable[[int], None] = lambda received: None,
        stall_ms: int = STALL_MS,
    ) -> None:
        """Send a file as `send_bytes` does, by default under its own name. Raises OSError where it cannot be
        read, ProtocolError where it does not arrive.
        """
        with Path(path).open("rb") as file:  # noqa: ASYNC230  # of this computer
            digest = await asyncio.to_thread(file_digest, file, "sha256")
            length = file.seek(0, os.SEEK_END)

            def read(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            source = read, length, digest.hexdigest()
            await self._send_attachment(peer, name or Path(path).name, source, on_progress, stall_ms)

    async def ask(
        self,
        peer: str,
        word: str,
        data: dict[str, object],
        attachment: bytes | None = None,
        timeout_ms: int = CHUNK_TIMEOUT_MS,
    ) -> SocketMessage:
        """Send one peer a request, with bytes after it where the peer takes them, and return its reply.

        Raises ProtocolError: the code of the peer's `error`; `unknown_target`, `timeout`, `disconnected`;
        `bad_message` and `line_too_long` for what the wire or the peer does not take.
        """
        message = SocketMessage(word, _new_id(), peer, None, {**data, "timeout_ms": timeout_ms}, attachment)
        reply = await self._call(message, timeout_ms + MARGIN_MS)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return reply

    async def _send_attachment(
        self,
        peer: str,
        name: str,
        source: tuple[Callable[[int, int], bytes], int, str],
        on_progress: Callable[[int], None],
        stall_ms: int,
    ) -> None:
        async def request(word: str, data: dict[str, object], chunk: bytes | None) -> SocketMessage:
            return await self.ask(peer, word, data, chunk, CHUNK_TIMEOUT_MS)

        if _is_for_many(peer):  # each has its own part of it, and there is one answer
            raise ProtocolError(ErrorCode.BAD_MESSAGE, f"a file goes to one peer, not to {peer}")
        read, length, digest = source
        limit = self._max_chunk_bytes()
        await send_attachment(
            request, read, name, length, digest, limit, stall_ms, self._may_retry, on_progress
        )

    def _max_chunk_bytes(self) -> int:
        """Return how many bytes the hub takes after a line."""
        return self._link.peer_max_chunk_bytes

    def _may_retry(self, error: ProtocolError) -> bool:
        """Return whether what failed now can be tried again over this connection."""
        return not self.is_lost

    async def subscribe(self, after: int | None = None, log_id: str | None = None) -> None:
        """Have the hub send what `events` reads, and say where it counts: `log_id`, `oldest_seq` and
        `subscribed_seq` are known then. Once a connection.

        Raises ProtocolError: `bad_message` for an `after` that is no count, `timeout`, and `disconnected`
        when the hub is lost.
        """
        data: dict[str, object] = {} if after is None else {"after": after}
        if log_id is not None:
            data["log_id"] = log_id
        subscribe = SocketMessage(MessageType.SUBSCRIBE, _new_id(), data=data)
        subscribed = await self._call(subscribe, REPLY_TIMEOUT_MS)
        about: Mapping[str, object] = subscribed.data or {}
        self.log_id = text_in(about, "log_id")
        self.oldest_seq = count_in(about, "oldest_seq") or 0
        self.subscribed_seq = count_in(about, "seq") or 0

    async def events(self, after: int | None = None, log_id: str | None = None) -> AsyncIterator[Event]:
        """Yield what happens from now on, or since the event with the `seq` that `after` gives, as far as the
        hub still has it. `log_id` says whose count that is: this object's `log_id` while it was read; from
        another, all there is comes. One reader a connection. Raises ProtocolError `disconnected` when the hub
        is lost.
        """
        await self.subscribe(after, log_id)
        async for event in self._arriving_events():
            yield event

    async def _arriving_events(self) -> AsyncIterator[Event]:
        """Yield what comes after `subscribe`. Raises ProtocolError `disconnected` when the hub is lost."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self.is_lost:
                raise ProtocolError(ErrorCode.DISCONNECTED, f"the hub is lost ({self._link.close_error})")
            self._news.clear()
            await self._news.wait()

    async def streams(self) -> "list[StreamInfo]":
        """Return all streams that the hub knows, by name, read or not. Raises ProtocolError `unknown_type`
        for a hub that is older, or on a board.
        """
        from snyper.streams.info import stream_info_of

        return [stream_info_of(message) for message in await self._list(LIST_STREAMS)]

    def read_stream(
        self,
        name: str,
        *,
        from_seq: int | None = None,
        epoch: str | None = None,
        history: str | float | None = None,
        max_queued_bytes: int = 64 << 20,
        wait: bool = False,
    ) -> "StreamReader":
        """Read a stream, `SOURCE/STREAM`, from now on: `async for block in hub.read_stream(…)`.

        With `from_seq` it begins at that sample of `epoch`, by default of the present one, with `history` so
        many seconds ago, a number or `"10s"`, `"5m"`: as far as the hub still has it, and `evicted` says how
        much it has no more. The oldest of more than `max_queued_bytes` that wait to be taken are dropped,
        here and at the hub, and counted in the next block's `lost`.

        A source that goes is waited for, one that is not there only with `wait`; with a ReconnectingClient a
        hub too. Raises ValueError for what is no name or time, and for an `epoch` alone; while iterating
        ProtocolError: `unknown_target` where there is no such source or stream, `disconnected` where it is
        away, or the hub is lost, `unsupported`, also with `wait`, for samples larger than any block,
        `unknown_type` for a hub that is older.
        """
        from snyper.streams.subscriber import StreamReader

        return StreamReader(self, name, from_seq, epoch, history, max_queued_bytes, wait)

    async def mark_stream(self, name: str, mark: str, timeout_ms: int = COMMAND_TIMEOUT_MS) -> int:
        """Give this instant of a stream, `SOURCE/STREAM`, a name of at most 48 bytes, and return the instant:
        in µs of the hub's clock when that hears of it. It goes with the source's next samples to all who read
        or record it.

        Raises ValueError for what is no stream; ProtocolError: `unknown_target` where there is none,
        `disconnected` or `timeout` where its source does not answer, `unknown_type` for one that is older,
        `unauthorized` where this key may only read, `bad_message` for what is no name.
        """
        source, _, stream = name.partition("/")
        if not is_target_id(source):
            raise ValueError(f"{name!r} is no stream: SOURCE/STREAM")
        data = {"stream": checked_name(stream), "name": mark, "in_ms": 0, "timeout_ms": timeout_ms}
        message = SocketMessage(MARK_STREAM, _new_id(), source, data=data)
        reply = await self._call(message, timeout_ms + MARGIN_MS)
        if reply.type == MessageType.ERROR:
            raise error_of(reply)
        return integer_field(reply.data or {}, "at_us", -1, -MAX_INTEGER, MAX_INTEGER)

    async def _live_connection(self) -> "HubClient":
        """Return the connection to read over; a ReconnectingClient waits for it. Raises ProtocolError."""
        return self

    def hang_up(self) -> None:
        """End the connection: the hub is lost then."""
        self._link.close(ProtocolError(ErrorCode.DISCONNECTED, "this side hung up"))

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._link.close_error is not None

    async def _call(
        self,
        message: SocketMessage,
        timeout_ms: int,
        on_stream: Callable[[SocketMessage], None] | None = None,
    ) -> SocketMessage:
        """Send a request and return the reply, an `error` of a peer included; what the hub itself refuses is
        raised, and what `on_stream` has raised, once the reply is here.
        """
        assert message.id is not None
        failures: list[Exception] = []

        def take(item: SocketMessage) -> None:
            try:
                if on_stream is not None:
                    on_stream(item)
            except Exception as error:  # the caller's own: it must not end the link
                failures.append(error)

        self._streams[message.id] = take
        try:
            reply = await self._link.exchange(message, timeout_ms)
        finally:
            self._streams.pop(message.id, None)
        if failures:
            raise failures[0]
        said = reply.data or {}
        is_hubs = "round_trip_us" not in said and "ok" not in said  # not a peer's answer, nor the sum of many
        if reply.type == MessageType.ERROR and is_hubs and error_of(reply).code in _REFUSALS:
            raise error_of(reply)
        return reply

    def _on_stream(self, message: SocketMessage) -> None:
        if message.type == MessageType.EVENT:
            self._events.append(event_of(message))
            self._news.set()
        else:
            take = self._streams.get(message.id)  # type: ignore[arg-type]
            if take is not None:
                take(message)

    def _on_close(self, link: Link, error: ProtocolError) -> None:
        self._news.set()


def _checked_cease_fire(reply: SocketMessage) -> CeaseFire:
    if reply.type == MessageType.ERROR:
        raise error_of(reply)
    return cease_fire_of(reply)


def _sendable(text: str, chars: int) -> str:
    """Return of a text of which the hub keeps so many `chars` what it can be sent, whatever is in it."""
    return text[: 2 * chars].encode("utf-8", "replace").decode()


def _is_for_many(target: str) -> bool:
    """Return whether `target` means a group or all, which is answered with a result for each."""
    return target == ALL_TARGETS or target.startswith(GROUP_PREFIX)


def _new_id() -> str:
    """Make an id that no other request has, of this process or of another."""
    return f"{_ID_PREFIX}{next(_requests)}"


def _when(data: dict[str, object], at_us: int | None, in_ms: int | None) -> dict[str, object]:
    if at_us is not None:
        data["at_us"] = at_us
    if in_ms is not None:
        data["in_ms"] = in_ms
    return data


class _Reading:
    """The reading of a target's log or trace, page by page: no more than it can have, and not for ever."""

    def __init__(self, target_id: str, what: str, most: int) -> None:
        self._target_id = target_id
        self._what = what
        self._left = most
        self._offset = 0
        self._began_s = time.monotonic()

    def next_offset(self, page: Mapping[str, object], count: int) -> int | None:
        """Return where the page after this one begins, which has `count` characters or samples; None after
        the last. Raises TargetError `bad_message`.
        """
        self._left -= count
        last, offset = self._offset, page.get("next")
        if self._left < 0 or time.monotonic() - self._began_s > MAX_READ_S:
            raise _bad_answer(self._target_id, f"its {self._what} without end")
        if offset is None:
            return None
        if type(offset) is not int or offset <= last or not count:
            raise _bad_answer(self._target_id, f"its {self._what} in no order")
        self._offset = offset
        return offset


_THRESHOLD = range(1, len(PEAK))
_TIMES_US = range(-MAX_INTEGER, MAX_INTEGER + 1)
_PEAKS = {"bin_ms": COUNT, "samples": COUNT, "gap_us": COUNT, "threshold": _THRESHOLD, "bins": [PEAK]}
_TRACE = {
    "threshold": PEAK,  # 0 where there was no hit
    "reaction_ms": COUNT,
    "peak": PEAK,
    "times_us": [_TIMES_US],
    "values": [PEAK],
}
_MAX_BINS = 1_000  # ten times as many as a target makes of it


def _check_answer(target_id: str, answer: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Check that an answer has these fields, each of its kind. Raises TargetError `bad_message`."""
    for name, kind in kinds.items():
        if not is_of(answer.get(name), kind):
            raise _bad_answer(target_id, f"no {name!r}")


def _bad_answer(target_id: str, what: str) -> TargetError:
    return TargetError(target_id, ErrorCode.BAD_MESSAGE, f"it answers {what}: update its firmware")

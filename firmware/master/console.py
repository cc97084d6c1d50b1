"""What a console may ask of the hub: commands to targets, the list of them, the stream of events."""

import hashlib

from snyper.firmware.master.controller import MOTION_TIMEOUT_MS, PING_TIMEOUT_MS, HubController, Result
from snyper.shared.clock import now_ms, now_us
from snyper.shared.link import Link
from snyper.shared.runtime import forget
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    COMMAND_REPLIES,
    GROUP_PREFIX,
    MAX_AHEAD_MS,
    MAX_ID_CHARS,
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.firmware.master.game_runner import GameRunner
    from snyper.shared.link import Handler

MIN_TIMEOUT_MS = 100
MAX_TIMEOUT_MS = 600_000
_TIMING = ("at_us", "error_us", "uncertainty_us")
_MOTIONS = (MessageType.STAND_UP, MessageType.LAY_DOWN, MessageType.ACTIVATE)
_FOR_MANY = _MOTIONS + (MessageType.PING, MessageType.IDENTIFY, MessageType.CONFIGURE)
_FOR_ONE = (MessageType.READ_LOG, MessageType.LISTEN, MessageType.READ_TRACE)
_ABOUT_GAMES = (
    MessageType.LIST_GAMES,
    MessageType.START_GAME,
    MessageType.STOP_GAME,
    MessageType.GET_GAME,
)
_SLOW = _MOTIONS + (MessageType.CONFIGURE, MessageType.LISTEN)  # to answer


class Console:
    """One registered console. Its `handlers` serve the link it came over. `id_prefix` makes its commands' ids
    its own: a target answers a repeated one again, and that of another console is none. `game_runner(True)`
    gives what runs games, `game_runner(False)` too if any was asked for yet, else None.
    """

    def __init__(
        self, controller: HubController, game_runner: "Callable[[bool], GameRunner | None]", id_prefix: str
    ) -> None:
        self._controller = controller
        self._game_runner = game_runner
        self._id_prefix = id_prefix
        self._subscribed = False
        self.handlers: "dict[str, Handler]" = {
            MessageType.LIST_TARGETS: self._list_targets,
            MessageType.SUBSCRIBE: self._subscribe,
        }
        # One object for each: on a board every `self._command` that is written here takes memory.
        for serve, types in (
            (self._command, _FOR_MANY),
            (self._command_one, _FOR_ONE),
            (self._game, _ABOUT_GAMES),
        ):
            for type in types:
                self.handlers[type] = serve

    async def _command_one(self, link: Link, message: SocketMessage) -> SocketMessage:
        if message.target_id is not None and _is_many(message.target_id):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`%s` is for one target" % message.type)
        return await self._command(link, message)

    async def _command(self, link: Link, message: SocketMessage) -> SocketMessage:
        selector = message.target_id
        if selector is None:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`target_id` is missing: a name, group:NAME or all")
        data = dict(message.data or {})
        timeout_ms = _timeout_ms(data, MOTION_TIMEOUT_MS if message.type in _SLOW else PING_TIMEOUT_MS)
        _set_instant(data)
        command = self._controller.start(
            message.type, selector, data or None, timeout_ms, self._target_side_id(message)
        )
        try:
            if not _is_many(selector):
                return _own_answer(message, (await command.results())[0])
            ok = failed = 0
            async for result in command:
                await link.send(_result_message(message, result))
                if result.ok:
                    ok += 1
                else:
                    failed += 1
        finally:
            command.cancel()
        status = "failed" if not ok else "partial" if failed else "ok"
        return message.reply(COMMAND_REPLIES[message.type][0], status, {"ok": ok, "failed": failed})

    def _target_side_id(self, message: SocketMessage) -> str:
        id = self._id_prefix + repr(message.id)
        if len(id) <= MAX_ID_CHARS:
            return id
        digest: str = hashlib.sha256(id.encode()).digest().hex()
        return digest[:32]

    async def _list_targets(self, link: Link, message: SocketMessage) -> SocketMessage:
        entries = self._controller.registry.entries()
        for entry in entries:
            data = entry.describe(now_ms())
            await link.send(SocketMessage(MessageType.TARGET, message.id, entry.target_id, data=data))
        return message.reply(MessageType.TARGETS, "ok", {"count": len(entries)})

    async def _game(self, link: Link, message: SocketMessage) -> SocketMessage:
        from snyper.firmware.master.game_console import answer

        forget("snyper.firmware.master.game_console")
        return await answer(self._game_runner, link, message)

    async def _subscribe(self, link: Link, message: SocketMessage) -> None:
        """Sends events until the link ends. One that reads too slowly misses some, and one that takes no long
        lines a long one: `seq` shows it.
        """
        events = self._controller.events
        data = message.data or {}
        after = integer_field(data, "after", events.seq, 0, MAX_INTEGER)
        if self._subscribed:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "already subscribed")
        self._subscribed = True
        if data.get("log_id", events.log_id) != events.log_id or after > events.seq:
            after = 0  # another log's count
        seen = {"seq": events.seq, "oldest_seq": events.oldest_seq, "log_id": events.log_id}
        await link.send(message.reply(MessageType.SUBSCRIBED, "ok", seen))
        while True:
            for seq, event, target_id, detail in await events.page(after):
                about = dict(detail)
                about["event"] = event
                about["seq"] = seq
                after = seq
                try:
                    await link.send(SocketMessage(MessageType.EVENT, seq, target_id or None, data=about))
                except ProtocolError as error:
                    if error.code != ErrorCode.LINE_TOO_LONG:
                        raise


def _is_many(selector: str) -> bool:
    return selector == ALL_TARGETS or selector.startswith(GROUP_PREFIX)


def _timeout_ms(data: "dict[str, object]", default: int) -> int:
    """Takes `timeout_ms`, which is for the hub, out of a command's data."""
    timeout_ms = integer_field(data, "timeout_ms", default, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)
    data.pop("timeout_ms", None)
    return timeout_ms


def _set_instant(data: "dict[str, object]") -> None:
    """Turns `in_ms`, which is for the hub, into one `at_us` for all. One that is over is for the targets to
    refuse: they may have carried out this very command.
    """
    if "in_ms" in data:
        if "at_us" in data:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`at_us` or `in_ms`, not both")
        data["at_us"] = now_us() + integer_field(data, "in_ms", 0, 0, MAX_AHEAD_MS) * 1000
        del data["in_ms"]
    elif "at_us" in data:
        at_us = integer_field(data, "at_us", 0, 0, MAX_INTEGER)
        if at_us - now_us() > MAX_AHEAD_MS * 1000:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`at_us` is at most %d ms ahead" % MAX_AHEAD_MS)


def _times(result: Result) -> "dict[str, object]":
    return {"round_trip_ms": (result.round_trip_us + 999) // 1000, "round_trip_us": result.round_trip_us}


def _own_answer(message: SocketMessage, result: Result) -> SocketMessage:
    """The answer of the one target that was meant, with the console's id."""
    if result.reply is None:
        assert result.error is not None
        answer = result.error.to_message(message.id, message.target_id)
    else:
        answer = message.reply(result.reply.type, result.reply.status, result.reply.data)
    answer.data = dict(answer.data or {})
    answer.data.update(_times(result))
    return answer


def _result_message(message: SocketMessage, result: Result) -> SocketMessage:
    data = _times(result)
    if result.reply is not None:
        status = result.reply.status or result.reply.type
        said = result.reply.data or {}
        for name in _TIMING:  # and no more: what a target says must not make this line too long
            if type(said.get(name)) is int:
                data[name] = said[name]
    else:
        assert result.error is not None
        error = result.error.to_message()
        status = error.status or ""
        data.update(error.data or {})
    return SocketMessage(MessageType.RESULT, message.id, result.target_id, status, data)

"""What a console may ask of the hub: commands to targets, the list of them, the stream of events."""

import asyncio
import hashlib

from firmware.master.controller import MOTION_TIMEOUT_MS, PING_TIMEOUT_MS, HubController, Result
from shared.clock import now_ms
from shared.link import Link
from shared.socket_protocol import (
    ALL_TARGETS,
    COMMAND_REPLIES,
    GROUP_PREFIX,
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
    from shared.link import Handler

MIN_TIMEOUT_MS = 100
MAX_TIMEOUT_MS = 600_000
_MOTIONS = (MessageType.STAND_UP, MessageType.LAY_DOWN, MessageType.ACTIVATE)


class Console:
    """One registered console. Its `handlers` serve the link it came over. `id_prefix` makes its commands' ids
    its own: a target answers a repeated one again, and that of another console is none.
    """

    def __init__(self, controller: HubController, boot_id: str, id_prefix: str) -> None:
        self._controller = controller
        self._boot_id = boot_id
        self._id_prefix = id_prefix
        self._subscribed = False
        self.handlers: "dict[str, Handler]" = {
            MessageType.PING: self._command,
            MessageType.STAND_UP: self._command,
            MessageType.LAY_DOWN: self._command,
            MessageType.ACTIVATE: self._command,
            MessageType.IDENTIFY: self._command,
            MessageType.READ_LOG: self._read_log,
            MessageType.LIST_TARGETS: self._list_targets,
            MessageType.SUBSCRIBE: self._subscribe,
        }

    async def _read_log(self, link: Link, message: SocketMessage) -> SocketMessage:
        if message.target_id is not None and _is_many(message.target_id):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`read_log` is for one target")
        return await self._command(link, message)

    async def _command(self, link: Link, message: SocketMessage) -> SocketMessage:
        selector = message.target_id
        if selector is None:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "`target_id` is missing: a name, group:NAME or all")
        data = dict(message.data or {})
        timeout_ms = _timeout_ms(data, PING_TIMEOUT_MS if message.type not in _MOTIONS else MOTION_TIMEOUT_MS)
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

    async def _subscribe(self, link: Link, message: SocketMessage) -> None:
        """Sends events until the link ends. One that reads too slowly misses some: `seq` shows it."""
        events = self._controller.events
        data = message.data or {}
        after = integer_field(data, "after", events.seq, 0, MAX_INTEGER)
        if self._subscribed:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "already subscribed")
        self._subscribed = True
        if data.get("boot_id", self._boot_id) != self._boot_id or after > events.seq:
            after = 0  # counted by a hub that has since started anew
        news = asyncio.Event()
        events.attach(news)
        try:
            seen = {"seq": events.seq, "oldest_seq": events.oldest_seq, "boot_id": self._boot_id}
            await link.send(message.reply(MessageType.SUBSCRIBED, "ok", seen))
            while True:
                news.clear()
                for seq, event, target_id, detail in events.after(after):
                    about = dict(detail)
                    about["event"] = event
                    about["seq"] = seq
                    await link.send(SocketMessage(MessageType.EVENT, seq, target_id, data=about))
                    after = seq
                await news.wait()
        finally:
            events.detach(news)


def _is_many(selector: str) -> bool:
    return selector == ALL_TARGETS or selector.startswith(GROUP_PREFIX)


def _timeout_ms(data: "dict[str, object]", default: int) -> int:
    """Takes `timeout_ms`, which is for the hub, out of a command's data."""
    timeout_ms = integer_field(data, "timeout_ms", default, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)
    data.pop("timeout_ms", None)
    return timeout_ms


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
    else:
        assert result.error is not None
        error = result.error.to_message()
        status = error.status or ""
        data.update(error.data or {})
    return SocketMessage(MessageType.RESULT, message.id, result.target_id, status, data)

"""Forwards what comes over a connection to whom its `target_id` means, and what they answer back over it."""

import hashlib
from collections import OrderedDict

from snyper.firmware.master.router import is_reading
from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
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
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, MAX_TIMEOUT_MS, MIN_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.router import Command, Result, Router
    from snyper.shared.link import Link

MAX_SENT = 16  # commands of a connection, as many as a target remembers


class Forwarder:
    """Forwards the messages of one connection. `id_prefix` makes their ids its own: a peer answers one again
    that is repeated, and does not take another connection's for it.
    """

    def __init__(self, router: "Router", id_prefix: str) -> None:
        self._router = router
        self._id_prefix = id_prefix
        # When each of the last commands was first sent, by its id: one that is repeated is as old as then.
        self._sent_us: "OrderedDict[str | int | None, int]" = OrderedDict()

    async def forward(self, link: "Link", message: SocketMessage) -> "SocketMessage | None":
        """Send `message` on, and what is answered over `link`; return what is still to be said after that.

        Raises ProtocolError: `unknown_target`, `bad_message`, `line_too_long`, where nothing was sent. May be
        cancelled; what was sent stays sent.
        """
        selector = message.target_id
        assert selector is not None
        data = dict(message.data or {})
        timeout_ms = integer_field(data, "timeout_ms", COMMAND_TIMEOUT_MS, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)
        data.pop("timeout_ms", None)  # which is for the hub
        data.pop("proven", None)  # which nobody says of himself
        if link.sealed is not None and "begin" in data:
            data["proven"] = list(link.sealed.claim[1:])
        _set_instant(data)
        id = _peer_side_id(self._id_prefix, message.id)
        asked = message.type + " " + selector
        router = self._router
        earlier = router.under_way.get(id)
        if earlier is not None and earlier.asked == asked:
            return None  # repeated before it was answered: the one answer that comes is for both
        peers = router.registry.select(selector)
        is_first = message.id not in self._sent_us
        sent_us = now_us() if is_first else self._sent_us[message.id]
        command = router.send(message.type, peers, data or None, timeout_ms, id, message.attachment, sent_us)
        command.asked = asked
        message.attachment = None  # whoever waits for the answer keeps no bytes
        router.under_way.setdefault(id, command)
        if is_first and not is_reading(message.type):
            if len(self._sent_us) >= MAX_SENT:
                del self._sent_us[next(iter(self._sent_us))]
            self._sent_us[message.id] = sent_us
        try:
            return await _answer(link, message, command)
        finally:
            # Where who asked has gone, a service is told so.
            command.cancel(
                None if link.close_error is None else SocketMessage(MessageType.ITEM, 0, None, "gone")
            )
            if router.under_way.get(id) is command:
                del router.under_way[id]
            if is_first and command.is_undone():  # then it may be tried again under its id
                self._sent_us.pop(message.id, None)


async def _answer(link: "Link", message: SocketMessage, command: "Command") -> "SocketMessage | None":
    """Send back what the peers answer to `command`, as it comes; return the sum where many were meant."""
    selector = message.target_id or ""
    is_for_many = selector == ALL_TARGETS or selector.startswith(GROUP_PREFIX)
    failed: "list[Result]" = []
    kind, ok = MessageType.ERROR, 0
    while True:
        answer = await command.next_answer()
        if answer is None:
            break
        if isinstance(answer, SocketMessage):
            await _send_item(link, message, answer)
            continue
        reply = _own_answer(message, answer)
        if not is_for_many:
            await _send_answer(link, reply, answer)
            return None
        said = reply.status or reply.type
        result = SocketMessage(MessageType.RESULT, message.id, answer.target_id, said, reply.data)
        result.attachment = reply.attachment
        await _send_answer(link, result, answer)
        if answer.reply is None:
            failed.append(answer)
        else:
            kind = kind if ok else answer.reply.type
            ok += 1
    counts: "dict[str, object]" = {"ok": ok, "failed": len(failed)}
    if not ok:
        assert failed[0].error is not None
        counts["code"] = failed[0].error.code
        counts["message"] = "none of %d did it" % len(failed)
    return message.reply(kind, "failed" if not ok else "partial" if failed else "ok", counts)


def _peer_side_id(id_prefix: str, id: "str | int | None") -> str:
    long_id = id_prefix + repr(id)
    if len(long_id) <= MAX_ID_CHARS:
        return long_id
    digest: str = hashlib.sha256(long_id.encode()).digest().hex()
    return digest[:32]


def _set_instant(data: "dict[str, object]") -> None:
    """Turn `in_ms`, which is for the hub, into one `at_us` for all. One that is over is for the peers to
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


def _times(result: "Result") -> "dict[str, object]":
    return {"round_trip_ms": (result.round_trip_us + 999) // 1000, "round_trip_us": result.round_trip_us}


def _own_answer(message: SocketMessage, result: "Result") -> SocketMessage:
    """Return the answer of the one peer that was meant, with the id of the request."""
    if result.reply is None:
        assert result.error is not None
        answer = result.error.to_message(message.id, message.target_id)
    else:
        answer = message.reply(result.reply.type, result.reply.status, result.reply.data)
        answer.attachment = result.reply.attachment
    answer.data = dict(answer.data or {})
    answer.data.update(_times(result))
    return answer


async def _send_item(link: "Link", message: SocketMessage, item: SocketMessage) -> None:
    item.id = message.id
    try:
        await link.send(item)
    except ProtocolError as error:
        error.unknown_fate = True  # of the command, which is under way
        raise


async def _send_answer(link: "Link", answer: SocketMessage, result: "Result") -> None:
    """Send what a peer answers; without its data and bytes where they would be too long."""
    try:
        await link.send(answer)
    except ProtocolError as error:
        if error.code != ErrorCode.LINE_TOO_LONG:
            raise
        answer.attachment = None
        answer.data = _times(result)
        answer.data["left_out"] = True
        await link.send(answer)

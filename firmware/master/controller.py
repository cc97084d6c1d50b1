"""Commands to targets: one, a group or all, all of them at once, each with its own result."""

import asyncio

from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import HEALTH, Entry, Registry
from snyper.shared.clock import now_us
from snyper.shared.link import error_of
from snyper.shared.log import log
from snyper.shared.runtime import call_later, forget
from snyper.shared.socket_protocol import (
    COMMAND_REPLIES,
    MAX_WORD_CHARS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.shared.runtime import Timer

PING_TIMEOUT_MS = 1_000
MAX_REPORT_BYTES = 512  # a hit has some 100; a hub board keeps its last events
MOTION_TIMEOUT_MS = 3_000  # the slowest hobby servo needs half of it

_STATE_AFTER = {
    MessageType.STANDING: "standing",
    MessageType.DOWN: "down",
    MessageType.ACTIVATED: "armed",
}
# These last a third of a second: whether a ping falls into one is chance, and no event.
_IN_MOTION = ("rising", "arming", "falling")


class Result:
    """What one target made of one command. `reply` is its own answer, or None where `error` says why not."""

    def __init__(
        self,
        target_id: str,
        reply: "SocketMessage | None",
        error: "ProtocolError | None",
        round_trip_us: int,
    ) -> None:
        self.target_id = target_id
        self.reply = reply
        self.error = error
        self.round_trip_us = round_trip_us

    @property
    def ok(self) -> bool:
        return self.error is None


class Command:
    """One command on its way to some targets. Iterate over it (`async for`) for the results in the order in
    which they come in, or `await command.results()` for all of them. One timer serves all its deadlines.
    """

    def __init__(
        self,
        message: SocketMessage,
        entries: "list[Entry]",
        timeout_ms: int,
        on_answer: "Callable[[Entry, SocketMessage], None]",
    ) -> None:
        assert message.id is not None
        self._id = message.id
        self._reply_type = COMMAND_REPLIES[message.type][0]
        self._on_answer = on_answer
        self._results: "list[Result]" = []
        self._expected = len(entries)
        self._taken = 0
        self._wake_at = 1
        self._waiting: "dict[str, Entry]" = {}
        self._changed = asyncio.Event()
        self._timeout_ms = timeout_ms
        self._timer: "Timer | None" = None
        self._sent_us = now_us()
        self._send(message.to_line(), entries)
        if self._waiting:
            self._timer = call_later(timeout_ms, self._expire)

    async def results(self) -> "list[Result]":
        """Every result, once the last is in; at the latest after the command's timeout. May be cancelled."""
        self._wake_at = self._expected
        try:
            while len(self._results) < self._expected:
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.cancel()
        return self._results

    def __aiter__(self) -> "Command":
        return self

    async def __anext__(self) -> Result:
        if self._taken == self._expected:
            raise StopAsyncIteration
        while self._taken == len(self._results):
            self._changed.clear()
            await self._changed.wait()
        self._taken += 1
        return self._results[self._taken - 1]

    def cancel(self) -> None:
        """Waits for no further answer. What was sent stays sent. For whoever stops iterating early."""
        for entry in self._waiting.values():
            if entry.link is not None:
                entry.link.cancel_request(self._id)
        self._waiting = {}
        self._stop_timer()

    def _send(self, line: bytes, entries: "list[Entry]") -> None:
        for entry in entries:
            if entry.link is None:
                self._fail(entry, ProtocolError(ErrorCode.DISCONNECTED, "the target is away"))
                continue
            try:
                entry.link.start_request(self._id, line, self._on_reply, entry)
                self._waiting[entry.target_id] = entry
            except ProtocolError as error:
                self._fail(entry, error)

    def _on_reply(self, entry: Entry, reply: "SocketMessage | ProtocolError") -> None:
        self._waiting.pop(entry.target_id, None)
        if isinstance(reply, ProtocolError):
            self._fail(entry, reply)
        elif reply.type == self._reply_type:
            self._add(Result(entry.target_id, reply, None, now_us() - self._sent_us))
            self._on_answer(entry, reply)
        elif reply.type == MessageType.ERROR:
            self._fail(entry, error_of(reply))
        else:
            self._fail(entry, ProtocolError(ErrorCode.BAD_MESSAGE, "it answered `%s`" % reply.type))

    def _fail(self, entry: Entry, error: ProtocolError) -> None:
        self._add(Result(entry.target_id, None, error, now_us() - self._sent_us))

    def _add(self, result: Result) -> None:
        self._results.append(result)
        if len(self._results) >= self._wake_at:
            self._changed.set()
        if len(self._results) == self._expected:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        late = list(self._waiting.values())
        self.cancel()
        for entry in late:
            self._fail(
                entry,
                ProtocolError(
                    ErrorCode.TIMEOUT, "no answer within %d ms" % self._timeout_ms, unknown_fate=True
                ),
            )


class HubController:
    """Everything the hub can ask of its targets, and what they report: who wants to hear of that listens to
    `events`. `boot_id` makes this hub's command ids its own: a target remembers the ids it has carried out.
    """

    def __init__(
        self, registry: Registry, events: EventLog, boot_id: str, crosstalk_ms: int = CROSSTALK_MS
    ) -> None:
        self.registry = registry
        self.events = events
        self.crosstalk_us = crosstalk_ms * 1000
        self.hits: "list[Any]" = []  # the last ones, as crosstalk.py has them
        self._id_prefix = boot_id + "-"
        self._commands = 0

    def start(
        self,
        type: str,
        target: str,
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
    ) -> Command:
        """Sends a command to `target` (a name, `group:NAME` or `all`) and returns at once; it is the caller's
        to take the results or to cancel it. Raises ProtocolError `unknown_target`; whatever else goes wrong
        is in the results, one for each target.

        A target does not carry out an `id` twice; by default every command has one of its own. With `at_us`
        in `data` the time counts from that instant.
        """
        return self.send(type, self.registry.select(target), data, timeout_ms, id)

    def send(
        self,
        type: str,
        entries: "list[Entry]",
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
    ) -> Command:
        """Like `start`, for these targets."""
        if data is not None and "at_us" in data:
            timeout_ms += max(0, data["at_us"] - now_us()) // 1000
        if id is None:
            self._commands += 1
            id = self._id_prefix + str(self._commands)
        return Command(SocketMessage(type, id, data=data), entries, timeout_ms, self._on_answer)

    def record_registered(self, entry: Entry) -> None:
        """Count that a target is here, new or back."""
        log("hub", "%s is here" % entry.target_id)
        self.events.add("registered", entry.target_id, {"state": entry.state})

    def record_lost(self, entry: Entry, why: ProtocolError, reason: str) -> None:
        """Count that a target's link has ended; `reason` is one of CloseReason."""
        data = {"reason": reason, "code": why.code, "message": why.message}
        self.events.add("lost", entry.target_id, data)

    def record_health(self, entry: Entry, message: SocketMessage) -> None:
        """Take what a target's PING or PONG says of its state and health."""
        data = message.data or {}
        for name in HEALTH:
            value = data.get(name)
            if type(value) is int and value >= 0:
                entry.health[name] = value
        state = data.get("state")
        if isinstance(state, str) and len(state) <= MAX_WORD_CHARS:
            self._set_state(entry, state)

    async def record_report(self, entry: Entry, report: SocketMessage) -> None:
        """Count a target's `hit` or `miss`, unless it was before; then it may be acknowledged. May be
        cancelled: the target sends it again. Raises ProtocolError `bad_message` for one of more than
        MAX_REPORT_BYTES.
        """
        assert report.id is not None
        if len(report.to_line()) > MAX_REPORT_BYTES:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "a report has at most %d bytes" % MAX_REPORT_BYTES)
        key = entry.report_key(report.id) if self.events.journal else ""
        if key and await self.events.is_known(key):
            return
        if entry.is_new_report(report.id):
            data = report.data or {}
            # Not the message's own word, which would take memory for each event.
            if report.type == MessageType.HIT:
                from snyper.firmware.master.crosstalk import record_hit

                forget("snyper.firmware.master.crosstalk")
                record_hit(self, entry.target_id, data, key)
            else:
                self.events.add(MessageType.MISS, entry.target_id, data, key)
        await self.events.settle()

    def _on_answer(self, entry: Entry, reply: SocketMessage) -> None:
        if reply.type == MessageType.PONG:
            self.record_health(entry, reply)
        elif reply.type in _STATE_AFTER:
            self._set_state(entry, _STATE_AFTER[reply.type])
        elif reply.type == MessageType.CONFIGURED:
            self._set_groups(entry, reply.data or {})

    def _set_groups(self, entry: Entry, data: "dict[str, object]") -> None:
        from snyper.shared.handshake_server import groups_field

        forget("snyper.shared.handshake_server")
        try:
            groups = groups_field(data)
        except ProtocolError as error:
            log("hub", "%s is configured, and says of its groups: %s" % (entry.target_id, error))
            return
        if groups != entry.groups:
            entry.groups = groups
            self.events.add("groups", entry.target_id, {"groups": groups})

    def _set_state(self, entry: Entry, state: str) -> None:
        if state != entry.state:
            entry.state = state
            if state not in _IN_MOTION:
                self.events.add("state", entry.target_id, {"state": state})

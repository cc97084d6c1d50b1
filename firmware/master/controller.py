"""Sends the hub's commands to targets, and records what they report."""

from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import HEALTH, Entry, Registry
from snyper.firmware.master.router import Command
from snyper.shared.clock import now_us
from snyper.shared.log import log
from snyper.shared.runtime import unload
from snyper.shared.socket_protocol import (
    MAX_WORD_CHARS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_REPORT_BYTES = 512  # a hit has some 100; a hub board keeps its last events

_STATE_AFTER = {
    MessageType.STANDING: "standing",
    MessageType.DOWN: "down",
    MessageType.ACTIVATED: "armed",
}
# These last a third of a second: whether a ping falls into one is chance, and no event.
_IN_MOTION = ("rising", "arming", "falling")


class HubController:
    """Commands to the hub's targets, and the record of what they report: who wants to hear of that listens to
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
        self.under_way: "dict[str | int, Command]" = {}  # what the router has sent on, by the id of it

    def on_item(self, entry: Entry, message: SocketMessage) -> None:
        """Pass an `item` of a target on to the command that it answers; others are dropped."""
        command = self.under_way.get(message.id)  # type: ignore[arg-type]
        if command is not None and message.type == MessageType.ITEM:
            command.on_item(entry, message)

    def start(
        self,
        message_type: str,
        target: str,
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
    ) -> Command:
        """Send a command to `target` (a name, `group:NAME` or `all`) and return at once; it is the caller's
        to take the results or to cancel it. Raises ProtocolError `unknown_target`; whatever else goes wrong
        is in the results, one for each target.

        A target does not carry out an `id` twice; by default every command has one of its own. With `at_us`
        in `data` the time counts from that instant.
        """
        return self.send(message_type, self.registry.select(target), data, timeout_ms, id)

    def send(
        self,
        message_type: str,
        entries: "list[Entry]",
        data: "dict[str, Any] | None",
        timeout_ms: int,
        id: "str | None" = None,
    ) -> Command:
        """Send a command to these targets and return at once. Raises nothing: what goes wrong is in the
        results.

        A target does not carry out an `id` twice; by default every command has one of its own. With `at_us`
        in `data` the time counts from that instant.
        """
        if data is not None and "at_us" in data:
            timeout_ms += max(0, data["at_us"] - now_us()) // 1000
        if id is None:
            self._commands += 1
            id = self._id_prefix + str(self._commands)
        return Command(SocketMessage(message_type, id, data=data), entries, timeout_ms, self._on_answer)

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

                unload("snyper.firmware.master.crosstalk")
                record_hit(self, entry.target_id, data, key)
            else:
                self.events.add(MessageType.MISS, entry.target_id, data, key)
        await self.events.flush()

    def _on_answer(self, entry: Entry, reply: SocketMessage) -> None:
        if reply.type == MessageType.PONG:
            self.record_health(entry, reply)
        elif reply.type in _STATE_AFTER:
            self._set_state(entry, _STATE_AFTER[reply.type])
        elif reply.type == MessageType.CONFIGURED:
            self._set_groups(entry, reply.data or {})

    def _set_groups(self, entry: Entry, data: "dict[str, object]") -> None:
        from snyper.shared.handshake_server import groups_field

        unload("snyper.shared.handshake_server")
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

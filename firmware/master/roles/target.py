"""Targets: who `all` and the groups mean. What they report, and what the hub learns from what they say."""

from snyper.firmware.master.registry import LAST_ERROR_MS, Peer
from snyper.shared.handshake_server import Role
from snyper.shared.log import log
from snyper.shared.runtime import unload
from snyper.shared.socket_protocol import MAX_WORD_CHARS, MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.registry import Registry
    from snyper.shared.handshake_server import Registration
    from snyper.shared.link import Link

# What a target's `ping` or `pong` may say beside its state: integers, not negative.
HEALTH = ("round_trip_us", "uptime_ms", "dropped", "uncertainty_us", "heap_free_bytes", "rests_at")
_STATE_AFTER = {
    MessageType.STANDING: "standing",
    MessageType.DOWN: "down",
    MessageType.ACTIVATED: "armed",
}
# These last a third of a second: whether a ping falls into one is chance, and no event.
_IN_MOTION = ("rising", "arming", "falling")


class Target(Peer):
    """One target, and what the hub knows of it."""

    role = Role.TARGET
    is_target = True
    reports = (MessageType.HIT, MessageType.MISS)

    def __init__(self, target_id: str) -> None:
        super().__init__(target_id)
        self.firmware = ""
        self.groups: "list[str]" = []
        self.state = ""
        self.health: "dict[str, int]" = {}  # what of HEALTH it has said since it registered

    def limit(self, registry: "Registry") -> int:
        return registry.max_targets

    def describe(self, now_ms: int) -> "dict[str, object]":
        """Return the data of its `target` message. `seen_ms_ago` is 0 while it is connected."""
        connected = self.link is not None
        data: "dict[str, object]" = {
            "connected": connected,
            "state": self.state,
            "groups": self.groups,
            "firmware": self.firmware,
            "seen_ms_ago": 0 if connected else now_ms - self.last_seen_ms,
        }
        if self.refused_ms is not None and now_ms - self.refused_ms < LAST_ERROR_MS:
            data["last_error"] = "duplicate"
        if self.link is not None:
            if self.link.round_trip_us is not None:
                data["round_trip_us"] = self.link.round_trip_us
            data.update(self.health)
        return data

    def register(self, registration: "Registration", link: "Link") -> None:
        super().register(registration, link)
        self.firmware = registration.firmware
        self.groups = registration.groups
        self.state = registration.state
        self.health = {}

    def on_registered(self) -> None:
        """Count that it is here, new or back."""
        log("hub", "%s is here" % self.target_id)
        self._add_event("registered", {"state": self.state})
        if self.hub.router.cease_fire is not None:
            self.hub.router.cease_fire.lower([self])

    def on_lost(self, why: ProtocolError, reason: str) -> None:
        """Count that its link has ended; `reason` is one of CloseReason."""
        self._add_event("lost", {"reason": reason, "code": why.code, "message": why.message})

    def on_health(self, message: SocketMessage) -> None:
        """Take what its PING or PONG says of its state and health."""
        data = message.data or {}
        for name in HEALTH:
            value = data.get(name)
            if type(value) is int and value >= 0:
                self.health[name] = value
        state = data.get("state")
        if isinstance(state, str) and len(state) <= MAX_WORD_CHARS:
            self._set_state(state)

    def on_answer(self, reply: SocketMessage) -> None:
        if reply.type == MessageType.PONG:
            self.on_health(reply)
        elif reply.type in _STATE_AFTER:
            self._set_state(_STATE_AFTER[reply.type])
        elif reply.type == MessageType.CONFIGURED:
            self._set_groups(reply.data or {})

    def record(self, word: str, data: "dict[str, object]", key: str) -> None:
        if word != MessageType.HIT:
            super().record(word, data, key)
            return
        from snyper.firmware.master.crosstalk import record_hit

        unload("snyper.firmware.master.crosstalk")
        record_hit(self.hub.router, self.target_id, data, key)

    def _set_groups(self, data: "dict[str, object]") -> None:
        from snyper.shared.handshake_server import groups_field

        unload("snyper.shared.handshake_server")
        try:
            groups = groups_field(data)
        except ProtocolError as error:
            log("hub", "%s is configured, and says of its groups: %s" % (self.target_id, error))
            return
        if groups != self.groups:
            self.groups = groups
            self._add_event("groups", {"groups": groups})

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            if state not in _IN_MOTION:
                self._add_event("state", {"state": state})

    def _add_event(self, event: str, data: "dict[str, object]") -> None:
        self.hub.router.events.add(event, self.target_id, data)

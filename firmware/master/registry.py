"""The registry of peers: all that have registered, and what the hub knows of each. Pure."""

from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    GROUP_PREFIX,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from snyper.firmware.master.roles.target import Target
    from snyper.firmware.master.server import Hub
    from snyper.shared.handshake_server import Registration
    from snyper.shared.link import Handler, Link

LAST_ERROR_MS = 60_000  # how long it shows that another board was refused this name
MAX_REPORT_IDS = 17  # a target's own queue holds 16 reports


class Peer:
    """An entry of the registry: one peer. `link` is None while it is away, `target_id` empty where it has
    said no name.

    A role is a class of its own; what this one says holds for those that do not say otherwise.
    """

    role = ""  # its word on the wire
    is_named = True  # whether nobody else may have its name; then it is remembered while it is away
    may_command = True  # where its role does at all, or only read: see `is_reading`
    is_target = False  # whether `all` and the groups mean it
    devices = False  # whether it is there for targets and services too, and not for consoles alone
    reports: "tuple[str, ...]" = ()  # the types of what it sends again until it is acknowledged
    # Here, and not in each peer: on a board every attribute that is set takes memory.
    groups: "Sequence[str]" = ()
    link: "Link | None" = None
    hardware_id = ""
    boot_id = ""
    last_seen_ms = 0
    refused_ms: "int | None" = None  # when another board was last refused this name
    _report_ids = ""  # each as `repr` has it and a newline: a list takes eight times the memory

    hub: "Hub" = None  # type: ignore[assignment]  # that has admitted it

    def __init__(self, target_id: str) -> None:
        self.target_id = target_id

    def limit(self, registry: "Registry") -> int:
        """Return how many of this role may be connected at once."""
        return registry.max_others

    def handlers(self) -> "dict[str, Handler]":
        """Return what serves its link: its reports."""
        handlers: "dict[str, Handler]" = {}
        report = self.on_report  # one object: on a board each `self.on_report` takes memory
        for word in self.reports:
            handlers[word] = report
        return handlers

    def on_registered(self) -> None:
        """Tell that it is here, new or back."""

    def on_lost(self, why: ProtocolError, reason: str) -> None:
        """Tell that its link has ended; `reason` is one of CloseReason."""

    def on_health(self, message: SocketMessage) -> None:
        """Take what its PING or PONG says of it."""

    def on_answer(self, reply: SocketMessage) -> None:
        """Learn from what it answers to a command that went well."""

    def on_item(self, message: SocketMessage) -> None:
        """Take one of many answers to a command."""
        self.hub.router.on_item(self, message)

    def on_close(self, link: "Link", why: ProtocolError) -> None:
        """Take note that `link` has ended."""
        self.hub.router.on_close(self, link, why)

    async def on_report(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Acknowledge a report once it is counted, now or before. May be cancelled, and repeated."""
        await self.hub.router.record_report(self, message)
        return message.reply(MessageType.ACK, "ok")

    def record(self, word: str, data: "dict[str, object]", key: str) -> None:
        """Count a report that is new; `word` is one of `reports`, `key` what it is known by for ever."""
        self.hub.router.events.add(word, self.target_id, data, key)

    def report_key(self, id: "str | int") -> str:
        """Return the key of the report with this id, for ever: the name is part of it, since anybody may say
        another's hardware id. Empty where the peer does not say which boot of its it belongs to.
        """
        if not self.boot_id:
            return ""
        return repr((self.hardware_id, self.target_id, self.boot_id, id))

    def is_new_report(self, id: "str | int") -> bool:
        """Remember the id of a report, and return whether it is new since the peer booted."""
        known = self._report_ids
        new = repr(id) + "\n"  # `repr` keeps "1" and 1 apart, and leaves no newline in it
        if known.startswith(new) or "\n" + new in known:
            return False
        if known.count("\n") >= MAX_REPORT_IDS:
            known = known[known.find("\n") + 1 :]
        self._report_ids = known + new
        return True

    def register(self, registration: "Registration", link: "Link") -> None:
        """Take over what it says of itself, and the link that it says it over."""
        same_boot = registration.boot_id and registration.boot_id == self.boot_id
        if not same_boot or registration.hardware_id != self.hardware_id:
            self._report_ids = ""
        self.link = link
        self.hardware_id = registration.hardware_id
        self.boot_id = registration.boot_id


class Registry:
    """A bounded registry. Of targets at most `max_targets` are connected, of each other role `max_others`;
    as many peers as targets are remembered after they have gone: see `admission.py`. `others` are peers whose
    name may be anybody's, `named` those who have theirs for themselves; `boards` are those of them that say a
    hardware id, by it.
    """

    def __init__(self, max_targets: int, max_others: int = 1) -> None:
        self.max_targets = max_targets
        self.max_others = max_others
        self.count = 0  # of targets connected: every `pong` says it, so nobody walks through thousands for it
        self.others: "list[Peer]" = []
        self.named: "dict[str, Peer]" = {}
        self.boards: "dict[str, Peer]" = {}

    def lose(self, peer: Peer, link: "Link", now_ms: int) -> bool:
        """Record that `link` has ended. Returns False when the peer had already come back over another."""
        if peer.link is not link:
            return False
        peer.link = None
        peer.last_seen_ms = now_ms
        self.count -= peer.is_target
        if not peer.is_named:
            self.others.remove(peer)
        return True

    def entries(self) -> "list[Target]":
        """Return all targets known, connected or not."""
        found: "list[Any]" = list(self.named.values())
        return [peer for peer in found if peer.is_target]

    def connected(self) -> "list[Target]":
        """Return the targets that have a live link."""
        found: "list[Any]" = list(self.named.values())
        return [peer for peer in found if peer.link is not None and peer.is_target]

    def select(self, selector: str) -> "Sequence[Peer]":
        """Select the peers that a name, `group:NAME` or `all` means: the name of any role, even while it is
        away, but of who may only read, who could take any; of a group or all the targets that are connected.
        Raises ProtocolError `unknown_target` when there is none, or more than one of that name.
        """
        found: "Sequence[Peer]"
        if selector == ALL_TARGETS:
            found = self.connected()
        elif selector.startswith(GROUP_PREFIX):
            group = selector[len(GROUP_PREFIX) :]
            found = [peer for peer in self.connected() if group in peer.groups]
        elif selector in self.named:
            found = [self.named[selector]]
        else:
            found = [peer for peer in self.others if peer.target_id == selector and peer.may_command]
            if len(found) > 1:
                raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "%d peers are %s" % (len(found), selector))
        if not found:
            raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "no target is %s" % selector)
        return found

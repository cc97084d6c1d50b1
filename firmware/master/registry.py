"""The registry of targets: all that have registered, and what the hub knows of each. Pure."""

from snyper.shared.socket_protocol import ALL_TARGETS, GROUP_PREFIX, ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.handshake_server import Registration
    from snyper.shared.link import Link

# What a target's `ping` or `pong` may say beside its state: integers, not negative.
HEALTH = ("round_trip_us", "uptime_ms", "dropped", "uncertainty_us", "heap_free_bytes", "rests_at")
LAST_ERROR_MS = 60_000  # how long it shows that another board was refused this name
MAX_REPORT_IDS = 20  # a target's own queue holds 16 reports


class Entry:
    """An entry of the registry: one target. `link` is None while it is away."""

    def __init__(self, target_id: str) -> None:
        self.target_id = target_id
        self.link: "Link | None" = None
        self.hardware_id = ""
        self.boot_id = ""
        self.firmware = ""
        self.groups: "list[str]" = []
        self.state = ""
        self.health: "dict[str, int]" = {}  # what of HEALTH it has said since it registered
        self.last_seen_ms = 0
        self.refused_ms: "int | None" = None  # when another board was last refused this name
        self._report_ids = ""  # each as `repr` has it and a newline: a list takes eight times the memory

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

    def report_key(self, id: "str | int") -> str:
        """Return the key of the report with this id, for ever; empty where the target does not say which boot
        of its it belongs to.
        """
        if not self.boot_id:
            return ""
        return repr((self.hardware_id or self.target_id, self.boot_id, id))

    def is_new_report(self, id: "str | int") -> bool:
        """Remember the id of a report, and return whether it is new since the target booted."""
        known = self._report_ids
        new = repr(id) + "\n"  # `repr` keeps "1" and 1 apart, and leaves no newline in it
        if known.startswith(new) or "\n" + new in known:
            return False
        if known.count("\n") >= MAX_REPORT_IDS:
            known = known[known.find("\n") + 1 :]
        self._report_ids = known + new
        return True

    def register(self, registration: "Registration", link: "Link") -> None:
        same_boot = registration.boot_id and registration.boot_id == self.boot_id
        if not same_boot or registration.hardware_id != self.hardware_id:
            self._report_ids = ""
        self.link = link
        self.hardware_id = registration.hardware_id
        self.boot_id = registration.boot_id
        self.firmware = registration.firmware
        self.groups = registration.groups
        self.state = registration.state
        self.health = {}


class Registry:
    """A bounded registry: at most `max_targets` connected, and as many again remembered after they have
    gone.
    """

    def __init__(self, max_targets: int) -> None:
        self.max_targets = max_targets
        self.count = 0  # of those connected: every `pong` says it, so nobody walks through thousands for it
        self._entries: "dict[str, Entry]" = {}

    def live_link(self, registration: "Registration") -> "Link | None":
        """Return the live link under this name of a board with the same hardware id: the same one's, or
        another's.

        Raises ProtocolError `duplicate_target` when it is another board's.
        """
        entry = self._entries.get(registration.target_id or "")
        if entry is None or entry.link is None:
            return None
        if not registration.hardware_id or registration.hardware_id != entry.hardware_id:
            raise ProtocolError(
                ErrorCode.DUPLICATE_TARGET, "another board is connected as %s: rename one" % entry.target_id
            )
        return entry.link

    def admit(self, registration: "Registration", link: "Link") -> "tuple[Entry, Link | None]":
        """Admit a target. Returns its entry, and the link that the same board had before, if it still counts
        as live.

        Raises ProtocolError: `duplicate_target` when another board is live under that name, `busy` when the
        hub is full.
        """
        target_id = registration.target_id
        assert target_id is not None
        replaced = self.live_link(registration)
        entry = self._entries.get(target_id)
        if replaced is None and self.count >= self.max_targets:
            many = "s" * (self.max_targets > 1)
            raise ProtocolError(ErrorCode.BUSY, "this hub takes %d target%s" % (self.max_targets, many))
        if entry is None:
            self._forget_one()
            entry = Entry(target_id)
            self._entries[target_id] = entry
        if replaced is None:
            self.count += 1
        entry.register(registration, link)
        return entry, replaced

    def lose(self, entry: Entry, link: "Link", now_ms: int) -> bool:
        """Record that `link` has ended. Returns False when the target had already come back over another."""
        if entry.link is not link:
            return False
        entry.link = None
        entry.last_seen_ms = now_ms
        self.count -= 1
        return True

    def entries(self) -> "list[Entry]":
        """Return all targets known, connected or not."""
        return list(self._entries.values())

    def connected(self) -> "list[Entry]":
        """Return the targets that have a live link."""
        return [entry for entry in self._entries.values() if entry.link is not None]

    def select(self, selector: str) -> "list[Entry]":
        """Select the targets that a name, `group:NAME` or `all` means: the name even while it is away, of a
        group or all those that are connected. Raises ProtocolError `unknown_target` when there is none.
        """
        if selector == ALL_TARGETS:
            found = self.connected()
        elif selector.startswith(GROUP_PREFIX):
            group = selector[len(GROUP_PREFIX) :]
            found = [entry for entry in self.connected() if group in entry.groups]
        else:
            found = [self._entries[selector]] if selector in self._entries else []
        if not found:
            raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "no target is %s" % selector)
        return found

    def _forget_one(self) -> None:
        """Forget the target that has been away longest, where there are too many for one more."""
        if len(self._entries) < self.max_targets:
            return
        away = [entry for entry in self._entries.values() if entry.link is None]
        if len(away) >= self.max_targets:
            oldest = min(away, key=lambda entry: entry.last_seen_ms)
            del self._entries[oldest.target_id]

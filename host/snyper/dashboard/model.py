"""The range as the dashboard knows it: what the hub said last, and what it has said since. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from snyper.client import Event, GameInfo, HubStatus, TargetInfo
from snyper.client.events import fold
from snyper.client.labels import natural
from snyper.client.range_model import RangeModel, TargetModel
from snyper.dashboard.faults import log_fault
from snyper.shared.socket_protocol import ALL_TARGETS, GROUP_PREFIX

SAMPLES = 300  # round trips kept for each target: five minutes at one a second
OUTAGES = 50  # of one target

Listener = Callable[[Event | None], None]  # the event that changed it, or None after a poll of the hub


@dataclass
class Target(TargetModel):
    """One target. Instants are seconds of the steady clock (`steady.now_s`)."""

    round_trips_us: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    outages: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=OUTAGES))

    @property
    def state(self) -> str:
        """The state's word, `away` while it is not connected."""
        return self.info.state or "unknown" if self.info.connected else "away"

    @property
    def rank(self) -> int:
        """How much a person wants to see it where not all are seen: 0 before all others."""
        info = self.info
        if not info.connected:
            return 3
        if info.state == "fault" or info.last_error or info.rests_at:
            return 0
        return 2 if info.state in ("down", "") else 1

    def away_s(self, now_s: float) -> float:
        """Return how long it was away in all since this dashboard knows it."""
        return sum((end or now_s) - begin for begin, end in self.outages)


@dataclass(frozen=True)
class Overview:
    """All targets at a glance: `names` as people sort them, and `at` which place a name has there; `ranked`,
    those first that a person wants to see first, by `ranks`; how many of those that are here are in each of
    the `states`; who of each of the `groups`, connected or not; which are `up`, moving or in doubt, which
    `away`.
    """

    names: list[str]
    at: dict[str, int]
    ranked: list[str]
    ranks: dict[str, int]
    states: Counter[str]
    groups: dict[str, list[str]]
    up: list[str]
    away: list[str]

    @property
    def here(self) -> int:
        """How many are connected."""
        return len(self.names) - len(self.away)


class Model(RangeModel):
    """The model that the pages draw. Whoever changes it calls `changed` afterwards, and every listener is
    told.
    """

    targets: dict[str, Target]

    def __init__(self, hub: str) -> None:
        super().__init__({})
        self.hub = hub
        self.online = False
        self.since_s = 0.0  # since when it is as `online` says
        self.reason = ""  # why it is not
        self.is_refused = False  # it is not since the hub refuses this dashboard
        self.boot_id = ""
        self.is_open = False  # whoever reaches the hub commands it, with no key
        self.status: HubStatus | None = None
        self.status_at_s = 0.0  # time.monotonic() at `status`
        self.hub_round_trips_us: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self.hub_outages: deque[tuple[float, float | None]] = deque(maxlen=OUTAGES)
        self.games: list[GameInfo] | None = None  # None: this hub plays none
        self.archive_failure = ""
        self.history = ""  # where it is; empty before the first connection
        self._listeners: list[Listener] = []
        self._known: list[str] = []  # the names that `_names` has, in the hub's order
        self._names: list[str] = []
        self._keys: dict[str, list[tuple[int, str]]] = {}  # by which they are sorted
        self._overview: Overview | None = None
        self._is_overview_old = False

    # --- listeners

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change until the function that this returns is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def changed(self, event: Event | None = None) -> None:
        """Tell every listener. One that fails is logged and holds up no other."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:
                log_fault("a page could not be drawn", error)

    # --- the hub

    def hub_found(self, boot_id: str, now_s: float) -> None:
        if self.hub_outages and self.hub_outages[-1][1] is None:
            self.hub_outages[-1] = (self.hub_outages[-1][0], now_s)
        if boot_id != self.boot_id:
            self.targets = {}
            self._overview = None
        self.boot_id = boot_id
        self.online, self.since_s, self.reason, self.is_refused = True, now_s, "", False

    def hub_lost(self, reason: str, now_s: float, is_refused: bool = False) -> None:
        """Record that the hub is not there, or no more, or lets this dashboard in no more. What was known of
        its targets stays, to be shown as such.
        """
        if self.online or not self.since_s:
            self.since_s = now_s
            self.hub_outages.append((now_s, None))
        self.online, self.reason, self.is_refused = False, reason, is_refused

    def record_status(self, status: HubStatus, now_s: float, monotonic_s: float) -> None:
        self.status, self.status_at_s = status, monotonic_s
        self.hub_round_trips_us.append((now_s, status.round_trip_us))

    def hub_us(self, monotonic_s: float) -> int | None:
        """Return the hub's clock, counted on from its last word."""
        if self.status is None:
            return None
        return self.status.hub_us + round((monotonic_s - self.status_at_s) * 1e6)

    # --- targets

    def record_targets(self, found: list[TargetInfo], now_s: float) -> None:
        """Record the hub's whole list. Who is not on it any more is dropped."""
        self._overview = None
        known, self.targets = self.targets, {}
        for info in found:
            target = self.targets[info.target_id] = known.get(info.target_id) or Target(info)
            self._record_info(target, info, now_s)
            if info.connected and info.round_trip_us is not None:
                target.round_trips_us.append((now_s, info.round_trip_us))

    def _record_info(self, target: Target, info: TargetInfo, now_s: float) -> None:
        away = bool(target.outages) and target.outages[-1][1] is None
        if info.connected and away:
            target.outages[-1] = (target.outages[-1][0], now_s)
        elif not info.connected and not away:
            target.outages.append((now_s - info.seen_ms_ago / 1000, None))
        target.info = info

    def connected(self, selector: str) -> int:
        """Count those that a name, `group:NAME` or `all` means and that are here."""
        group = selector[len(GROUP_PREFIX) :] if selector.startswith(GROUP_PREFIX) else None
        return sum(
            target.info.connected and (selector in (ALL_TARGETS, name) or group in target.info.groups)
            for name, target in self.targets.items()
        )

    def overview(self) -> Overview:
        """Return what there is of all targets, as of the last `refresh` or list of the hub's. Not to be
        changed.
        """
        if self._overview is None:
            self._overview = self._look_over()
        return self._overview

    def refresh(self) -> None:
        """Have the overview found anew, if something has happened since. It takes 10 ms of 5,000 targets, so
        it is for many pages at a time.
        """
        if self._is_overview_old:
            self._overview, self._is_overview_old = None, False

    def _look_over(self) -> Overview:
        known = list(self.targets)
        if known != self._known:
            self._keys = {name: self._keys.get(name) or natural(name) for name in known}
            self._known, self._names = known, sorted(known, key=self._keys.__getitem__)
        states: Counter[str] = Counter()
        groups: dict[str, list[str]] = {}
        by_rank: tuple[list[str], ...] = ([], [], [], [])
        up: list[str] = []
        away: list[str] = []
        for name in self._names:
            target = self.targets[name]
            by_rank[target.rank].append(name)
            for group in target.info.groups:
                groups.setdefault(group, []).append(name)
            if not target.info.connected:
                away.append(name)
                continue
            states[target.state] += 1
            if target.state != "down":
                up.append(name)
        return Overview(
            names=self._names,
            at={name: at for at, name in enumerate(self._names)},
            ranked=[name for names in by_rank for name in names],
            ranks={name: rank for rank, names in enumerate(by_rank) for name in names},
            states=states,
            groups=dict(sorted(groups.items())),
            up=up,
            away=away,
        )

    def pick(
        self,
        found: list[str],
        shown: Iterable[str],
        most: int,
        is_found: Callable[[str], bool] = lambda name: True,
    ) -> list[str]:
        """Pick those of `found` (by rank) that are shown where not all can be, as people sort them. Of equals
        those stay that are `shown` already, and `is_found`: only what matters more moves a card.
        """
        picked = found
        if len(found) > most:
            ranks = self.overview().ranks
            last = ranks[found[most - 1]]
            picked = [name for name in found[:most] if ranks[name] < last]
            picked += [name for name in shown if ranks.get(name) == last and is_found(name)]
            stay = set(picked)
            more = (name for name in found if name not in stay)
            picked = [*picked, *islice(more, most)][:most]
        at = self.overview().at
        return sorted(picked, key=lambda name: at[name])

    # --- events

    def record_event(self, event: Event, now_s: float, *, is_news: bool) -> None:
        """Record an event; one that is no news happened before this dashboard was there, and changes only the
        game.
        """
        fold(self, event, now_s, is_news=is_news)
        self._is_overview_old = True
        target = self.targets.get(event.target_id)
        if target is not None:
            self._record_info(target, target.info, now_s)

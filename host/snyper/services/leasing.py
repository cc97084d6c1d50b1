"""Leases of the instances that a server serves: who has one for himself, and until when. Pure.

Instants are those of `time.monotonic`; `wall` says what people call one. A lease ends by itself, so none
outlives for long who took it.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from snyper.services.remote_exceptions import Busy, LeaseLost, Locked

MIN_LEASE_S = 0.5
MAX_LEASE_S = 86_400.0
MAX_WHY_CHARS = 200
MAX_LEASES = 1_000  # of a server at once
MAX_OF_OWNER = 16  # of them, as many as a call says that it relies on
_MAX_OVER = 1_000  # leases of which it is remembered how they ended
LOOK_S = 0.1  # between two calls of `expire`, while somebody has a lease
_STALL_S = 0.35  # between two of them: this process did not run


@dataclass(eq=False)
class Lease:
    """One lease. `owner` is the session that has it, `places` what it is of, `names` as that was asked
    for.
    """

    id: str
    owner: str
    who: str
    places: frozenset[object]
    names: tuple[str, ...]
    lease_s: float
    why: str
    since_s: float
    until_s: float


@dataclass
class _Over:
    """The end of a lease: by whom and why it was lost; None where it was given back."""

    places: frozenset[object]
    how: tuple[str, str] | None


def _since_the_epoch(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


class Leases:
    """The leases of one server. Several of one owner may be of the same place.

    `on_change` is called with a lease and what has become of it, in words.
    """

    def __init__(
        self,
        wall: Callable[[float], datetime] = _since_the_epoch,
        on_change: Callable[[Lease, str], None] = lambda lease, what: None,
    ) -> None:
        self._wall = wall
        self._on_change = on_change
        self.given: dict[tuple[str, str], Lease] = {}  # by their owners and ids
        self._over: OrderedDict[tuple[str, str], _Over] = OrderedDict()
        self._expired_s: float | None = None

    def grant(
        self,
        id: str,
        owner: str,
        who: str,
        places: Collection[object],
        names: Collection[str],
        lease_s: float,
        why: str,
        now_s: float,
    ) -> Lease:
        """Give `owner` a lease. One that is asked for again, by its id, is the same.

        Raises Locked where another has a place of it, LeaseLost for one that is over, Busy.
        """
        self.expire(now_s)
        if (owner, id) in self._over:
            raise self._lost(owner, id)
        self._check_others(places, owner)
        lease = self.given.get((owner, id))
        if lease is None:
            if len(self.given) >= MAX_LEASES:
                raise Busy(f"{MAX_LEASES:,} leases are out")
            if sum(one.owner == owner for one in self.given.values()) >= MAX_OF_OWNER:
                raise Busy(f"{who} has {MAX_OF_OWNER} leases")
            lease = Lease(id, owner, who, frozenset(places), tuple(names), lease_s, why, now_s, 0.0)
            self.given[owner, id] = lease
            self._on_change(lease, "taken" + (f": {why}" if why else ""))
        lease.until_s = now_s + lease_s
        return lease

    def renew(self, id: str, owner: str, now_s: float) -> None:
        """Let a lease last its time from now on. Raises LeaseLost for one that is over."""
        self.expire(now_s)
        lease = self.given.get((owner, id))
        if lease is None:
            raise self._lost(owner, id)
        lease.until_s = now_s + lease.lease_s

    def release(self, id: str, owner: str, now_s: float) -> None:
        """End a lease. Raises LeaseLost for one that has ended before its owner did so."""
        self.expire(now_s)
        over = self._over.get((owner, id))
        if over is not None and over.how is None:
            return  # asked again
        if (owner, id) not in self.given:
            raise self._lost(owner, id)
        self._end(self.given[owner, id], None)

    def break_all(self, places: Collection[object], by: str, why: str, now_s: float) -> list[Lease]:
        """End all leases of any of the places, whoever has them, and return them."""
        self.expire(now_s)
        broken = [lease for lease in self.given.values() if not lease.places.isdisjoint(places)]
        for lease in broken:
            self._end(lease, (by, why))
        return broken

    def check(
        self,
        places: Collection[object],
        owner: str,
        relied_on: Collection[str],
        now_s: float,
        is_open: bool = False,
    ) -> None:
        """Let `owner` go to the places now, relying on leases by their ids. With `is_open` those of others do
        not matter.

        Raises Locked; LeaseLost where one that is relied on is over, but for one that was given back: then
        another thread or task of the owner has done so meanwhile.
        """
        if not places:
            return
        self.expire(now_s)
        for id in relied_on:
            if (owner, id) in self.given:
                continue
            over = self._over.get((owner, id))
            if over is None or (over.how is not None and not over.places.isdisjoint(places)):
                raise self._lost(owner, id)
        if not is_open:
            self._check_others(places, owner)

    def describe(self, now_s: float) -> list[dict[str, object]]:
        """Describe the leases that there are, the oldest first."""
        self.expire(now_s)
        return [
            {
                "names": list(lease.names),
                "who": lease.who,
                "since": self._wall(lease.since_s),
                "until": self._wall(lease.until_s),
                "why": lease.why,
            }
            for lease in self.given.values()
        ]

    def expire(self, now_s: float) -> None:
        """End the leases whose time is over. To be called each LOOK_S while there are any.

        Time in which this process did not run is nobody's: who renewed meanwhile was not heard.
        """
        before_s, self._expired_s = self._expired_s, now_s
        if not self.given:
            return
        if before_s is not None and now_s - before_s > _STALL_S:
            for lease in self.given.values():
                lease.until_s += now_s - before_s
        for lease in [lease for lease in self.given.values() if lease.until_s <= now_s]:
            self._end(lease, ("", f"it was not renewed for {lease.lease_s:g} s"))

    # ---

    def _check_others(self, places: Collection[object], owner: str) -> None:
        for lease in self.given.values():
            if lease.owner != owner and not lease.places.isdisjoint(places):
                since, until = self._wall(lease.since_s), self._wall(lease.until_s)
                raise Locked(lease.who, since, until, lease.why)

    def _lost(self, owner: str, id: str) -> LeaseLost:
        over = self._over.get((owner, id))
        if over is None:
            return LeaseLost("", "the server does not know it, and may have been started anew")
        return LeaseLost(*(over.how or ("", "it was given back")))

    def _end(self, lease: Lease, how: tuple[str, str] | None) -> None:
        del self.given[lease.owner, lease.id]
        by, why = how or ("", "")
        if how is None:
            self._on_change(lease, "given back")
        else:
            self._on_change(lease, (f"broken by {by}" if by else "lost") + (f": {why}" if why else ""))
        self._over[lease.owner, lease.id] = _Over(lease.places, how)
        while len(self._over) > _MAX_OVER:
            self._over.popitem(last=False)

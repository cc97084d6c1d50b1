"""The instances that a call has to itself: those that each served name needs. Pure."""

from collections.abc import Collection, Iterable
from weakref import WeakValueDictionary

from snyper.services.desk import Needs, Station
from snyper.services.naming import key_of
from snyper.services.surface import GETTER, Member, Surface


class Stations:
    """The stations of what a Surface has.

    `urgent` names what needs none, `concurrent` what shares them, where an instance stands for all that it
    has, and `open_reads` what all may call while somebody has a lease, with True all properties. Names are
    with a prefix or without.

    Raises TypeError where `concurrent` is neither names nor instances.
    """

    def __init__(
        self,
        surface: Surface,
        urgent: Iterable[str] = (),
        concurrent: str | Collection[object] = (),
        open_reads: bool | Iterable[str] = False,
    ) -> None:
        if not isinstance(concurrent, str | list | tuple | set | frozenset):
            raise TypeError('concurrent takes names and instances in a tuple or a list: ("status", pm)')
        names = [concurrent] if isinstance(concurrent, str) else concurrent
        self._surface = surface
        self._urgent = _keys(urgent)
        self._concurrent = _keys(one for one in names if isinstance(one, str))
        self._concurrent_owners = [one for one in names if not isinstance(one, str)]
        self._open_reads = open_reads if isinstance(open_reads, bool) else _keys(open_reads)
        self._functions = Station("the functions")
        # Each as long as a call or a lease has it, so that an instance never has two.
        self._stations: WeakValueDictionary[int, Station] = WeakValueDictionary()
        self._needs: dict[Member, Needs] = {}

    def check(self) -> None:
        """Raise ValueError for an option that names what is not served."""
        served = {key for member in self._surface.members() for key in _keys_of(member)}
        options = ("urgent", self._urgent), ("concurrent", self._concurrent), ("open_reads", self._open_reads)
        for option, names in options:
            unknown = set() if isinstance(names, bool) else names - served
            if unknown:
                raise ValueError(f"{option}: nothing is served as {', '.join(sorted(unknown))}")
        for item in self._concurrent_owners:
            if not any(item is owner for owner in self._surface.owners()):
                raise ValueError(
                    f"concurrent: {type(item).__name__} is no name, and no instance that is served"
                )

    def change(self) -> None:
        """Take that the Surface has changed. Any thread may."""
        self._needs = {}

    def of(self, member: Member) -> Needs:
        """Return what a call needs."""
        known = self._needs
        needs = known.get(member)
        if needs is None:
            needs = known[member] = self._needs_of(member)
        return needs

    def named(self, names: Iterable[str]) -> set[Station]:
        """Return those that have such a prefix or a member of that name; all where no name is given. Raises
        NotServed.
        """
        members = [one for name in names for one in self._surface.find_all(name)]
        if names:
            return {station for member in members for station in self._held_by(member)}
        return {station for member in self._surface.members() for station in self._held_by(member)}

    # ---

    def _needs_of(self, member: Member) -> Needs:
        keys = _keys_of(member)
        is_urgent = not self._urgent.isdisjoint(keys)
        is_shared = not self._concurrent.isdisjoint(keys) or (
            any(member.owner is owner for owner in self._concurrent_owners)
        )
        if isinstance(self._open_reads, bool):
            is_open = self._open_reads and member.kind == GETTER
        else:
            is_open = not self._open_reads.isdisjoint(keys)
        return Needs(() if is_urgent else self._held_by(member), is_shared, is_open)

    def _held_by(self, member: Member) -> tuple[Station, ...]:
        if member.owner is not None:
            return (self._of_instance(member.owner),)
        if member.uses is not None:  # and itself: no function runs twice at a time unless told so
            used = {id(owner): owner for owner in member.uses}.values()
            return (self._station(member, member.title), *map(self._of_instance, used))
        return (self._functions, *map(self._of_instance, self._surface.owners()))

    def _of_instance(self, owner: object) -> Station:
        return self._station(owner, f"the {type(owner).__name__}")

    def _station(self, owner: object, name: str) -> Station:
        station = self._stations.get(id(owner))
        if station is None:
            station = self._stations[id(owner)] = Station(name, owner)
        return station


def _keys(names: Iterable[str]) -> set[str]:
    return {key_of(name) for name in ([names] if isinstance(names, str) else names)}


def _keys_of(member: Member) -> set[str]:
    """Return the names that mean it, with its prefix or without. A property's own means its reading."""
    names = [member.name]
    if member.attribute:
        verb = member.name.removesuffix(member.attribute)
        own = member.attribute.removeprefix(member.prefix)
        names += [verb + own, *([member.attribute, own] if member.kind == GETTER else [])]
    else:
        names.append(member.name.removeprefix(member.prefix))
    return {key_of(name) for name in names}

"""The instances that a call has to itself: those that each served name needs. Pure."""

from collections.abc import Iterable

from snyper.services.desk import Station
from snyper.services.naming import key_of
from snyper.services.surface import GETTER, Member, Surface


class Stations:
    """The stations of what a Surface has.

    `urgent` names what needs none, `open_reads` what all may call while somebody has a lease: with or without
    a prefix, or True for all properties.
    """

    def __init__(self, surface: Surface, urgent: Iterable[str], open_reads: bool | Iterable[str]) -> None:
        self._surface = surface
        self._urgent = _keys(urgent)
        self._open_reads = open_reads if isinstance(open_reads, bool) else _keys(open_reads)
        self._functions = Station("the functions")
        self._stations: dict[int, Station] = {}

    def check(self) -> None:
        """Raise ValueError for an option that names what is not served."""
        served = {key for member in self._surface.members() for key in _keys_of(member)}
        for option, names in (("urgent", self._urgent), ("open_reads", self._open_reads)):
            unknown = set() if isinstance(names, bool) else names - served
            if unknown:
                raise ValueError(f"{option}: nothing is served as {', '.join(sorted(unknown))}")

    def of(self, member: Member) -> tuple[Station, ...]:
        """Return what a call has to itself."""
        if self._urgent and not self._urgent.isdisjoint(_keys_of(member)):
            return ()
        return self._held_by(member)

    def named(self, names: Iterable[str]) -> set[Station]:
        """Return those that have such a prefix or a member of that name; all where no name is given. Raises
        NotServed.
        """
        members = [one for name in names for one in self._surface.find_all(name)] if names else [None]
        return {station for member in members for station in self._held_by(member)}

    def is_open(self, member: Member) -> bool:
        """Tell whether all may call it while somebody has a lease."""
        if isinstance(self._open_reads, bool):
            return self._open_reads and member.kind == GETTER
        return not self._open_reads.isdisjoint(_keys_of(member))

    # ---

    def _held_by(self, member: Member | None) -> tuple[Station, ...]:
        if member is not None and member.owner is not None:
            return (self._station(member.owner),)
        owners = self._surface.owners()
        return (self._functions, *(self._station(owner) for owner in owners))

    def _station(self, owner: object) -> Station:
        station = self._stations.get(id(owner))
        if station is None:
            station = self._stations[id(owner)] = Station(f"the {type(owner).__name__}")
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

"""The watches of a server: who is told the values of what, each the newest that there is. Pure.

An answer to a call, packed, is what watchers get: of its line all that follows `"data":{`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snyper.services.remote_exceptions import Busy
from snyper.services.surface import GETTER, Member
from snyper.services.wire import REFUSED, STREAMS, Pieces
from snyper.shared.socket_protocol import MessageType, SocketMessage, encode_json

MAX_PERIODS = 1_000  # of what is watched: each call looks through them
_DATA = b'"data":{'
_RETURNED = b'"status":"returned",'


@dataclass(eq=False)
class Watcher:
    """One who watches: the request `id` of a session, over the connection that `send` goes to."""

    id: str | int
    session: str
    send: Callable[[Pieces], None]
    is_new: bool = True  # it has been sent nothing
    is_behind: bool = False  # it has not said that it has the last one
    newest: Pieces | None = None  # for when it has

    def offer(self, pieces: Pieces) -> None:
        """Send it a value, now or when it has the one before, if none is newer by then."""
        self.is_new = False
        if self.is_behind:
            self.newest = pieces
        else:
            self.is_behind = True
            self.send(pieces)

    def taken(self) -> None:
        """Take that it has the last one."""
        self.is_behind = False
        newest, self.newest = self.newest, None
        if newest is not None:
            self.offer(newest)


class Watched:
    """Those who watch one thing in the same period; None for at each change."""

    def __init__(self, member: Member, every_s: float | None) -> None:
        self.member = member
        self.every_s = every_s
        self.watchers: dict[tuple[str, str | int], Watcher] = {}
        self.is_read = False  # now
        self.set_s = 0.0  # what was read before this instant may have been another value
        self._count = 0
        self._last: Pieces | None = None

    @property
    def has_value(self) -> bool:
        """Tell whether the last value is not older than the period."""
        return self.every_s is not None and self._last is not None

    def add(self, watcher: Watcher) -> None:
        """Tell one more from now on, and the last value at once if `has_value`."""
        self.watchers[watcher.session, watcher.id] = watcher
        watcher.send((SocketMessage(MessageType.ITEM, watcher.id, None, STREAMS).to_line(),))
        if self.has_value and self._last is not None:
            self._offer(watcher, self._last)

    def take(self, answer: Pieces) -> None:
        """Tell all the value that a call has returned. One that has raised ends the watches."""
        head, _, rest = bytes(answer[0]).partition(_DATA)
        value = (rest, *answer[1:])
        if not head.endswith(_RETURNED):
            status = b"raised" if REFUSED.encode() not in head else b"refused"
            for watcher in list(self.watchers.values()):  # one whose connection breaks at this leaves
                line = b'{"type":"reply","id":%s,"status":"%s",%s' % (encode_json(watcher.id), status, _DATA)
                watcher.send((line + rest, *answer[1:]))
            self.watchers.clear()
            return
        is_told = self.every_s is not None or value != self._last
        self._last = value
        self._count += is_told
        for watcher in list(self.watchers.values()):
            if is_told or watcher.is_new:
                self._offer(watcher, value)

    def _offer(self, watcher: Watcher, value: Pieces) -> None:
        line = b'{"type":"item","id":%s,%s"n":%d,' % (encode_json(watcher.id), _DATA, self._count)
        watcher.offer((line + bytes(value[0]), *value[1:]))


class Watches:
    """All that is watched on one server."""

    def __init__(self) -> None:
        self.watched: list[Watched] = []

    def find(self, member: Member, every_s: float | None) -> Watched:
        """Return the watches of a member in that period, new ones if there are none. Raises Busy."""
        for watched in self.watched:
            if watched.member is member and watched.every_s == every_s:
                return watched
        if every_s is not None and len(self.watched) >= MAX_PERIODS:
            raise Busy(f"{MAX_PERIODS:,} periods are watched")
        watched = Watched(member, every_s)
        self.watched.append(watched)
        return watched

    def count(self, session: str) -> int:
        """Count the watches of a session."""
        return sum(one == session for watched in self.watched for one, _ in watched.watchers)

    def of(self, member: Member) -> Iterator[Watched]:
        """Yield what is watched of the same name, or of the property that it sets."""
        for watched in self.watched:
            other = watched.member
            is_of_property = other.kind == GETTER and other.attribute == member.attribute
            if other is member or (is_of_property and other.owner is member.owner):
                yield watched

    def taken(self, session: str, id: str | int) -> None:
        """Take that a watcher has the last value."""
        for watched in self.watched:
            if (session, id) in watched.watchers:
                watched.watchers[session, id].taken()

    def leave(self, session: str, id: str | int | None = None) -> bool:
        """Tell a watcher no more, or all of a session; return whether there was one."""
        found = False
        for watched in self.watched:
            for key in [key for key in watched.watchers if key[0] == session and id in (None, key[1])]:
                del watched.watchers[key]
                found = True
        self.tidy()
        return found

    def tidy(self) -> None:
        """Forget what nobody watches."""
        self.watched = [watched for watched in self.watched if watched.watchers]

    def __iter__(self) -> Iterator[Watched]:
        return iter(self.watched)

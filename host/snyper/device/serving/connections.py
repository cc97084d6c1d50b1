"""Limit the connections of browsers: how many there may be, in all and of one address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable


class Connection:
    """A connection that was admitted. `waits_since_s` is since when its peer owes a request, or the rest of
    one; None while there is nothing that it owes. `abort` ends it.
    """

    def __init__(self, address: str, abort: Callable[[], object], now_s: float) -> None:
        self.address = address
        self.abort = abort
        self.waits_since_s: float | None = now_s


class Connections:
    """The connections that are open. One that is too many takes the place of the one that owes a request
    longest, of its own address where that has too many. So who sends nothing keeps nobody out.
    """

    def __init__(self, most: int, most_of_address: int) -> None:
        self.most = most
        self.most_of_address = most_of_address
        self._by_address: dict[str, list[Connection]] = defaultdict(list)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, connection: Connection) -> bool:
        """Take it in, whatever it costs another that owes a request. Return whether there was space."""
        of_address = self._by_address.get(connection.address, [])
        if len(of_address) >= self.most_of_address:
            victim = _longest_waiting(of_address)
        elif self._count >= self.most:
            victim = self.longest_waiting()
        else:
            self._add(connection)
            return True
        if victim is None:
            return False
        self.remove(victim)
        victim.abort()
        self._add(connection)
        return True

    def longest_waiting(self) -> Connection | None:
        """Return the one that owes a request longest, of the address that has most of them."""
        return max(
            filter(None, map(_longest_waiting, self._by_address.values())),
            key=lambda found: (len(self._by_address[found.address]), -(found.waits_since_s or 0.0)),
            default=None,
        )

    def remove(self, connection: Connection) -> None:
        """Take it out. May be called again."""
        of_address = self._by_address.get(connection.address, [])
        if connection in of_address:
            of_address.remove(connection)
            self._count -= 1
            if not of_address:
                del self._by_address[connection.address]

    def _add(self, connection: Connection) -> None:
        self._by_address[connection.address].append(connection)
        self._count += 1


def _longest_waiting(connections: list[Connection]) -> Connection | None:
    waiting = [one for one in connections if one.waits_since_s is not None]
    return min(waiting, key=lambda one: one.waits_since_s or 0.0, default=None)

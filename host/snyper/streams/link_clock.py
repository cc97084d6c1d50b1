"""The hub's clock over one link, for as long as somebody reads streams there."""

import asyncio
from weakref import WeakKeyDictionary

from snyper.shared.clock_sync import ClockSync
from snyper.shared.hub_clock import HubClock
from snyper.shared.link import Link
from snyper.shared.runtime import end_task

_clocks: "WeakKeyDictionary[Link, LinkClock]" = WeakKeyDictionary()


class LinkClock:
    """The clock of the hub at the other end of a link: measured while somebody holds it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._clock = HubClock()
        self._holders = 0
        self._task: asyncio.Task[None] | None = None

    @staticmethod
    def of(link: Link) -> "LinkClock":
        """Return the one clock of a link."""
        return _clocks.setdefault(link, LinkClock(link))

    def hold(self) -> None:
        """Begin to measure, if nobody has."""
        self._holders += 1
        if self._task is None:
            self._task = asyncio.create_task(ClockSync(self._clock).run(self._link))

    async def release(self) -> None:
        """Measure no more, if nobody else holds it."""
        self._holders -= 1
        if not self._holders and self._task is not None:
            task, self._task = self._task, None
            await end_task(task)

    @property
    def is_set(self) -> bool:
        """Return whether it is known."""
        return self._clock.is_set

    def hub_us(self, local_us: int) -> int:
        """Return the hub's clock at `local_us` of `now_us()`. Only while `is_set`."""
        return self._clock.hub_us(local_us)

"""Draw what has changed, view after view, so that nobody waits until all of them are drawn."""

import asyncio
from collections.abc import Callable

from snyper.dashboard.faults import log_fault
from snyper.system import steady

View = Callable[[], None]


class Painter:
    """Draws views that were marked, each once however often that was, and the one that waits longest first.
    Half of the time is left to the hub and to whoever clicks, whatever the number of views.
    """

    def __init__(self) -> None:
        self._marked: dict[View, None] = {}
        self._painting: asyncio.Task[None] | None = None

    def mark(self, view: View) -> None:
        """Have it drawn soon. One that fails is logged and holds up no other."""
        self._marked[view] = None
        if self._painting is None or self._painting.done():
            self._painting = asyncio.get_running_loop().create_task(self._paint())

    def unmark(self, view: View) -> None:
        """Draw it no more. May be called again."""
        self._marked.pop(view, None)

    async def _paint(self) -> None:
        while self._marked:
            view = next(iter(self._marked))
            del self._marked[view]
            began_s = steady.now_s()
            try:
                view()
            except Exception as error:
                log_fault("a page could not be drawn", error)
            await asyncio.sleep(steady.now_s() - began_s)

"""Draw what has changed, view after view, so that nobody waits until all of them are drawn."""

import asyncio
from collections.abc import Callable

from snyper.dashboard.faults import log_fault
from snyper.system import steady

CLICKED_S = 3.0  # after a click its page comes first

View = Callable[[], None]

_clicks: dict[str, float] = {}  # by page: when it was


def record_click(page_id: str) -> None:
    """Record that somebody has done something on a page, and waits for what comes of it."""
    now_s = steady.now_s()
    for page in [page for page, at_s in _clicks.items() if now_s - at_s > CLICKED_S]:
        del _clicks[page]
    _clicks[page_id] = now_s


class Painter:
    """Draws views that were marked, each once however often that was: first those of pages that somebody
    uses, then the one that waits longest. Half of the time is left to the hub, whatever their number.
    """

    def __init__(self) -> None:
        self._marked: dict[View, str] = {}
        self._painting: asyncio.Task[None] | None = None

    def mark(self, view: View, page_id: str) -> None:
        """Have a page's view drawn soon. One that fails is logged and holds up no other."""
        self._marked.setdefault(view, page_id)
        if self._painting is None or self._painting.done():
            self._painting = asyncio.get_running_loop().create_task(self._paint())

    def unmark(self, view: View) -> None:
        """Draw it no more. May be called again."""
        self._marked.pop(view, None)

    async def _paint(self) -> None:
        while self._marked:
            view = next((view for view, page in self._marked.items() if page in _clicks), None)
            view = view or next(iter(self._marked))
            del self._marked[view]
            began_s = steady.now_s()
            try:
                view()
            except Exception as error:
                log_fault("a page could not be drawn", error)
            await asyncio.sleep(steady.now_s() - began_s)

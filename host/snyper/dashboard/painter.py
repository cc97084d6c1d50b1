"""Draw what has changed, view after view, so that nobody waits until all of them are drawn."""

import asyncio
from collections.abc import Callable

from snyper.dashboard.faults import log_fault
from snyper.system import steady

CLICKED_S = 3.0  # after a click its page comes first
ROUND_S = 0.1  # between two drawings of a view: nobody sees more

View = Callable[[], None]

_clicks: dict[str, float] = {}  # by page: when it was


def record_click(page_id: str) -> None:
    """Record that somebody has done something on a page, and waits for what comes of it."""
    now_s = steady.now_s()
    for page in [page for page, at_s in _clicks.items() if now_s - at_s > CLICKED_S]:
        del _clicks[page]
    _clicks[page_id] = now_s


class Painter:
    """Draws views that were marked, each once a round however often that was: first those of pages that
    somebody uses, then the one that waits longest. Half of the time is left to the hub.
    """

    def __init__(self, refresh: Callable[[], None]) -> None:
        """`refresh` is called before each round."""
        self._refresh = refresh
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
            ends_s = steady.now_s() + ROUND_S
            due, self._marked = self._marked, {}
            self._draw(self._refresh)
            while due:
                view = next((view for view, page in due.items() if page in _clicks), None) or next(iter(due))
                del due[view]
                await asyncio.sleep(self._draw(view))
                if steady.now_s() > ends_s:
                    break
            self._marked = {**due, **self._marked}
            await asyncio.sleep(max(0.0, ends_s - steady.now_s()))

    def _draw(self, view: View) -> float:
        """Draw a view; return how many seconds that took."""
        began_s = steady.now_s()
        try:
            view()
        except Exception as error:
            log_fault("a page could not be drawn", error)
        return steady.now_s() - began_s

"""A plot in a window of its own."""

import logging
from collections.abc import Callable
from typing import Any

from snyper.cli.stream_picture import DPI, SIZE_INCHES, draw
from snyper.streams.plot import Plot
from snyper.system.text import harmless

_USED = frozenset("cfghkloprqsv")  # by the window itself


def is_possible() -> bool:
    """Return whether a window can be opened here: there is a screen, and what draws on it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib import pyplot

    try:
        figure = pyplot.figure()
    except ImportError:
        return False
    framework = type(figure.canvas).required_interactive_framework
    pyplot.close(figure)
    return framework is not None


class StreamWindow:
    """The window. It lives in the thread that made it."""

    def __init__(self, plot: Plot) -> None:
        from matplotlib import pyplot

        self._plot = plot
        self._figure = pyplot.figure(
            num=harmless(plot.name), figsize=SIZE_INCHES, dpi=DPI * 2 / 3, layout="constrained"
        )
        self._is_open = True
        self._is_shown = False
        self.on_key: Callable[[str], object] | None = None  # is called with a letter or digit
        self._figure.canvas.mpl_connect("close_event", self._on_close)
        self._figure.canvas.mpl_connect("key_press_event", self._on_press)

    def _on_press(self, event: Any) -> None:
        key = event.key or ""
        if self.on_key is not None and len(key) == 1 and key.isalnum() and key not in _USED:
            self.on_key(key)

    def _on_close(self, _: Any) -> None:
        self._is_open = False

    def draw(self) -> bool:
        """Show what there is now, and attend to the window; False once somebody has closed it."""
        draw(self._figure, self._plot)
        if not self._is_shown:  # by now Ctrl-C ends whoever draws
            from matplotlib import pyplot

            pyplot.show(block=False)
            self._is_shown = True
        self._figure.canvas.draw_idle()
        return self.attend()

    def attend(self) -> bool:
        """Attend to the window, which shows what it did; False once somebody has closed it."""
        flush: Callable[[], None] = self._figure.canvas.flush_events
        flush()
        return self._is_open

    def close(self) -> None:
        """Close the window."""
        from matplotlib import pyplot

        pyplot.close(self._figure)

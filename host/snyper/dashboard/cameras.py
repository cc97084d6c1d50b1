"""The element of the page of cameras: the wall, the records, and one of them large."""

from collections.abc import Callable
from typing import Any

from nicegui.element import Element

from snyper.dashboard import drawings

_ICONS = ("cameras", "close", "download", "earlier", "find", "later", "lock", "lost", "open_lock", "sleep")


class CamerasElement(Element, component="cameras.js"):
    """The wall and the records, as `send` gives them. `on_act` is told of what somebody does, and of each
    frame that is drawn: an object of the browser's, in which anything may be.
    """

    def __init__(self, on_act: Callable[[Any], Any]) -> None:
        super().__init__()
        self.classes("cameras")
        self._props["pictures"] = {name: drawings.icon(name) for name in _ICONS}
        self.on("act", on_act)

    def send(self, frame: dict[str, Any]) -> None:
        """Have a frame drawn, and acknowledged once it was."""
        self.run_method("take", frame)

"""The cards of a page, all of them one element: a change of one costs that one, however many there are."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element

from snyper.dashboard import drawings
from snyper.system.text import harmless

Face = dict[str, Any]  # what a card shows: JSON, with its target's `name`
_ICONS = ("lay", "stand", "activate", "identify", "groups", "close", "help", "lost", "log")
PICTURES = {"target": drawings.TARGET, **{name: drawings.icon(name) for name in _ICONS}}


class Cards(Element, component="cards.js"):
    """Cards of one kind (`range`, `health`). `on_act` is told what somebody does with one: an object of the
    browser's, in which anything may be.
    """

    def __init__(self, kind: str, on_act: Callable[[Any], Any]) -> None:
        super().__init__()
        self.classes(f"cards {kind}")
        self._faces: dict[str, Face] | None = None
        self._props.update({"kind": kind, "pictures": PICTURES})
        self.on("act", on_act)

    def show(self, faces: Sequence[Face]) -> None:
        """Show a card for each of the faces, in their order; the browser is told of those that are others."""
        faces = [_harmless(face) for face in faces]
        before, self._faces = self._faces, {face["name"]: face for face in faces}
        if before is None:  # they go with the page
            return
        changed = [face for face in faces if before.get(face["name"]) != face]
        names = list(self._faces)
        is_moved = names != list(before)
        if changed or is_moved:
            self.run_method("show", changed, names if is_moved else None)

    def _to_dict(self) -> dict[str, Any]:
        """Return all of it, for a browser that opens the page; a property that was set would be sent anew."""
        whole = super()._to_dict()
        return {**whole, "props": {**whole["props"], "cards": list((self._faces or {}).values())}}


def _harmless(value: Any) -> Any:
    """Return JSON whose texts neither turn nor hide what is around them."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {name: _harmless(item) for name, item in value.items()}
    return [_harmless(item) for item in value] if isinstance(value, list) else value

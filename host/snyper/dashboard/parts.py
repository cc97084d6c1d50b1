"""What the pages are made of: semantic elements, buttons, notices. Styled by theme.css."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from nicegui import Client, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from snyper.client import Event, Hub, TargetResult
from snyper.dashboard import drawings
from snyper.dashboard.keeper import Keeper
from snyper.output import harmless
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

T = TypeVar("T")
Handler = Callable[[], Awaitable[None] | None]

# What a person can do about an error, by its code.
_ADVICE = {
    ErrorCode.BUSY: "It is in the middle of something: wait for it, or lay it down first.",
    ErrorCode.DISCONNECTED: "It was lost before it answered. Check its power and its Wi-Fi.",
    ErrorCode.TIMEOUT: "It did not answer in time. Check its power, its servo and its Wi-Fi.",
    ErrorCode.UNKNOWN_TYPE: "Its firmware does not know this yet. Put the current one on it: snyper deploy.",
    ErrorCode.UNKNOWN_TARGET: "No such target is connected. Switch one on, or choose another group.",
    ErrorCode.UNAUTHORIZED: "The hub wants a key: start the dashboard with SNYPER_KEY set.",
    ErrorCode.UNSUPPORTED: "This board cannot do that.",
    ErrorCode.EXPIRED: "It came too late to be carried out. Try again.",
}


def text(tag: str, words: str = "", classes: str = "") -> TextElement:
    """An element with nothing but text in it, of which nothing turns or hides what is around it."""
    return TextElement(tag=tag, text=harmless(words)).classes(classes)


def box(tag: str = "div", classes: str = "") -> Element:
    """An element for others, to be used in a `with`."""
    return ui.element(tag).classes(classes)


def svg(drawing: str, classes: str = "") -> ui.html:
    """A drawing of our own. Nothing that came over the wire may be in it unescaped."""
    return ui.html(drawing, sanitize=False, tag="span").classes(classes)


class Button(Element):
    """A native button with an icon, words, or both. While its work is under way it takes no second click."""

    def __init__(self, words: str, work: Handler, icon: str = "", kind: str = "", label: str = "") -> None:
        super().__init__("button")
        self.props("type=button")
        self.classes(f"button {kind}")
        if label or not words:
            self._props["aria-label"] = label or words
            if not words:
                self._props["title"] = label
        with self:
            if icon:
                svg(drawings.icon(icon))
            self.words = text("span", words) if words else None
        self._work = work
        self._busy = False
        self.on("click", self._click, [])

    async def _click(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            result = self._work()
            if result is not None:
                self.props("aria-busy=true")
                await result
        finally:
            self._busy = False
            if not self.is_deleted:
                self.props(remove="aria-busy")

    def set_enabled(self, enabled: bool) -> None:
        if ("disabled" in self._props) == enabled:
            self.props(remove="disabled") if enabled else self.props("disabled")


def set_prop(element: Element, name: str, value: str) -> None:
    """Sets an attribute, and tells the browser only if it is another."""
    if element._props.get(name) != value:
        element._props[name] = value
        element.update()


def set_text(element: TextElement, words: str) -> None:
    words = harmless(words)
    if element.text != words:
        element.set_text(words)


def notice(client: Client, words: str, advice: str = "", *, good: bool = False) -> None:
    """Says something at the edge of the page: what happened, and what to do about it."""
    if client.is_deleted:
        return
    with client.layout:
        ui.notify(
            harmless(words),
            caption=harmless(advice) or None,
            position="bottom",
            timeout=3_000 if good else 9_000,
            close_button=False if good else "Close",
            progress=not good,
            classes="notice good" if good else "notice bad",
            attrs={"role": "status" if good else "alert"},
        )


def notice_error(client: Client, what: str, error: ProtocolError) -> None:
    notice(client, f"{what}: {error.message or error.code}", _ADVICE.get(error.code, ""))


async def ask(
    keeper: Keeper, client: Client, what: str, work: Callable[[Hub], Coroutine[Any, Any, T]]
) -> T | None:
    """What the hub answers, or None after a notice that says why not."""
    try:
        return await keeper.do(work)
    except ProtocolError as error:
        notice_error(client, what, error)
        return None


async def command(
    keeper: Keeper,
    client: Client,
    what: str,
    work: Callable[[Hub], Coroutine[Any, Any, list[TargetResult]]],
) -> bool:
    """Commands targets; whoever did not carry it out is named in a notice."""
    results = await ask(keeper, client, what, work)
    if results is None:
        return False
    failed = [result for result in results if not result.ok]
    for code in dict.fromkeys(result.code for result in failed):
        same = [result for result in failed if result.code == code]
        names = ", ".join(result.target_id for result in same[:4])
        names += f" and {len(same) - 4} more" if len(same) > 4 else ""
        notice(client, f"{what}: {names}: {same[0].message or code}", _ADVICE.get(code, ""))
    return not failed


def keep_drawn(keeper: Keeper, owner: Element, draw: Callable[[Event | None], None]) -> None:
    """Draws now and after each change of the model, for as long as `owner` is on the page."""

    def listener(event: Event | None) -> None:
        if owner.is_deleted or owner.client.is_deleted:
            stop()
        else:
            with owner:
                draw(event)

    stop = keeper.model.listen(listener)
    with owner:
        draw(None)


async def answer(dialog: ui.dialog) -> Any:
    """Opens the dialog, waits for what is submitted (None: nothing was), and takes it off the page."""
    result = await dialog
    if not dialog.is_deleted and not dialog.client.is_deleted:
        dialog.delete()
    return result


def clock_time(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def duration(seconds: float) -> str:
    """In the one or two units that matter: 7 s, 3 min, 5 h 12 min, 2 d 3 h."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def milliseconds(microseconds: int | None, unknown: str = "–") -> str:
    """In milliseconds with as many digits as say something."""
    if microseconds is None:
        return unknown
    value = microseconds / 1000
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def joined(words: Iterable[str]) -> str:
    """a, b and c"""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last

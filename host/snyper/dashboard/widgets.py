"""Widgets of which the pages are made: semantic elements, buttons, notices. Styled by theme.css."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from nicegui import Client, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from snyper.client import Event, HubClient, TargetError, TargetResult
from snyper.client.labels import duration as duration, plural as plural, state_word
from snyper.dashboard import drawings
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Target
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.text import harmless

T = TypeVar("T")
E = TypeVar("E", bound=Element)
Handler = Callable[[], Awaitable[None] | None]

HUB_LOST = "The hub is lost"
NOT_HERE = "It is away"

# What a person can do about an error of a target, by its code.
_ADVICE = {
    ErrorCode.BUSY: "It is in the middle of something: wait for it, or lay it down first.",
    ErrorCode.DISCONNECTED: "It was lost before it answered. Check its power and its Wi-Fi.",
    ErrorCode.TIMEOUT: "It did not answer in time. Check its power, its servo and its Wi-Fi.",
    ErrorCode.UNKNOWN_TYPE: "Its firmware does not know this yet. Put the current one on it: snyper deploy.",
    ErrorCode.UNKNOWN_TARGET: "No such target is connected. Switch one on, or choose another group.",
    ErrorCode.UNAUTHORIZED: "The dashboard's key does not allow it: start it with another (SNYPER_KEY_FILE).",
    ErrorCode.UNSUPPORTED: "This board cannot do that.",
    ErrorCode.EXPIRED: "It came too late to be carried out. Try again.",
    ErrorCode.CEASE_FIRE: "Look at the range. Then release the cease fire, above.",
}
# The same for an error of the hub, when it was asked about games.
GAME_ADVICE = {
    ErrorCode.BUSY: "Wait until that one is over, or stop it.",
    ErrorCode.TIMEOUT: "The hub did not answer in time. Look whether the game runs.",
    ErrorCode.UNKNOWN_TYPE: "This hub plays no games. Put the current firmware on it: snyper deploy.",
    ErrorCode.UNKNOWN_TARGET: "Switch more targets on, or choose others.",
    ErrorCode.UNAUTHORIZED: _ADVICE[ErrorCode.UNAUTHORIZED],
    ErrorCode.CEASE_FIRE: _ADVICE[ErrorCode.CEASE_FIRE],
}


def text(tag: str, words: str = "", classes: str = "") -> TextElement:
    """Build an element with nothing but text in it, of which nothing turns or hides what is around it."""
    return TextElement(tag=tag, text=harmless(words)).classes(classes)


def box(tag: str = "div", classes: str = "") -> Element:
    """Build an element for others, to be used in a `with`."""
    return ui.element(tag).classes(classes)


def svg(drawing: str, classes: str = "") -> ui.html:
    """Build an element with a drawing of our own. Nothing that came over the wire may be in it unescaped."""
    return ui.html(drawing, sanitize=False, tag="span").classes(classes)


class Button(Element):
    """A native button with an icon, words, or both. While its work is under way it takes no second click."""

    def __init__(self, words: str, work: Handler, icon: str = "", kind: str = "", label: str = "") -> None:
        super().__init__("button")
        self.props("type=button")
        self.classes(f"button {kind}")
        self._title = "" if words else label
        if label or not words:
            attributes(self, aria_label=label or words)
        if self._title:
            attributes(self, title=self._title)
        with self:
            if icon:
                svg(drawings.icon(icon))
            self.words = text("span", words) if words else None
        self._work = work
        self._busy = False
        self._obstacle = ""
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

    def bar(self, obstacle: str) -> None:
        """Switch it off, saying why; on again where nothing is in the way."""
        if obstacle == self._obstacle:
            return
        self._obstacle = obstacle
        self._props["disabled"] = bool(obstacle)
        for name, value in (("title", obstacle or self._title), ("aria-description", obstacle)):
            if value:
                self._props[name] = harmless(value)
            else:
                self._props.pop(name, None)
        self.update()

    def set_words(self, words: str) -> None:
        if self.words is not None:
            set_text(self.words, words)


def attributes(element: E, **values: str) -> E:
    """Set attributes of an element that is being built (`aria_label` is `aria-label`). A value is text,
    whatever is in it; NiceGUI's own `props` would parse it.
    """
    for name, value in values.items():
        element._props[name.replace("_", "-")] = harmless(value)
    return element


def set_prop(element: Element, name: str, value: str) -> None:
    """Set an attribute, and tell the browser only if it is another."""
    value = harmless(value)
    if element._props.get(name) != value:
        element._props[name] = value
        element.update()


def set_text(element: TextElement, words: str) -> None:
    words = harmless(words)
    if element.text != words:
        element.set_text(words)


def notice(client: Client, words: str, advice: str = "", *, good: bool = False) -> None:
    """Say something at the edge of the page: what happened, and what to do about it."""
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


def notice_error(
    client: Client, what: str, error: ProtocolError, advice: Mapping[str, str] = _ADVICE
) -> None:
    notice(client, f"{what}: {error.message or error.code}", advice.get(error.code, ""))


async def ask(
    feed: HubFeed,
    client: Client,
    what: str,
    work: Callable[[HubClient], Coroutine[Any, Any, T]],
    advice: Mapping[str, str] = _ADVICE,
) -> T | None:
    """Return what the hub answers, or None after a notice that says why not, with `advice` by the error's
    code.
    """
    try:
        return await work(feed.hub)
    except ProtocolError as error:
        if error.code == ErrorCode.DISCONNECTED and not isinstance(error, TargetError):
            notice(client, f"{what}: {HUB_LOST.lower()}", "This page goes on as soon as it is back.")
        else:
            notice_error(client, what, error, advice)
        return None


async def command(
    feed: HubFeed,
    client: Client,
    what: str,
    work: Callable[[HubClient], Coroutine[Any, Any, list[TargetResult]]],
) -> bool:
    """Command targets; whoever did not carry it out is named in a notice."""
    results = await ask(feed, client, what, work)
    if results is None:
        return False
    failed = [result for result in results if not result.ok]
    for code in dict.fromkeys(result.code for result in failed):
        same = [result for result in failed if result.code == code]
        names = ", ".join(result.target_id for result in same[:4])
        names += f" and {len(same) - 4} more" if len(same) > 4 else ""
        notice(client, f"{what}: {names}: {same[0].message or code}", _ADVICE.get(code, ""))
    return not failed


def keep_drawn(
    feed: HubFeed,
    owner: Element,
    draw: Callable[[], None],
    on_event: Callable[[Event], None] | None = None,
) -> Callable[[], None]:
    """Draw now, and soon after changes of the model, for as long as `owner` is on the page. `on_event` is
    told of each event at once. Return what has it drawn again soon.
    """

    def view() -> None:
        if not (owner.is_deleted or owner.client.is_deleted):
            with owner:
                draw()

    def listener(event: Event | None) -> None:
        if owner.is_deleted or owner.client.is_deleted:
            stop()
            feed.painter.unmark(view)
            return
        if event is not None and on_event is not None:
            on_event(event)
        if owner.client.has_socket_connection:  # else nobody sees it, until it connects
            feed.painter.mark(view, owner.client.id)

    def again() -> None:
        feed.painter.mark(view, owner.client.id)

    owner.client.on_connect(again)
    stop = feed.model.listen(listener)
    with owner:
        draw()
    return again


async def answer(dialog: ui.dialog) -> Any:
    """Open the dialog, wait for what is submitted (None: nothing was), and take it off the page."""
    result = await dialog
    if not dialog.is_deleted and not dialog.client.is_deleted:
        dialog.delete()
    return result


def shown_state(target: Target, online: bool) -> str:
    """Return the target's state in the word that it has on every screen. Without a hub nobody knows it."""
    return state_word(target.state) if online else "not known"


def clock_time(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def milliseconds(microseconds: int | None, unknown: str = "–") -> str:
    """Format in milliseconds with as many digits as say something."""
    if microseconds is None:
        return unknown
    value = microseconds / 1000
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def shown_of(shown: int, count: int, word: str) -> str:
    """Say how many a list shows where it does not show everything; empty where it does."""
    return f"{shown:,} of {plural(count, word)}" if shown < count else ""


def joined(words: Iterable[str]) -> str:
    """Join words as people do: a, b and c"""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last

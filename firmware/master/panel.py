"""The hub board's front panel: a small screen and two buttons, either or both.

`choose` steps through the games; held for a second it calls a cease fire, whatever is played. `start` plays
the one that is chosen, with its defaults; held for a second it stops the one that is played. When a game is
over its scores stay until a button is pressed. Both held for three seconds release a cease fire; where there
is but one, that held for five.
"""

import asyncio

from snyper.firmware.master import peripherals, screen
from snyper.firmware.master.buttons import HELD, PRESSED, Button
from snyper.shared.clock import now_ms, now_us
from snyper.shared.log import log, log_exception
from snyper.shared.runtime import sleep_ms, unload
from snyper.shared.socket_protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.firmware.master.server import Hub

_BY = "the hub board"  # its buttons
TICK_MS = 20  # the buttons are sampled, and at most one page is sent, which takes 3 ms
_DRAW_TICKS = 10  # until the picture is drawn again where nothing happens: a countdown passes
_BEAT_TICKS = 25  # until the heartbeat's dot changes
_SET_UP_TICKS = 250  # until the screen is set up again: it may have been without power in between
_WORDS_TICKS = 150  # for which a message for the person at the buttons stays
_RELEASE_MS = (5_000, 3_000)  # for which one button, or both, are held
_RELEASE = ("release: hold 5s", "release: both 3s")
_READY = 0
_NOT_READY = -1  # to release: who calls a cease fire lets go of the buttons first
_REST_MS = 5_000
_MAX_REST_MS = 3_600_000  # each is a write to the flash


class Panel:
    """The front panel. `config` is the hub board's. A screen that does not answer is tried again every 5 s,
    and so is one that does: it may have lost its settings with its power. Pins that there are not are said in
    the log.
    """

    def __init__(self, config: "dict[str, Any]", hub: "Hub") -> None:
        self._hub = hub
        self._ssid: str = config["access_point"]["ssid"]
        self._names = hub.games.names()
        self._chosen = 0
        self._shown_game = ""  # the id of the game whose end a button has taken off the screen
        self._words = ""
        self._words_until = 0
        self._ticks = 0
        self._draw_at = 0  # of `_ticks`
        self._picture: "tuple[Any, ...]" = ()
        self._is_lost = False
        self._display: "Any" = None
        self._can_stop = False
        self._task: "asyncio.Task[Any] | None" = None  # of what was held last
        self._all_ms = _NOT_READY  # since when all buttons are down, or one of the two above
        self._buttons: "list[tuple[Button, Callable[[], bool], Callable[[str], None]]]" = []
        self._add_button(config["buttons"]["choose_pin"], self._on_choose)
        self._add_button(config["buttons"]["start_pin"], self._on_start)
        if config["screen"]["driver"] != "none":
            self._open_screen(config["screen"])
            hub.router.events.listen(self._draw_soon)

    async def run(self) -> None:
        """Run the panel for ever. A defect is logged and rests the panel, longer each time; the hub goes
        on.
        """
        rest_ms = _REST_MS
        while True:
            try:
                self._tick()
            except Exception as error:
                log_exception("panel", error)
                await sleep_ms(rest_ms)
                rest_ms = min(2 * rest_ms, _MAX_REST_MS)
            await sleep_ms(TICK_MS)

    def _open_screen(self, config: "dict[str, Any]") -> None:
        from snyper.firmware.master.ssd1306 import SSD1306_I2C

        try:
            bus = peripherals.screen_bus(config)
        except ValueError as error:
            log("panel", "no screen: %s; see `screen` in config.json" % error)
            return
        self._display = SSD1306_I2C(screen.WIDTH, screen.HEIGHT, bus, config["address"])

    def _add_button(self, pin: "int | str", on_event: "Callable[[str], None]") -> None:
        if pin == "":
            return
        try:
            self._buttons.append((Button(), peripherals.button(pin), on_event))
        except ValueError as error:
            log("panel", "no button: %s; see `buttons` in config.json" % error)

    def _tick(self) -> None:
        ms = now_ms()
        for button, is_down, on_event in self._buttons:
            event = button.sample(is_down(), ms)
            if event:
                on_event(event)
                self._draw_soon()
        if self._hub.router.cease_fire is not None:
            self._watch_release(ms)
        else:
            self._all_ms = _NOT_READY  # also where somebody else has released it in between
        if self._display is not None:
            if self._ticks >= self._draw_at:
                self._draw_at = self._ticks + _DRAW_TICKS
                self._draw()
            self._send()
        self._ticks += 1

    def _draw_soon(self, *event: object) -> None:
        """Draw at the next tick: something has happened."""
        self._draw_at = 0

    def _draw(self) -> None:
        """Draw what has changed."""
        picture = self._scene()
        if picture != self._picture:
            self._picture = picture
            picture[0](self._display, *picture[1:])
        screen.draw_heartbeat(self._display, self._ticks // _BEAT_TICKS % 2 == 0)

    def _send(self) -> None:
        """Send a page, or set the screen up."""
        try:
            if self._ticks % _SET_UP_TICKS == 0:
                self._display.init_display()
                if self._is_lost:
                    log("panel", "the screen is back")
                    self._is_lost = False
            elif not self._is_lost:
                self._display.show_changed()
        except OSError as error:
            if not self._is_lost:
                log("panel", "the screen does not answer (%r): see its wires and `screen.address`" % error)
                self._is_lost = True

    def _scene(self) -> "tuple[Any, ...]":
        """Return what is to be shown: one of the functions of `screen`, and its arguments."""
        state: "dict[str, Any]" = self._hub.games.state()
        latch = self._hub.router.cease_fire
        if latch is not None:
            why = self._words if self._ticks < self._words_until else latch.why
            return screen.draw_safe, latch.by, why, _age(latch.since_ms), self._release_words()
        released = ("", "")
        if self._hub.released is not None:
            released = self._hub.released[0], _age(self._hub.released[1])
        if self._words:
            if self._ticks < self._words_until:
                return screen.draw_words, released, self._names[self._chosen], self._words
            self._words = ""
        if state["status"] == "running":
            what = (released, state["game"], state["targets"])
            wait_us = state["starts_at_us"] - now_us()
            if wait_us > 0:
                return (screen.draw_countdown,) + what + ((wait_us + 999_999) // 1_000_000,)
            return (
                (screen.draw_game,) + what + _scores(state) + (state["turn"], state["done"], state["total"])
            )
        if state["status"] == "over" and state["game_id"] != self._shown_game:
            return (screen.draw_over, released, state["game"]) + _scores(state) + (state["reason"],)
        registry = self._hub.router.registry
        targets = registry.entries()
        if not registry.connected():
            return screen.draw_empty, released, self._ssid
        states = tuple([entry.state or "down" if entry.link is not None else "" for entry in targets])
        place = "%d/%d" % (self._chosen + 1, len(self._names)) if self._buttons else ""
        game = self._names[self._chosen] if self._buttons else ""
        return screen.draw_menu, released, states, registry.max_targets, game, place

    def _release_words(self) -> str:
        """Return how the buttons release a cease fire, or for how long they are still to be held."""
        count = len(self._buttons)
        if not count:
            return ""
        if self._all_ms <= _READY:
            return _RELEASE[count - 1]
        left_ms = self._all_ms + _RELEASE_MS[count - 1] - now_ms()
        return "release in %d s" % ((left_ms + 999) // 1000)

    def _watch_release(self, ms: int) -> None:
        """Release the cease fire once all buttons were held long enough, and none was before."""
        down = len([button for button, _, _ in self._buttons if button.is_down])
        if down == 0:
            self._all_ms = _READY
        elif down < len(self._buttons):
            if self._all_ms > _READY:
                self._all_ms = _NOT_READY
        elif self._all_ms == _READY:
            self._all_ms = ms
        elif self._all_ms > _READY and ms - self._all_ms >= _RELEASE_MS[down - 1]:
            self._all_ms = _NOT_READY
            self._task = asyncio.create_task(self._release())

    async def _call_cease_fire(self) -> None:
        self._hub.games.halt()
        while True:
            try:
                from snyper.firmware.master.console_requests import call_cease_fire

                break
            except MemoryError:  # the game gives its own back
                await sleep_ms(TICK_MS)
        unload("snyper.firmware.master.console_requests")
        await call_cease_fire(self._hub, {"by": _BY}, "")

    async def _release(self) -> None:
        latch = self._hub.router.cease_fire
        if latch is not None:
            try:
                await latch.release(_BY)
                unload("snyper.firmware.master.cease_fire")
            except ProtocolError as error:
                log("panel", "not released: %s" % error)
                self._say(error.message)

    def _on_choose(self, event: str) -> None:
        if event == HELD and self._all_ms <= _READY:
            self._all_ms = _NOT_READY
            self._task = asyncio.create_task(self._call_cease_fire())
            return
        is_running = self._hub.games.state()["status"] == "running"
        if event != PRESSED or is_running or self._hub.router.cease_fire is not None:
            return
        if not self._leave_scores():
            self._chosen = (self._chosen + 1) % len(self._names)

    def _on_start(self, event: str) -> None:
        is_running = self._hub.games.state()["status"] == "running"
        if self._hub.router.cease_fire is not None:
            return
        if event == PRESSED:
            self._can_stop = is_running  # else who holds the button a little long stops what it has started
            if not is_running:
                self._leave_scores()
                self._start()
        elif event == HELD and is_running and self._can_stop:
            log("panel", "the game is stopped by the button")
            self._task = asyncio.create_task(self._hub.games.stop())

    def _start(self) -> None:
        try:
            self._hub.games.start(self._names[self._chosen])
            return
        except ProtocolError as error:
            why = error.message
        log("panel", "%s does not start: %s" % (self._names[self._chosen], why))
        self._say(why)

    def _say(self, words: str) -> None:
        self._words = words
        self._words_until = self._ticks + _WORDS_TICKS

    def _leave_scores(self) -> bool:
        """Take a message, or the scores of a game that is over, off the screen. Returns False where there was
        none.
        """
        state = self._hub.games.state()
        if self._words:
            self._words = ""
            return True
        if state["status"] != "over" or state["game_id"] == self._shown_game:
            return False
        self._shown_game = str(state["game_id"])
        return True


def _age(since_ms: int) -> str:
    """Format how long ago that was, so that it is short and seldom changes."""
    seconds = (now_ms() - since_ms) // 1000
    if seconds < 60:
        return "%ds" % (seconds // 10 * 10)
    return "%dm" % (seconds // 60) if seconds < 6000 else "%dh" % (seconds // 3600)


def _scores(state: "dict[str, Any]") -> "tuple[tuple[str, ...], tuple[int, ...]]":
    """Copy players and scores: what the picture was drawn from must not change with the game."""
    return tuple(state["players"]), tuple(state["scores"])

"""Of every page: whether a cease fire holds, the button that calls one, and the way to release it."""

from nicegui import Client, ui

from snyper.client import CeaseFire, TargetResult
from snyper.client.labels import safety_detail
from snyper.dashboard import widgets
from snyper.dashboard.feed import HubFeed
from snyper.shared.socket_protocol import ErrorCode
from snyper.system import steady

KEY = "X"
_ADVICE = {
    ErrorCode.UNAUTHORIZED: "The dashboard's key may call a cease fire, but not release it: "
    "use a console's key, or snyper cease-fire --release.",
    ErrorCode.FAULT: "Mend what the hub says of its disk, then release it again.",
    ErrorCode.CEASE_FIRE: "Look who has called it, and why.",
    ErrorCode.UNKNOWN_TYPE: "This hub is older: lay the targets down, then update it (snyper deploy).",
}


class SafetyBar:
    """The bar below the top of every page, and what its two buttons do."""

    def __init__(self, feed: HubFeed, client: Client) -> None:
        self._feed = feed
        self._client = client

    def make_button(self) -> None:
        """Make the red button. It works at once, and asks nothing."""
        button = widgets.Button("Cease fire", self.call, kind="stop call", label=f"Cease fire, key {KEY}")
        with button:
            widgets.text("kbd", KEY)

    def make(self) -> None:
        """Make the bar, and keep it as things stand."""
        with widgets.box("section", "safety").props('role=status aria-label="Cease fire"') as self._bar:
            self._word = widgets.text("strong")
            self._detail = widgets.text("span")
            self._release = widgets.Button("Release…", self._ask_release, kind="release")
            self.make_button()  # on the wall, where there is no top bar
        widgets.keep_drawn(self._feed, self._bar, self._draw)

    def _draw(self) -> None:
        model = self._feed.model
        state = model.cease_fire if model.online else None
        word = "" if state is None else "SAFE" if state.held else "ARMED"
        detail = "This hub knows no cease fire: update it"
        if state is not None:
            detail = safety_detail(state, steady.unix_s(model.cease_fire_s))
            if state.held:
                detail += self._exceptions(state)
        elif not model.online:
            detail = "The hub is lost: look at the targets"
        widgets.set_prop(self._bar, "data-state", word.lower() or "unknown")
        widgets.set_text(self._word, word or "NOT KNOWN")
        widgets.set_text(self._detail, detail)
        is_held = state is not None and state.held
        if self._release.visible != is_held:
            self._release.set_visibility(is_held)

    def _exceptions(self, state: CeaseFire) -> str:
        """Say what is not as safe as the word."""
        overview = self._feed.model.overview()
        said = f" · not down yet: {_named(overview.up)}" if overview.up else ""
        said += f" · {widgets.plural(len(overview.away), 'target')} away" if overview.away else ""
        return said if state.kept else said + " · does not outlive the hub: see its log"

    async def call(self) -> None:
        """Call a cease fire, and name the targets that are not known to lie."""
        results: list[TargetResult] = []
        state = await widgets.ask(
            self._feed,
            self._client,
            "Cease fire",
            lambda hub: hub.cease_fire(by=self._person(), on_result=results.append),
            _ADVICE,
        )
        if state is None:
            return
        self._show(state)
        silent = [result.target_id for result in results if not result.ok]
        away = self._feed.model.overview().away
        if silent:
            words = f"Not known to lie: {_named(silent)}"
            widgets.notice(self._client, words, "The hub goes on asking. Look at them.")
        if away:
            words = f"Away: {_named(away)}"
            widgets.notice(self._client, words, "Lowered when they are back. Look at them.")

    async def _ask_release(self) -> None:
        with self._client.layout, ui.dialog() as dialog, widgets.box("form", "sheet"):
            dialog.props('aria-label="Release the cease fire"')
            widgets.text("h2", "Is the range clear?")
            widgets.text("p", "After this, targets may rise. No game goes on by itself.")
            with widgets.box("div", "actions"):
                widgets.Button("Keep it safe", lambda: dialog.submit(False))
                widgets.Button("Release", lambda: dialog.submit(True), kind="stop")
        if await widgets.answer(dialog):
            state = await widgets.ask(
                self._feed, self._client, "Release", lambda hub: hub.release(self._person()), _ADVICE
            )
            if state is not None:
                self._show(state)

    def _show(self, state: CeaseFire) -> None:
        """Show what the hub has answered, before its event comes."""
        model = self._feed.model
        model.cease_fire, model.cease_fire_s = state, steady.now_s()
        model.changed()

    def _person(self) -> str:
        return f"the dashboard, {self._client.ip}"


def _named(names: list[str]) -> str:
    return f"{', '.join(names[:4])} and {len(names) - 4} more" if len(names) > 4 else widgets.joined(names)

"""The dashboard's pages, in a real browser, while their hub lies."""

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from tools.faults.browser import chromium, dashboard_of
from tools.faults.liar import WRONG, LyingHub, lies
from tools.faults.ranges import until
from tools.loopback import HOST

PAGES = ("/", "/game", "/history", "/health")
_EVIL = 'x" innerHTML="<img src=x onerror=harmed=1>" :a="harmed=1" <img src=x onerror=harmed=1>{{harmed=1}}'
_ASKED = ("register", "subscribe", "ping", "list_targets", "list_games", "get_game", "get_cease_fire")
_SILENCE_S = 60.0
_HEARD_S = 3.0  # for a lie to be asked for: some end the connection
_FAULTS = ("Traceback", "could not be drawn", "a page failed")


async def lied_to_pages(directory: Path, most: int | None, seed: int) -> AsyncIterator[tuple[str, str]]:
    """Lie to the pages, each time with one wrong field in every answer; `most` times, None for all that there
    is to lie about. Yields what was wrong, and what is wrong with what came of it.
    """
    from playwright.async_api import Error

    rng = random.Random(seed)
    hub = LyingHub()
    hub.silence_s = _SILENCE_S
    every = {word: list(lies(hub.answers[word], (*WRONG, _EVIL))) for word in _ASKED}
    for tries in every.values():
        rng.shuffle(tries)
    rounds = list(zip_longest(*every.values()))[:most]
    with hub.running():
        async with dashboard_of(directory, f"{HOST}:{hub.port}") as (port, log_path), chromium() as browser:
            page = await browser.new_page()
            said: list[str] = []
            page.on("pageerror", lambda error: said.append(f"script fails: {error}"))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            honest = dict(hub.answers)
            for number, lied in enumerate(rounds):
                before = len(log_path.read_text())
                chosen = {word: lie for word, lie in zip(every, lied, strict=True) if lie is not None}
                hub.answers.update({word: answers for word, (_, answers) in chosen.items()})
                await _hear(hub)
                path = PAGES[number % len(PAGES)]
                try:
                    await page.goto(f"http://{HOST}:{port}{path}")
                    await page.get_by_role("heading", level=1).wait_for()
                except Error as error:
                    said.append(error.message.partition("\n")[0])
                await _hear(hub)
                said += [fault for fault in _FAULTS if fault in log_path.read_text()[before:]]
                if await page.evaluate("window.harmed ?? null") is not None:
                    said.append("a script of the hub's runs")
                yield f"{path}, {'; '.join(what for what, _ in chosen.values())}", "; ".join(said)
                said.clear()
                hub.answers.update(honest)


async def _hear(hub: LyingHub) -> None:
    """Have the dashboard ask everything anew, as far as it does."""
    before = hub.asked["list_targets"]
    hub.hang_up()
    with suppress(TimeoutError):
        await until(lambda: hub.asked["list_targets"] > before, "it should ask", _HEARD_S)

"""A dashboard under attack, while somebody who is signed in clicks."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import urlencode

from tools.faults.browser import chromium, dashboard_of, need_browser
from tools.faults.case import Case, Figure, Scale, all_of, at_most, none_of
from tools.faults.ranges import (
    CPYTHON,
    TRAVEL_MS,
    AttackedHub,
    attacked_hub,
    prober_of,
    targets_of,
)
from tools.faults.wire import dial, reset, stranger_address, target_of
from tools.loopback import HOST

PASSWORD = "correct horse"
CLICK_S = TICK_S = 1.0
GUESSES = 200
IN_A_PACKET = 25  # of a connection: no more than 32 may be ahead of their answers
JUDGED = 10  # of them, at most: it has a few free ones, then each wrong one doubles the wait
CONNECTIONS = 200
PER_ADDRESS = 10
TABS = 100
WARM_UPS = 10
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


class Person:
    """A person who is signed in, in a real browser."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def sign_in(self, url: str) -> None:
        await self._page.goto(url)
        await self._page.locator('input[name="password"]').fill(PASSWORD)
        await self._page.keyboard.press("Enter")
        await self._page.locator('article.card[aria-label="target_1"][data-live="true"]').wait_for()

    async def sees(self, words: str) -> None:
        """Wait until the page says so."""
        await self._page.locator(".subtitle", has_text=words).wait_for()

    async def click(self, seconds: float) -> list[float]:
        """Stand the target up and lay it down for that long; return how long each click took until the page
        showed it, without the servo's own time.
        """
        from playwright.async_api import TimeoutError

        took: list[float] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for button, state in (("Stand target_1 up", "standing"), ("Lay target_1 down", "down")):
                card = self._page.locator(f'article.card[aria-label="target_1"][data-state="{state}"]')
                began = time.monotonic()
                while not await card.count() and time.monotonic() - began < 20:
                    with suppress(TimeoutError):  # then the click is lost, and a person clicks again
                        await self._page.get_by_role("button", name=button).click(timeout=2_000)
                        await card.wait_for(timeout=2_000)
                took.append(time.monotonic() - began - TRAVEL_MS / 1000)
        return took


async def dashboard(scale: Scale) -> AsyncIterator[Figure]:
    need_browser()
    directory = scale.directory
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(attacked_hub(CPYTHON, directory))
        await stack.enter_async_context(targets_of(directory, [hub.port]))
        prober = await stack.enter_async_context(prober_of(hub.address, "target_1"))
        port, log_path = await stack.enter_async_context(dashboard_of(directory, hub.address, PASSWORD))
        browser = await stack.enter_async_context(chromium())
        page = await browser.new_page()
        page.set_default_timeout(20_000)
        person = Person(page)
        await person.sign_in(f"http://{HOST}:{port}/")
        cookie = "; ".join(f"{one['name']}={one['value']}" for one in await page.context.cookies())
        seconds = scale.pick(3.0, 20.0)
        await _warm_up(person)
        names = scale.pick(1_500, 4_990)
        attacks: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("nobody", lambda: asyncio.sleep(1)),
            ("slow heads", lambda: _drip(port, b"GET / HTTP/1.1\r\nX-")),
            ("slow bodies", lambda: _drip(port, _post(port, 100))),
            ("foreign origins", lambda: _ask_from_elsewhere(port, cookie)),
            (f"{TABS} tabs", lambda: _open_tabs(port, cookie)),
            (f"{names:,} names", lambda: asyncio.sleep(1)),
            (f"{names:,} names that come and go, {TABS} tabs", lambda: _crowd(hub, names, port, cookie)),
        )
        for name, attack in attacks:
            scale.tell(name)
            if name.endswith("names"):
                await _fill(hub, names)
                await person.sees(f"{names + 1:,} targets")
            attacking = asyncio.create_task(_forever(attack))
            measuring = await prober.begin(seconds + 1)
            clicks = await person.click(seconds)
            tick = await measuring
            attacking.cancel()
            await asyncio.wait((attacking,))
            if not attacking.cancelled():
                attacking.result()
            yield at_most(f"{name}: a click, worst of {len(clicks)}", max(clicks), CLICK_S, "s")
            yield at_most(f"{name}: the hub's tick, worst of {tick.count}", tick.worst_ms / 1000, TICK_S, "s")
        yield none_of("losses of the hub", log_path.read_text().count("is lost"), len(attacks))
        judged, answered = await _guess_at_once(port)
        yield all_of("guesses at once: answered", answered, GUESSES)
        yield at_most("guesses at once: judged", judged, JUDGED)
        wrong = await _count_let_in(port, cookie)
        yield none_of("pages given to another site", wrong, len(_FOREIGN))


async def _warm_up(person: Person) -> None:
    """Click until the browser has its own programs loaded and compiled, which is the disk's and its matter: a
    click then takes half of what it may, or at least that was waited for.
    """
    for _ in range(WARM_UPS):
        if max(await person.click(1.0)) < CLICK_S / 2:
            return


async def _forever(attack: Callable[[], Awaitable[None]]) -> None:
    while True:
        await attack()
        await asyncio.sleep(0.05)


async def _drip(port: int, first: bytes) -> None:
    """Begin many requests, and go on with each a byte a second."""
    socks = []
    loop = asyncio.get_running_loop()
    try:
        for number in range(CONNECTIONS):
            with suppress(OSError, TimeoutError):
                socks.append(await dial(port, stranger_address(number // PER_ADDRESS)))
                await loop.sock_sendall(socks[-1], first)
        for _ in range(5):
            await asyncio.sleep(1)
            for sock in socks:
                with suppress(OSError):
                    await loop.sock_sendall(sock, b"x")
    finally:
        for sock in socks:
            reset(sock)


def _post(port: int, length: int) -> bytes:
    return _head(port, "POST", "/login", f"Content-Length: {length}")


def _head(port: int, method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HOST}:{port}", *headers, "", ""]).encode()


async def _exchange(port: int, request: bytes, source: str, answers: int = 1) -> list[int]:
    """Send requests; return the statuses of so many answers, or of fewer where the connection ends."""
    sock = await dial(port, source)
    loop = asyncio.get_running_loop()
    said = b""
    try:
        await loop.sock_sendall(sock, request)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(10):
                while len(_STATUS.findall(said)) < answers:
                    piece = await loop.sock_recv(sock, 65_536)
                    if not piece:
                        break
                    said += piece
    finally:
        reset(sock)
    return [int(status) for status in _STATUS.findall(said)]


_FOREIGN = (
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Origin: http://evil.example",
    "Origin: null",
    "Referer: http://evil.example/page",
)


async def _ask_from_elsewhere(port: int, cookie: str) -> None:
    for header in _FOREIGN:
        with suppress(OSError, TimeoutError):
            request = _head(port, "GET", "/", f"Cookie: {cookie}", header)
            await _exchange(port, request, stranger_address(9))


async def _count_let_in(port: int, cookie: str) -> int:
    """Ask for a page in the name of other sites; return how often it was given."""
    found = 0
    for header in _FOREIGN:
        request = _head(port, "GET", "/", f"Cookie: {cookie}", header)
        found += await _exchange(port, request, stranger_address(9)) != [403]
    return found


async def _guess_at_once(port: int) -> tuple[int, int]:
    """Send GUESSES wrong passwords from one address; return how many were judged, and how many answered."""
    form = urlencode({"password": "wrong"}).encode()
    packet = (_post(port, len(form)) + form) * IN_A_PACKET
    sending = (
        _exchange(port, packet, stranger_address(500), IN_A_PACKET) for _ in range(GUESSES // IN_A_PACKET)
    )
    statuses = [status for answers in await asyncio.gather(*sending) for status in answers]
    return sum(status != 429 for status in statuses), len(statuses)


async def _open_tabs(port: int, cookie: str) -> None:
    """Open pages as browsers do, and their sockets; keep them for a while."""
    from websockets.asyncio.client import connect

    async with AsyncExitStack() as stack:
        for number in range(TABS):
            source = stranger_address(number // PER_ADDRESS)
            page = await _page_id(port, cookie, source)
            if not page:
                continue
            query = urlencode(
                {
                    "client_id": page,
                    "tab_id": f"t{number}",
                    "document_id": "d",
                    "next_message_id": 0,
                    "implicit_handshake": "true",
                    "EIO": 4,
                    "transport": "websocket",
                }
            )
            with suppress(Exception):  # of a library that has many; one that is refused is one tab less
                tab = await stack.enter_async_context(
                    connect(
                        f"ws://{HOST}:{port}/_nicegui_ws/socket.io/?{query}",
                        additional_headers={"Cookie": cookie},
                        local_addr=(source, 0),
                    )
                )
                await tab.send("40")
        await asyncio.sleep(5)


async def _crowd(hub: AttackedHub, names: int, port: int, cookie: str) -> None:
    """Have the names register again and go, while as many tabs as there may be are open."""
    await asyncio.gather(_fill(hub, names), _open_tabs(port, cookie))


async def _page_id(port: int, cookie: str, source: str) -> str:
    with suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(sock=await dial(port, source))
        try:
            writer.write(_head(port, "GET", "/", f"Cookie: {cookie}", "Connection: close"))
            async with asyncio.timeout(10):
                found = re.search(rb"'client_id': '([0-9a-f-]+)'", await reader.read(-1))
            return found[1].decode() if found is not None else ""
        finally:
            writer.close()
    return ""


async def _fill(hub: AttackedHub, count: int) -> None:
    """Register so many targets, one after the other, each of which goes at once; twenty at a time."""
    numbers = iter(range(count))

    async def register() -> None:
        for number in numbers:
            with suppress(OSError, EOFError, TimeoutError, RuntimeError):
                async with target_of(hub.port, f"z_{number}", stranger_address(number % 50)):
                    pass

    await asyncio.gather(*(register() for _ in range(20)))


CASES = (
    Case(
        18,
        "the dashboard",
        "Slow heads, slow bodies, 200 guesses at once, other sites' pages, 100 tabs and thousands of"
        " names, while somebody who is signed in clicks in a real browser.",
        "The hub's tick, and a click until the page shows what came of it, stay under 1 s.",
        dashboard,
    ),
)

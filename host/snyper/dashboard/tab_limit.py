"""Limit how many tabs the dashboard is open in."""

import asyncio
from typing import Any

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snyper.system import steady

_UNUSED_S = 10.0  # after which a page that no tab has opened makes space for another


class TabLimit:
    """Serve the pages `paths` of the ASGI app `app` to so many tabs and no more: each costs memory and time
    whenever something happens.
    """

    def __init__(self, app: ASGIApp, paths: tuple[str, ...], most: int) -> None:
        self.app = app
        self._paths = paths
        self._most = most
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from nicegui import Client  # which reads its settings as it is imported

        if scope["type"] == "http" and scope["path"] in self._paths:
            await self._build(scope, receive, send, Client)
        elif scope["type"] == "http" and not scope["path"].startswith(_FILES):
            # Of a page that there is not NiceGUI makes one, which costs as much.
            await HTMLResponse(_NOTHING, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _build(self, scope: Scope, receive: Receive, send: Send, client: Any) -> None:
        """Have one page built after the other, and leave half of the time to the hub and to clicks."""
        await self._turn.acquire()
        began_s = steady.now_s()
        refusal = self._refusal(client)
        is_mine = True

        def pass_on() -> None:
            nonlocal is_mine
            if is_mine:
                is_mine = False
                asyncio.get_running_loop().call_later(steady.now_s() - began_s, self._turn.release)

        async def send_on(message: Message) -> None:
            pass_on()  # it is built, and may be sent for as long as its reader likes
            await send(message)

        try:
            await (refusal or self.app)(scope, receive, send_on)
        finally:
            pass_on()

    def _refusal(self, client: Any) -> HTMLResponse | None:
        if len(client.instances) >= self._most:
            client.prune_instances(client_age_threshold=_UNUSED_S)
        if len(client.instances) >= self._most:
            return HTMLResponse(_FULL, 503, headers={"retry-after": "10"})
        return None


_FILES = ("/_nicegui", "/cameras/", "/export/", "/favicon.ico")
_NOTHING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>There is nothing here. <a href="/">Open the dashboard</a></p>"""
_FULL = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>The dashboard is open in too many tabs. Close some of them, then <a href="">try again</a>.</p>"""

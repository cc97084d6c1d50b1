"""Limit how many tabs the dashboard is open in."""

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_TABS = 128
_UNUSED_S = 10.0  # after which a page that no tab has opened makes space for another


class TabLimit:
    """Serve the pages `paths` of the ASGI app `app` to so many tabs and no more: each costs memory and time
    whenever something happens.
    """

    def __init__(self, app: ASGIApp, paths: tuple[str, ...], most: int) -> None:
        self.app = app
        self._paths = paths
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from nicegui import Client  # which reads its settings as it is imported

        if scope["type"] == "http" and scope["path"] in self._paths and len(Client.instances) >= self._most:
            Client.prune_instances(client_age_threshold=_UNUSED_S)
            if len(Client.instances) >= self._most:
                page = HTMLResponse(_FULL, 503, headers={"retry-after": "10"})
                await page(scope, receive, send)
                return
        await self.app(scope, receive, send)


_FULL = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>The dashboard is open in too many tabs. Close some of them, then <a href="">try again</a>.</p>"""

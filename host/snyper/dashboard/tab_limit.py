"""Limit how many tabs the dashboard is open in."""

from typing import Any

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

        refusal = self._refusal(scope["path"], Client) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, path: str, client: Any) -> HTMLResponse | None:
        if path not in self._paths:
            # Of a page that there is not NiceGUI makes one, which costs as much.
            return None if path.startswith(_FILES) else HTMLResponse(_NOTHING, 404)
        if len(client.instances) >= self._most:
            client.prune_instances(client_age_threshold=_UNUSED_S)
        if len(client.instances) >= self._most:
            return HTMLResponse(_FULL, 503, headers={"retry-after": "10"})
        return None


_FILES = ("/_nicegui", "/export/", "/favicon.ico")
_NOTHING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>There is nothing here. <a href="/">Open the dashboard</a></p>"""
_FULL = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>The dashboard is open in too many tabs. Close some of them, then <a href="">try again</a>.</p>"""

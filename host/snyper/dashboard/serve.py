"""The dashboard's process: one console on the wire, one web server, no file of NiceGUI's anywhere."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from snyper.client.addresses import dial_host, is_loopback
from snyper.dashboard.auth import AuthMiddleware
from snyper.dashboard.faults import log_fault
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.hang_ups import HangUps
from snyper.dashboard.model import Model
from snyper.dashboard.store import Store
from snyper.dashboard.tab_limit import TabLimit
from snyper.shared.address import format_address, parse_hub
from snyper.web.web_server import WebServer

# NiceGUI makes this folder only if a page stores something there, which none does; otherwise it would be in
# whatever folder the command was started in. So it is one that nobody can make.
os.environ.setdefault("NICEGUI_STORAGE_PATH", str(Path(os.devnull) / "snyper-dashboard"))

from nicegui import ui

from snyper.dashboard import drawings, inline_elements, layout, tab_messages


@dataclass(frozen=True)
class Access:
    """The access to the pages: with which password, by HTTPS or not, with which of `limits.py`. Without a
    password they are for this computer alone.
    """

    password: str | None
    tls: ssl.SSLContext | None
    limits: Mapping[str, int]


@dataclass(frozen=True)
class Places:
    """The folder of recordings; the gateway with arrays, its URL or its name at the hub; the URL of the
    gateway with cameras. While something is recorded, the oldest recordings beyond an age and a size go.
    """

    recordings: Path
    gateway: str
    cameras: str
    max_age_s: float | None
    max_bytes: int | None


_SWITCH_S = 0.001  # for which a thread that exports may keep the pages waiting


async def serve(
    hub: str,
    sock: socket.socket,
    access: Access,
    journal: Path | None,
    archive: Path,
    places: Places,
    ready: Callable[[str], None],
) -> None:
    """Serve on `sock` until cancelled, as `access` says; `ready` is told the URL. `journal` is where a hub
    on this computer keeps its own, `places` where the pages of signals and of cameras have theirs
    from. Raises JournalError for an archive that is needed and cannot be used.
    """
    loop = asyncio.get_running_loop()
    sys.setswitchinterval(_SWITCH_S)
    loop.set_exception_handler(lambda _, context: log_fault(context["message"], context.get("exception")))
    model = Model(hub)

    def set_archive_state(state: str, message: str, dropped: int) -> None:
        model.archive_failure = "" if state == "ok" else message
        model.changed()

    def on_archive_state(*said: Any) -> None:
        loop.call_soon_threadsafe(set_archive_state, *said)

    store = Store(journal, archive, on_archive_state, is_loopback(parse_hub(hub)[0]))
    try:
        keep = places.max_age_s, places.max_bytes
        feed = HubFeed(model, store, places.recordings, places.gateway, places.cameras, keep)
        try:
            await _serve(feed, sock, access, ready)
        finally:
            await feed.recorders.close()
            await asyncio.to_thread(feed.past.close)
            feed.arrays.close()
            await feed.cameras.close()
    finally:
        await asyncio.to_thread(store.close)


async def _serve(
    feed: HubFeed,
    sock: socket.socket,
    access: Access,
    ready: Callable[[str], None],
) -> None:
    host, port = sock.getsockname()[:2]
    app = FastAPI(openapi_url=None)
    tabs = TabLimit(HangUps(app), layout.PATHS, access.limits["tabs"])
    auth = AuthMiddleware(tabs, access.password, port, access.limits, is_secure=access.tls is not None)
    inline_elements.mark_inline_elements()
    tab_messages.guard()
    layout.add_pages(app, feed, access.limits, auth.asks_for_password, auth.assets.head)
    ui.run_with(
        app,
        title="SNYPER",
        favicon=drawings.FAVICON,
        dark=None,
        language="en-US",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=5.0,
        show_welcome_message=False,
    )
    server = WebServer(auth, [sock], access.tls, access.limits, log_fault)
    serving = asyncio.create_task(server.serve())
    following = asyncio.create_task(feed.run())
    try:
        serves = asyncio.create_task(server.serves.wait())
        await asyncio.wait((serving, serves), return_when=asyncio.FIRST_COMPLETED)
        serves.cancel()
        if server.started:
            ready(f"{'https' if access.tls else 'http'}://{format_address(dial_host(host), port)}/")
        await asyncio.wait((serving, following), return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, following):
            if task.done():
                task.result()
        raise OSError("the web server ended by itself: what it said is above")
    finally:
        following.cancel()
        server.should_exit = True
        await asyncio.gather(serving, following, return_exceptions=True)

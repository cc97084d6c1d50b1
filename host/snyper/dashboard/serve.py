"""The dashboard's process: one console on the wire, one web server, no file of NiceGUI's anywhere."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from snyper.client.addresses import dial_host, is_loopback
from snyper.dashboard.auth import AuthMiddleware
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Model
from snyper.dashboard.store import Store
from snyper.shared.address import format_address, parse_address

# NiceGUI makes this folder only if a page stores something there, which none does; otherwise it would be in
# whatever folder the command was started in. So it is one that nobody can make.
os.environ.setdefault("NICEGUI_STORAGE_PATH", str(Path(os.devnull) / "snyper-dashboard"))

from nicegui import ui

from snyper.dashboard import drawings, inline_elements, layout

_GOODBYE_S = 1  # for browsers' connections to end by themselves


class _Server(uvicorn.Server):
    """Leaves signals to the command, and says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()


def open_socket(listen: str) -> socket.socket:
    """Open the socket to serve on. Raises OSError, saying what to do, when the address is not to be had."""
    host, port = parse_address(listen)
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=100)
    except OSError as error:
        raise OSError(
            f"cannot listen on {listen} ({error.strerror}): is another dashboard running?"
            " Name another port with --listen 127.0.0.1:PORT"
        ) from None


async def serve(
    hub: str,
    sock: socket.socket,
    password: str | None,
    journal: Path | None,
    archive: Path,
    ready: Callable[[str], None],
) -> None:
    """Serve on `sock` until cancelled; `ready` is told the URL. `journal` is where a hub on this computer
    keeps its own. Raises JournalError for an archive that is needed and cannot be used.
    """
    loop = asyncio.get_running_loop()
    model = Model(hub)

    def set_archive_state(state: str, message: str, dropped: int) -> None:
        model.archive_failure = "" if state == "ok" else message
        model.changed()

    def on_archive_state(*said: Any) -> None:
        loop.call_soon_threadsafe(set_archive_state, *said)

    store = Store(journal, archive, on_archive_state, is_loopback(parse_address(hub)[0]))
    try:
        await _serve(HubFeed(model, store), sock, password, ready)
    finally:
        await asyncio.to_thread(store.close)


async def _serve(
    feed: HubFeed, sock: socket.socket, password: str | None, ready: Callable[[str], None]
) -> None:
    host, port = sock.getsockname()[:2]
    app = FastAPI(openapi_url=None)
    auth = AuthMiddleware(app, password, port)
    inline_elements.mark_inline_elements()
    layout.add_pages(app, feed, auth.asks_for_password, auth.assets.head)
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
    config = uvicorn.Config(
        auth,
        log_config=None,  # the command decides how it logs
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GOODBYE_S,
        server_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    following = asyncio.create_task(feed.run())
    try:
        serves = asyncio.create_task(server.serves.wait())
        await asyncio.wait((serving, serves), return_when=asyncio.FIRST_COMPLETED)
        serves.cancel()
        if server.started:
            ready(f"http://{format_address(dial_host(host), port)}/")
        await asyncio.wait((serving, following), return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, following):
            if task.done():
                task.result()
        raise OSError("the web server ended by itself: what it said is above")
    finally:
        following.cancel()
        server.should_exit = True
        await asyncio.gather(serving, following, return_exceptions=True)

"""A receiver for programs: what others push, over HTTP, into a folder and to handlers."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Callable, Sequence

from snyper.device import settings
from snyper.device.addresses import format_listen, is_loopback, parse_listen
from snyper.device.inbox.bus import Bus, Handler
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.store import DATA_RECEIVED, FILE_RECEIVED
from snyper.device.serving.application import Application
from snyper.device.serving.limits import (
    DEVICE_LIMITS,
    check_accepted,
    complete_limits,
    inbox_limits,
)
from snyper.device.serving.listening import load_certificate, open_socket, urls
from snyper.device.serving.receive_routes import serving_inbox
from snyper.device.serving.server import HttpServer

_GOODBYE_S = 1.0  # for requests under way, where the end is not SIGTERM's
_log = logging.getLogger("snyper")


class Receiver:
    """Receives files and data into the folder `into`, and gives each to its handler: a coroutine, or a plain
    function, which runs in a thread. `run` does it until Ctrl-C, `async with` for a block; one of them, once.

    It listens on `listen`, one HOST:PORT or several; left out, on that of CLIENT_SERVER_URL where it is set,
    else on 127.0.0.1:8001. `key` is what a request has to bring, left out that of SNYPER_SERVICE_KEY; without
    any it is for its own computer, unless it `is_open` to all. `accept` are types of files, such as
    `image/*`, and suffixes, such as `.jpg`; left out all. `limits` are NAME=NUMBER. `inbox.bus` takes more
    handlers before it is entered; a `bus` with some may be given. Raises ValueError; entering it and `run`
    raise OSError.
    """

    urls: list[str]  # where it is reached, once it is entered

    def __init__(
        self,
        into: str | Path = "received",
        listen: str | Sequence[str] = (),
        on_file_received: Handler | None = None,
        on_data_received: Handler | None = None,
        *,
        key: str | None = None,
        is_open: bool = False,
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        accept: Sequence[str] = (),
        limits: Sequence[str] = (),
        bus: Bus | None = None,
    ) -> None:
        named = [listen] if isinstance(listen, str) else list(listen)
        self._addresses = [parse_listen(one) for one in named or [settings.receiver_address()]]
        key = settings.service_key() if key is None else key
        _check_access(self._addresses, key, is_open)
        self._tls = None
        if certificate is not None:
            self._tls = load_certificate(
                Path(certificate), None if certificate_key is None else Path(certificate_key)
            )
        elif certificate_key is not None:
            raise ValueError("the key of a certificate needs its certificate")
        check_accepted(accept)
        self._limits = complete_limits(DEVICE_LIMITS, limits)
        if bus is None:
            bus = Bus(self._limits["handler_s"])
        for kind, handler in ((FILE_RECEIVED, on_file_received), (DATA_RECEIVED, on_data_received)):
            if handler is not None:
                bus.subscribe(kind, handler)
        self.inbox = Inbox(Path(into), inbox_limits(self._limits, accept), bus)
        self._application = Application(self._limits, {"key": key} if key else {})
        self._end_s = _GOODBYE_S

    async def __aenter__(self) -> Receiver:
        self._stack = AsyncExitStack()
        try:
            socks = [
                self._stack.enter_context(open_socket(host, port, "another server"))
                for host, port in self._addresses
            ]
            await self._stack.enter_async_context(serving_inbox(self._application, self.inbox))
        except BaseException:
            await self._stack.aclose()
            raise
        self._server = HttpServer(self._application, self._tls, self._limits, _log_fault)
        self._server.start(socks)
        self.urls = urls(socks, self._tls)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            self._application.drain()
            await self._server.stop(self._end_s)
        finally:
            await self._stack.aclose()

    def run(self, on_ready: Callable[[Receiver], object] = lambda receiver: None) -> None:
        """Receive, in the main thread, until Ctrl-C, SIGTERM or the end of the terminal. `on_ready` is called
        once it does. After SIGTERM requests under way have the limit `drain_s`, unless another signal comes.
        Raises OSError.
        """
        asyncio.run(self._run(on_ready))

    async def _run(self, on_ready: Callable[[Receiver], object]) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end(seconds: float) -> None:
            if ended.is_set():
                self._server.abort()
            self._end_s = seconds
            ended.set()

        try:
            loop.add_signal_handler(signal.SIGINT, end, _GOODBYE_S)
            for number in _ending_signals():
                loop.add_signal_handler(number, end, self._limits["drain_s"])
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # on Windows, and in a thread: there Ctrl-C is not this one's, or raises KeyboardInterrupt
        async with self:
            on_ready(self)
            await ended.wait()


def _ending_signals() -> list[signal.Signals]:
    """Return the signals that end it as SIGTERM does: the end of the terminal too, unless that is ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def _check_access(addresses: Sequence[tuple[str, int]], key: str | None, is_open: bool) -> None:
    if key and is_open:
        raise ValueError("it is open to all, and there is a key: have one of them")
    far = [format_listen(host, port) for host, port in addresses if not is_loopback(host)]
    if far and not key and not is_open:
        raise ValueError(
            f"a server on {far[0]} can be reached by others, so it needs a key: set SNYPER_SERVICE_KEY, or"
            " --key-file FILE, or --open for a network where everybody may, or listen on 127.0.0.1"
        )


def _log_fault(what: str, error: BaseException) -> None:
    """Log what others cause."""
    _log.warning("%s (%s)", what, type(error).__name__)

"""The process that serves HTTP: its sockets, its end by Ctrl-C and by SIGTERM."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from snyper.device.serving.listening import open_socket
from snyper.gateway.app import Face, Gateway
from snyper.shared.address import parse_address
from snyper.system.files import own_file
from snyper.system.process import ending_signals
from snyper.web.web_server import WebServer

_log = logging.getLogger("snyper")


def open_sockets(listen: Sequence[str], stack: ExitStack) -> list[socket.socket]:
    """Open the sockets to serve on, which `stack` closes. Raises OSError, saying what to do."""
    return [stack.enter_context(open_socket(*parse_address(one), "another server")) for one in listen]


def state_folder(socks: Sequence[socket.socket], listen: Sequence[str]) -> Path | None:
    """Return the folder of whoever serves at the first address, which is one process at a time; None for a
    port that the system chose. Raises OSError, saying what to do.
    """
    if parse_address(listen[0])[1] == 0:
        return None
    host, port = socks[0].getsockname()[:2]
    no_home = OSError("there is no home directory to keep results in: say where with --state DIR")
    return own_file(user_data_path, "gateway", no_home) / f"{host.replace(':', '-')}_{port}"


@dataclass(frozen=True)
class Listening:
    """The sockets that are served on, with TLS or without."""

    socks: Sequence[socket.socket]
    tls: ssl.SSLContext | None


async def serve(
    gateway: Gateway, faces: Iterable[Face], listening: Listening, ready: Callable[[], None]
) -> None:
    """Serve `faces`, each opened after those before it, until cancelled, or SIGTERM or the terminal's end:
    then they drain, and what is under way has the limit `drain_s`. `ready` is called when all are served.
    Raises what a face does.
    """
    async with AsyncExitStack() as stack:
        for face in faces:
            await stack.enter_async_context(face(gateway))
        await _serve(gateway, listening, ready)


async def _serve(gateway: Gateway, listening: Listening, ready: Callable[[], None]) -> None:
    limits = gateway.limits
    draining: list[asyncio.Task[None]] = []
    server = WebServer(
        gateway,
        listening.socks,
        listening.tls,
        limits,
        log_fault,
        limits["drain_s"],
        has_lifespan=False,
        deflates=False,  # it takes 20 times the time of a message of numbers
        message_bytes=gateway.message_bytes,
    )
    serving = asyncio.create_task(server.serve())

    def end() -> None:
        if not server.should_exit:
            _log.info("ending: what is under way has %s s", limits["drain_s"])
            gateway.drain()
            draining.append(asyncio.create_task(_drained(gateway)))
            server.should_exit = True

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # on Windows
        for number in ending_signals():
            loop.add_signal_handler(number, end)
    try:
        serves = asyncio.create_task(server.serves.wait())
        await asyncio.wait((serving, serves), return_when=asyncio.FIRST_COMPLETED)
        serves.cancel()
        if server.started:
            ready()
        await asyncio.wait([serving])
        serving.result()
        await asyncio.gather(*draining)
    finally:
        for task in draining:
            task.cancel()
        if not serving.done():
            server.config.timeout_graceful_shutdown = 1
            server.force_exit = server.should_exit  # Ctrl-C after SIGTERM waits for nobody
            server.should_exit = True
            gateway.drain()
            await asyncio.wait([serving])


async def _drained(gateway: Gateway) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(gateway.limits["drain_s"]):
            await gateway.drained()


def log_fault(what: str, error: BaseException | None = None) -> None:
    """Log what others cause."""
    _log.warning("%s (%s)", what, type(error).__name__)

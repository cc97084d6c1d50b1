"""Run a hub in this process: the firmware's own modules on CPython."""

import asyncio
import errno
from collections.abc import Callable

from snyper.client.addresses import dial_host
from snyper.client.environment import hub_key
from snyper.firmware.master.server import Hub
from snyper.history.database import JournalError
from snyper.hub.journaled_events import JournaledEvents
from snyper.hub.options import Options
from snyper.shared.address import format_address, parse_address
from snyper.system.process import raise_descriptor_limit

MAX_TARGETS = 5_000
MAX_CONSOLES = 200
MAX_EVENTS = 10_000

Ready = Callable[[str], None]


async def serve(options: Options, ready: Ready) -> None:
    """Serve until cancelled; `ready` is told an address to dial.

    Raises OSError when the address is not to be had, or the journal; ValueError for a key that is no UTF-8.
    """
    raise_descriptor_limit(MAX_TARGETS + MAX_CONSOLES)
    host, port = parse_address(options.listen)
    key = hub_key()
    events = None
    if options.journal is not None:
        try:
            events = JournaledEvents(MAX_EVENTS, options.journal, options.keep_days)
        except JournalError as error:
            raise OSError(f"{error}. {_OTHER_JOURNAL}") from None
    hub = Hub(host, port, MAX_TARGETS, MAX_CONSOLES, key, MAX_EVENTS, events, options.crosstalk_ms)
    try:
        try:
            await hub.start()
        except OSError as error:
            guess = ": is another hub running?" if error.errno == errno.EADDRINUSE else "."
            raise OSError(f"cannot listen on {options.listen} ({error.strerror}){guess} {_ADVICE}") from None
        try:
            ready(format_address(dial_host(host), hub.port))
            await asyncio.Event().wait()
        finally:
            await hub.shut_down()
    finally:
        if events is not None:
            await events.close()


_ADVICE = "Choose another with --listen HOST:PORT"
_OTHER_JOURNAL = "Name another with --journal PATH, or go without one: --no-journal"

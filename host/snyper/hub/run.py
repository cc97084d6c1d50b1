"""Run a hub in this process: the firmware's own modules on CPython."""

import asyncio
import errno
from collections.abc import Callable

from snyper.client.addresses import dial_host
from snyper.client.environment import Keys
from snyper.firmware.master.cease_fire import restore
from snyper.firmware.master.server import Access
from snyper.history.database import JournalError, default_path
from snyper.hub.access import KeyedHub
from snyper.hub.cease_fire_file import CeaseFireFile
from snyper.hub.journaled_events import JournaledEvents
from snyper.hub.options import Options
from snyper.shared.address import format_address, parse_address
from snyper.shared.log import log
from snyper.system.process import raise_descriptor_limit

MAX_TARGETS = 5_000
MAX_CONSOLES = 200
MAX_EVENTS = 10_000

Ready = Callable[[str], None]


async def serve(options: Options, keys: Keys, ready: Ready) -> None:
    """Serve until cancelled, as `access.decided` says; `ready` is told an address to dial.

    Raises OSError when the address is not to be had, or the journal.
    """
    raise_descriptor_limit(MAX_TARGETS + MAX_CONSOLES)
    host, port = parse_address(options.listen)
    events = None
    if options.journal is not None:
        try:
            events = JournaledEvents(MAX_EVENTS, options.journal, options.keep_days)
        except JournalError as error:
            raise OSError(f"{error}. {_OTHER_JOURNAL}") from None
    lines = "\n".join(keys.lines)
    hub = KeyedHub(host, port, MAX_TARGETS, MAX_CONSOLES, lines, MAX_EVENTS, events, options.crosstalk_ms)
    if options.is_open:
        hub.access = Access.OPEN
    hub.cease_fire_file = _cease_fire_file(port)
    if hub.cease_fire_file is not None:
        restore(hub)
    try:
        try:
            await hub.start()
        except OSError as error:
            guess = ": is another hub running?" if error.errno == errno.EADDRINUSE else "."
            raise OSError(f"cannot listen on {options.listen} ({error.strerror}){guess} {_ADVICE}") from None
        try:
            ready(format_address(dial_host(host), hub.port))
            if keys.path is not None:
                await hub.follow(keys.path)
            await asyncio.Event().wait()
        finally:
            await hub.shut_down()
    finally:
        if events is not None:
            await events.close()


def _cease_fire_file(port: int) -> CeaseFireFile | None:
    """Return where a cease fire of the hub on this port outlives it, in a folder that is made where it is
    missing. None for a port that is only found, which is no other start's, and where there is no such folder.
    """
    if port == 0:
        return None
    try:
        path = default_path(f"cease-fire-{port}.json")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, JournalError) as error:
        log("hub", f"a cease fire would not outlive this hub: {error}")
        return None
    return CeaseFireFile(path)


_ADVICE = "Choose another with --listen HOST:PORT"
_OTHER_JOURNAL = "Name another with --journal PATH, or go without one: --no-journal"

"""Run a hub in this process: the firmware's own modules on CPython."""

import asyncio
import errno
import ssl
from collections.abc import Callable

from snyper.client.addresses import dial_host
from snyper.client.certificate import default_path as certificate_path
from snyper.client.environment import Keys
from snyper.firmware.master.access import set_limits
from snyper.firmware.master.cease_fire import restore
from snyper.firmware.master.server import Access
from snyper.history.database import JournalError
from snyper.hub.cease_fire_file import file_of
from snyper.hub.journaled_events import JournaledEvents
from snyper.hub.limits import complete_limits
from snyper.hub.options import Options
from snyper.hub.stream_hub import StreamHub
from snyper.hub.tls import server_tls
from snyper.shared.address import format_address, parse_address
from snyper.system.files import shown
from snyper.system.process import raise_descriptor_limit

Ready = Callable[[str], None]


async def serve(options: Options, keys: Keys, ready: Ready) -> None:
    """Serve until cancelled, as `access.decided` says; `ready` is told an address to dial.

    Raises OSError when the address is not to be had, or the journal, or the certificate; ValueError for a
    limit out of its range, and for TLS without a key.
    """
    limits = complete_limits(options.limits)
    max_targets, max_consoles = limits.pop("max_targets"), limits.pop("max_consoles")
    max_events = limits.pop("max_events")
    may_open = raise_descriptor_limit(max_targets + max_consoles + limits["unregistered"])
    # So that strangers never take what others need to come back.
    limits["unregistered"] = max(1, min(limits["unregistered"], may_open // 4))
    host, port = parse_address(options.listen)
    tls = _certificate(options, keys) if options.tls else None
    events = None
    if options.journal is not None:
        try:
            events = JournaledEvents(max_events, options.journal, options.keep_days)
        except JournalError as error:
            raise OSError(f"{error}. {_OTHER_JOURNAL}") from None
    hub = StreamHub(
        *(host, port, max_targets, max_consoles, "\n".join(keys.lines), max_events, events),
        crosstalk_ms=options.crosstalk_ms,
    )
    hub.tls = tls
    set_limits(hub, limits)
    if options.is_open:
        hub.access = Access.OPEN
    hub.cease_fire_file = file_of(port)
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


def _certificate(options: Options, keys: Keys) -> tuple[ssl.SSLContext, bytes]:
    """Return what the hub speaks TLS with. Raises ValueError without a key, OSError."""
    if options.is_open or not keys.lines:
        raise ValueError(
            "TLS without a key hides what is said from who listens, and not from who sits between and plays"
            " the hub: make a key with `snyper keys new` and leave --open out, or --tls"
        )
    path = certificate_path()
    try:
        return server_tls(path)
    except OSError as error:
        raise OSError(
            f"{shown(path)} cannot be used ({error.strerror or error}): look at its permissions"
        ) from None


_ADVICE = "Choose another with --listen HOST:PORT"
_OTHER_JOURNAL = "Name another with --journal PATH, or go without one: --no-journal"

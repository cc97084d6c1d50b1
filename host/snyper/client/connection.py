"""Dial a hub and register with it as a console."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from snyper.client.addresses import dial_address
from snyper.client.environment import hub_key
from snyper.client.errors import NoHubError
from snyper.client.hub_client import REPLY_TIMEOUT_MS, HubClient
from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.handshake_server import Role
from snyper.shared.link import Link
from snyper.shared.runtime import dial
from snyper.shared.socket_protocol import PORT, ErrorCode, ProtocolError

DEFAULT_HUB = f"127.0.0.1:{PORT}"
DIAL_TIMEOUT_MS = 3_000

# What a hub says of a console that it does not serve. Any other end of registering is no hub's.
_REFUSALS_TO_REGISTER = {
    ErrorCode.BUSY,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNSUPPORTED,
    ErrorCode.BAD_MESSAGE,
    ErrorCode.NOT_REGISTERED,
    ErrorCode.INTERNAL,
}


@asynccontextmanager
async def connect(hub: str = DEFAULT_HUB, key: str | None = None) -> AsyncIterator[HubClient]:
    """Registers with the hub at `hub` (HOST:PORT) as a console, and hangs up at the end of the block.

    `key` is for a hub that wants one; by default it is what the variable SNYPER_KEY says. Raises ValueError
    for an address or a key that is none, NoHubError when no hub answers there, ProtocolError when it refuses.
    No OSError of the network's gets out of this, nor out of the methods of `HubClient`.
    """
    address = dial_address(hub)
    try:
        reader, writer = await dial(*address, DIAL_TIMEOUT_MS)
    except (OSError, UnicodeError) as error:  # the latter of a name that DNS cannot have
        raise NoHubError(_why_unreachable(error)) from None
    link = Link(reader, writer, {}, "hub")
    running = asyncio.create_task(link.run())
    try:
        if key is None:
            key = hub_key()
        register = register_message(link.new_id(), key, {"role": Role.CONSOLE})
        try:
            reply = await link.request(register, REPLY_TIMEOUT_MS)
        except ProtocolError as error:
            why = link.close_error or error  # which says why, where the hub did
            if why.code in _REFUSALS_TO_REGISTER:
                raise why from None
            raise _not_a_hub(why) from None
        try:
            registered = Registered(reply)
        except ProtocolError as error:
            raise _not_a_hub(error) from None
        registered.apply_to(link)
        yield HubClient(link, registered.boot_id)
    finally:
        link.close(ProtocolError(ErrorCode.DISCONNECTED, "this side hung up"))
        await running


def _not_a_hub(why: ProtocolError) -> NoHubError:
    return NoHubError(f"what listens there does not answer as a hub: {why.message}")


def _why_unreachable(error: OSError | UnicodeError) -> str:
    """Why nobody could be dialled, in few words."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "no computer is known by that name"
    if isinstance(error, TimeoutError):
        return "nothing answers there"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__

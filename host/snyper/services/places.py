"""The place of a server of calls: an address, or a name that a hub knows."""

import socket
from typing import Any, Protocol

from snyper.services.sockets import configure_connection
from snyper.shared.address import format_address


class Place(Protocol):
    """A server's place: `where` for people, and the way there."""

    where: str

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a socket that leads there. Raises OSError; ProtocolError: `disconnected` where it may go
        better the next time.
        """

    async def towards(self, timeout_s: float) -> dict[str, Any]:
        """Return what has an event loop connect there. Raises OSError, ProtocolError: `disconnected` where it
        may go better the next time.
        """


class Address:
    """The place of a server that listens."""

    def __init__(self, host: str, port: int) -> None:
        self.where = format_address(host, port)
        self._address = (host, port)

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a socket that leads there. Raises OSError."""
        sock = socket.create_connection(self._address, timeout_s)
        configure_connection(sock)
        return sock

    async def towards(self, timeout_s: float) -> dict[str, Any]:
        """Return the address."""
        return dict(zip(("host", "port"), self._address, strict=True))


def place_of(address: str, port: int, hub: str | None, name: str | None, key: str | None) -> Place:
    """Return the place that the options of a client mean. Raises ValueError."""
    if hub is None and name is None:
        if key is not None:
            raise ValueError("key= is for a hub: give hub= and name=, or secret= for a server's own")
        return Address(address, port)
    if hub is None or name is None:
        raise ValueError('a server that a hub knows: hub="HOST:PORT" and name="lab1", both')
    from snyper.services.through_hub import ThroughHub

    return ThroughHub(hub, name, key)

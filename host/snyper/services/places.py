"""The place of a server of calls: an address, or a name that a hub knows."""

import socket
from typing import Any, Protocol

from snyper.services.sockets import configure_connection
from snyper.services.wire import PORT
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


def check_place(address: object, port: object, secret: object) -> None:
    """Raise TypeError, ValueError for what is no host, no port, no secret, or None where there may be none.

    A port beyond 65,535 would be another one, of which the system takes the last 16 bits.
    """
    if not isinstance(address, str | None):
        raise TypeError(f"an address is text, not {address!r}")
    if address is not None and (address.count(":") == 1 or "/" in address or address.startswith("[")):
        raise ValueError(f"address is a host alone, not {address!r}: its port goes in port=")
    if not isinstance(port, int):
        raise TypeError(f"a port is an integer, not {port!r}")
    if not 0 <= port <= 65_535:
        raise ValueError(f"a port is 0 to 65535, not {port}")
    if not isinstance(secret, str | None):
        raise TypeError(f"a secret is text, not {type(secret).__name__}")
    try:
        (secret or "").encode()
    except UnicodeEncodeError:  # which says the secret
        raise ValueError("the secret has characters that UTF-8 has not: choose another") from None
    if secret == "":
        raise ValueError("an empty secret keeps nobody out: give one, or leave it out")


def place_of(address: str | None, port: int, hub: str | None, name: str | None, key: str | None) -> Place:
    """Return the place that the options of a client mean: none at all, this computer. Raises ValueError."""
    if hub is None and name is None:
        if key is not None:
            raise ValueError("key= is for a hub: give hub= and name=, or secret= for a server's own")
        return Address("localhost" if address is None else address, port)
    if hub is None or name is None:
        raise ValueError('a server that a hub knows: hub="HOST:PORT" and name="lab1", both')
    if address is not None:
        raise ValueError("hub= and name=, or address=: leave out address= to go through the hub")
    if port != PORT:
        raise ValueError(
            'port= is of a server that listens: leave it out, the hub\'s goes in hub="HOST:PORT"'
        )
    from snyper.services.through_hub import ThroughHub

    return ThroughHub(hub, name, key)

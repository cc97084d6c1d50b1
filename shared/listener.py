"""What others begin: a socket that listens, and the connections that it accepts. On both runtimes."""

import asyncio

from snyper.shared.runtime import MICROPYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

if MICROPYTHON:
    import select

    from snyper.shared.runtime import set_nodelay

    def _is_alive(sock: "socket.socket") -> bool:
        """False for a connection that was reset: on lwIP it has no control block left to set an option in."""
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        lost = select.POLLERR | select.POLLHUP
        return not [entry for entry in poller.poll(0) if entry[1] & lost]

    async def listen(on_connection: "OnConnection", host: str, port: int, backlog: int) -> asyncio.Server:
        """Accepts connections on `host`, or on every IPv4 address where it is empty. `on_connection` calls
        `configure_accepted` first. Raises OSError.
        """
        return await asyncio.start_server(on_connection, host or "0.0.0.0", port, backlog)

    def configure_accepted(writer: asyncio.StreamWriter) -> None:
        """Makes one small write one packet, now. Raises OSError."""
        if _is_alive(writer.s):  # type: ignore[attr-defined]
            set_nodelay(writer.s)  # type: ignore[attr-defined]

    def bound_port(server: asyncio.Server, port: int) -> int:
        """The port that `listen` was given: the runtime cannot tell which one it got for 0."""
        return port

    async def close_server(server: asyncio.Server) -> None:
        """Stops listening; live connections stay."""
        server.close()
        await server.wait_closed()

else:
    from errno import EADDRNOTAVAIL, EAFNOSUPPORT
    from socket import AF_INET

    from snyper.shared.runtime import configure_stream

    async def listen(on_connection: "OnConnection", host: str, port: int, backlog: int) -> asyncio.Server:
        """Accepts connections on `host`, or on every address, IPv6 too, where it is empty. `on_connection`
        calls `configure_accepted` first. Raises OSError.
        """
        try:
            return await asyncio.start_server(on_connection, host or None, port, backlog=backlog)
        except OSError as error:
            if host or error.errno not in (EADDRNOTAVAIL, EAFNOSUPPORT):
                raise
            # A system without IPv6.
            return await asyncio.start_server(on_connection, "0.0.0.0", port, backlog=backlog)

    def configure_accepted(writer: asyncio.StreamWriter) -> None:
        """Makes one small write one packet, now, and `drain` wait until all has left. Raises OSError."""
        configure_stream(writer)

    def bound_port(server: asyncio.Server, port: int) -> int:
        """The port that `server` listens on, also where `listen` was given 0."""
        # For 0 each address of a host gets a port of its own; whoever dials a name tries IPv4 in any case.
        first = min(server.sockets, key=lambda sock: sock.family != AF_INET)
        bound: int = first.getsockname()[1]
        return bound

    async def close_server(server: asyncio.Server) -> None:
        """Stops listening; live connections stay."""
        server.close()

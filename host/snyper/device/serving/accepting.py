"""Accepts connections: so many in all and of one address, with TLS or without."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import time
from typing import Any, Callable, Coroutine, Mapping, Sequence

from snyper.device.serving.connections import Connection, Connections

_RETRY_S = 0.01  # after the system had no descriptor for a connection
_LOG_S = 10.0  # between two times that this is told: who dials without end fills no log

LogFault = Callable[[str, BaseException], None]


class Acceptor:
    """Accepts connections on sockets. Each has the protocol that `make_protocol` returns, which sets how its
    Connection is aborted, and since when it waits. `most` connections there may be.

    `limits` are `connections`, `per_address` and `handshake_ms`. What others cause is told to `log_fault`,
    and no more than now and then.
    """

    def __init__(
        self,
        make_protocol: Callable[[Connection], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None,
        limits: Mapping[str, int],
        log_fault: LogFault,
        most: int | None = None,
    ) -> None:
        most = limits["connections"] if most is None else min(most, limits["connections"])
        self._connections = Connections(max(1, most), limits["per_address"])
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake_s = limits["handshake_ms"] / 1000
        self._log_fault = log_fault
        self._logged_s = -_LOG_S
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, socks: Sequence[socket.socket]) -> None:
        """Accept connections from now on."""
        for sock in socks:
            sock.setblocking(False)
            self._start(self._accept(sock))

    async def stop(self) -> None:
        """Accept nothing more, and end those that are not there yet."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(sock)
            except OSError as error:
                now_s = time.monotonic()
                if now_s - self._logged_s > _LOG_S:
                    self._logged_s = now_s
                    self._log_fault("cannot take a connection, and goes on trying", error)
                victim = self._connections.longest_waiting()
                if victim is not None:
                    victim.abort()
                await asyncio.sleep(_RETRY_S)
                continue
            self._take(accepted, address[0])

    def _take(self, accepted: socket.socket, address: str) -> None:
        sock = _Socket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        sock.setblocking(False)
        # asyncio leaves it alone on a socket that does not know its protocol.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        connection = Connection(address, lambda: None, time.monotonic())
        sock.counted_in, sock.connection = self._connections, connection
        if not self._connections.admit(connection):
            sock.close()
            return
        task = self._start(self._serve_connection(sock, connection))
        connection.abort = task.cancel  # until it has a transport, and perhaps before the task has begun
        task.add_done_callback(lambda task: sock.close() if task.cancelled() else None)

    async def _serve_connection(self, sock: _Socket, connection: Connection) -> None:
        options: dict[str, Any] = {}
        if self._tls is not None:
            options = {"ssl": self._tls, "ssl_handshake_timeout": self._handshake_s}
            if sys.version_info >= (3, 11):
                options["ssl_shutdown_timeout"] = self._handshake_s
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # a handshake that fails is the peer's business
            await loop.connect_accepted_socket(lambda: self._make_protocol(connection), sock, **options)


class _Socket(socket.socket):
    """A connection's socket, which is counted for as long as its descriptor is open."""

    counted_in: Connections
    connection: Connection

    def close(self) -> None:
        super().close()
        self.counted_in.remove(self.connection)

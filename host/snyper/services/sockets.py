"""Sockets as both ends of a call have them."""

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Any

_BACKLOG = 128
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 13_000))


def keep_alive(sock: socket.socket) -> None:
    """Have the system find out that a peer has gone without a word: within 13 s, also while this process does
    nothing.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def readiness(sock: Any) -> Callable[[float], bool]:
    """Return a function that tells whether something can be read from a socket within so many seconds."""
    if not hasattr(select, "poll"):
        return lambda wait_s: bool(select.select((sock,), (), (), wait_s)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda wait_s: bool(poll.poll(wait_s * 1000))


def wait_for_either(sock: Any) -> bool:
    """Wait until something can be read from a socket or sent to it; return whether something can be read."""
    if not hasattr(select, "poll"):
        return bool(select.select((sock,), (sock,), ())[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    return bool(poll.poll()[0][1] & ~select.POLLOUT)


def listen(address: str, port: int) -> list[socket.socket]:
    """Listen on an address, or on all of this computer's where it is empty; port 0 finds a free one. Raises
    OSError that says where.
    """
    found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, where in sorted(set(found), key=lambda entry: entry[0]):
            sock = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(sock)
            if os.name == "posix":  # elsewhere it means that two may listen
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(listeners) > 1:
                where = (where[0], listeners[0].getsockname()[1], *where[2:])
            sock.bind(where)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in listeners:
            sock.close()
        raise OSError(
            error.errno, f"cannot listen on {address or '*'}:{port}: {os.strerror(error.errno or 0)}"
        ) from None
    return listeners


def own_address() -> str:
    """Return the address that others most likely reach this computer at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent
            address: str = sock.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return address

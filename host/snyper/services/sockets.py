"""Sockets as both ends of a call have them."""

import contextlib
import errno
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

_BACKLOG = 128
PIECE_BYTES = (
    1 << 14
)  # to be read at once, or more: all that TLS has in a record, of which it keeps no rest then
_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # IPv6, on many a computer
# Of a connection on which nothing is under way. Apple's TCP_KEEPALIVE is the others' TCP_KEEPIDLE.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPALIVE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 4}
# Of one on which something sent is not acknowledged: TCP_USER_TIMEOUT, and what Python has no names for,
# TCP_MAXRT of Windows and TCP_RXT_CONNDROPTIME of macOS.
_UNACKNOWLEDGED = {"linux": (18, 13_000), "win32": (5, 13), "darwin": (0x80, 13)}


def configure_connection(sock: socket.socket) -> None:
    """Have a connection send at once, and the system find out that its peer has gone without a word: within
    13 s, also while this process does nothing. A socket of another kind leads no further than this computer.

    Raises OSError where the connection has gone.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = [(getattr(socket, name, None), value) for name, value in _KEEPALIVE.items()]
    for option, value in (*options, _UNACKNOWLEDGED.get(sys.platform, (None, 0))):
        if option is not None:
            with contextlib.suppress(OSError):  # an older system
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def readiness(sock: Any) -> Callable[[float], object]:
    """Return a function that says something true if something can be read from a socket within so many ms."""
    if not hasattr(select, "poll"):
        return lambda ms: select.select((sock,), (), (), ms / 1000)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll


def wait_for_either(sock: Any, wait_s: float | None) -> bool:
    """Wait until something can be read from a socket or sent to it, or for so long; return whether something
    can be read.
    """
    if not hasattr(select, "poll"):
        return bool(select.select((sock,), (sock,), (), wait_s)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    return any(event & ~select.POLLOUT for _, event in poll.poll(None if wait_s is None else wait_s * 1000))


def wait_for_first(first: int, second: int) -> bool:
    """Wait until something can be read from either of two sockets; return whether it can from the first."""
    if not hasattr(select, "poll"):
        return first in select.select((first, second), (), ())[0]
    poll = select.poll()  # unlike `select` it takes numbers above 1,023
    for descriptor in (first, second):
        poll.register(descriptor, select.POLLIN)
    return first in dict(poll.poll())


def listen(address: str, port: int) -> list[socket.socket]:
    """Listen on an address, or on all of this computer's where it is empty; port 0 finds a free one. Of a
    name that stands for several, such as localhost, those that the system does not have are left out.

    Raises OSError that says where.
    """
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, where in sorted(set(found), key=lambda entry: entry[0]):
            if port == 0 and listeners:
                where = (where[0], listeners[0].getsockname()[1], *where[2:])
            try:
                listeners.append(_listener(family, where))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if missing is not None and not listeners:
            raise missing
    except OSError as error:
        for sock in listeners:
            sock.close()
        raise OSError(error.errno, f"cannot listen on {address or '*'}:{port}: {error.strerror}") from None
    return listeners


def _listener(family: int, where: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: there SO_REUSEADDR lets others take the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def own_address() -> str:
    """Return the address that others most likely reach this computer at."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # RFC 5737; nothing is sent
            address: str = sock.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return address

"""The sockets and the certificate of what serves HTTP."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snyper.device.addresses import dial_host, format_listen
from snyper.device.disk import shown

BACKLOG = 128


def load_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Load what HTTPS needs: a certificate with its chain, and its key, where that is not in the same file.
    Raises ValueError, saying what to do, when that is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(
            str(certificate), None if key is None else str(key), lambda: ""
        )  # it asks nobody for a password
    except OSError as error:
        why = error.strerror or type(error).__name__
        if isinstance(error, ssl.SSLError):  # which names a line of Python's own source
            why = (error.reason or "no certificate with its key").replace("_", " ").lower()
        raise ValueError(
            f"{shown(certificate)} cannot be used for HTTPS ({why}): give a certificate in PEM, and its"
            " key, without a password, in the same file or with --certificate-key"
        ) from None
    return context


def open_socket(host: str, port: int, another: str) -> socket.socket:
    """Open the socket to serve on; without a host on every address. Raises OSError, saying what to do, when
    the address is not to be had: `another` is who may have it.
    """
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return _bound(family, address)
    except OSError as error:
        raise OSError(
            f"cannot listen on {format_listen(host, port)} ({error.strerror}): is {another} running?"
            " Name another port with --listen 127.0.0.1:PORT"
        ) from None


def _bound(family: int, address: Any) -> socket.socket:
    """Return a socket that listens, as `socket.create_server` makes it from Python 3.8 on."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with whoever has it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def urls(socks: Sequence[socket.socket], tls: ssl.SSLContext | None) -> list[str]:
    """Return where sockets are reached, from this computer where they are on every address."""
    scheme = "https" if tls else "http"
    addresses = [sock.getsockname()[:2] for sock in socks]
    return [f"{scheme}://{format_listen(dial_host(host), port)}" for host, port in addresses]

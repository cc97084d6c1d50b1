"""The socket and the certificate of a web server."""

import socket
import ssl
from pathlib import Path

from snyper.shared.address import parse_address
from snyper.system.files import shown


def load_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Load what HTTPS needs: a certificate with its chain, and its key, where that is not in the same file.
    Raises ValueError, saying what to do, when that is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, lambda: "")  # it asks nobody for a password
    except OSError as error:
        why = error.strerror or type(error).__name__
        if isinstance(error, ssl.SSLError):  # which names a line of Python's own source
            why = (error.reason or "no certificate with its key").replace("_", " ").lower()
        raise ValueError(
            f"{shown(certificate)} cannot be used for HTTPS ({why}): give a certificate in PEM, and its"
            " key, without a password, in the same file or with --certificate-key"
        ) from None
    return context


def open_socket(listen: str, another: str) -> socket.socket:
    """Open the socket to serve on. Raises OSError, saying what to do, when the address is not to be had:
    `another` is who may have it.
    """
    host, port = parse_address(listen)
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=100)
    except OSError as error:
        raise OSError(
            f"cannot listen on {listen} ({error.strerror}): is {another} running?"
            " Name another port with --listen 127.0.0.1:PORT"
        ) from None

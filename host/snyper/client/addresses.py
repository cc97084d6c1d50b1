"""Addresses as people and programs take them: what is printed can be dialled."""

import ipaddress

from snyper.shared.address import format_address, parse_address, parse_hub

TLS_SCHEME = "tls://"  # before the address of a hub that is to be spoken to under TLS
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def dial_host(host: str) -> str:
    """Return where this computer reaches what listens on `host`: for every address (empty, 0.0.0.0, ::)
    itself.
    """
    if not host:
        return _LOOPBACK[4]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return _LOOPBACK[address.version] if address.is_unspecified else host


def dial_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT as people write it into host and port to dial. Raises ValueError that shows the
    text.
    """
    host, port = parse_address(text)
    return dial_host(host), port


def dial_hub(text: str) -> str:
    """Return a hub's address, with or without tls://, with the host and port to dial. Raises ValueError that
    shows the text.
    """
    host, port, wants_tls = parse_hub(text)
    return (TLS_SCHEME if wants_tls else "") + format_address(dial_host(host), port)


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Addresses as people and programs take them: HOST:PORT, and where what listens there is reached. Pure."""

from __future__ import annotations

import ipaddress
import re

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]*)):([0-9]{1,5})")
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def parse_listen(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `:PORT` (an empty host: every address) or `[IPV6]:PORT` into host and port. Raises
    ValueError that shows the text.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 65_535:
        raise ValueError(f"{text} is not HOST:PORT")
    return found[1] or found[2], int(found[3])


def format_listen(host: str, port: int) -> str:
    """Format host and port so that `parse_listen` reads them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(address: str) -> str:
    """Return what stands for who dials from an address: of IPv6 the network, for one computer may have all
    addresses of that.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return found.packed[:8].hex() if found.ipv4_mapped is None else str(found.ipv4_mapped)

"""Parses and formats HOST:PORT, and tls://HOST:PORT of a hub. Pure."""

from snyper.shared.socket_protocol import PORT


def parse_address(text: str) -> "tuple[str, int]":
    """Parse `HOST`, `HOST:PORT`, `:PORT` (an empty host: every address) or `[IPV6]:PORT` into host and port.

    Raises ValueError that shows the text.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address as [ADDRESS]:PORT, not %s" % text)
    if not port or port.strip("0123456789") or len(port) > 5 or int(port) > 65535:
        raise ValueError("%s is not HOST:PORT" % text)
    return host, int(port)


def parse_hub(text: str) -> "tuple[str, int, bool]":
    """Parse what `parse_address` does, with or without `tls://` before it, into host, port and whether TLS is
    asked for. Raises ValueError that shows the text.
    """
    wants_tls = text.startswith("tls://")
    host, port = parse_address(text[6:] if wants_tls else text)
    return host, port, wants_tls


def format_address(host: str, port: int) -> str:
    """Format host and port so that `parse_address` reads them: an IPv6 address stands in brackets."""
    return ("[%s]:%d" if ":" in host else "%s:%d") % (host, port)

"""Addresses as people and programs take them: what is printed can be dialled."""

from snyper.device.addresses import dial_host as dial_host, is_loopback as is_loopback
from snyper.shared.address import format_address, parse_address, parse_hub

TLS_SCHEME = "tls://"  # before the address of a hub that is to be spoken to under TLS


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

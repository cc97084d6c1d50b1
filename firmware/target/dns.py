"""A DNS and mDNS resolver that does not block the loop: the board's own `getaddrinfo` blocks for up to 14 s,
which is longer than the watchdog waits.
"""

import os
from errno import EHOSTUNREACH

from snyper.shared.runtime import exchange_datagrams

_DNS_PORT = 53
_MDNS_SERVER = "224.0.0.251"  # RFC 6762; a question from another port than 5353 is answered to us alone
_MDNS_PORT = 5353
_TRIES = 3
_TRY_MS = 1_000
_TYPE_A = 1


async def resolve(host: str, server: str, port: int = _DNS_PORT) -> str:
    """Resolve `host` to an IPv4 address; what is an address itself, also an IPv6 one, stays. `server` is the
    name server's address; names that end in `.local` are asked of everybody instead. Takes 3 s at most.
    Raises OSError when nobody knows. RFC 1035.
    """
    if ":" in host or is_address(host):
        return host
    if host.lower().endswith(".local"):
        server, port = _MDNS_SERVER, _MDNS_PORT
    query = _query(host)
    for _ in range(_TRIES):
        answer = await exchange_datagrams(server, port, query, _TRY_MS)
        address = _address_in(answer, query[:2])
        if address:
            return address
    raise OSError(EHOSTUNREACH, "no address for %s from the name server %s" % (host, server))


def is_address(host: str) -> bool:
    """Return whether `host` is an IPv4 address rather than a name."""
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)


def _query(host: str) -> bytes:
    """Encode a question for the A record of `host`, with recursion desired."""
    name = b""
    for label in host.split("."):
        encoded = label.encode()
        if not 1 <= len(encoded) <= 63:
            raise OSError(EHOSTUNREACH, "%s is no host name" % host)
        name += bytes((len(encoded),)) + encoded
    return os.urandom(2) + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x01\x00\x01"


def _address_in(answer: bytes, id: bytes) -> str:
    """Return the first address in an answer with this id; empty where there is none."""
    try:
        if answer[:2] != id and answer[:2] != b"\x00\x00":  # what multicast answers may have
            return ""
        at = 12
        for _ in range(_short(answer, 4)):
            at = _after_name(answer, at) + 4
        for _ in range(_short(answer, 6)):
            at = _after_name(answer, at)
            size = _short(answer, at + 8)
            if _short(answer, at) == _TYPE_A and size == 4:
                address = answer[at + 10 : at + 14]
                return "%d.%d.%d.%d" % (address[0], address[1], address[2], address[3])
            at += 10 + size
    except IndexError:
        return ""
    return ""


def _short(answer: bytes, at: int) -> int:
    return answer[at] << 8 | answer[at + 1]


def _after_name(answer: bytes, at: int) -> int:
    while answer[at]:
        if answer[at] >= 0xC0:  # the rest is elsewhere
            return at + 2
        at += 1 + answer[at]
    return at + 1

"""Resolves names by DNS and mDNS without blocking the loop, and makes this board's own: the board's own
`getaddrinfo` blocks for up to 14 s, which is longer than the watchdog waits.
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
_IS_RESPONSE = 0x80
_POINTER = 0xC0  # the rest of the name is elsewhere, before it


async def resolve(host: str, server: str, port: int = _DNS_PORT) -> str:
    """Resolve `host` to an IPv4 address; what is an address itself, also an IPv6 one, stays. `server` is the
    name server's address; names that end in `.local` are asked of everybody instead. Takes 3 s at most.
    Raises OSError when nobody knows. RFC 1035.
    """
    if ":" in host or is_address(host):
        return host
    is_multicast = host.lower().endswith(".local")
    if is_multicast:
        server, port = _MDNS_SERVER, _MDNS_PORT
    query = _query(host)
    for _ in range(_TRIES):
        answer = await exchange_datagrams(server, port, query, _TRY_MS, is_multicast)
        address = _address_in(answer, query, is_multicast)
        if address:
            return address
    raise OSError(EHOSTUNREACH, "no address for %s from the name server %s" % (host, server))


def host_name(target_id: str) -> str:
    """Make a host name: letters, digits and hyphens, at most the 32 that `network.hostname` takes."""
    name = "snyper-" + target_id.replace("_", "-").replace(".", "-")
    return name[:32].rstrip("-")


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


def _address_in(answer: bytes, query: bytes, is_multicast: bool) -> str:
    """Return the first address in the answer to `query`; empty where there is none, or it is no such answer:
    that has the id and the question, and by multicast at least the name.
    """
    try:
        is_answer = answer[2] & _IS_RESPONSE and answer[:2] == query[:2]
        if not is_answer and not (is_multicast and answer[2] & _IS_RESPONSE and answer[:2] == b"\x00\x00"):
            return ""
        questions = _short(answer, 4)
        if questions > 1 or questions == is_multicast == 0:
            return ""
        at = 12
        if questions:
            at = _after_name(answer, at) + 4
            if not _is_name(answer, 12, query) or answer[at - 4 : at] != query[-4:]:
                return ""
        for _ in range(_short(answer, 6)):
            is_named = questions or _is_name(answer, at, query)
            at = _after_name(answer, at)
            size = _short(answer, at + 8)
            if is_named and _short(answer, at) == _TYPE_A and size == 4:
                address = answer[at + 10 : at + 14]
                return "%d.%d.%d.%d" % (address[0], address[1], address[2], address[3])
            at += 10 + size
    except IndexError:
        return ""
    return ""


def _is_name(answer: bytes, at: int, query: bytes) -> bool:
    """Tell whether the name at `at` is the one that was asked for. Letters of either case are the same."""
    asked = 12
    while True:
        size = answer[at]
        if size >= _POINTER:
            earlier = (size & ~_POINTER) << 8 | answer[at + 1]
            if earlier >= at:
                return False
            at = earlier
            continue
        if answer[at : at + size + 1].lower() != query[asked : asked + size + 1].lower():
            return False
        if not size:
            return True
        at += size + 1
        asked += size + 1


def _short(answer: bytes, at: int) -> int:
    return answer[at] << 8 | answer[at + 1]


def _after_name(answer: bytes, at: int) -> int:
    while answer[at]:
        if answer[at] >= _POINTER:
            return at + 2
        at += 1 + answer[at]
    return at + 1

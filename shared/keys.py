"""Prove a key, and seal lines with it: HMAC-SHA256 (RFC 2104). Pure. The same on both runtimes.

Whoever registers with a key sends a nonce, and the hub answers with another. From both, from what the peer
registers as, and from the key, which never travels, each side derives one secret for what goes to the hub and
one for what comes from it. From then on each line ends in a seal, which only who has the key can make: with
the peer's first one, on its `register`, it proves that it has the key, and with the first of the hub the hub
does.
"""

import hashlib
from binascii import hexlify, unhexlify

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, text_field

KEY_BYTES = 32
NONCE_BYTES = 16
SEAL_BYTES = 32  # its number, how many bytes follow and its MAC: 8, 8 and 16 hexadecimal digits
MAX_NAME_CHARS = 32
MAX_SEALS = 1 << 32  # with one secret

_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_CONTEXT = b"snyper 1"
_HEX_DIGITS = "0123456789abcdef"
_NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."


class Rights:
    """The rights of a key: what may be done by whoever proves it."""

    FLEET = "fleet"  # register as anybody, and command
    DEVICE = "device"  # register as the target or service that has the key's own name
    READER = "reader"  # as a console, and only read
    CONSOLE = "console"  # as a console, and command


class Key:
    """A key: the name it has at the hub, and 32 secret bytes."""

    def __init__(self, text: str) -> None:
        """Read `NAME:HEX`, as `to_text` writes it. Raises ValueError for anything else, which it does not
        show.
        """
        name, _, digits = text.partition(":")
        if not 0 < len(name) <= MAX_NAME_CHARS or name.strip(_NAME_CHARS):
            raise ValueError(
                "a key is NAME:HEX, with a name of 1 to %d of A-Z a-z 0-9 _ - ." % MAX_NAME_CHARS
            )
        if not _is_hex(digits, KEY_BYTES):
            raise ValueError("a key is NAME:HEX, with %d hexadecimal digits" % (2 * KEY_BYTES))
        self.name = name
        self.secret = unhexlify(digits)

    def to_text(self) -> str:
        """Return the key as it is written into a file. Whoever reads it has the key."""
        return "%s:%s" % (self.name, hexlify(self.secret).decode())

    def __repr__(self) -> str:
        return "Key(%r)" % self.name


def nonce_field(data: "dict[str, object]") -> bytes:
    """Read `data["nonce"]`. Raises ProtocolError `bad_message`."""
    digits = text_field(data, "nonce", "")
    if not _is_hex(digits, NONCE_BYTES):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`nonce` is %d hexadecimal digits" % (2 * NONCE_BYTES))
    return unhexlify(digits)


def _is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and not text.strip(_HEX_DIGITS)


class Mac:
    """HMAC-SHA256 with one secret, for many messages."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK_BYTES:
            secret = hashlib.sha256(secret).digest()
        block = secret + bytes(_BLOCK_BYTES - len(secret))
        self._inner = bytes(byte ^ 0x36 for byte in block)
        self._outer = bytes(byte ^ 0x5C for byte in block)

    def digest(self, *parts: "bytes | bytearray | memoryview") -> bytes:
        """Return the 32 bytes of the MAC of `parts`, as if they were one."""
        inner = hashlib.sha256(self._inner)
        for part in parts:
            inner.update(part)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


class Seal:
    """The seals of what goes in one direction of one connection, in its order: of each line, and of the bytes
    that follow it.
    """

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        self._number = 0

    def next(self, content: "bytes | memoryview", following: int = 0) -> bytes:
        """Make the seal of what goes next, a line that so many bytes follow, or those. Raises ProtocolError
        `disconnected` after MAX_SEALS.
        """
        number = self._number
        if number >= MAX_SEALS:
            raise ProtocolError(ErrorCode.DISCONNECTED, "its secret has sealed enough: connect anew")
        self._number = number + 1
        digits = b"%08x%08x" % (number, following)
        return digits + hexlify(self._mac.digest(digits, content)[:_MAC_BYTES])

    def is_next(self, content: "bytes | memoryview", seal: bytes) -> bool:
        """Return whether `seal` is that of `content`, which came next. After one that is not, none is."""
        # How long a comparison takes tells nothing here: with a new connection there are new secrets.
        return seal == self.next(content, following(seal))


def following(seal: bytes) -> int:
    """Return how many bytes follow a line, as its seal says; 0 for what is no seal."""
    try:
        return int(seal[8:16], 16)
    except ValueError:
        return 0


def seals(
    key: Key, role: str, name: str, nonce: bytes, hub_nonce: bytes, binding: bytes = b""
) -> "tuple[Seal, Seal]":
    """Derive the seals of what goes to the hub, and of what comes from it.

    `role`, `name` and `nonce` are the peer's; `binding` is the hash of the hub's certificate under TLS, and
    else nothing.
    """
    fields = (_CONTEXT, key.name.encode(), role.encode(), name.encode(), nonce, hub_nonce, binding)
    # Each with its length before it: two lists of fields are never the same bytes.
    session = Mac(Mac(key.secret).digest(*[b"%d:" % len(field) + field for field in fields]))
    return Seal(Mac(session.digest(b"to the hub"))), Seal(Mac(session.digest(b"from the hub")))

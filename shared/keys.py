"""Prove a key, and seal lines with it: HMAC-SHA256 (RFC 2104). Pure. The same on both runtimes.

Whoever registers with a key sends a nonce, and the hub answers with another. From both, from what the peer
registers as, and from the key, which never travels, each side derives one secret for what goes to the hub and
one for what comes from it. From then on each line ends in a seal, which only who has the key can make: with
the peer's first one, on its `register`, it proves that it has the key, and with the first of the hub the hub
does.
"""

import hashlib
from binascii import hexlify, unhexlify

KEY_BYTES = 32
NONCE_BYTES = 16
SEAL_BYTES = 24  # of a line: its number and its MAC, in eight and sixteen hexadecimal digits
MAX_NAME_CHARS = 32
MAX_LINES = 1 << 32  # with one secret; then it takes a new one

_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_CONTEXT = b"snyper 1"
_HEX_DIGITS = "0123456789abcdef"
_NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."


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
        if len(digits) != 2 * KEY_BYTES or digits.strip(_HEX_DIGITS):
            raise ValueError("a key is NAME:HEX, with %d hexadecimal digits" % (2 * KEY_BYTES))
        self.name = name
        self.secret = unhexlify(digits)

    def to_text(self) -> str:
        """Return the key as it is written into a file. Whoever reads it has the key."""
        return "%s:%s" % (self.name, hexlify(self.secret).decode())

    def __repr__(self) -> str:
        return "Key(%r)" % self.name


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
    """The seals of what goes in one direction of one connection, in its order."""

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        self._number = 0

    def of(self, line: bytes) -> bytes:
        """Return the seal of `line`, without its end, if it goes next."""
        number = b"%08x" % self._number
        return number + hexlify(self._mac.digest(number, line)[:_MAC_BYTES])

    def advance(self) -> None:
        """Count the line that has just gone. Raises OverflowError after MAX_LINES."""
        self._number += 1
        if self._number >= MAX_LINES:
            raise OverflowError("the secret has sealed %d lines" % MAX_LINES)

    def opened(self, line: bytes) -> "bytes | None":
        """Take the seal off `line`, which came next and has no end; None when it is not the right one."""
        sealed = line[:-SEAL_BYTES]
        # How long a comparison takes tells nothing here: after the first wrong seal there are new secrets.
        if line[-SEAL_BYTES:] != self.of(sealed):
            return None
        self.advance()
        return sealed


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

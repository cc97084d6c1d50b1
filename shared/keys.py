"""Prove a key, and seal lines with it: HMAC-SHA256 (RFC 2104). Pure. The same on both runtimes.

Whoever registers with a key sends a nonce, and the hub answers with another. From both, from what the peer
registers as, and from the key, which never travels, each side derives one secret for what goes to the hub and
one for what comes from it. From then on each line ends in a seal, which only who has the key can make: with
the peer's first one, on its `register`, it proves that it has the key, and with the first of the hub the hub
does.
"""

from binascii import hexlify, unhexlify
from hashlib import sha256

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, text_field

KEY_BYTES = 32
NONCE_BYTES = 16
SEAL_BYTES = 32  # its number, how many bytes follow and its MAC: 8, 8 and 16 hexadecimal digits
MAX_NAME_CHARS = 32
MAX_SEALS = 1 << 32  # with one secret

_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_MAC_AT = 2 * _MAC_BYTES  # from the end of a seal
_COUNT_AT = _MAC_AT + 8
_NONE_FOLLOW = b"00000000"
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
            secret = sha256(secret).digest()
        block = secret + bytes(_BLOCK_BYTES - len(secret))
        self._inner = bytes(byte ^ 0x36 for byte in block)
        self._outer = bytes(byte ^ 0x5C for byte in block)

    def digest(self, message: "bytes | bytearray | memoryview") -> bytes:
        """Return the 32 bytes of the MAC of `message`."""
        inner = sha256(self._inner)
        inner.update(message)
        outer = sha256(self._outer)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


class Seal:
    """The seals of what goes in one direction of one connection, in its order: of each line, and of the bytes
    that follow it.
    """

    following = 0  # how many bytes follow what was opened last

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        self._number = 0

    def seal(self, content: "bytes | memoryview", following: int = 0) -> bytearray:
        """Seal what goes next, a line that so many bytes follow, or those: return it with its seal behind it.
        Raises ProtocolError `disconnected` after MAX_SEALS.
        """
        number = self._number
        if number >= MAX_SEALS:
            raise ProtocolError(ErrorCode.DISCONNECTED, "its secret has sealed enough: connect anew")
        self._number = number + 1
        sealed = bytearray(content)
        sealed += b"%08x%08x" % (number, following)
        sealed += hexlify(self._mac.digest(sealed)[:_MAC_BYTES])
        return sealed

    def open(self, sealed: bytes) -> "bytes | None":
        """Return what came next, without its seal; None where that is not the right one, and then never
        anything again.
        """
        number = self._number
        self._number = MAX_SEALS
        # How long a comparison takes tells nothing here: with a new connection there are new secrets.
        if (
            number >= MAX_SEALS
            or sealed[-SEAL_BYTES:-_COUNT_AT] != b"%08x" % number
            or sealed[-_MAC_AT:] != hexlify(self._mac.digest(memoryview(sealed)[:-_MAC_AT])[:_MAC_BYTES])
        ):
            return None
        following = sealed[-_COUNT_AT:-_MAC_AT]
        if following != _NONE_FOLLOW:
            if following.strip(b"0123456789abcdef"):
                return None
            self.following = int(following, 16)
        else:
            self.following = 0
        self._number = number + 1
        return sealed[:-SEAL_BYTES]


def seals(
    key: Key, role: str, name: str, nonce: bytes, hub_nonce: bytes, binding: bytes = b""
) -> "tuple[Seal, Seal]":
    """Derive the seals of what goes to the hub, and of what comes from it.

    `role`, `name` and `nonce` are the peer's; `binding` is the hash of the hub's certificate under TLS, and
    else nothing.
    """
    fields = (_CONTEXT, key.name.encode(), role.encode(), name.encode(), nonce, hub_nonce, binding)
    # Each with its length before it: two lists of fields are never the same bytes.
    session = Mac(Mac(key.secret).digest(b"".join([b"%d:" % len(field) + field for field in fields])))
    return Seal(Mac(session.digest(b"to the hub"))), Seal(Mac(session.digest(b"from the hub")))

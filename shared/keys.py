"""Prove a key, and derive from it the seals of a connection. Pure. The same on both runtimes. Loaded for a
handshake.

Whoever registers with a key sends a nonce, and the hub answers with another. From both, from what the peer
registers as, and from the key, which never travels, each side derives one secret for what goes to the hub and
one for what comes from it. From then on each line begins with a seal, which only who has the key can make:
with the peer's first one, on its `register`, it proves that it has the key, and with the first of the hub the
hub does.
"""

from binascii import hexlify, unhexlify
from hashlib import sha256

from snyper.shared.seal import Seal
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, text_field

KEY_BYTES = 32
NONCE_BYTES = 16
MAX_NAME_CHARS = 32

_BLOCK_BYTES = 64  # of SHA-256
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


def seals(
    key: Key, role: str, name: str, nonce: bytes, hub_nonce: bytes, binding: bytes = b""
) -> "tuple[Seal, Seal]":
    """Derive the seals of what goes to the hub, and of what comes from it.

    `role`, `name` and `nonce` are the peer's; `binding` is the hash of the hub's certificate under TLS, and
    else nothing.
    """
    fields = (_CONTEXT, key.name.encode(), role.encode(), name.encode(), nonce, hub_nonce, binding)
    # Each with its length before it: two lists of fields are never the same bytes.
    session = hmac(key.secret, b"".join([b"%d:" % len(field) + field for field in fields]))
    return Seal(hmac(session, b"to the hub")), Seal(hmac(session, b"from the hub"))


def hmac(secret: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 of `message` (RFC 2104), 32 bytes."""
    if len(secret) > _BLOCK_BYTES:
        secret = sha256(secret).digest()
    block = secret + bytes(_BLOCK_BYTES - len(secret))
    inner = sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    digest: bytes = sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()
    return digest

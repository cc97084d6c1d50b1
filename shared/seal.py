"""The seals that a connection with a key has on each of its lines: HMAC-SHA256 (RFC 2104). Pure. The same on
both runtimes.
"""

from binascii import hexlify
from builtins import memoryview  # as this module's own: on a board a builtin is looked for in a long list
from hashlib import sha256
from struct import pack_into

from snyper.shared.socket_protocol import ErrorCode, ProtocolError

SEAL_BYTES = 24  # 16 hexadecimal digits of its MAC, and 8 of how many bytes follow
MAX_SEALS = 1 << 32  # with one secret

_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_MAC_DIGITS = 2 * _MAC_BYTES
_NONE_FOLLOW = b"00000000"


class Mac:
    """HMAC-SHA256 with one secret, for many messages."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK_BYTES:
            secret = sha256(secret).digest()
        block = secret + bytes(_BLOCK_BYTES - len(secret))
        self._inner: "bytes | bytearray" = bytes(byte ^ 0x36 for byte in block)
        self._outer = bytes(byte ^ 0x5C for byte in block)

    def digest(self, message: "bytes | memoryview") -> bytes:
        """Return the 32 bytes of the MAC of `message`."""
        inner = sha256(self._inner)
        inner.update(message)
        outer = sha256(self._outer)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


class Seal(Mac):
    """The seals of what goes in one direction of one connection, in its order: of each line, and of the bytes
    that follow it. The number of each is in its MAC, and does not travel: both sides count.
    """

    following = 0  # how many bytes follow what was opened last
    _number = 0

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self._inner = bytearray(self._inner + bytes(8))  # where a message begins: with its number

    def seal(self, content: bytes, following: int = 0) -> bytes:
        """Seal what goes next, a line with its end that so many bytes follow, or those: return it with its
        seal before it. Raises ProtocolError `disconnected` after MAX_SEALS.
        """
        number = self._number
        if number >= MAX_SEALS:
            raise ProtocolError(ErrorCode.DISCONNECTED, "its secret has sealed enough: connect anew")
        self._number = number + 1
        content = (b"%08x" % following if following else _NONE_FOLLOW) + content
        return self._mac(number, content) + content

    def open(self, sealed: bytes) -> "bytes | None":
        """Return what came next without its seal; None where that is not the right one, and then never
        anything again.
        """
        number = self._number
        # How long a comparison takes tells nothing here: with a new connection there are new secrets.
        if number < MAX_SEALS and sealed.startswith(self._mac(number, memoryview(sealed)[_MAC_DIGITS:])):
            self._number = number + 1
            if sealed.startswith(_NONE_FOLLOW, _MAC_DIGITS):
                self.following = 0
                return sealed[SEAL_BYTES:]
            digits = sealed[_MAC_DIGITS:SEAL_BYTES]
            if len(digits) == SEAL_BYTES - _MAC_DIGITS and not digits.strip(b"0123456789abcdef"):
                self.following = int(digits, 16)
                return sealed[SEAL_BYTES:]
        self._number = MAX_SEALS
        return None

    def _mac(self, number: int, message: "bytes | memoryview") -> bytes:
        pack_into(">Q", self._inner, _BLOCK_BYTES, number)
        return hexlify(self.digest(message)[:_MAC_BYTES])

"""The seals that a connection with a key has on each of its lines. Pure. The same on both runtimes."""

from binascii import hexlify
from builtins import memoryview  # as this module's own: on a board a builtin is looked for in a long list
from hashlib import sha256
from struct import pack_into

from snyper.shared.socket_protocol import ErrorCode, ProtocolError

SEAL_BYTES = 24  # 16 hexadecimal digits of its MAC, and 8 of how many bytes follow
MAX_SEALS = 1 << 32  # with one secret

_NUMBER_AT = -8
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_MAC_DIGITS = 2 * _MAC_BYTES
_NONE_FOLLOW = b"00000000"


class Seal:
    """The seals of what goes in one direction of one connection, in its order: of each line, and of the bytes
    that follow it. The number of each is in its MAC, and does not travel: both sides count.

    The MAC is SHA-256 of the secret, the number and what is sealed, cut to 64 bits. What HMAC has beyond that
    keeps a whole hash from being continued without the secret; of this one three quarters are never seen.
    """

    following = 0  # how many bytes follow what was opened last
    _number = 0

    def __init__(self, secret: bytes) -> None:
        self._head = bytearray(secret + bytes(8))  # of what is hashed, with the number at its end

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
        pack_into(">Q", self._head, _NUMBER_AT, number)
        hashed = sha256(self._head)
        hashed.update(message)
        return hexlify(hashed.digest()[:_MAC_BYTES])

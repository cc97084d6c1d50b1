"""The seals that a connection with a key has on each of its lines: HMAC-SHA256 (RFC 2104). Pure. The same on
both runtimes.
"""

from binascii import hexlify
from hashlib import sha256

from snyper.shared.socket_protocol import ErrorCode, ProtocolError

SEAL_BYTES = 32  # its number, how many bytes follow and its MAC: 8, 8 and 16 hexadecimal digits
MAX_SEALS = 1 << 32  # with one secret

_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 8  # who guesses one of these loses the connection with the first wrong one
_NONE_FOLLOW = b"00000000"


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


class Seal(Mac):
    """The seals of what goes in one direction of one connection, in its order: of each line, and of the bytes
    that follow it.
    """

    following = 0  # how many bytes follow what was opened last
    _number = 0

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
        sealed += hexlify(self.digest(sealed)[:_MAC_BYTES])
        return sealed

    def open(self, sealed: bytes, ending: int = 0) -> "bytes | None":
        """Return what came next without its seal, and without the last `ending` bytes, which are not sealed;
        None where that is not the right one, and then never anything again.
        """
        end = len(sealed) - ending
        number = self._number
        self._number = MAX_SEALS
        mac_at = end - 2 * _MAC_BYTES
        # How long a comparison takes tells nothing here: with a new connection there are new secrets.
        if (
            number >= MAX_SEALS
            or end < SEAL_BYTES
            or sealed[end - SEAL_BYTES : mac_at - 8] != b"%08x" % number
            or sealed[mac_at:end] != hexlify(self.digest(memoryview(sealed)[:mac_at])[:_MAC_BYTES])
        ):
            return None
        self.following = 0
        if sealed.find(_NONE_FOLLOW, mac_at - 8) != mac_at - 8:
            following = sealed[mac_at - 8 : mac_at]
            if following.strip(b"0123456789abcdef"):
                return None
            self.following = int(following, 16)
        self._number = number + 1
        return sealed[: end - SEAL_BYTES]

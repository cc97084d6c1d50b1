"""The seals of a link under TLS: on the next line each way, which proves the key, and on no other. Loaded
where there are a key and TLS.
"""

from snyper.shared.sealed_stream import SealedStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SealedProof(SealedStream):
    """A SealedStream that ends with the first line that it seals, and with the first that it opens."""

    def write(self, data: bytes, following: "Any" = None) -> bool:
        """Seal a line and the bytes that follow it, and write them, as Stream.write does. Raises OSError,
        ProtocolError `disconnected` when the secret has sealed enough.
        """
        self._link._stream = self._stream
        return super().write(data, following)

    def _open(self, whole: bytes) -> bytes:
        content = super()._open(whole)
        if content:
            self._stream.owner = self._link
        return content

"""TLS on CPython, at both ends of a link. `tls_micropython.py` has the same for the side that dialled."""

import ssl
from binascii import a2b_base64
from hashlib import sha256

from snyper.shared.clock import now_us
from snyper.shared.runtime import Stream
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.shared.link import Link
    from snyper.shared.runtime import StreamOwner

_CLIENT_HELLO = 0x16  # the first byte of TLS, and of no line
_PIECE_BYTES = 65_536
_MAX_HANDSHAKE_BYTES = 16_384  # of a peer; it needs a tenth of that, and OpenSSL keeps 128 kB of it


async def secure(stream: Stream, certificate: str, timeout_ms: int) -> "Any":
    """Put TLS onto a stream that has just dialled, and return that. The hub has to show this `certificate`
    (base64 of DER); where it is empty any will do, to which the proof of the key is bound. A hub that shows
    another, or speaks no TLS, ends the stream once somebody is attached: here nothing is waited for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No authority and no name: the certificate itself is compared, or proven with the key.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TlsStream(stream, context, False, a2b_base64(certificate))


class TlsStream:
    """A Stream with TLS over another, `stream`. On the hub's side, `is_server`, a peer that begins with a
    line has no TLS, and is not refused.

    `certificate` (DER) is what the hub shows, or has to; its hash is the `binding` once it is shown.
    """

    owner: "StreamOwner | None" = None
    buffer: "memoryview | None" = None  # as a Stream's, and not used: what comes has to be decrypted first
    binding = b""
    _link: "Link"
    _is_begun = False
    _is_done = False  # the handshake
    _shaken_bytes = 0  # so many have come for it

    def __init__(
        self, stream: "Stream", context: ssl.SSLContext, is_server: bool, certificate: bytes
    ) -> None:
        self._stream = stream
        self._is_server = is_server
        self._certificate = certificate
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, is_server)
        self._waiting: "list[bytes]" = []  # written before the handshake is done

    @property
    def address(self) -> str:
        """Return what `stream` says of where the peer is."""
        return self._stream.address

    # --- what the link calls

    def attach(self, owner: "Link") -> None:
        """Begin to read, for `owner`."""
        self._link = self.owner = owner  # type: ignore[assignment]
        self._stream.attach(self)
        if not self._is_server:
            self._shake_hands()

    def write(self, data: bytes, following: "Any" = None) -> bool:
        """Write `data`, as Stream.write does. Before the handshake is done it is kept, and said to have left:
        a link that waited for that would not read, and so the handshake would not end.
        """
        if following is not None:
            data += following
        if not self._is_done:
            self._waiting.append(data)
            return True
        self._tls.write(data)
        return self._flush()

    def pause_reading(self) -> None:
        """Read no more. May be repeated."""
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read on. May be repeated."""
        self._stream.resume_reading()

    async def close(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        if self._is_server and not self._is_begun:
            self._write_plain()
        await self._stream.close()
        del self._tls, self._incoming, self._outgoing  # large, and this may be kept for a while

    # --- what the stream calls

    def data_received(self, data: "bytes | memoryview") -> None:
        """Take the next bytes, and give the owner what is in them. Raises what the owner does, ProtocolError
        `disconnected` for what is no TLS, `unauthorized` for another certificate.
        """
        owner = self.owner
        assert owner is not None
        if self._is_server and not self._is_begun and data[0] != _CLIENT_HELLO:
            self._link._stream = self._stream
            self._stream.owner = owner
            self._write_plain()
            owner.data_received(data)
            return
        self._is_begun = True
        self._link.received_us = now_us()  # as any byte, also one of what is not whole yet
        self._incoming.write(data)
        if not self._is_done:
            self._shake_hands()
            self._shaken_bytes += len(data)
            if not self._is_done and self._shaken_bytes > _MAX_HANDSHAKE_BYTES:
                raise ProtocolError(ErrorCode.DISCONNECTED, "its handshake has no end")
        pieces = []
        has_ended = False
        try:
            while self._is_done and not has_ended:
                pieces.append(self._tls.read(_PIECE_BYTES))
                has_ended = not pieces[-1]
        except ssl.SSLWantReadError:
            self._flush()  # where it has an answer of its own
        except ssl.SSLError as error:
            raise self._error(error) from None
        if any(pieces):
            owner.data_received(b"".join(pieces))
        if has_ended:
            owner.connection_lost(None)

    def resume_writing(self) -> None:
        """Go on, now that all that was written has left."""
        assert self.owner is not None
        self.owner.resume_writing()

    def write_progressed(self, at_us: int) -> None:
        """Pass on that the peer reads."""
        self._link.write_progressed(at_us)

    def connection_lost(self, error: "Exception | None") -> None:
        """End the link, as its stream does."""
        assert self.owner is not None
        self.owner.connection_lost(error)

    # ---

    def _shake_hands(self) -> None:
        """Go on with the handshake; write what waits for its end."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer
            raise self._error(error) from None
        shown = self._certificate if self._is_server else self._tls.getpeercert(binary_form=True) or b""
        if self._certificate not in (b"", shown):
            raise ProtocolError(
                ErrorCode.UNAUTHORIZED, "another certificate than the hub's: deploy this target again"
            )
        self.binding = sha256(shown).digest()
        self._is_done = True
        for data in self._waiting:
            self._tls.write(data)
        self._waiting = []
        self._flush()

    def _flush(self) -> bool:
        """Write what TLS has made; return whether all of it has left."""
        return self._stream.write(self._outgoing.read())

    def _write_plain(self) -> None:
        """Write without TLS what waits, for a peer that has begun without it, or not at all."""
        for data in self._waiting:
            self._stream.write(data)
        self._waiting = []

    def _error(self, error: ssl.SSLError) -> ProtocolError:
        why = (
            "it speaks no TLS" if error.reason == "WRONG_VERSION_NUMBER" else "TLS failed: %s" % error.reason
        )
        return ProtocolError(ErrorCode.DISCONNECTED, why)

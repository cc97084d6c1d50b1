"""A Stream whose lines are sealed both ways, between a Stream and its Link. Loaded where there is a key."""

from builtins import len  # as this module's own: on a board a builtin is looked for in a long list

from snyper.shared.clock import now_us
from snyper.shared.seal import SEAL_BYTES
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, MessageLineParser, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.shared.link import Link
    from snyper.shared.runtime import Stream
    from snyper.shared.seal import Seal

_MAX_SEALED_BYTES = MAX_LINE_BYTES + SEAL_BYTES
_PIECE_BYTES = 256  # of what comes in smaller pieces as many are put together at once
_WRONG = "a line without the right seal: is the key the same at both ends, and not revoked?"


def seal_link(link: "Link", sending: "Seal", receiving: "Seal", claim: "tuple[str, str | None, str]") -> None:
    """Seal from now on all that goes over `link`, and take nothing that is not: also nothing of what is being
    read. Under TLS only the next line each way, which proves the key: TLS does the rest. `claim` is the role
    and the name of the peer that proves its key with that, and the name of the key. To be called once.
    """
    assert link.sealed is None
    binding = binding_of(link)
    link._parser.overrun = True
    link._parser = MessageLineParser(max_chunk_bytes=link.max_chunk_bytes)
    between = SealedStream
    if binding:
        from snyper.shared.sealed_proof import SealedProof as between
    link._stream = link.sealed = between(link._stream, link, sending, receiving, claim)


def binding_of(link: "Link") -> bytes:
    """Return the hash of the hub's certificate, which the stream of `link` has under TLS; else nothing."""
    found: bytes = getattr(link._stream, "binding", b"")
    return found


class SealedStream:
    """A Stream of `link` over another, `stream`, with a seal on all that goes and comes.

    `claim` is the role and the name that the peer has said, and the name of its key. The link is given lines,
    and the bytes after them, as if there were no seals; at the first wrong one it is closed.
    """

    buffer: "memoryview | None" = None  # as a Stream's, and not used: what comes has to be checked first
    # Pieces of a line, or of what follows one; None where the next bytes begin a line.
    _begun: "list[bytes] | None" = None
    _missing = 0  # of the bytes that follow a line, and their seal
    _error: "ProtocolError | None" = None  # for which nothing is read any more

    def __init__(
        self,
        stream: "Stream",
        link: "Link",
        sending: "Seal",
        receiving: "Seal",
        claim: "tuple[str, str | None, str]",
    ) -> None:
        self._stream = stream
        self.address = stream.address
        self._link = link
        self._sending = sending
        self._receiving = receiving
        self.claim = claim
        stream.owner = self  # type: ignore[assignment]

    # --- what the link calls

    def write(self, data: bytes, following: "Any" = None) -> bool:
        """Seal a line and the bytes that follow it, and write them, as Stream.write does. Raises OSError,
        ProtocolError `disconnected` when the secret has sealed enough.
        """
        if following is None:
            end = data.find(b"\n") + 1
            if end == len(data):
                return self._stream.write(self._sending.seal(data))
            following = data[end:]
            data = data[:end]
        sealed = self._sending.seal(data, len(following))
        return self._stream.write(sealed, self._sending.seal(following))

    def pause_reading(self) -> None:
        """Read no more. May be repeated."""
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read on. May be repeated."""
        self._stream.resume_reading()

    async def close(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        await self._stream.close()

    # --- what the stream calls

    def data_received(self, data: bytes) -> None:
        """Take the next bytes, and give the link what of them is whole and sealed as it must be. Raises what
        the link does.
        """
        if self._begun is None and data.find(b"\n") == len(data) - 1:  # one whole line, as mostly
            opened = self._open(data)
        elif self._error is not None:
            self._stream.pause_reading()  # it has been told why: more of it is not read
            return
        else:
            opened = self._open_each(data)
        link = self._link
        if opened:
            link.data_received(opened)
        else:
            link.received_us = now_us()  # also a byte of what is not whole yet is a sign of life
        if self._error is not None:
            link.send_nowait(self._error.to_message())
            link.close(self._error, linger=True)

    def resume_writing(self) -> None:
        """Go on, now that all that was written has left."""
        self._link.resume_writing()

    def connection_lost(self, error: "Exception | None") -> None:
        """End the link, as its stream does."""
        self._link.connection_lost(error)

    # ---

    def _open_each(self, data: bytes) -> bytes:
        """Return what of the next bytes, and of those that were kept, is whole, without its seals; and what
        comes when the stream belongs to the link again.
        """
        opened = b""
        while data and self._error is None:
            size = self._missing or data.find(b"\n") + 1
            whole = self._join(data, size)
            data = data[size:] if whole else b""
            if whole:
                opened += self._open(whole)
                if self._stream.owner is not self:  # type: ignore[comparison-overlap]
                    return opened + data
        return opened

    def _join(self, data: bytes, size: int) -> bytes:
        """Return the whole that ends with the first `size` bytes of `data`; or keep what there is of it, and
        return nothing. `size` is 0 where a line has no end yet.
        """
        begun = self._begun or []
        if 0 < size <= len(data):
            begun.append(data[:size])
            self._begun = None
            self._missing = 0
            return b"".join(begun)
        if begun and len(begun[-1]) < _PIECE_BYTES:
            begun[-1] += data
        else:
            begun.append(data)
        self._begun = begun
        if size:
            self._missing = size - len(data)
        elif sum([len(piece) for piece in begun]) >= _MAX_SEALED_BYTES:
            self._fail(_too_long("a line has", MAX_LINE_BYTES))
        return b""

    def _open(self, whole: bytes) -> bytes:
        """Return `whole` without its seal; nothing where that is not right."""
        content = self._receiving.open(whole)
        if content is None:
            self._fail(ProtocolError(ErrorCode.UNAUTHORIZED, _WRONG))
            return b""
        following = self._receiving.following
        if following:
            self._begun = []
            self._missing = following + SEAL_BYTES
            if following > self._link.max_chunk_bytes:
                self._fail(_too_long("after a line come", self._link.max_chunk_bytes))
        return content

    def _fail(self, error: ProtocolError) -> None:
        self._error = error
        self._begun = []


def _too_long(what: str, limit: int) -> ProtocolError:
    return ProtocolError(ErrorCode.LINE_TOO_LONG, "%s at most %d bytes here" % (what, limit))

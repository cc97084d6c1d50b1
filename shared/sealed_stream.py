"""A Stream whose lines are sealed both ways, between a Stream and its Link. Loaded where there is a key."""

from snyper.shared.clock import now_us
from snyper.shared.seal import SEAL_BYTES
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, MessageLineParser, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.link import Link
    from snyper.shared.runtime import Stream
    from snyper.shared.seal import Seal

_WRONG = "a line without the right seal: is the key the same at both ends?"


def seal_link(link: "Link", sending: "Seal", receiving: "Seal", claim: "tuple[str, str | None, str]") -> None:
    """Seal from now on all that goes over `link`, and take nothing that is not: also nothing of what is being
    read. `claim` is the role and the name of the peer that proves its key with that, and the name of the key.
    To be called once.
    """
    assert link.sealed is None
    link._parser.overrun = True
    link._parser = MessageLineParser(max_chunk_bytes=link.max_chunk_bytes)
    link._stream = link.sealed = SealedStream(link._stream, link, sending, receiving, claim)


class SealedStream:
    """A Stream of `link` over another, `stream`, with a seal on all that goes and comes.

    `claim` is the role and the name that the peer has said, and the name of its key; `is_proven` once it has
    sealed something. The link is given lines, and the bytes after them, as if there were no seals; at the
    first wrong one it is closed.
    """

    buffer: "memoryview | None" = None  # as a Stream's, and not used: what comes has to be checked first
    is_proven = False
    _begun: "list[bytes] | None" = None  # pieces of a line, or of what follows one
    _begun_bytes = 0
    _missing = 0  # of the bytes that follow a line, and their seal
    _is_broken = False

    def __init__(
        self,
        stream: "Stream",
        link: "Link",
        sending: "Seal",
        receiving: "Seal",
        claim: "tuple[str, str | None, str]",
    ) -> None:
        self._stream = stream
        self._link = link
        self._sending = sending
        self._receiving = receiving
        self.claim = claim
        stream.owner = self  # type: ignore[assignment]

    # --- what the link calls

    def write(self, data: bytes) -> bool:
        """Seal a line and the bytes that follow it, and write them, as Stream.write does. Raises OSError,
        ProtocolError `disconnected` when the secret has sealed enough.
        """
        end = data.find(b"\n") + 1
        count = len(data) - end
        sealed = self._sending.seal(memoryview(data)[: end - 1], count)
        sealed += b"\n"
        if count:
            sealed += self._sending.seal(data[end:])
        return self._stream.write(sealed)

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
        if self._is_broken:
            self._stream.pause_reading()  # it has been told why: more of it is not read
            return
        opened: "list[bytes]" = []
        error = self._open(data, opened)
        if opened:
            self._link.data_received(opened[0] if len(opened) == 1 else b"".join(opened))
        else:
            self._link.received_us = now_us()  # also a byte of what is not whole yet is a sign of life
        if error is not None:
            self._is_broken = True
            self._link.send_nowait(error.to_message())
            self._link.close(error, linger=True)

    def resume_writing(self) -> None:
        """Go on, now that all that was written has left."""
        self._link.resume_writing()

    def connection_lost(self, error: "Exception | None") -> None:
        """End the link, as its stream does."""
        self._link.connection_lost(error)

    # ---

    def _open(self, data: bytes, opened: "list[bytes]") -> "ProtocolError | None":
        """Append to `opened` what is whole. Returns what is wrong with the rest."""
        while data:
            is_line = not self._missing
            size = data.find(b"\n") if is_line else self._missing
            is_whole = 0 <= size <= len(data)
            whole = data[:size] if is_whole else data
            data = data[size + is_line :] if is_whole else b""
            if self._begun is not None:
                self._begun_bytes += len(whole)
                self._begun.append(whole)
                if is_whole:
                    whole = b"".join(self._begun)
                    self._begun = None
            elif not is_whole:
                self._begun_bytes = len(whole)
                self._begun = [whole]
            if is_line and (len(whole) if is_whole else self._begun_bytes) >= MAX_LINE_BYTES + SEAL_BYTES:
                return ProtocolError(ErrorCode.LINE_TOO_LONG, "a line has at most %d bytes" % MAX_LINE_BYTES)
            if not is_whole:
                if not is_line:
                    self._missing = size - len(whole)
                return None
            content = self._receiving.open(whole)
            if content is None:
                return ProtocolError(ErrorCode.UNAUTHORIZED, _WRONG)
            self.is_proven = True
            opened.append(content + b"\n" if is_line else content)
            following = self._receiving.following
            if following > self._link.max_chunk_bytes:
                why = "at most %d bytes may follow a line here" % self._link.max_chunk_bytes
                return ProtocolError(ErrorCode.LINE_TOO_LONG, why)
            self._missing = following and following + SEAL_BYTES
        return None

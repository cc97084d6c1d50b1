"""A file sent in pieces, each once: after a cut it goes on where the server's part ends.

The exchange is that of draft-ietf-httpbis-resumable-upload, interop version 8, with a creation that carries
nothing; docs/resumable.md has it.
"""

import base64
import contextlib
import hashlib
import re
from typing import Any, Callable, Dict, Iterator, Mapping, Optional
from urllib.parse import quote, urlencode

from snyper.device.answer import Answer
from snyper.device.connection import Block, Body, Connection
from snyper.device.errors import BadAnswer, FileChanged, ServerFailed, TransferError, Unreachable
from snyper.device.limits import Limits
from snyper.device.multipart import BLOCK_BYTES, OnSent, SentFile, escaped
from snyper.device.packing import GZIP
from snyper.device.retrying import Tries, check

# What a cut costs at most, and what a smaller file would not gain by; on a link of 10 MB/s at 1 ms its own
# round trip is a hundredth of it.
PIECE_BYTES = 1024 * 1024

# On a link that is cut again and again pieces become smaller, so that some come through also to a server that
# keeps nothing of one that was cut.
_LEAST_PIECE_BYTES = 64 * 1024

_MEDIA_TYPE = "application/partial-upload"
_VERSION = {"Upload-Draft-Interop-Version": "8"}
_COMPLETE = {True: "?1", False: "?0"}
_REMOVAL_S = 5.0  # that a server has to hear that nobody goes on with a part


class Offer:
    """The ways in which a server takes files, beside a plain form; None is no limit in bytes."""

    def __init__(self, answer: Answer) -> None:
        is_known = answer.status < 300 and _MEDIA_TYPE in (answer.header("Accept-Patch") or "")
        found = dict(re.findall(r"([a-z-]+)=(\d{1,15})", answer.header("Upload-Limit") or ""))
        self.in_pieces = is_known
        self.max_size: Optional[int] = int(found["max-size"]) if "max-size" in found else None
        self.piece_bytes = max(1, min(PIECE_BYTES, int(found.get("max-append-size", PIECE_BYTES))))
        self.is_packed = GZIP in (answer.header("Accept-Encoding") or "")


def offer(connection: Connection, endpoint: str, limits: Limits) -> Offer:
    """Ask in which ways files are taken there. A server that does not know the question takes plain forms.

    Raises Unreachable; ServerFailed for a server that is busy; Refused where a key is missing.
    """

    def take(answer: Answer) -> Offer:
        answer.discard()
        if answer.status in (401, 403, 429) or answer.status in (502, 503, 504):
            check(answer.status, lambda: "", answer.retry_after_s)
        return Offer(answer)

    found: Offer = connection.request("OPTIONS", endpoint, limits=limits, take=take)
    return found


class Upload:
    """A file on its way to an endpoint, in pieces.

    `key` is the upload's name to the server: by it the upload goes on after the end of this process too.
    """

    def __init__(
        self,
        connection: Connection,
        endpoint: str,
        file: SentFile,
        headers: Mapping[str, str],
        filename: str,
        fields: Mapping[str, str],
        piece_bytes: int,
        limits: Limits,
        tries: Tries,
        on_sent: OnSent,
        take: Callable[[Answer], Any],
    ) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._query = "?" + urlencode(fields) if fields else ""
        self._file = file
        self._headers = {**_VERSION, **headers}
        self._filename = filename
        self._most_bytes = piece_bytes
        self._piece_bytes = piece_bytes
        self._limits = limits
        self._tries = tries
        self._on_sent = on_sent
        self._take = take
        self._digest = hashlib.sha256()
        self._digested = 0
        self._location: Optional[str] = None
        self._offset = 0
        self._furthest = 0
        self._is_sure = False  # whether the offset is the server's
        self._was_damaged = False
        self._result: Any = None
        self._is_done = False

    def run(self) -> Any:
        """Send it and return what the endpoint's answer brings.

        Raises Refused, ServerFailed, Unreachable, BadAnswer, FileChanged, and what the limits raise.
        """
        while not self._is_done:
            try:
                self._step()
            except (Unreachable, ServerFailed) as error:
                self._is_sure = False
                self._piece_bytes = max(min(_LEAST_PIECE_BYTES, self._most_bytes), self._piece_bytes // 2)
                self._tries.failed(error)
            except FileChanged:
                self._remove_part()
                raise
        return self._result

    def _remove_part(self) -> None:
        """Have the server remove what it has, if it can be told: nobody can go on with it."""
        if self._location is not None:
            with contextlib.suppress(TransferError, OSError):
                self._connection.request_target(
                    "DELETE", self._location, self._headers, limits=Limits(_REMOVAL_S)
                )

    def _step(self) -> None:
        if self._location is None:
            self._request("POST", self._created, {**self._description(), **_complete(False)}, Body(0, ()))
        elif not self._is_sure:
            self._request("HEAD", self._asked, {})
        else:
            self._append()

    def _description(self) -> Dict[str, str]:
        plain = escaped(self._filename).encode("ascii", "replace").decode().replace("?", "_")
        encoded = quote(self._filename, safe="", errors="replace")
        return {
            "Upload-Length": str(self._file.size),
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        }

    def _created(self, answer: Answer) -> None:
        if self._is_the_last(answer):
            return
        answer.discard()
        location = answer.header("Location")
        if not location:
            raise BadAnswer("the server does not say where the upload is")
        self._location = self._connection.target_of(location, self._endpoint)
        self._set_offset(_number(answer, "Upload-Offset") or 0)

    def _asked(self, answer: Answer) -> None:
        if self._is_gone(answer):
            return
        check(answer.status, lambda: "", answer.retry_after_s)
        offset = _number(answer, "Upload-Offset")
        if _is_complete(answer):
            self._location = None  # its answer is had by creating it again
        elif offset is None:
            raise BadAnswer("the server does not say how far the upload is")
        else:
            self._set_offset(offset)

    def _append(self) -> None:
        piece = self._file.read(self._offset, min(self._piece_bytes, self._file.size - self._offset))
        self._digest_until(self._offset + len(piece), piece)
        headers = {"Content-Type": _MEDIA_TYPE, "Upload-Offset": str(self._offset)}
        is_last = self._offset + len(piece) == self._file.size
        if is_last:
            self._file.check()
            digest = base64.b64encode(self._digest.digest()).decode("ascii")
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        body = Body(len(piece), self._blocks(piece))
        self._request("PATCH", self._appended, {**headers, **_complete(is_last)}, body)

    def _appended(self, answer: Answer) -> None:
        if self._is_the_last(answer) or self._is_gone(answer):
            return
        offset = _number(answer, "Upload-Offset")
        if answer.status == 409 and offset is not None:
            answer.discard()
            self._set_offset(offset)
            self._tries.failed(ServerFailed(409, "the server has another part of the upload than was sent"))
        elif answer.status == 422 and not self._was_damaged:
            answer.discard()
            self._was_damaged = True
            self._location = None
        else:
            check(answer.status, answer.detail, answer.retry_after_s)
            answer.discard()
            if offset is None or offset <= self._offset:
                raise BadAnswer("the server takes nothing of the upload")
            self._piece_bytes = min(self._most_bytes, 2 * self._piece_bytes)
            self._set_offset(offset)

    def _is_the_last(self, answer: Answer) -> bool:
        """Take the endpoint's own answer, if it is that."""
        if not _is_complete(answer):
            if answer.status >= 300 and self._location is None:
                check(answer.status, answer.detail, answer.retry_after_s)
            return False
        check(answer.status, answer.detail, answer.retry_after_s)
        self._result = self._take(answer)
        self._is_done = True
        return True

    def _is_gone(self, answer: Answer) -> bool:
        """Have it created again where the server has it no more."""
        if answer.status not in (404, 410):
            return False
        answer.discard()
        self._location = None
        self._tries.failed(ServerFailed(answer.status, "the server has the upload no more"))
        return True

    def _set_offset(self, offset: int) -> None:
        if offset > self._file.size:
            raise BadAnswer("the server has more of the file than there is")
        if offset > self._furthest:  # something came through: whatever fails from here on is new
            self._furthest = offset
            self._tries.succeeded()
        self._offset = offset
        self._is_sure = True
        self._on_sent(offset, self._file.size)

    def _digest_until(self, end: int, piece: bytes) -> None:
        """Take the bytes up to `end`, of which `piece` are the last, into the digest, each once."""
        start = end - len(piece)
        while self._digested < start:  # what an earlier process has sent
            block = self._file.read(self._digested, min(BLOCK_BYTES, start - self._digested))
            self._digest.update(block)
            self._digested += len(block)
        self._digest.update(piece[self._digested - start :])
        self._digested = max(self._digested, end)

    def _blocks(self, piece: bytes) -> Iterator[Block]:
        view = memoryview(piece)
        for start in range(0, len(view), BLOCK_BYTES):
            yield view[start : start + BLOCK_BYTES]
            self._on_sent(self._offset + min(start + BLOCK_BYTES, len(view)), self._file.size)

    def _request(
        self,
        method: str,
        take: Callable[[Answer], None],
        headers: Mapping[str, str],
        body: Optional[Body] = None,
    ) -> None:
        every = {**self._headers, **headers}
        if self._location is None:
            target = self._endpoint + self._query
            self._connection.request(method, target, every, body, self._limits, take)
        else:
            self._connection.request_target(method, self._location, every, body, self._limits, take)


def _complete(is_complete: bool) -> Dict[str, str]:
    return {"Upload-Complete": _COMPLETE[is_complete]}


def _is_complete(answer: Answer) -> bool:
    return (answer.header("Upload-Complete") or "").strip() == _COMPLETE[True]


def _number(answer: Answer, name: str) -> Optional[int]:
    text = (answer.header(name) or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None

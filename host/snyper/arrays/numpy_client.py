"""`NumpyClient`: the arrays of a gateway, as numpy's."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlencode

import numpy

from snyper.arrays.npy import Head, NotTaken, head_bytes, head_of, read_head
from snyper.device.answer import Answer
from snyper.device.connection import TIMEOUT_S, Block, Body, Connection
from snyper.device.errors import BadAnswer
from snyper.device.limits import Limits
from snyper.device.retrying import TRIES, Tries, check
from snyper.device.sending import send_file

if TYPE_CHECKING:
    from snyper.arrays.signal_listener import OnData, SignalListener

DEFAULT_URL = "http://localhost:8000"
NPY = "application/x-npy"
_BLOCK_BYTES = 262_144
_PAGE = 1_000  # entries of a list at once

Array = numpy.ndarray[Any, Any]
OnProgress = Callable[[int, int], None]


def _unheard(done: int, total: int) -> None:
    """Take progress that nobody wants to know."""


class NumpyClient:
    """Stores arrays at a gateway, and gets them back. It may be used from several threads, one at a time.

    `timeout` is in seconds, for the connection and each step of sending and of an answer; what fails for the
    network's sake is tried three times, an upload under one key, so that it is stored once. `key` is that of
    the gateway, by default SNYPER_SERVICE_KEY. `on_progress` is told how many bytes of how many are through.

    The methods raise Refused for what the gateway does not take or does not have, ServerFailed, Unreachable,
    BadAnswer, which are TransferError of `snyper.device`.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, timeout: float = TIMEOUT_S, key: str | None = None
    ) -> None:
        """Connect with the first request. Raises ValueError for what is no URL."""
        self._connection = Connection(base_url, timeout, key)
        self._lock = threading.Lock()
        self._listener: SignalListener | None = None

    def __enter__(self) -> "NumpyClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The next request opens it anew."""
        with self._lock:
            self._connection.close()

    def upload_numpy_array(
        self, array: Any, name: str = "", on_progress: OnProgress = _unheard
    ) -> dict[str, Any]:
        """Store an array, or what numpy makes one of; return its `index`, `shape`, `dtype`. Raises ValueError
        for one of objects, texts, dates, structures or complex numbers.
        """
        array = numpy.asarray(array)
        head = head_of(array)
        ordered = array.T if head.is_fortran else array
        if not ordered.flags.c_contiguous:
            ordered = numpy.ascontiguousarray(ordered)
        content = memoryview(ordered.reshape(-1).view(numpy.uint8))
        begin = head_bytes(head)

        def blocks() -> Iterator[Block]:
            yield begin
            for at in range(0, len(content), _BLOCK_BYTES):
                yield content[at : at + _BLOCK_BYTES]
                on_progress(min(at + _BLOCK_BYTES, len(content)), len(content))

        path = "/upload" + (f"?{urlencode({'name': name})}" if name else "")
        headers = {"Content-Type": NPY, "Idempotency-Key": uuid.uuid4().hex}
        return self._json("POST", path, headers, lambda: Body(len(begin) + len(content), blocks()))

    def upload_file(self, path: str | Path, on_progress: OnProgress = _unheard) -> dict[str, Any]:
        """Store a `.npy` file as it is, under its name; return the array's `index`, `shape`, `dtype`. Raises
        OSError, ValueError for what is no regular file.
        """
        key = uuid.uuid4().hex
        with self._lock:
            answer: dict[str, Any] = send_file(
                self._connection, "/upload", Path(path), key, on_sent=on_progress
            )
            return answer

    def list_arrays(self) -> dict[str, Any]:
        """Return `count`, and `arrays`: of each its `index`, `shape` and `dtype`."""
        arrays = [{name: one[name] for name in ("index", "shape", "dtype")} for one in self.describe_arrays()]
        return {"count": len(arrays), "arrays": arrays}

    def describe_arrays(self) -> Iterator[dict[str, Any]]:
        """Iterate over all arrays: of each its `index`, `name`, `shape`, `dtype`, `bytes`, `created`."""
        after: int | None = -1
        while after is not None:
            page = self._json("GET", f"/arrays?limit={_PAGE}&after={after}")
            yield from page["arrays"]
            after = page.get("next")

    def get_array(self, which: int | str, part: str = "", on_progress: OnProgress = _unheard) -> Array:
        """Return the array of an index or a name, or a `part` of it: a slice, such as `10:20,::2`."""

        def take(answer: Answer) -> Array:
            if NPY in (answer.header("Content-Type") or "").lower():
                return _read_array(answer, on_progress)
            return _array_of(answer.value())

        headers = {"Accept": f"{NPY}, application/json;q=0.5"}
        array: Array = self._request("GET", _path_of(which, part), headers, None, take)
        return array

    def save_array(
        self, which: int | str, file: BinaryIO, part: str = "", on_progress: OnProgress = _unheard
    ) -> None:
        """Write the array of an index or a name, or a `part` of it, to a file: as `.npy`, and never whole in
        memory. It is tried once. Raises OSError.
        """

        def take(answer: Answer) -> None:
            length = int(answer.header("Content-Length") or 0)
            done = 0
            for block in answer.blocks(length):
                file.write(block)
                done += len(block)
                on_progress(done, length)

        self._request("GET", _path_of(which, part), {"Accept": NPY}, None, take, tries=1)

    def delete_array(self, which: int | str) -> dict[str, Any]:
        """Delete the array of an index or a name; return its `index`."""
        return self._json("DELETE", _path_of(which))

    async def connect_streaming(self, on_data: "OnData | None" = None, auto_start: bool = True) -> None:
        """Listen to the gateway's signal until `stop_streaming`, or cancelled. `on_data` is called with each
        packet, `timestamp`, `shape`, `dtype`, and `x` and `y`, which are arrays, and awaited where it returns
        something to await; who is slow loses the oldest packets. With `auto_start` the signal is started.

        Needs the extra `arrays`. Raises Unreachable once the gateway is lost, and what `on_data` raises.
        """
        from snyper.arrays.signal_listener import SignalListener

        self._listener = listener = self._listener or SignalListener(self._connection)
        await listener.listen(on_data, auto_start)

    def start_streaming(self) -> dict[str, Any]:
        """Start the signal for everybody who listens at the gateway."""
        return self._json("POST", "/control/start")

    def stop_streaming(self) -> None:
        """Stop the signal for everybody who listens at the gateway, and have `connect_streaming` return. From
        any thread, and from `on_data`.
        """
        if self._listener is None or not self._listener.stop():
            self._json("POST", "/control/stop")

    def health(self) -> dict[str, Any]:
        """Return how the gateway is: `status`, `arrays_stored`, and what else it tells."""
        return self._json("GET", "/health")

    def _json(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        make_body: Callable[[], Body] | None = None,
    ) -> dict[str, Any]:
        value = self._request(method, path, headers, make_body, Answer.value)
        if not isinstance(value, dict):
            raise BadAnswer(f"{self._connection.url} is no gateway with arrays: it answers something else")
        return value

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None,
        make_body: Callable[[], Body] | None,
        take: Callable[[Answer], Any],
        tries: int = TRIES,
    ) -> Any:
        def taken(answer: Answer) -> Any:
            check(answer.status, answer.detail, answer.retry_after_s)
            return take(answer)

        limits = Limits()
        with self._lock:
            return Tries(limits, tries).run(
                lambda: self._connection.request(
                    method, path, headers, make_body and make_body(), limits, taken
                )
            )


def _path_of(which: int | str, part: str = "") -> str:
    query = f"?{urlencode({'slice': part})}" if part else ""
    return f"/array/{quote(str(which), safe='')}{query}"


def _array_of(data: Any) -> Array:
    """Make an array of JSON, as a gateway of another kind answers it. Raises BadAnswer."""
    try:
        array: Array = numpy.array(data["data"], dtype=data["dtype"])
        return array.reshape(data["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"the answer is no array: {error}") from None


def _read_array(answer: Answer, on_progress: OnProgress) -> Array:
    """Read a `.npy` file into the memory of its array. Raises BadAnswer."""
    length = int(answer.header("Content-Length") or 0)
    begin = bytearray()
    head: Head | None = None
    content, at = memoryview(b""), 0
    for block in answer.blocks(length):
        if head is None:
            begin += block
            head = _head_in(begin, length)
            if head is None:
                continue
            array: Any = numpy.empty(head.shape[::-1] if head.is_fortran else head.shape, head.type)
            content = memoryview(array.reshape(-1).view(numpy.uint8))
            block = bytes(begin[head.offset :])
        content[at : at + len(block)] = block
        at += len(block)
        on_progress(at, len(content))
    if head is None or at != len(content):
        raise BadAnswer("the answer is no array: it ends too soon")
    found: Array = array.T if head.is_fortran else array
    return found


def _head_in(begin: bytearray, length: int) -> Head | None:
    try:
        head = read_head(begin)
    except NotTaken as error:
        raise BadAnswer(f"the answer is no array: {error}") from None
    if head is not None and head.file_bytes != length:
        raise BadAnswer("the answer is no array: it has another length than its shape makes")
    return head

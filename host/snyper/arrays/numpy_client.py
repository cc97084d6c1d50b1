"""`NumpyClient`: the arrays of a gateway, as numpy's."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy

from snyper.arrays.npy import Head, NotTaken, head_bytes, head_of, read_head
from snyper.arrays.way import Content, OnProgress, Way, unheard
from snyper.device.connection import TIMEOUT_S, Block
from snyper.device.errors import BadAnswer
from snyper.device.retrying import TRIES

if TYPE_CHECKING:
    from snyper.arrays.way import OnData, Signal

DEFAULT_URL = "http://localhost:8000"
_BLOCK_BYTES = 262_144
_PAGE = 1_000  # entries of a list at once
_END = 2**62  # above every index

Array = numpy.ndarray[Any, Any]


class NumpyClient:
    """Stores arrays at a gateway, and gets them back. It may be used from several threads, one at a time.

    The gateway is at `base_url`, or with `hub` (HOST:PORT) the one that this hub knows as `name`, which is
    reached over the link. `timeout` is in seconds, for the connection and each step of sending and of an
    answer; what fails for the network's sake is tried three times, an upload under one key, so that it is
    stored once. `key` is that of the gateway, by default SNYPER_SERVICE_KEY, or that of the hub, by default
    this computer's. `on_progress` is told how many bytes of how many are through.

    The methods raise Refused for what the gateway does not take or does not have, ServerFailed, Unreachable,
    BadAnswer, which are TransferError of `snyper.device`.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        timeout: float = TIMEOUT_S,
        key: str | None = None,
        *,
        hub: str | None = None,
        name: str | None = None,
    ) -> None:
        """Connect with the first request. Raises ValueError for what is no URL, no address or no name."""
        self._way = _way_to(base_url, timeout, key, hub, name)
        self._signal: Signal | None = None

    def __enter__(self) -> "NumpyClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The next request opens it anew."""
        self._way.close()

    def upload_numpy_array(
        self, array: Any, name: str = "", on_progress: OnProgress = unheard
    ) -> dict[str, Any]:
        """Store an array, or what numpy makes one of; return its `index`, `shape`, `dtype`. Raises ValueError
        for one of objects, texts, dates, structures or complex numbers, and for what is no name.
        """
        if not isinstance(name, str) or any("\ud800" <= one <= "\udfff" for one in name):
            raise ValueError("a name is a text without halves of characters")
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

        return self._object(self._way.upload(name, len(begin) + len(content), blocks))

    def upload_file(self, path: str | Path, on_progress: OnProgress = unheard) -> dict[str, Any]:
        """Store a `.npy` file as it is, under its name; return the array's `index`, `shape`, `dtype`. Raises
        OSError, ValueError for what is no regular file.
        """
        return self._object(self._way.upload_file(Path(path), on_progress))

    def list_arrays(self) -> dict[str, Any]:
        """Return `count`, and `arrays`: of each its `index`, `shape` and `dtype`."""
        arrays = [{name: one[name] for name in ("index", "shape", "dtype")} for one in self.describe_arrays()]
        return {"count": len(arrays), "arrays": arrays}

    def describe_arrays(self) -> Iterator[dict[str, Any]]:
        """Iterate over all arrays: of each its `index`, `name`, `shape`, `dtype`, `bytes`, `created`."""
        after: int | None = -1
        while after is not None:
            page = self._object(self._way.page(after, _PAGE))
            yield from page["arrays"]
            after = page.get("next")

    def newest_arrays(self, limit: int = 100, before: int | None = None) -> dict[str, Any]:
        """Return the last `limit` arrays, at most 1,000, whose index is below `before`, the newest first:
        `count` of all; `arrays`, of each what `describe_arrays` says and a `preview`: `low` and `high`, the
        smallest and largest number of at most 64 parts of the first axis, and of a matrix an `image`; and as
        `next` what to say for `before`, None at the end.
        """
        return self._object(self._way.newest(_END if before is None else before, limit))

    def get_array(self, which: int | str, part: str = "", on_progress: OnProgress = unheard) -> Array:
        """Return the array of an index or a name, or a `part` of it: a text, such as `10:20,::2`. Raises
        TypeError for a part that is none.
        """
        _check_part(part)
        array: Array = self._way.get(which, part, lambda content: _read_array(content, on_progress), TRIES)
        return array

    def save_array(
        self, which: int | str, file: BinaryIO, part: str = "", on_progress: OnProgress = unheard
    ) -> None:
        """Write the array of an index or a name, or a `part` of it, to a file: as `.npy`, and never whole in
        memory. It is tried once. Raises OSError, TypeError for a part that is no text.
        """

        def take(content: Content) -> None:
            done = 0
            for block in content.blocks:
                file.write(block)
                done += len(block)
                on_progress(done, content.length)

        _check_part(part)
        self._way.get(which, part, take, 1)

    def delete_array(self, which: int | str) -> dict[str, Any]:
        """Delete the array of an index or a name; return its `index`. One of a name is tried once: another
        try could delete the array which had that name before. After Unreachable it may be gone or not.
        """
        return self._object(self._way.delete(which))

    async def connect_streaming(self, on_data: "OnData | None" = None, auto_start: bool = True) -> None:
        """Listen to the gateway's signal until `stop_streaming`, or cancelled. `on_data` is called with each
        packet, `timestamp`, `shape`, `dtype`, and `x` and `y`, which are arrays, and awaited where it returns
        something to await; who is slow loses the oldest packets. With `auto_start` the signal is started.

        Needs the extra `arrays`. Raises Unreachable once the gateway is lost, and what `on_data` raises.
        """
        self._signal = signal = self._signal or self._way.signal()
        await signal.listen(on_data, auto_start)

    def start_streaming(self) -> dict[str, Any]:
        """Start the signal for everybody who listens at the gateway."""
        return self._object(self._way.start_streaming())

    def stop_streaming(self) -> None:
        """Stop the signal for everybody who listens at the gateway, and have `connect_streaming` return. From
        any thread, and from `on_data`.
        """
        if self._signal is None or not self._signal.stop():
            self._way.stop_streaming()

    def health(self) -> dict[str, Any]:
        """Return how the gateway is: `status`, `arrays_stored`, and what else it tells."""
        return self._object(self._way.health())

    def _object(self, answer: object) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise BadAnswer(f"{self._way.where} is no gateway with arrays: it answers something else")
        return answer


def _check_part(part: object) -> None:
    if part is not None and not isinstance(part, str):
        raise TypeError(f"a part is a text, such as '10:20,::2', not {type(part).__name__}")


def _way_to(url: str, timeout: float, key: str | None, hub: str | None, name: str | None) -> Way:
    if (hub is None) != (name is None) or (hub is not None and url != DEFAULT_URL):
        raise ValueError('a gateway is at a URL, or at a hub: hub="HOST:PORT" and name="arrays", both')
    if hub is None or name is None:
        from snyper.arrays.over_http import OverHttp

        return OverHttp(url, timeout, key)
    from snyper.arrays.over_hub import OverHub

    return OverHub(hub, name, timeout, key)


def _read_array(npy: Content, on_progress: OnProgress) -> Array:
    """Read a `.npy` file into the memory of its array. Raises BadAnswer."""
    begin = bytearray()
    head: Head | None = None
    content, at = memoryview(b""), 0
    for block in npy.blocks:
        if head is None:
            begin += block
            head = _head_in(begin, npy.length)
            if head is None:
                continue
            array: Any = numpy.empty(head.shape[::-1] if head.is_fortran else head.shape, head.type)
            content = memoryview(array.reshape(-1).view(numpy.uint8))
            block = bytes(begin[head.offset :])
        if at + len(block) > len(content):
            raise BadAnswer("the answer is no array: it goes on after its end")
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

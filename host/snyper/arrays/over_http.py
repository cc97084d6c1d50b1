"""The way of a client to its gateway over HTTP."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy

from snyper.arrays.npy import NotTaken, head_bytes, head_of
from snyper.arrays.way import Content, OnProgress, Signal, T, deleted
from snyper.device.answer import Answer
from snyper.device.connection import Block, Body, Connection
from snyper.device.errors import BadAnswer
from snyper.device.limits import Limits
from snyper.device.retrying import TRIES, Tries, check
from snyper.device.sending import send_file

NPY = "application/x-npy"


class OverHttp:
    """A gateway at a URL. `key` left out is SNYPER_SERVICE_KEY. Raises ValueError for what is no URL."""

    def __init__(self, url: str, timeout: float, key: str | None) -> None:
        self._connection = Connection(url, timeout, key)
        self.where = self._connection.url
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def upload(self, name: str, length: int, make_blocks: Callable[[], Iterator[Block]]) -> object:
        """Store what the blocks make."""
        path = "/upload" + (f"?{urlencode({'name': name})}" if name else "")
        headers = {"Content-Type": NPY, "Idempotency-Key": uuid.uuid4().hex}
        return self._request("POST", path, headers, lambda: Body(length, make_blocks()))

    def upload_file(self, path: Path, on_progress: OnProgress) -> object:
        """Store a file: in pieces where it is large and the gateway takes them."""
        key = uuid.uuid4().hex
        with self._lock:
            answer: object = send_file(self._connection, "/upload", path, key, on_sent=on_progress)
            return answer

    def page(self, after: int, limit: int) -> object:
        """Return a page of the list."""
        return self._request("GET", f"/arrays?limit={limit}&after={after}")

    def newest(self, before: int, limit: int) -> object:
        """Return a page of the list from its end."""
        return self._request("GET", f"/arrays?limit={limit}&before={before}&previews=1")

    def get(self, which: int | str, part: str, take: Callable[[Content], T], tries: int) -> T:
        """Return what `take` makes of an array; of a gateway that has JSON alone, too."""

        def taken(answer: Answer) -> T:
            if NPY not in (answer.header("Content-Type") or "").lower():
                return take(_npy_of(answer.value()))
            length = int(answer.header("Content-Length") or 0)
            return take(Content(length, answer.blocks(length)))

        headers = {"Accept": f"{NPY}, application/json;q=0.5"}
        found: T = self._request("GET", _path_of(which, part), headers, take=taken, tries=tries)
        return found

    def delete(self, which: int | str) -> object:
        """Delete an array."""
        path = _path_of(which)
        return deleted(which, lambda: self._request("DELETE", path, tries=1), Tries(Limits()).run)

    def health(self) -> object:
        """Return how the gateway is."""
        return self._request("GET", "/health")

    def start_streaming(self) -> object:
        """Start the signal."""
        return self._request("POST", "/control/start")

    def stop_streaming(self) -> object:
        """Stop the signal."""
        return self._request("POST", "/control/stop")

    def signal(self) -> Signal:
        """Return what listens at its WebSocket."""
        from snyper.arrays.signal_listener import SignalListener

        return SignalListener(self._connection)

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        make_body: Callable[[], Body] | None = None,
        take: Callable[[Answer], Any] = Answer.value,
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


def _npy_of(data: Any) -> Content:
    """Make a `.npy` file of JSON, as a gateway of another kind answers it. Raises BadAnswer."""
    try:
        array = numpy.array(data["data"], dtype=data["dtype"]).reshape(data["shape"])
        head = head_of(array)
    except (KeyError, TypeError, ValueError, NotTaken) as error:
        raise BadAnswer(f"the answer is no array: {error}") from None
    begin = head_bytes(head)
    return Content(len(begin) + array.nbytes, iter((begin, array.tobytes("A"))))

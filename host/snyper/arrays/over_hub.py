"""The way of a client to a gateway that is a service of a hub: calls over the link, with raw bytes."""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from snyper.arrays.way import Content, OnData, OnProgress, Signal, T, deleted
from snyper.device.connection import Block
from snyper.device.errors import BadAnswer, Refused, ServerFailed, Unreachable
from snyper.device.limits import Limits
from snyper.device.multipart import SentFile
from snyper.device.retrying import TRIES, Tries
from snyper.services import hub_loop, remote_exceptions as remote
from snyper.services.async_client import AsyncClient
from snyper.services.bell import SLICE_S
from snyper.services.client import BaseClient, caller_of
from snyper.services.client_face import Options
from snyper.services.context import deadline
from snyper.services.wire import DESCRIBE
from snyper.shared.runtime import end_task

PIECE_BYTES = 1 << 20  # of an upload in one call
MAX_UNDER_WAY = 4  # of these calls
_BLOCK_BYTES = 262_144
_REACH_S = 5.0  # for a gateway to be there at first


class _Lost(Unreachable):
    """The gateway was lost within what it was asked: it may go better the next time."""


class OverHub:
    """A gateway that the hub at `hub` knows as `name`. `key` is for a hub that wants one; left out it is this
    computer's. Raises ValueError for an address, a name or a key that is none.
    """

    def __init__(self, hub: str, name: str, timeout: float, key: str | None) -> None:
        self._place = Options(hub=hub, name=name, key=key)
        self._timeout = timeout
        self._client = BaseClient(hub=hub, name=name, key=key, timeout=timeout)
        self._is_reached = False
        self.where = f"{name} at the hub {hub}"

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def upload(self, name: str, length: int, make_blocks: Callable[[], Iterator[Block]]) -> object:
        """Store what the blocks make, in pieces."""
        key = uuid.uuid4().hex

        def attempt() -> object:
            upload = self._call("begin_upload", name, key)
            try:
                self._write(upload, _pieces(make_blocks()))
                return self._call("end_upload", upload)
            except Refused as error:
                if error.status == HTTPStatus.NOT_FOUND:  # by a gateway that was started anew since
                    raise _Lost(str(error)) from error
                raise

        return self._tried(attempt)

    def upload_file(self, path: Path, on_progress: OnProgress) -> object:
        """Store a file, in pieces."""
        with SentFile(path) as file:

            def blocks() -> Iterator[Block]:
                for at in range(0, file.size, _BLOCK_BYTES):
                    yield file.read(at, min(_BLOCK_BYTES, file.size - at))
                    on_progress(min(at + _BLOCK_BYTES, file.size), file.size)
                file.check()

            return self.upload(path.name, file.size, blocks)

    def page(self, after: int, limit: int) -> object:
        """Return a page of the list."""
        return self._tried(lambda: self._call("list_arrays", after, limit))

    def newest(self, before: int, limit: int) -> object:
        """Return a page of the list from its end."""
        return self._tried(lambda: self._call("list_arrays", -1, limit, True, before))

    def get(self, which: int | str, part: str, take: Callable[[Content], T], tries: int) -> T:
        """Return what `take` makes of an array."""

        def attempt() -> T:
            with self._call("get_array", which, part or None) as items:
                with _explained():
                    head = next(items, None)
                if not isinstance(head, dict) or type(head.get("bytes")) is not int:
                    raise BadAnswer(f"{self.where} is no gateway with arrays: it answers something else")
                return take(Content(head["bytes"], self._blocks(items, head["bytes"])))

        return self._tried(attempt, tries)

    def delete(self, which: int | str) -> object:
        """Delete an array."""
        return deleted(which, lambda: self._call("delete_array", which), self._tried)

    def health(self) -> object:
        """Return how the gateway is."""
        return self._tried(lambda: self._call("health"))

    def start_streaming(self) -> object:
        """Start the signal."""
        return self._tried(lambda: self._call("start_streaming"))

    def stop_streaming(self) -> object:
        """Stop the signal."""
        return self._tried(lambda: self._call("stop_streaming"))

    def signal(self) -> Signal:
        """Return what listens, over a connection of its own."""
        return _HubSignal(self._place, self._timeout)

    def _write(self, upload: str, pieces: Iterator[bytes]) -> None:
        """Send pieces, of which some are under way: an answer takes as long as the network."""
        writer = AsyncClient(**(self._place | {"timeout": self._timeout}))
        calls: deque[Future[Any]] = deque()
        at = 0
        try:
            for piece in pieces:
                if len(calls) == MAX_UNDER_WAY:
                    _result_of(calls.popleft())
                calls.append(hub_loop.run(writer.call("write_upload", upload, at, piece)))
                at += len(piece)
            while calls:
                _result_of(calls.popleft())
        finally:
            for call in calls:
                call.cancel()
            hub_loop.run(writer.close()).result()

    def _blocks(self, items: Any, length: int) -> Iterator[Block]:
        """Iterate over the bytes that follow, of which there are so many. Raises TransferError."""
        done = 0
        while True:
            try:
                with _explained():
                    block = next(items, None)
            except _Lost as error:
                raise _Lost(
                    f"{self.where} was lost, or was silent for {self._timeout:g} s, after {done:,} of"
                    f" {length:,} bytes: try again once `snyper services` lists it"
                ) from error
            if block is None:
                break
            if not isinstance(block, bytes):
                raise BadAnswer("the answer is no array: it is no bytes")
            done += len(block)
            yield block
        if done != length:
            raise BadAnswer("the answer is no array: it has another length than it says")

    def _call(self, name: str, *args: object) -> Any:
        with _explained():
            if not self._is_reached:
                with deadline(min(self._timeout, _REACH_S)):
                    caller_of(self._client).ask(DESCRIBE)
                self._is_reached = True
            return self._client.call(name, *args)

    def _tried(self, attempt: Callable[[], T], tries: int = TRIES) -> T:
        """Return what `attempt` returns, called again where the gateway was lost within it, or is busy."""
        counted = Tries(Limits(), tries)
        while True:
            try:
                return attempt()
            except (_Lost, ServerFailed) as error:
                counted.failed(error)


class _HubSignal:
    """The signal of a gateway at a hub."""

    def __init__(self, place: Options, timeout: float) -> None:
        self._place = place
        self._timeout = timeout
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listen(self, on_data: OnData | None = None, auto_start: bool = True) -> None:
        """Listen until `stop` or cancelled."""
        self._loop = asyncio.get_running_loop()
        self._stopping = stopping = asyncio.Event()
        try:
            async with AsyncClient(**self._place) as client:
                packets = await self._ask(client, "listen")
                if auto_start:
                    await self._ask(client, "start_streaming")
                while (packet := await _next_of(packets, stopping)) is not None:
                    if on_data is not None:
                        called = on_data(packet)
                        if isinstance(called, Awaitable):
                            await called
                await self._ask(client, "stop_streaming")
        finally:
            self._stopping = None

    def stop(self) -> bool:
        """Have the signal stopped, and `listen` return."""
        loop, stopping = self._loop, self._stopping
        if loop is None or stopping is None:
            return False
        loop.call_soon_threadsafe(stopping.set)
        return True

    async def _ask(self, client: AsyncClient, name: str) -> Any:
        with _explained():
            try:
                async with asyncio.timeout(self._timeout) as limit:
                    return await client.call(name)
            except TimeoutError:
                if limit.expired():
                    raise Unreachable(f"{client!r} does not answer") from None
                raise


async def _next_of(packets: Any, stopping: asyncio.Event) -> dict[str, Any] | None:
    """Return the next packet; None once `stopping` is set. Raises TransferError."""
    coming = asyncio.ensure_future(anext(packets))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((coming, stop), return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            return None
        try:
            with _explained():
                packet = coming.result()
        except StopAsyncIteration:
            raise Unreachable("the gateway has ended it") from None
        if not isinstance(packet, dict):
            raise BadAnswer("the gateway sends what is no signal")
        return packet
    finally:
        stop.cancel()
        await end_task(coming)


def _result_of(call: "Future[Any]") -> Any:
    """Wait for a call. Raises TransferError."""
    with _explained():
        while True:
            try:
                return call.result(SLICE_S)
            except TimeoutError:
                if call.done():
                    raise


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what goes wrong in a call into what it is of a gateway, whatever way leads there."""
    try:
        yield
    except (remote.OutcomeUnknown, remote.ResultGone, remote.StreamLost) as error:
        raise _Lost(str(error)) from error
    except remote.Busy as error:
        raise ServerFailed(HTTPStatus.SERVICE_UNAVAILABLE, error.by, error.retry_after_s) from error
    except remote.Refused as error:
        raise Refused(HTTPStatus.FORBIDDEN, error.why) from error
    except remote.NotServed as error:
        raise BadAnswer(f"that is no gateway with arrays: {error}") from error
    except remote.CallError as error:
        raise Unreachable(str(error)) from error
    except Exception as error:
        if not getattr(error, "remote", False):
            raise
        said = error.message if isinstance(error, remote.RemoteError) else str(error)
        if isinstance(error, LookupError):
            raise Refused(HTTPStatus.NOT_FOUND, said) from error
        if isinstance(error, ValueError | TypeError):
            raise Refused(HTTPStatus.BAD_REQUEST, said) from error
        raise ServerFailed(HTTPStatus.INTERNAL_SERVER_ERROR, said) from error


def _pieces(blocks: Iterator[Block]) -> Iterator[bytes]:
    """Join blocks to pieces of PIECE_BYTES, but for the last."""
    piece = bytearray()
    for block in blocks:
        piece += block
        while len(piece) >= PIECE_BYTES:
            yield bytes(memoryview(piece)[:PIECE_BYTES])
            piece = piece[PIECE_BYTES:]
    if piece:
        yield bytes(piece)

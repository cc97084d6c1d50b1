"""Stored arrays and a signal over the link: calls through a hub, with raw bytes in them."""

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from numbers import Integral
from typing import Any

from snyper.arrays.npy import NotTaken
from snyper.arrays.slices import NoSlice
from snyper.arrays.store import KeyReused, NoRoom, as_os_error
from snyper.device.serving.exchange import Refusal
from snyper.device.serving.requests import MAX_KEY_CHARS, NO_ROOM_S, disk_refusal
from snyper.gateway.app import Gateway
from snyper.gateway.array_uploads import ArrayWriter
from snyper.gateway.stored_arrays import (
    INDEX,
    PAGE,
    SHOWN_CHARS,
    Missing,
    StoredArrays,
    check_name,
    npy_of,
    selection_of,
)
from snyper.gateway.stream_delivery import Delivery
from snyper.services.async_server import AsyncServer
from snyper.services.execution import Declined
from snyper.services.remote_exceptions import Busy

MAX_PIECE_BYTES = 4 << 20  # of an upload in one call, which is in memory as a whole
MAX_EARLY = 8  # pieces of an upload that wait for those before them
_HERE = "hub"  # in the place of an address: all who come through it have half of the places
_BLOCK_BYTES = 262_144  # of an array in one item: four are on their way at once


@asynccontextmanager
async def arrays_at_hub(
    gateway: Gateway, stored: StoredArrays, delivery: Delivery, hub: str, name: str
) -> AsyncIterator[None]:
    """Serve stored arrays and a signal as the service `name` of a hub, to consoles and devices, for the
    block. When `gateway` drains, calls do.

    Raises Refused where the hub does not take it; ValueError for a name that is none.
    """
    arrays = Arrays(stored, delivery, gateway.health, gateway.limits)
    server = AsyncServer(arrays, hub=hub, name=name, devices=True, concurrent=(arrays,))
    try:
        async with server:
            gateway.on_drain(arrays._draining.set)
            gateway.on_drained(server.drain)
            yield
    finally:
        await arrays._end_uploads()


class _Upload:
    """An upload under way: where it is written, and what it has taken until its end."""

    def __init__(self, writer: ArrayWriter, name: str, key: str) -> None:
        self.writer = writer
        self.name = name
        self.key = key
        self.held = AsyncExitStack()
        self.turn = asyncio.Lock()
        self.early: dict[int, asyncio.Future[None]] = {}  # pieces that wait for those before them
        self.expiry: asyncio.TimerHandle | None = None


class Arrays:
    """Arrays that a gateway stores, and its signal.

    An array comes and goes as the bytes of a `.npy` file. What is not taken is a ValueError, what is not
    there a LookupError, an OSError what the disk does not do; Busy says when there may be room again.
    """

    def __init__(
        self,
        stored: StoredArrays,
        delivery: Delivery,
        health: Callable[[], Mapping[str, object]],
        limits: Mapping[str, int],
    ) -> None:
        self._stored = stored
        self._delivery = delivery
        self._health = health
        self._limits = limits
        self._uploads: dict[str, _Upload] = {}
        self._draining = asyncio.Event()
        self._expired: set[asyncio.Task[None]] = set()  # which a loop alone would not keep

    # --- what comes

    async def begin_upload(self, name: str = "", key: str = "") -> str:
        """Begin to store an array, and return what the upload is called in what follows. One that has the
        `key` of one before is stored once. It ends by itself when nothing comes of it for long.
        """
        with _explained():
            check_name(name)
        if not isinstance(key, str) or len(key) > MAX_KEY_CHARS or not key.isascii():
            raise ValueError(f"key is a text of at most {MAX_KEY_CHARS} characters of ASCII")
        part = self._stored.store.new_part()
        upload = _Upload(ArrayWriter(part, self._stored.store), name, key)
        with _explained():
            await upload.held.enter_async_context(self._stored.places.one(_HERE))
        upload.held.callback(part.unlink, missing_ok=True)
        token = secrets.token_urlsafe(18)
        self._uploads[token] = upload
        self._expire_later(token, upload)
        return token

    async def write_upload(self, upload: str, at: int, content: bytes) -> int:
        """Take bytes of the file, at most 4 MiB, and return how many there are now. `at` is how many come
        before them. Up to 8 calls whose bytes come later wait for those before them, so that calls may follow
        each other without waiting for an answer: what is left out is missed when nothing comes for long.
        """
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ValueError("content is bytes")
        at = _whole(at, "at")
        piece = memoryview(content).cast("B")
        if piece.nbytes > MAX_PIECE_BYTES:
            raise ValueError(f"a piece has at most {MAX_PIECE_BYTES:,} bytes, not {piece.nbytes:,}")
        await self._turn_of(upload, at)
        async with self._writing(upload) as one:
            if at != one.writer.size:
                raise ValueError(f"byte {one.writer.size:,} is the next of this upload, not {at:,}")
            await one.writer.write(bytes(piece))
            size: int = one.writer.size
            next_one = one.early.get(size)
            if next_one is not None and not next_one.done():
                next_one.set_result(None)
            return size

    async def _turn_of(self, upload: str, at: int) -> None:
        """Wait until all bytes before these have come, or the upload is over."""
        one = self._uploads.get(_token(upload))
        if one is None or at <= one.writer.size or at in one.early or len(one.early) >= MAX_EARLY:
            return
        one.early[at] = asyncio.get_running_loop().create_future()
        try:
            await one.early[at]
        finally:
            del one.early[at]

    async def end_upload(self, upload: str) -> dict[str, object]:
        """Store what was written, and return its index, shape and type: it is on the disk then."""
        async with self._writing(upload) as one:
            await one.writer.close()
            key = sha256(f"\0hub\0{one.key}".encode()).hexdigest() if one.key else None
            answer = await asyncio.to_thread(self._stored.add, one.writer, one.name, key)
        await self.abandon_upload(upload)
        return answer

    async def abandon_upload(self, upload: str) -> None:
        """Forget an upload, and what was written of it."""
        one = self._uploads.pop(_token(upload), None)
        if one is not None:
            if one.expiry is not None:
                one.expiry.cancel()
            for waiting in one.early.values():
                if not waiting.done():
                    waiting.set_result(None)
            await one.held.aclose()

    @asynccontextmanager
    async def _writing(self, token: str) -> AsyncIterator[_Upload]:
        """Take an upload for the block; what goes wrong there ends it. Raises LookupError."""
        upload = self._uploads.get(_token(token))
        try:
            async with upload.turn if upload is not None else AsyncExitStack():
                if upload is None or token not in self._uploads:
                    raise LookupError("there is no such upload any more: begin it anew")
                if upload.expiry is not None:
                    upload.expiry.cancel()
                with _explained():
                    yield upload
                self._expire_later(token, upload)
        except BaseException:
            await self.abandon_upload(token)
            raise

    def _expire_later(self, token: str, upload: _Upload) -> None:
        """Have an upload of which nothing comes for long given up."""
        loop = asyncio.get_running_loop()

        def expire() -> None:
            self._expired.add(task := loop.create_task(self.abandon_upload(token)))
            task.add_done_callback(self._expired.discard)

        upload.expiry = loop.call_later(self._limits["stall_s"], expire)

    async def _end_uploads(self) -> None:
        for token in list(self._uploads):
            await self.abandon_upload(token)

    # --- what there is

    def list_arrays(
        self, after: int = -1, limit: int = PAGE, previews: bool = False, before: int | None = None
    ) -> dict[str, object]:
        """Return the first arrays whose index is above `after`, at most 1,000: of each its `index`, `name`,
        `shape`, `dtype`, `bytes`, `created`; the `count` of all; and as `next` what to say for `after`, None
        at the end. With `previews` also a `preview`: `low` and `high`, of at most 64 parts of the first axis,
        and of a matrix an `image`. With `before` the last ones whose index is below that, the newest first.
        """
        limit = _whole(limit, "limit")
        if not 1 <= limit <= PAGE:
            raise ValueError(f"limit is a number from 1 to {PAGE}, not {limit}")
        with _explained():
            if before is not None:
                return self._stored.newest(_whole(before, "before"), limit, previews)
            return self._stored.page(_whole(after, "after"), limit, previews)

    def get_array(self, which: int | str, part: str | None = None) -> Iterator[Any]:
        """Give an array by its index or name, or a `part` of it, a slice such as `10:20,::2`: first an object
        with the `bytes` of its `.npy` file and its `name`, then these bytes, in blocks.
        """
        if part is not None and not isinstance(part, str):
            raise ValueError("a part is a text, such as '10:20,::2'")
        with _explained():
            entry, file = self._stored.open(_word(which))
            with file:
                selection = selection_of(entry.head, part)
                npy = npy_of(entry.head, file, selection, _BLOCK_BYTES)
                yield {"name": entry.name, "bytes": npy.length}
                yield from npy.blocks

    def delete_array(self, which: int | str) -> dict[str, object]:
        """Delete an array by its index or name. Its index is never used again."""
        with _explained():
            return self._stored.delete(_word(which))

    def health(self) -> dict[str, object]:
        """Tell how the gateway is: `status`, `arrays_stored`, and what else it says."""
        return dict(self._health())

    # --- the signal

    async def start_streaming(self) -> dict[str, str]:
        """Start the signal for everybody who listens at the gateway."""
        self._delivery.start()
        return {"status": "streaming started"}

    async def stop_streaming(self) -> dict[str, str]:
        """Stop the signal for everybody who listens at the gateway."""
        self._delivery.stop()
        return {"status": "streaming stopped"}

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """Give the packets of the signal while it is started: `timestamp`, `shape`, `dtype`, and `x` and `y`,
        arrays. Who is slow loses the oldest.
        """
        if self._delivery.count >= self._limits["listeners"]:
            raise Declined(Busy("too many listen", 1.0))
        with self._delivery.listening() as listener:
            listener.heed()  # what it is to be told comes before any data, here by itself
            draining = asyncio.create_task(self._draining.wait())
            taking = asyncio.create_task(listener.take())
            try:
                while not self._draining.is_set():
                    await asyncio.wait((draining, taking), return_when=asyncio.FIRST_COMPLETED)
                    if taking.done():
                        frames, taking = taking.result(), asyncio.create_task(listener.take())
                        yield frames.value
            finally:
                draining.cancel()
                taking.cancel()


def _token(upload: object) -> str:
    """Return what a caller says an upload is called. Raises ValueError."""
    if not isinstance(upload, str):
        raise ValueError("an upload is called what begin_upload returned, a text")
    return upload


def _whole(value: object, what: str) -> int:
    """Return a whole number that a caller gives. Raises ValueError."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{what} is a whole number, not {repr(value)[:SHOWN_CHARS]}")
    return int(value)


def _word(which: int | str) -> str:
    """Return an index or a name as text. Raises ValueError, LookupError."""
    if isinstance(which, str):
        return which
    text = str(_whole(which, "what is no name"))
    if not INDEX.fullmatch(text):
        raise LookupError(f"there is no array {text[:SHOWN_CHARS]}")
    return text


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what goes wrong with the store into what its caller is told."""
    try:
        yield
    except Refusal as refusal:
        raise Declined(Busy(refusal.detail, float(refusal.headers["retry-after"]))) from None
    except NoRoom as error:
        raise Declined(Busy(str(error), float(NO_ROOM_S))) from None
    except (KeyReused, NotTaken, NoSlice) as error:
        raise ValueError(str(error)) from None
    except Missing as error:
        raise LookupError(str(error)) from None
    except sqlite3.Error as error:
        raise OSError(disk_refusal(as_os_error(error)).detail) from error
    except OSError as error:
        raise OSError(disk_refusal(error).detail) from error

"""What waits to be sent to one client of Socket.IO: so many bytes, and so many packets in one answer."""

import asyncio
from collections.abc import Callable
from typing import Any

PACKETS_A_POLL = 16  # which is what python-socketio's clients read of one
MAX_QUEUED_BYTES = 4_000_000
DEAF_S = 5.0  # for which a client whose queue is full is waited for
_PACKET_BYTES = 200  # that a packet takes in memory beside its data


class Outgoing(asyncio.Queue[Any]):
    """The packets for a client. Once MAX_QUEUED_BYTES wait, what comes is dropped and counted with
    `on_dropped`; after DEAF_S of that `on_deaf` is called. A queue as Engine.IO uses it: None ends it.
    """

    def __init__(self, on_dropped: Callable[[], object], on_deaf: Callable[[], object]) -> None:
        super().__init__()
        self._on_dropped = on_dropped
        self._on_deaf = on_deaf
        self._bytes = 0
        self._taken = 0  # since somebody last waited for the next
        self._deaf_at_s: float | None = None

    async def put(self, item: Any) -> None:
        """Queue a packet, or drop it."""
        if item is not None and self._bytes + _size(item) > MAX_QUEUED_BYTES:
            self._drop()
        else:
            await super().put(item)

    async def get(self) -> Any:
        """Wait for the next packet, after which PACKETS_A_POLL are given at most, this one included."""
        self._taken = 0
        return await super().get()

    def get_nowait(self) -> Any:
        """Return the next packet. Raises QueueEmpty, also once there are enough for one answer."""
        if self._taken >= PACKETS_A_POLL:
            raise asyncio.QueueEmpty
        item = super().get_nowait()
        self._taken += 1
        return item

    def abandon(self) -> None:
        """Drop all that waits, and end it."""
        while not self.empty():
            self._taken = 0
            self.get_nowait()
            self.task_done()
        self.put_nowait(None)

    def _put(self, item: Any) -> None:
        self._bytes += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= _size(item)
        self._deaf_at_s = None
        return item

    def _drop(self) -> None:
        self._on_dropped()
        now_s = asyncio.get_running_loop().time()
        if self._deaf_at_s is None:
            self._deaf_at_s = now_s + DEAF_S
        elif now_s >= self._deaf_at_s:
            self._on_deaf()


def _size(item: Any) -> int:
    data = getattr(item, "data", None)
    return _PACKET_BYTES + (len(data) if isinstance(data, str | bytes) else 0)

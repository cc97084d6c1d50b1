"""A peer that receives files.

async with snyper.receive_files("127.0.0.1:8081", "store_1", "received") as store:
    await store.wait_until_tried()
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from snyper.client.service_session import ServiceSession
from snyper.shared.attachment_receiver import Receiver
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import MessageType

MAX_FILE_BYTES = 1 << 30
MAX_TRANSFERS = 8
WINDOW_CHUNKS = 4  # what a sender of this project has under way


class FileReceiver(ServiceSession):
    """A service that takes files into a directory. Made by `receive_files`."""

    def __init__(self, hubs: str | Sequence[str], name: str, directory: Path, key: str | None) -> None:
        super().__init__(hubs, name, key, secrets.token_hex(8))
        self.receiver = Receiver(
            str(directory), MAX_FILE_BYTES, max_transfers=MAX_TRANSFERS, window_chunks=WINDOW_CHUNKS
        )
        for word in (MessageType.OFFER, MessageType.CHUNK):
            self._handlers[word] = self.receiver.serve

    def about(self) -> str:
        """Return what it serves."""
        return "keeps files"


@asynccontextmanager
async def receive_files(
    hub: str | Sequence[str], name: str, directory: str | Path, key: str | None = None
) -> AsyncIterator[FileReceiver]:
    """Be known to the hub as the service `name`, and keep the files that others send to it in `directory`,
    for as long as the block lasts; connect again after every loss. A file is there whole under its name, or
    as `.part` while it comes in. `key` is as for `connect`. Raises ValueError for an address, a name or a
    key that is none.
    """
    session = FileReceiver(hub, name, Path(directory), key)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        await end_task(running)
        session.receiver.close()

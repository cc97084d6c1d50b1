"""An inbox as a service of a hub: what others push to its name, with no port open here.

Bytes come as all files on the link do, by `offer` and `chunk`, and lie aside. Then `receive_file` and
`receive_data` say what they are. Both may be repeated: a key that is known is answered as before.
"""

import asyncio
import errno
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from snyper.client.pushing import MAX_KEY_CHARS, MISSING, RECEIVE_DATA, RECEIVE_FILE
from snyper.client.service_session import ServiceSession
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.limits import NoRoom, Refused
from snyper.device.strict_json import parse_strictly
from snyper.shared.attachment_receiver import Receiver
from snyper.shared.link import Link
from snyper.shared.runtime import end_task
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

MAX_TRANSFERS = 8
WINDOW_CHUNKS = 4  # what a sender of this project has under way
_HEX = set("0123456789abcdef")

Answer = Callable[[SocketMessage], Awaitable[SocketMessage]]


class HubReceiver(ServiceSession):
    """A service that has an inbox. Made by `receiving_from`."""

    def __init__(
        self,
        hubs: str | Sequence[str],
        name: str,
        key: str | None,
        inbox: Inbox,
        on_change: Callable[[str], None],
    ) -> None:
        super().__init__(hubs, name, key, secrets.token_hex(8), on_change)
        self._inbox = inbox
        limits = inbox.limits
        self.receiver = Receiver(
            str(inbox.aside),
            limits.max_file_bytes,
            limits.keep_free_bytes,
            max_transfers=MAX_TRANSFERS,
            window_chunks=WINDOW_CHUNKS,
        )
        self._handlers[MessageType.OFFER] = self._offer
        self._handlers[MessageType.CHUNK] = self.receiver.serve
        self._handlers[RECEIVE_FILE] = _answering(self._receive_file)
        self._handlers[RECEIVE_DATA] = _answering(self._receive_data)

    def about(self) -> str:
        """Return what it serves."""
        return "receives files and data"

    async def _offer(self, link: Link, message: SocketMessage) -> SocketMessage:
        """Take bytes under their SHA-256: what has another name would lie aside, and nobody be told."""
        data = message.data or {}
        if data.get("name") != data.get("sha256"):
            why = (
                "an inbox takes bytes whose `name` is their `sha256`; `receive_file` then says what they are"
            )
            raise ProtocolError(ErrorCode.BAD_MESSAGE, why)
        return await self.receiver.serve(link, message)

    async def _receive_file(self, message: SocketMessage) -> SocketMessage:
        data = message.data or {}
        filename, content_type = str(data.get("filename", "")), str(data.get("content_type", ""))
        key, digest = _key(data), _sha256(data)
        path = None if key is None else await self._inbox.known(key, digest, None, filename)
        if path is None:
            part = self._taken(digest)
            if part is None:
                return message.reply("reply", MISSING, {})
            path = await self._inbox.keep_file(part, filename, content_type, key)
        return message.reply("reply", "ok", {"path": str(path)})

    async def _receive_data(self, message: SocketMessage) -> SocketMessage:
        data = message.data or {}
        if "data" in data:
            await self._inbox.keep_data(data["data"], _key(data))
            return message.reply("reply", "ok", {})
        key, digest = _key(data), _sha256(data)
        if key is not None and await self._inbox.is_known(key, digest):
            return message.reply("reply", "ok", {})
        part = self._taken(digest)
        if part is None:
            return message.reply("reply", MISSING, {})
        try:
            await self._inbox.keep_data(await asyncio.to_thread(_value_in, part), key)
        finally:
            part.unlink(missing_ok=True)
        return message.reply("reply", "ok", {})

    def _taken(self, digest: str) -> Path | None:
        """Take what was sent with this digest out of what lies aside; None where nothing was."""
        part = self._inbox.new_part()
        try:
            (self._inbox.aside / digest).rename(part)
        except FileNotFoundError:
            return None
        return part


@asynccontextmanager
async def receiving_from(
    hub: str | Sequence[str],
    name: str,
    inbox: Inbox,
    key: str | None = None,
    on_change: Callable[[str], None] = lambda state: None,
) -> AsyncIterator[HubReceiver]:
    """Be known to the hub as the service `name`, and keep what others push to it in an open inbox, for as
    long as the block lasts; connect again after every loss. `key` is as for `connect`; `on_change` is called
    with each state of the session. Raises ValueError for an address, a name or a key that is none.
    """
    session = HubReceiver(hub, name, key, inbox, on_change)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        await end_task(running)
        session.receiver.close()


def _answering(answer: Answer) -> "Callable[[Link, SocketMessage], Awaitable[SocketMessage]]":
    """Make a handler of a link whose refusals are errors of the wire."""

    async def handle(link: Link, message: SocketMessage) -> SocketMessage:
        try:
            return await answer(message)
        except NoRoom as error:
            raise ProtocolError(ErrorCode.FAULT, str(error)) from None
        except (Refused, ValueError) as error:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error)) from None
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise ProtocolError(
                ErrorCode.FAULT, "the disk is full" if is_full else f"the disk does not take it: {error}"
            ) from None

    return handle


def _key(data: dict[str, object]) -> str | None:
    key = data.get("key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS):
        raise ValueError(f"`key` is a text of 1 to {MAX_KEY_CHARS} characters")
    return key


def _sha256(data: dict[str, object]) -> str:
    value = data.get("sha256")
    if not isinstance(value, str) or len(value) != 64 or set(value) - _HEX:
        raise ValueError("`sha256` is 64 of 0-9 a-f")
    return value


def _value_in(path: Path) -> object:
    try:
        return parse_strictly(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"the data is no JSON: {error}") from None

"""Pushes files and data through a hub into the inbox of another peer: see `snyper receive --hub`.

async with snyper.connect("127.0.0.1:8081", reconnect=True) as hub:
    await push_file(hub, "beagle", Path("picture.jpg"))
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TypeVar

from snyper.client.hub_client import STALL_MS, HubClient
from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

RECEIVE_FILE = "receive_file"
RECEIVE_DATA = "receive_data"
MISSING = "missing"  # the status of an answer: the bytes are not here, and are to be sent
MAX_KEY_CHARS = 64
KEEP_TIMEOUT_MS = 60_000  # for a slow disk to have a large file
_MAX_TEXT_CHARS = 200  # of a file's name and type, which go in one line
_TRIES = 3  # to send bytes that are taken away again before they are asked for
_PAUSE_S = 0.5
# What passes. Each request may be repeated: it is known by its key.
_PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)

T = TypeVar("T")


async def push_file(
    hub: HubClient,
    peer: str,
    path: Path,
    *,
    filename: str | None = None,
    content_type: str = "application/octet-stream",
    key: str | None = None,
    on_progress: Callable[[int], None] = lambda received: None,
    stall_ms: int = STALL_MS,
) -> str:
    """Push a file into the inbox of `peer`, by default under its own name; return its path there.

    It arrives whole and, under one `key` (1 to MAX_KEY_CHARS characters; by default a new one), once, however
    often this is called. `on_progress` gets how many bytes are there. Where the hub or the peer goes away
    meanwhile it waits for up to `stall_ms` with a ReconnectingClient. Raises OSError where it cannot be read,
    ProtocolError where it does not arrive.
    """
    digest, length = await asyncio.to_thread(_digest_of, path)
    about: dict[str, object] = {
        "sha256": digest,
        "filename": (filename or path.name)[:_MAX_TEXT_CHARS],
        "content_type": content_type[:_MAX_TEXT_CHARS],
        "key": key or uuid.uuid4().hex,
    }

    async def send() -> None:
        await hub.send_file(peer, path, digest, on_progress, stall_ms)

    reply = await _bring(hub, peer, (RECEIVE_FILE, about), send, stall_ms)
    on_progress(length)
    return str((reply.data or {}).get("path", ""))


async def push_data(
    hub: HubClient, peer: str, value: object, *, key: str | None = None, stall_ms: int = STALL_MS
) -> None:
    """Push a value of JSON into the inbox of `peer`: once under one `key`, as `push_file` does. Raises
    ValueError for what JSON cannot say, ProtocolError where it does not arrive.
    """
    # As an inbox compares it, which then needs no bytes to know it again.
    content = json.dumps(json.loads(json.dumps(value, allow_nan=False)), sort_keys=True).encode()
    digest = sha256(content).hexdigest()
    about: dict[str, object] = {"sha256": digest, "key": key or uuid.uuid4().hex}

    async def send() -> None:
        await hub.send_bytes(peer, digest, content, stall_ms=stall_ms)

    await _bring(hub, peer, (RECEIVE_DATA, about), send, stall_ms)


async def _bring(
    hub: HubClient,
    peer: str,
    request: tuple[str, dict[str, object]],
    send: Callable[[], Awaitable[None]],
    stall_ms: int,
) -> SocketMessage:
    """Ask the peer to take what it has, and `send` it where it has it not."""
    try:
        for _ in range(_TRIES):
            reply = await _repeated(
                lambda: hub.ask(peer, *request, timeout_ms=KEEP_TIMEOUT_MS), hub._may_retry, stall_ms
            )
            if reply.status != MISSING:
                return reply
            await send()
    except ProtocolError as error:
        if error.code == ErrorCode.UNKNOWN_TARGET:  # to the hub whoever is asked is a target
            raise ProtocolError(error.code, f"no service is {peer}") from None
        raise
    raise ProtocolError(ErrorCode.BUSY, f"{peer} does not keep what it is sent")


async def _repeated(
    ask: Callable[[], Awaitable[T]], may_retry: Callable[[ProtocolError], bool], stall_ms: int
) -> T:
    until_s = time.monotonic() + stall_ms / 1000
    while True:
        try:
            return await ask()
        except ProtocolError as error:
            is_over = time.monotonic() > until_s or error.code not in _PASSING or not may_retry(error)
            if is_over:
                raise
        await asyncio.sleep(_PAUSE_S)


def _digest_of(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest(), file.tell()

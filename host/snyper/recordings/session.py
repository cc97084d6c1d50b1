"""Records streams of a hub into a folder of recordings, and keeps that within limits."""

import asyncio
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from snyper.client import HubClient
from snyper.recordings.continuation import continuation_of, last_recording
from snyper.recordings.errors import InUse
from snyper.recordings.recorder import Recorder
from snyper.recordings.retention import newest_s, remove_old
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.files import lock, shown
from snyper.system.retention_clock import FILE, RetentionClock

RETENTION_S = 60.0
_LOCK = "recorder.lock"

_logger = logging.getLogger("snyper")


@contextmanager
def only_recorder(place: Path) -> Iterator[None]:
    """Hold a folder of recordings for the block; it is made if it is not there. Raises InUse where another
    recorder has it, OSError.
    """
    place.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock(descriptor, waits=False):
            raise InUse(f"another recorder records into {place}: give it streams too, or take another folder")
        yield
    finally:
        os.close(descriptor)


def new_folder(place: Path, name: str) -> Path:
    """Return a folder for a recording of a stream that begins now, which is not there yet."""
    readable = re.sub(r"[^\w.-]", "_", name.replace("/", "-"), flags=re.ASCII)
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{readable}"
    folder, number = place / stem, 1
    while folder.exists():
        number += 1
        folder = place / f"{stem}-{number}"
    return folder


async def record_stream(
    hub: HubClient,
    name: str,
    place: Path,
    spill: Path,
    on_begin: Callable[[Path, Recorder], None],
    history: str | float | None = None,
    continues: bool = False,
) -> None:
    """Record a stream, `SOURCE/STREAM`, from its first block on until it ends or this is cancelled: where it
    `continues` on in its newest recording in `place`, from the end of that as far as the hub still has it.

    `spill` is a folder of its own. Raises ValueError for what is no name, RecordingError, ProtocolError,
    OSError.
    """
    source, _, stream = name.rpartition("/")
    before = await asyncio.to_thread(last_recording, place, source, stream) if continues else None
    after = None if before is None else await asyncio.to_thread(continuation_of, before)
    from_seq = epoch = None
    if after is not None and after.epochs:
        last = next(reversed(after.epochs.values()))
        from_seq, epoch = last.end, last.id
    reader = hub.read_stream(name, history=history, from_seq=from_seq, epoch=epoch, wait=True)
    async with AsyncExitStack() as stack, aclosing(reader.__aiter__()) as blocks:
        recorder: Recorder | None = None
        async for block in blocks:
            if recorder is None:
                folder = before or new_folder(place, name)
                made = await asyncio.to_thread(partial(Recorder, folder, source, stream, spill, after=after))
                recorder = await stack.enter_async_context(made)
                on_begin(folder, recorder)
                if reader.evicted and after is None:
                    _logger.warning(
                        "%s: the hub has %s samples of that time no more", name, f"{reader.evicted:,}"
                    )
            assert reader.spec is not None
            await recorder.put(block, reader.spec, hub.boot_id)


async def put_mark(
    hub: HubClient, stream: str, name: str, recorder: Recorder | None = None
) -> ProtocolError | None:
    """Name this instant in a stream, and in its recording, which has it even where the stream takes none.
    Return why that has it not, or perhaps not. Raises ValueError before the recorder's first block.
    """
    at_us = 0 if recorder is None else recorder.now_us()
    failed: ProtocolError | None = None
    try:
        at_us = await hub.mark_stream(stream, name)
    except ProtocolError as error:
        failed = error
    if recorder is not None:
        is_sure = failed is None or failed.code not in (ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)
        recorder.mark(name, at_us, is_sure)
    return failed


async def keep_within(place: Path, max_age_s: float | None, max_bytes: int | None) -> None:
    """Remove the oldest of a folder of recordings, now and again and again."""
    said = ""
    clock: RetentionClock | None = None
    if max_age_s is not None:
        clock = await asyncio.to_thread(RetentionClock, place / FILE, lambda: newest_s(place))
    while max_age_s is not None or max_bytes is not None:
        old = remove_old(place, max_age_s, max_bytes, clock)
        try:
            await asyncio.to_thread(deque, old, 0)
        except OSError as error:
            if str(error) != said:
                said = str(error)
                _logger.warning("not all of what is old in %s is removed: %s", shown(place), error)
        await asyncio.sleep(RETENTION_S)
        if clock is not None:
            await asyncio.to_thread(clock.update)

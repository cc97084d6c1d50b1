"""Thumbnails of pictures, made by another process: after a picture has come, or when one is asked for."""

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from snyper.cameras.pictures import PictureFolder
from snyper.system.process import killed_with_parent

_AT_ONCE = 8  # pictures that are handed over: to be told of each costs more than to make some thumbnails
_MAX_WAITING = 1_000  # pictures; the thumbnails of more are made when they are asked for
_MAX_BAD = 10_000  # names of pictures that cannot be decoded
_TIMEOUT_S = 30.0  # for the largest picture, on a busy computer


class Thumbnails:
    """The thumbnails of a folder of pictures. Its methods belong to one event loop."""

    def __init__(self, pictures: PictureFolder) -> None:
        self._pictures = pictures
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._bad: OrderedDict[str, None] = OrderedDict()
        self._arrival = asyncio.Event()
        self._task = asyncio.create_task(self._make_waiting())

    def add(self, name: str) -> None:
        """Have the thumbnail of a picture made, soon: also where it could not be, of a file that was damaged
        and has come again.
        """
        self._bad.pop(name, None)
        self._waiting[name] = None
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popitem(last=False)
        self._arrival.set()

    async def get(self, name: str) -> Path | None:
        """Return where the thumbnail of a picture is, which is made if it is not there yet; None where there
        is no such picture, or it cannot be decoded.
        """
        target = self._pictures.thumbnail_path(name)
        if target is None or name in self._bad:
            return None
        if await asyncio.to_thread(target.exists):
            return target
        async with self._turn:
            await self._make([name])
        return target if await asyncio.to_thread(target.exists) else None

    async def close(self) -> None:
        """End the process."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._end_process()

    async def _make_waiting(self) -> None:
        while True:
            self._arrival.clear()
            while self._waiting:
                async with self._turn:
                    count = min(_AT_ONCE, len(self._waiting))
                    names = [self._waiting.popitem(last=False)[0] for _ in range(count)]
                    await self._make([name for name in names if name not in self._bad])
            await self._arrival.wait()

    async def _make(self, names: Sequence[str]) -> None:
        """Make thumbnails of pictures, where they are there and it is not made yet."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                made = await self._ask(names)
        except (TimeoutError, OSError, ValueError):  # it hangs, or has died over one of these pictures
            await self._end_process()
            if len(names) > 1:
                for name in names:
                    await self._make([name])
                return
            made = [False]
        except asyncio.CancelledError:
            await self._end_process()  # whose answer would be taken for the next one's
            raise
        for name, is_made in zip(names, made, strict=True):
            if not is_made:
                self._bad[name] = None
        while len(self._bad) > _MAX_BAD:
            self._bad.popitem(last=False)

    async def _ask(self, names: Sequence[str]) -> list[bool]:
        if self._process is None or self._process.returncode is not None:
            pictures = self._pictures
            folders = map(str, (pictures.folder, pictures.thumbnails, pictures.new))
            command = killed_with_parent([sys.executable, "-m", "snyper.cameras.thumbnail_worker", *folders])
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(names).encode() + b"\n")
        await self._process.stdin.drain()
        answer: list[bool] = json.loads(await self._process.stdout.readline())
        return answer

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

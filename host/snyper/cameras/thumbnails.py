"""Thumbnails of pictures, made by another process: after a picture has come, or when one is asked for."""

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict
from pathlib import Path

from snyper.cameras.pictures import PictureFolder
from snyper.system.process import killed_with_parent

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
        """Have the thumbnail of a picture made, soon."""
        self._waiting[name] = None
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popitem(last=False)
        self._arrival.set()

    async def get(self, name: str) -> Path | None:
        """Return where the thumbnail of a picture is, which is made if it is not there yet; None where there
        is no such picture, or it cannot be decoded.
        """
        source, target = self._pictures.path(name), self._pictures.thumbnail_path(name)
        if source is None or target is None or name in self._bad:
            return None
        if await asyncio.to_thread(target.exists):
            return target
        if not await asyncio.to_thread(source.exists):
            return None
        async with self._turn:
            if not await asyncio.to_thread(target.exists):
                await self._make(name, source, target)
        return target if name not in self._bad else None

    async def close(self) -> None:
        """End the process."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._end_process()

    async def _make_waiting(self) -> None:
        while True:
            self._arrival.clear()
            while self._waiting:
                name, _ = self._waiting.popitem(last=False)
                with contextlib.suppress(OSError):
                    await self.get(name)
            await self._arrival.wait()

    async def _make(self, name: str, source: Path, target: Path) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                error = await self._ask([str(source), str(target)])
        except (TimeoutError, OSError, ValueError):  # it hangs, or has died over this picture
            await self._end_process()
            error = "it cannot be decoded"
        except asyncio.CancelledError:
            await self._end_process()  # whose answer would be taken for the next one's
            raise
        if error:
            self._bad[name] = None
            if len(self._bad) > _MAX_BAD:
                self._bad.popitem(last=False)

    async def _ask(self, paths: list[str]) -> str:
        if self._process is None or self._process.returncode is not None:
            command = killed_with_parent([sys.executable, "-m", "snyper.cameras.thumbnail_worker"])
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(paths).encode() + b"\n")
        await self._process.stdin.drain()
        answer: str = json.loads(await self._process.stdout.readline())
        return answer

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

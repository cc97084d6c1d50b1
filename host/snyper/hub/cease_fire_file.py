"""The file in which a cease fire outlives the hub."""

import asyncio
import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from snyper.device.disk import sync_folder
from snyper.history.database import JournalError, default_path
from snyper.shared.log import log
from snyper.system.files import write_private

TIMEOUT_S = 3.0  # for a disk that does not answer


class CeaseFireFile:
    """The cease fire in the file `path`, which is not there while none holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content = b""  # of the file; like this nobody can read it, so that it is a cease fire, too
        self._thread = ThreadPoolExecutor(1, "cease-fire")  # so that what is late comes in its order

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> dict[str, Any] | None:
        """Return `by`, `why` and `for_ms`, for how long it has held; None for none. Raises OSError or
        ValueError for a file that cannot be read.
        """
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise ValueError("this is no file")
            self._content = self.path.read_bytes()
            said: Any = json.loads(self._content)
        except FileNotFoundError:
            return None
        except RecursionError as error:
            raise ValueError(f"this is no cease fire of SNYPER's: {error!r}") from None
        if not isinstance(said, dict):
            raise ValueError("this is no cease fire of SNYPER's")
        by, why, since_ms = (said.get(name) for name in ("by", "why", "since_unix_ms"))
        if not (isinstance(by, str) and isinstance(why, str) and type(since_ms) is int and since_ms > 0):
            raise ValueError("this is no cease fire of SNYPER's")
        (by + why).encode()  # half a character nobody can be told
        return {"by": by, "why": why, "for_ms": max(0, _unix_ms() - since_ms)}

    async def write(self, said: dict[str, Any]) -> None:
        """Write what `read` returns, onto the disk. Raises OSError, also for one that takes too long."""
        kept = {**said, "since_unix_ms": _unix_ms() - said["for_ms"]}
        del kept["for_ms"]
        self._content = json.dumps(kept).encode()
        await self._in_thread(self._write, self._content)

    async def remove(self) -> None:
        """Remove the file from the disk. Raises OSError, also for a disk that takes too long: should that
        remove it later, the file is written again.
        """
        try:
            await self._in_thread(self._remove)
        except TimeoutError:
            self._thread.submit(self._write, self._content)
            raise

    async def _in_thread(self, work: Any, *arguments: Any) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path, content)
        sync_folder(self.path.parent)

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return  # its folder is gone, too


def file_of(port: int) -> CeaseFireFile | None:
    """Return where a cease fire of the hub on this port outlives it, in a folder that is made where it is
    missing. None for a port that is only found, which is no other start's, and where there is no such folder.
    """
    if port == 0:
        return None
    try:
        path = default_path(f"cease-fire-{port}.json")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, JournalError) as error:
        log("hub", f"a cease fire would not outlive this hub: {error}")
        return None
    return CeaseFireFile(path)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000

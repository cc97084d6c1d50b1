"""The arrays that a gateway stores, as the page of signals lists them, with a small picture of each."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import IO, Any

from snyper.arrays import NumpyClient
from snyper.dashboard.faults import log_fault
from snyper.device.errors import TransferError
from snyper.system import steady
from snyper.system.text import harmless, one_line

SHOWN = 24  # of a page
LIST_S = 2.0  # between two lists
FAILED_S = 10.0  # the same, after one that failed
UNSEEN_S = 10.0  # after which nobody looks at a page any more
TIMEOUT_S = 5.0
_HEIGHT = 100  # of the lines of a picture
_MOST_CHARS = 80
_MOST_CELLS = 64
_IMAGE_LINE = re.compile(r"(?:[0-9a-f]{2}){1,64}")

Said = dict[str, Any]  # JSON for the browser


class StoredArrays:
    """The arrays at `where`: the URL of a gateway, or its name at the hub at `hub`. They are asked for in a
    thread, while somebody looks. Raises ValueError for what is neither.
    """

    def __init__(self, where: str, hub: str) -> None:
        self.where = where
        place = {"base_url": where} if "://" in where else {"hub": hub, "name": where}
        self._client = NumpyClient(timeout=TIMEOUT_S, **place)
        self._thread = ThreadPoolExecutor(1, "arrays")
        self._pages: dict[int | None, _Page] = {}  # by the index before which they are
        self._listing: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def page(self, before: int | None) -> Said | None:
        """Return the last arrays whose index is below `before`, as the browser is told of them, and have that
        read again where it is due; None before it is known.
        """
        now_s = steady.now_s()
        page = self._pages.setdefault(before, _Page())
        page.seen_s = now_s
        for other in [key for key, one in self._pages.items() if now_s - one.seen_s > UNSEEN_S]:
            del self._pages[other]
        if self._listing is None and now_s >= page.due_s:
            self._listing = asyncio.create_task(self._list(before, page))
        return page.said

    def refresh(self) -> None:
        """Have all pages read anew."""
        for page in self._pages.values():
            page.due_s = 0.0

    async def delete(self, index: int) -> None:
        """Delete an array. Raises TransferError."""
        await self._run(self._client.delete_array, index)
        self.refresh()

    def write(self, index: int, file: IO[bytes]) -> None:
        """Write an array as `.npy`, in the thread of whoever asks. Raises TransferError, OSError."""
        self._client.save_array(index, file)  # type: ignore[arg-type]

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _list(self, before: int | None, page: "_Page") -> None:
        wait_s = FAILED_S
        try:
            page.said = await self._run(lambda: _faces(self._client.newest_arrays(SHOWN, before)))
            wait_s = LIST_S
        except TransferError as error:
            words = str(error).removeprefix(f"{self.where}: ")  # which the page says itself
            page.said = {"problem": _sentence(harmless(one_line(words))[:_MOST_CHARS]), "arrays": []}
        except (KeyError, TypeError, ValueError) as error:
            log_fault("a list of arrays has no sense", error)
            page.said = {"problem": "what it answers has no sense.", "arrays": []}
        finally:
            page.due_s, self._listing = steady.now_s() + wait_s, None


class _Page:
    """A page of the list."""

    def __init__(self) -> None:
        self.said: Said | None = None
        self.due_s = 0.0
        self.seen_s = 0.0


def _sentence(words: str) -> str:
    return words if words.endswith((".", "?")) else words + "."


def _faces(answer: Said) -> Said:
    """Return what the browser is told. Raises KeyError, TypeError, ValueError for what has no sense."""
    following = answer["next"]
    return {
        "problem": "",
        "count": int(answer["count"]),
        "next": None if following is None else int(following),
        "arrays": [_face(one) for one in answer["arrays"][:SHOWN]],
    }


def _face(one: Said) -> Said:
    shape = " × ".join(f"{int(length):,}" for length in one["shape"]) or "a number"
    created = datetime.fromisoformat(one["created"])
    preview = one.get("preview") or {"low": [], "high": []}
    return {
        "index": int(one["index"]),
        "name": harmless(one_line(one["name"]))[:_MOST_CHARS],
        "about": f"{one_line(one['dtype'])[:_MOST_CHARS]}, {shape}"[:_MOST_CHARS],
        "size": bytes_words(int(one["bytes"])),
        "created_ms": round(created.timestamp() * 1000),
        "bars": bars_of(preview["low"][:_MOST_CELLS], preview["high"][:_MOST_CELLS]),
        "image": [line for line in preview.get("image", [])[:_MOST_CELLS] if _IMAGE_LINE.fullmatch(line)],
    }


def bars_of(low: list[float | None], high: list[float | None]) -> list[list[int] | None]:
    """Return for each column from where to where it is drawn, in a picture 100 high; None for nothing."""
    known = [value / 2 for value in (*low, *high) if value is not None]
    if not known:
        return []
    floor, top = min(known), max(known)
    size = top - floor

    def place(value: float) -> int:
        return round((value / 2 - floor) / size * _HEIGHT) if size > 0 else _HEIGHT // 2

    return [
        None if least is None or most is None else [place(least), place(most)]
        for least, most in zip(low, high, strict=True)
    ]


def bytes_words(count: int) -> str:
    """Format a size: 980 B, 40 kB, 1.2 GB."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.3g} {unit}"

"""The ways of a client to its gateway: what each of them can do."""

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from snyper.device.connection import Block
from snyper.device.errors import Refused, ServerFailed, Unreachable

T = TypeVar("T")
OnProgress = Callable[[int, int], None]
OnData = Callable[[dict[str, Any]], object]

_INDEX = re.compile(r"[+-]?\d{1,19}", re.ASCII)


def unheard(done: int, total: int) -> None:
    """Take progress that nobody wants to know."""


class Content(NamedTuple):
    """A `.npy` file as it comes: how many bytes it has, and these."""

    length: int
    blocks: Iterator[Block]


class Signal(Protocol):
    """The signal of a gateway, to which one at a time listens."""

    async def listen(self, on_data: OnData | None = None, auto_start: bool = True) -> None:
        """Listen until `stop` or cancelled, and call `on_data` with each packet, a dict whose `x` and `y` are
        arrays; await what it returns to be awaited. With `auto_start` the signal is started.

        Raises Unreachable where no gateway is there, or it is lost; other TransferErrors; and what `on_data`
        raises.
        """

    def stop(self) -> bool:
        """Have the gateway stop the signal, for everybody, and `listen` return. Return whether there was one.
        From any thread.
        """


class Way(Protocol):
    """A way to a gateway. All but `close` and `signal` raise TransferError."""

    where: str

    def close(self) -> None:
        """Close the connection. What follows opens it anew."""

    def upload(self, name: str, length: int, make_blocks: Callable[[], Iterator[Block]]) -> object:
        """Store the `.npy` file of `length` bytes that `make_blocks` gives, anew with each try."""

    def upload_file(self, path: Path, on_progress: OnProgress) -> object:
        """Store a `.npy` file as it is. Raises OSError, ValueError for what is no regular file."""

    def page(self, after: int, limit: int) -> object:
        """Return the first `limit` arrays whose index is above `after`."""

    def newest(self, before: int, limit: int) -> object:
        """Return the last `limit` arrays whose index is below `before`, with small pictures."""

    def get(self, which: int | str, part: str, take: Callable[[Content], T], tries: int) -> T:
        """Return what `take` makes of an array, or a slice of it: it is called anew with each try."""

    def delete(self, which: int | str) -> object:
        """Delete an array."""

    def health(self) -> object:
        """Return how the gateway is."""

    def start_streaming(self) -> object:
        """Start the signal for everybody."""

    def stop_streaming(self) -> object:
        """Stop the signal for everybody."""

    def signal(self) -> Signal:
        """Return what listens to the signal."""


def deleted(
    which: int | str, attempt: Callable[[], object], tried: Callable[[Callable[[], object]], object]
) -> object:
    """Return what `attempt` answers, which deletes an array: of an index through `tried`, which may call it
    again. One of a name is deleted with a single try: should that have been carried out though its answer was
    lost, another would delete the array which had the name before.
    """
    if _INDEX.fullmatch(str(which)) is None:
        return attempt()
    was_lost = False

    def again() -> object:
        nonlocal was_lost
        try:
            return attempt()
        except (Unreachable, ServerFailed):
            was_lost = True
            raise
        except Refused as error:
            if was_lost and error.status == HTTPStatus.NOT_FOUND:  # it was carried out
                return {"status": "success", "index": int(which)}
            raise

    return tried(again)

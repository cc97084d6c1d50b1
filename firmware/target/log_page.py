"""Reads the flash log in pages that fit a line of the wire."""

from snyper.firmware.board.flash_log import OLD_PATH, PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAGE_BYTES = 512  # six times as much, what JSON makes of it at worst, still fits a line


def read_page(offset: int, path: str = PATH, old_path: str = OLD_PATH) -> "tuple[str, int | None]":
    """Read whole lines from `offset` on, oldest first, at most MAX_PAGE_BYTES. Returns them and the offset of
    the rest; None where there is none. The log may be shortened in between: then a page is missed.
    """
    page = b""
    position = 0
    for name in (old_path, path):
        for line in _lines(name):
            if position >= offset:
                if page and len(page) + len(line) > MAX_PAGE_BYTES:
                    return page.decode(), position
                page += line
            position += len(line)
    return page.decode(), None


def _lines(path: str) -> "Iterator[bytes]":
    try:
        with open(path, "rb") as file:
            while True:
                line = file.readline()
                if not line:
                    return
                yield line
    except OSError:
        return

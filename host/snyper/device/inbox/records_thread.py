"""The one thread that uses the records of an inbox."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class RecordsThread:
    """A thread that runs one function at a time."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "inbox")

    async def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function and return its result. A database that fails raises OSError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        except sqlite3.Error as error:
            is_full = "disk is full" in str(error)
            number = errno.ENOSPC if is_full else errno.EIO
            raise OSError(number, f"the records of what is received cannot be used: {error}") from error

    def end(self) -> None:
        """End it, once what it runs is done."""
        self._executor.shutdown()

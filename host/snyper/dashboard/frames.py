"""Frames for one tab: it is sent the next when it has drawn the last. So what is hidden costs next to
nothing, and whatever comes meanwhile is in the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from nicegui import Client

from snyper.dashboard.faults import log_fault
from snyper.system import steady

IDLE_S = 0.5  # until a frame with no news, so that it is known whether somebody looks
HIDDEN_S = 5.0  # without an acknowledgement, after which nobody looks

Said = dict[str, Any]  # JSON for the browser


class Screen(Protocol):
    """An element that draws frames, and acknowledges each by its number."""

    @property
    def is_deleted(self) -> bool:
        """Tell whether it has left the page."""

    def send(self, frame: Said) -> None:
        """Have a frame drawn."""


class Frames:
    """The frames of `screen`, one each `frame_s` at most, made by `make` while somebody looks. It may return
    an empty one, which is sent where nothing was for IDLE_S.
    """

    def __init__(
        self, client: Client, screen: Screen, frame_s: float, make: Callable[[], Awaitable[Said]]
    ) -> None:
        self._client, self._screen, self._frame_s, self._make = client, screen, frame_s, make
        self._number = 0
        self._sent_s = 0.0
        self._is_drawn = False  # before the screen says that it is there
        self._due = asyncio.Event()
        self._sending = asyncio.create_task(self._send())

    @property
    def is_seen(self) -> bool:
        """Tell whether somebody looks, as far as is known."""
        is_late = not self._is_drawn and steady.now_s() - self._sent_s > HIDDEN_S
        return self._client.has_socket_connection and not is_late

    def acknowledge(self, number: object) -> None:
        """Take that the browser has drawn a frame."""
        self._is_drawn = self._is_drawn or number == self._number
        self._due.set()

    def begin_anew(self) -> None:
        """Wait for no acknowledgement: who is new, or has connected again, may have missed any frame."""
        self._is_drawn = True
        self._due.set()

    def hurry(self) -> None:
        """Make the next one as soon as may be."""
        self._due.set()

    async def _send(self) -> None:
        while not (self._screen.is_deleted or self._client.is_deleted):
            self._due.clear()
            began_s = steady.now_s()
            try:
                await self._turn()
            except Exception as error:
                log_fault("a page could not be drawn", error)
                await asyncio.sleep(IDLE_S)
            took_s = steady.now_s() - began_s
            await asyncio.sleep(max(self._frame_s - took_s, took_s))  # half of the time is the hub's
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._due.wait()

    async def _turn(self) -> None:
        if not (self.is_seen and self._is_drawn):
            return
        frame = await self._make()
        if frame or steady.now_s() - self._sent_s >= IDLE_S:
            self._number += 1
            self._is_drawn, self._sent_s = False, steady.now_s()
            self._screen.send({"number": self._number, **frame})

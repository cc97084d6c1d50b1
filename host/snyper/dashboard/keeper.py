"""Keeps one console's connection to the hub, through any loss, and the model up to date."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from snyper.client import Event, GameState, HubClient, NoHubError, connect, events
from snyper.dashboard.model import Model
from snyper.dashboard.store import Store
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system import steady

POLL_S = 1.0
RETRY_S = 0.5  # soon enough for a hub that starts again; a connection that is refused costs next to nothing
STATUS_TIMEOUT_S = 1.5  # a hub that is silent for longer is lost, and the banner says so within 2 s

T = TypeVar("T")

_logger = logging.getLogger("snyper")


class Keeper:
    """The dashboard's one console. `hub` is None while there is no connection."""

    def __init__(self, model: Model, store: Store) -> None:
        self.model = model
        self.hub: HubClient | None = None
        self.store = store
        self._look_now = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Raises ValueError for an address that is none."""
        while True:
            try:
                async with connect(self.model.hub) as hub:
                    await self._serve(hub)
            except ProtocolError as error:
                self._lose(error)
            await asyncio.sleep(RETRY_S)

    async def do(self, work: Callable[[HubClient], Coroutine[Any, Any, T]]) -> T:
        """What `work` makes of the hub. Raises ProtocolError `disconnected` while there is none."""
        if self.hub is None:
            raise ProtocolError(ErrorCode.DISCONNECTED, f"no hub at {self.model.hub}")
        return await work(self.hub)

    def look_now(self) -> None:
        """Asks the hub at once, not at the next second."""
        self._look_now.set()

    def _lose(self, error: ProtocolError) -> None:
        self.hub = None
        was_online = self.model.online
        reason = explained(error)
        self.model.hub_lost(reason, steady.now_s())
        if was_online:
            _logger.warning("dashboard: the hub at %s is lost (%s)", self.model.hub, reason)
        self.model.changed()

    async def _serve(self, hub: HubClient) -> None:
        """Raises ProtocolError when the hub is lost, JournalError."""
        start = await self._open_store(hub)  # before the game's state, so that no event lies between the two
        await self._learn_games(hub)
        self.hub = hub
        self.model.hub_found(hub.boot_id, steady.now_s())
        _logger.warning("dashboard: connected to the hub at %s", self.model.hub)
        tasks = [asyncio.create_task(self._poll(hub)), asyncio.create_task(self._follow(hub, *start))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.hub = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn_games(self, hub: HubClient) -> None:
        model = self.model
        try:
            model.games = await hub.games()
            model.game = await hub.game()
        except ProtocolError as error:
            if error.code != ErrorCode.UNKNOWN_TYPE:
                raise
            model.games, model.game = None, GameState("none")

    async def _poll(self, hub: HubClient) -> None:
        while True:
            self._look_now.clear()
            try:
                async with asyncio.timeout(STATUS_TIMEOUT_S):
                    status = await hub.status()
                    targets = await hub.targets()
            except TimeoutError:
                raise ProtocolError(ErrorCode.TIMEOUT, "it does not answer") from None
            self.model.record_status(status, steady.now_s(), time.monotonic())
            self.model.record_targets(targets, steady.now_s())
            self.model.changed()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._look_now.wait()
            except TimeoutError:
                continue

    async def _follow(self, hub: HubClient, after: int, log_id: str | None) -> None:
        """Take every event into the model and the store, those that were missed too."""
        async for event in hub.events(after, log_id):
            is_news = event.seq > hub.subscribed_seq
            self.store.record(hub.log_id, event, self._ago_ms(event))
            try:
                self.model.record_event(event, steady.now_s(), is_news=is_news)
            except (KeyError, TypeError, ValueError) as error:
                _logger.warning("dashboard: %s cannot be understood (%s)", event, error)
            if is_news:
                if events.TARGETS in events.kind_of(event).changes:
                    self.look_now()
                self.model.changed(event)

    async def _open_store(self, hub: HubClient) -> tuple[int, str | None]:
        """Say after which event, of which log, the store wants the hub's: see `Store.follow`."""
        status = await hub.status()
        self.model.record_status(status, steady.now_s(), time.monotonic())
        log_id, seq = "", 0
        if status.journal and await asyncio.to_thread(self.store.journal_log_id):
            # Where a hub counts it says when one subscribes, which a connection does once.
            with suppress(ProtocolError):  # such as no room for a second console
                async with connect(self.model.hub) as asking:
                    await asking.subscribe()
                    log_id, seq = asking.log_id, asking.subscribed_seq
        found = await asyncio.to_thread(self.store.follow, log_id, seq)
        self.model.history = "read from the hub's journal" if self.store.is_journal else "kept here"
        return found

    def _ago_ms(self, event: Event) -> int:
        """How long ago it was, where the event says that; else, as far as one can tell, 0."""
        hub_us, at_us = self.model.hub_us(time.monotonic()), event.data.get("at_us")
        return max(0, hub_us - at_us) // 1000 if hub_us is not None and isinstance(at_us, int) else 0


def explained(error: ProtocolError) -> str:
    """Why there is no hub, in few words."""
    if error.code == ErrorCode.DISCONNECTED and not isinstance(error, NoHubError):
        return "the connection broke off"
    return error.message or error.code

"""Feed what the hub says into the dashboard's model and store, through any loss of it."""

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path

from snyper.client import Event, GameState, HubClient, ReconnectingClient, connect, events
from snyper.dashboard.camera_feed import CameraFeed
from snyper.dashboard.faults import log_fault, log_line
from snyper.dashboard.model import Model
from snyper.dashboard.painter import Painter
from snyper.dashboard.recorded_past import RecordedPast
from snyper.dashboard.service_readings import ServiceReadings
from snyper.dashboard.signal_feed import SignalFeed
from snyper.dashboard.signal_recorders import SignalRecorders
from snyper.dashboard.store import Store
from snyper.dashboard.stored_arrays import StoredArrays
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system import steady

POLL_S = 1.0
SAFETY_POLLS = 5  # after which it asks for a cease fire too, should its event have been missed
LIST_SHARE = 4  # so much longer than a list of targets takes it takes until the next
TURN_S = 0.005  # for events, before whatever else waits
RETRY_S = 0.5  # after an answer that is of no use


class HubFeed:
    """The dashboard's one console. `hub` takes the commands of its pages; `connection` is what is followed,
    None while there is no hub. What is recorded goes into `recordings`, and meanwhile the oldest of it, as
    `keep` says: beyond so many seconds, and so many bytes. Arrays are those of `gateway`, a URL or a name at
    the hub, cameras those of the gateway at the URL `cameras`. Raises ValueError for an address, or a key,
    that is none, OSError for a file of certificates that is none.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        recordings: Path = Path("recordings"),
        gateway: str = "http://127.0.0.1:8000",
        cameras: str = "http://127.0.0.1:8765",
        keep: tuple[float | None, int | None] = (None, None),
    ) -> None:
        self.model = model
        self.store = store
        self.painter = Painter(model.refresh)
        self.hub = ReconnectingClient(model.hub)
        self.services = ServiceReadings(self.hub, model.hub)
        self.signals = SignalFeed(self.hub, model)
        self.recorders = SignalRecorders(self.hub, recordings, *keep)
        self.arrays = StoredArrays(gateway, model.hub)
        self.cameras = CameraFeed(cameras)
        self.past = RecordedPast(recordings)
        self.connection: HubClient | None = None
        self._poll_now = asyncio.Event()

    async def run(self) -> None:
        """Follow the hub until cancelled. Raises JournalError for a store that cannot be used."""
        self.hub.on_state(self._on_state)
        async with self.hub:
            async for connection in self.hub.connections():
                try:
                    await self._follow_hub(connection)
                except ProtocolError as error:
                    if not connection.is_lost:  # which `_on_state` tells
                        self._record_lost(error)
                        await asyncio.sleep(RETRY_S)

    def poll_now(self) -> None:
        """Ask the hub at once, not at the next second."""
        self._poll_now.set()

    def _on_state(self, state: str) -> None:
        if state == SessionState.WAITING and self.hub.last_error is not None:
            self._record_lost(self.hub.last_error)

    def _record_lost(self, error: ProtocolError) -> None:
        was_online, was_refused = self.model.online, self.model.is_refused
        reason = error.message or error.code
        is_refused = error.code == ErrorCode.UNAUTHORIZED
        self.model.hub_lost(reason, steady.now_s(), is_refused)
        if is_refused and not was_refused:
            log_line(f"the hub at {self.model.hub} refuses this dashboard ({reason})")
        elif was_online:
            log_line(f"the hub at {self.model.hub} is lost ({reason})")
        self.model.changed()

    async def _follow_hub(self, hub: HubClient) -> None:
        """Follow one connection to its end. Raises ProtocolError when the hub refuses or is lost,
        JournalError when the store cannot be written.
        """
        start = await self._open_store(hub)  # before the game's state, so that no event lies between the two
        await self._learn_games(hub)
        self.connection = hub
        self.model.hub_found(hub.boot_id, steady.now_s())
        self.model.is_open = hub.is_open
        log_line(f"connected to the hub at {self.model.hub}")
        tasks = [asyncio.create_task(self._poll(hub)), asyncio.create_task(self._follow_events(hub, *start))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.connection = None
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
        for count in itertools.count():
            self._poll_now.clear()
            if count % SAFETY_POLLS == 0:
                self.model.cease_fire = await hub.cease_fire_state()
                self.model.cease_fire_s = steady.now_s()
            status = await hub.status()
            self.model.record_status(status, steady.now_s(), time.monotonic())
            asked_s = steady.now_s()
            try:
                self.model.record_targets(await hub.targets(), steady.now_s())
            except ProtocolError as error:
                if hub.is_lost or error.code != ErrorCode.TIMEOUT:
                    raise
                # Its link says that the hub is there: what it has is long, or it is busy.
            self.model.changed()
            await asyncio.sleep(LIST_SHARE * (steady.now_s() - asked_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._poll_now.wait()

    async def _follow_events(self, hub: HubClient, after: int, log_id: str | None) -> None:
        """Take every event into the model and the store, those that were missed too."""
        turn_s = steady.now_s()
        async for event in hub.events(after, log_id):
            if (
                steady.now_s() - turn_s > TURN_S
            ):  # of thousands of them the hub is not to wait for our heartbeat
                await asyncio.sleep(0)
                turn_s = steady.now_s()
            is_news = event.seq > hub.subscribed_seq
            self.store.record(hub.log_id, event, self._ago_ms(event))
            try:
                self.model.record_event(event, steady.now_s(), is_news=is_news)
            except (KeyError, TypeError, ValueError) as error:
                log_fault("an event cannot be understood", error)
            if is_news:
                if events.TARGETS in events.kind_of(event).changes:
                    self.poll_now()
                self.model.changed(event)

    async def _open_store(self, hub: HubClient) -> tuple[int, str | None]:
        """Say after which event, of which log, the store wants the hub's: see `Store.follow`."""
        status = await hub.status()
        self.model.record_status(status, steady.now_s(), time.monotonic())
        log_id, seq = "", 0
        if status.journal and await asyncio.to_thread(self.store.journal_log_id):
            # Where a hub counts it says when one subscribes, which a connection does once.
            with suppress(ProtocolError):  # such as no space for a second console
                async with connect(self.model.hub) as asking:
                    await asking.subscribe()
                    log_id, seq = asking.log_id, asking.subscribed_seq
        found = await asyncio.to_thread(self.store.follow, log_id, seq)
        self.model.history = "read from the hub's journal" if self.store.is_journal else "kept here"
        return found

    def _ago_ms(self, event: Event) -> int:
        """Return how long ago it was, where the event says that; else, as far as one can tell, 0."""
        hub_us, at_us = self.model.hub_us(time.monotonic()), event.data.get("at_us")
        return max(0, hub_us - at_us) // 1000 if hub_us is not None and isinstance(at_us, int) else 0

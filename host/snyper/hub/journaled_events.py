"""A hub's log of events that is a journal too."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from snyper.firmware.master.events import EventLog
from snyper.hub.journal import KEEP_DAYS, Journal
from snyper.hub.journal_reader import JournalReader
from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.files import shown

STUCK_S = 2.0  # a disk that takes nothing for so long is not waited for: a target asks again after as long
_DAY_S = 86_400.0

_logger = logging.getLogger("snyper")


class JournaledEvents(EventLog):
    """A hub's log that is a journal too. An event is shown, and a report flushed, once it is on the disk.

    While the disk fails, or has not answered for STUCK_S, events are shown from memory, and that is said: an
    event `journal` with `state`, `message`, and how many events were `dropped`. A report is not flushed then.
    """

    def __init__(self, size: int, path: Path, keep_days: int = KEEP_DAYS) -> None:
        """For a running loop. Raises JournalError when the file cannot be written now, or when another
        process writes it.
        """
        self._loop = asyncio.get_running_loop()
        # Who waits for old events keeps nobody's report waiting.
        self._old_events, self._reports = JournalReader(path), JournalReader(path)
        self._journal = Journal(
            path, keep_days, self._written_there, self._state_there, self._exchanged_there
        )
        super().__init__(size, self._journal.log_id)
        self.journal = "ok"
        self.seq = self._journal.seq
        self._added_seq = self._written_seq = self.seq
        self._written = asyncio.Event()  # never stays set, like `_published`
        self._waiting: deque[tuple[int, str, str, dict[str, Any]]] = deque()
        self._stuck_timer: asyncio.TimerHandle | None = None
        self._is_stuck = False

    @property
    def oldest_seq(self) -> int:
        return self._journal.oldest_seq

    def add(self, event: str, target_id: str, data: dict[str, Any], report_key: str | None = None) -> int:
        if self.journal == "ok" and self._journal.is_behind:  # before anything is dropped
            self._on_state("failing", "the journal's disk takes less than what happens", 0)
        self._added_seq += 1
        self._journal.record(
            *(self.log_id, self._added_seq, event, target_id, data),
            report_key=report_key,
            ago_ms=_ago_ms(data),
        )
        if self.journal == "ok":
            self._waiting.append((self._added_seq, event, target_id, dict(data)))
            self._watch_disk()
        else:
            self._publish(self._added_seq, event, target_id, data)
        seq = self._added_seq
        self._notify(seq, event, target_id, data)
        return seq

    async def is_known(self, report_key: str) -> bool:
        if self._journal.is_full:
            raise ProtocolError(ErrorCode.FAULT, "too many reports wait for the hub's disk: send it again")
        if self._is_stuck or not report_key:
            return False
        try:
            return await self._reports.is_known(report_key)
        except (sqlite3.Error, TimeoutError) as error:
            # Should it be there after all, the file keeps the one that it has.
            if self.journal == "ok":  # else it is said, and as often as reports come
                _logger.error("journal: whether a report is in it cannot be read: %r", error)
            return False

    async def flush(self) -> None:
        upto = self._added_seq
        while self._written_seq < upto:
            if self.journal != "ok":
                raise ProtocolError(ErrorCode.FAULT, "the hub's disk has not taken it yet: send it again")
            await self._written.wait()

    async def page(self, seq: int) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
        while True:
            upto = self.seq
            events = await self._kept(seq)
            if events:
                return iter(events)
            if self.seq == upto:
                await self._published.wait()

    async def _kept(self, seq: int) -> list[tuple[int, str, str, dict[str, Any]]]:
        """Return the first events with a greater `seq`, from memory or the file."""
        in_memory = self._ring[0][0] if self._ring else self.seq + 1
        if seq + 1 < in_memory:
            try:
                events = await self._old_events.page(seq)
            except (sqlite3.Error, TimeoutError) as error:
                _logger.error("journal: a console misses events that cannot be read: %r", error)
                events = []
            if events:
                return events
        return list(self.after(seq))

    async def close(self) -> None:
        """Write what is left, and close the file. May be called again."""
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
        # First: whoever is last, and may write, puts what is in the -wal into the file itself.
        await self._old_events.close()
        await self._reports.close()
        await self._loop.run_in_executor(None, self._journal.close)

    # --- what the thread that writes has to say

    def _written_there(self, seq: int) -> None:
        self._call_soon(self._on_written, seq)

    def _state_there(self, state: str, message: str, dropped: int) -> None:
        self._call_soon(self._on_state, state, message, dropped)

    def _exchanged_there(self) -> None:
        self._old_events.disconnect()
        self._reports.disconnect()

    def _call_soon(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            _logger.info("journal: its hub has ended before it")

    def _on_written(self, seq: int) -> None:
        self._written_seq = seq
        self._wake_flushing()
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None
        if self._is_stuck and self._journal.state == "ok":
            self._is_stuck = False
            self._on_state("ok", "the journal is written again", 0)
        self._publish_waiting(seq)
        self._watch_disk()

    def _on_state(self, state: str, message: str, dropped: int) -> None:
        if state == self.journal:
            return
        self.journal = state
        self._wake_flushing()
        if state == "failing":
            self._publish_waiting(self._added_seq)
        data: dict[str, Any] = {"state": state, "message": message[:256]}
        if dropped:
            data["dropped"] = dropped
        self.add("journal", "", data)

    def _wake_flushing(self) -> None:
        self._written.set()
        self._written.clear()

    def _publish_waiting(self, seq: int) -> None:
        while self._waiting and self._waiting[0][0] <= seq:
            self._publish(*self._waiting.popleft())

    def _watch_disk(self) -> None:
        if self._waiting and self._stuck_timer is None:
            self._stuck_timer = self._loop.call_later(STUCK_S, self._on_stuck)

    def _on_stuck(self) -> None:
        self._stuck_timer = None
        self._is_stuck = True
        text = (
            f"the journal {shown(self._journal.path)} has not answered for {STUCK_S:.0f} s: look at the disk"
        )
        _logger.error("journal: %s. The range goes on", text)
        self._on_state("failing", text, 0)


def _ago_ms(data: Mapping[str, Any]) -> int:
    """Return how long ago it was, where `data` says an instant of this hub's clock (`at_us`); else 0."""
    at_us = data.get("at_us")
    ago_us = now_us() - at_us if isinstance(at_us, int) else 0
    return ago_us // 1000 if 0 < ago_us < _DAY_S * 1_000_000 else 0

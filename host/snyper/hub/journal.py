"""A hub's events on a disk: SQLite, one thread that writes, an event counted once it cannot be lost any more.

`journaled_events.py` is the hub's log on top of it; `snyper.history` reads what is in it.
"""

import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snyper.history import schema
from snyper.history.database import DatabaseErrors, JournalError, explained, open_database
from snyper.history.schema import LEAP
from snyper.hub.journal_backlog import Backlog, Row
from snyper.hub.journal_files import GONE, ExchangedError, check_files, files_of, make_private
from snyper.hub.journal_tables import (
    FIRST_MS,
    INSERT,
    LAST_SEQS,
    LATEST,
    latest_before,
    lock,
    lock_id,
    log_for,
    make_schema,
    old_rows,
    oldest_seq,
    own_log,
    own_log_id,
    storable,
)
from snyper.system import steady
from snyper.system.files import shown

KEEP_DAYS = 365
MAX_KEEP_DAYS = 36_500
MAX_BACKLOG = 10_000  # events that wait for the disk: as many as a hub keeps in memory
_BATCH = 500  # events that share one wait for the disk, at most
_RETRY_S = 1.0
_REMIND_S = 60.0
_CLOSE_TIMEOUT_S = 10.0
_PRUNE_ROWS = 500  # removed at once: some milliseconds in which nothing is written
_DAY_S = 86_400.0
_CLOCK_STEP_MS = 1_000  # more than a time server corrects bit by bit
_CHECK_S = 1.0  # for so long it is not seen that the files are others, where nothing is written
_MAX_PROOF_MS = 7 * 86_400_000  # for so long a clock that has leapt has to run before it makes anything old

_logger = logging.getLogger("snyper")

OnWritten = Callable[[int], None]
OnState = Callable[[str, str, int], None]


class Journal:
    """The file at `path`, made where there is none. It belongs to one `Journal` at a time.

    `log_id` names the file's own log, which goes on at `seq`; events of other logs may be kept in it too.
    `state` is "ok" or "failing": then `record` keeps all reports and the last of the other events in memory,
    MAX_BACKLOG in all, until the disk takes them. What is older than `keep_days` is removed, at the start and
    daily.

    `on_written(seq)` is told up to which event of its own log the file has everything that was not dropped,
    `on_state(state, message, dropped)` each change of state. Both are called in the thread that writes, the
    latter also in one that records more than the disk takes. `on_exchange()` is told in the former that the
    file is closed, and opened anew: whoever in this process reads it has to do so, too.
    """

    def __init__(
        self,
        path: Path,
        keep_days: int = KEEP_DAYS,
        on_written: OnWritten | None = None,
        on_state: OnState | None = None,
        on_exchange: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises JournalError when the file cannot be written now, or when somebody else writes it."""
        self.path = path
        self.state = "ok"
        self._keep_ms = keep_days * int(_DAY_S) * 1000
        self._on_written = on_written
        self._on_state = on_state
        self._on_exchange = on_exchange
        self._changed = threading.Condition()
        self._queue = Backlog(MAX_BACKLOG)
        self._writing = 0
        self._closing = False
        self._prune_at_s = 0.0
        self._reminded_s = 0.0
        self._log: tuple[str, int] | None = None  # that of the last row written: its `log_id` and `id`
        self._firsts: dict[int, int] = {}  # of each log the first `seq` that was written since the start
        self._offset_ms = steady.offset_ms()
        self._files = GONE
        self._lock = lock(path)
        self._lock_id = lock_id(path)
        self._db: sqlite3.Connection | None = None
        try:
            self._db = self._connect(secrets.token_hex(8))
            self.log_id, self.seq, self._reserved_seq = own_log(self._db)
            self._files = check_files(path, self._files, was_written=True)
            self._last: dict[str, int] = dict(self._db.execute(LAST_SEQS))
            self._last[self.log_id] = self.seq
            latest: tuple[str | None, int] = self._db.execute(LATEST).fetchone() or (None, 0)
            self._latest, latest_ms = latest
            self.oldest_seq = oldest_seq(self._db, self.seq)
        except (*DatabaseErrors, JournalError, TypeError, ValueError) as error:
            self._disconnect()
            self._lock.close()
            if isinstance(error, JournalError):
                raise
            if not isinstance(error, DatabaseErrors):
                what = (
                    "it does not say what a journal says: move it away, a new one is begun at the next start"
                )
                raise JournalError(f"the journal {shown(path)} cannot be used: {what}") from None
            raise JournalError(f"the journal {shown(path)} cannot be used: {explained(error)}") from None
        if latest_ms > steady.now_ms() + self._offset_ms + _DAY_S * 1000:
            what = f"the clock is behind the last event, of {_day(latest_ms)}: set it, if it is wrong"
            _logger.warning("journal: %s: %s", shown(path), what)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def record(
        self,
        log_id: str,
        seq: int,
        event: str,
        target_id: str,
        data: Mapping[str, Any],
        unix_ms: int | None = None,
        report_key: str | None = None,
        ago_ms: int = 0,
    ) -> None:
        """Queue an event to be written, and return at once. One that is there already stays as it is. A
        report has a `report_key`, which may be empty, and is never dropped.

        It was `ago_ms` ago; when the clock of this computer is set later on, that is set right in the file
        too. Or it was at `unix_ms`. May be called from any thread.
        """
        at_ms = steady.now_ms() - ago_ms
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        if self.is_behind and self.state == "ok":
            self._record_failure(JournalError("the disk takes less than what happens"))
        report = None if report_key is None else storable(report_key)
        with self._changed:
            if self._closing:
                _logger.error("journal: %s is closed, and lacks `%s` of %s", self.path, event, target_id)
                return
            said = (storable(event), storable(target_id), storable(text), report)
            self._queue.add(Row(storable(log_id), seq, at_ms, unix_ms, *said))
            self._last[log_id] = max(seq, self._last.get(log_id, 0))
            self._latest = log_id
            self._changed.notify_all()

    @property
    def dropped(self) -> int:
        """How many events were too many since the disk took them last."""
        return self._queue.dropped

    @property
    def is_behind(self) -> bool:
        """Whether MAX_BACKLOG events wait: another one costs one of them."""
        return self._queue.is_full

    @property
    def is_full(self) -> bool:
        """Whether MAX_BACKLOG reports wait: another one is better not taken."""
        return self._queue.is_full_of_reports

    def last_seq(self, log_id: str) -> int:
        """Return the greatest `seq` that was recorded of that log; 0 where there is none."""
        with self._changed:
            return self._last.get(log_id, 0)

    def latest_log(self) -> tuple[str, int] | None:
        """Return the log of which an event was recorded last, and its last `seq`; None where there is no
        event.
        """
        with self._changed:
            return None if self._latest is None else (self._latest, self._last[self._latest])

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was recorded is on the disk; return False when it is not within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._writing, timeout_s)

    def close(self) -> None:
        """Write what is left, and close the file. What a failing disk does not take is lost, and said.
        May be called again.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            _logger.error("journal: the disk does not answer; the last events are not in %s", self.path)
            return
        self._lock.close()

    # --- the thread that writes

    def _run(self) -> None:
        while True:
            batch = self._take_batch()
            if batch is None:
                break
            try:
                if self._db is None:
                    self._db = self._reopen()
                self._files = check_files(self.path, self._files)
                if batch:
                    self._write(self._db, batch)
                elif time.monotonic() >= self._prune_at_s:
                    self._prune(self._db)
            except Exception as error:  # no memory and no descriptor, too: the thread that writes goes on
                self._give_back(batch)
                self._record_failure(error)
                self._disconnect(error if isinstance(error, ExchangedError) else None)
                if self._is_closing_after(_RETRY_S):
                    break
            else:
                self._record_written(batch)
        self._end()

    def _take_batch(self) -> list[Row] | None:
        """Return what to write next. Empty when it is time to look after the file, None at the end."""
        with self._changed:
            if not self._queue and not self._closing:
                wait_s = min(self._prune_at_s - time.monotonic(), _CHECK_S)
                self._changed.wait_for(lambda: self._queue or self._closing, max(wait_s, 0))
            if not self._queue:
                return None if self._closing else []
            batch = self._queue.take(_BATCH)
            self._writing = len(batch)
            return batch

    def _give_back(self, batch: list[Row]) -> None:
        with self._changed:
            self._queue.give_back(batch)
            self._writing = 0

    def _record_written(self, batch: list[Row]) -> None:
        with self._changed:
            self._writing = 0
            self._changed.notify_all()
            is_behind = len(self._queue) > MAX_BACKLOG // 2
            dropped = self._queue.dropped
        if self.state != "ok" and not is_behind:
            self._queue.dropped -= dropped
            self.state = "ok"
            text = "the journal is written again"
            if dropped:
                text += f"; {dropped} events are not in it"
            _logger.warning("journal: %s: %s", self.path, text)
            if self._on_state is not None:
                self._on_state("ok", text, dropped)
        own = [row.seq for row in batch if row.log_id == self.log_id]
        if own and self._on_written is not None:
            self._on_written(own[-1])

    def _record_failure(self, error: Exception) -> None:
        why = explained(error) if isinstance(error, DatabaseErrors) else str(error) or type(error).__name__
        text = f"the journal {shown(self.path)} cannot be written: {why}"
        now_s = time.monotonic()
        if self.state == "ok" or now_s - self._reminded_s >= _REMIND_S:
            self._reminded_s = now_s
            waiting = f"{len(self._queue)} events wait in memory, {self._queue.dropped} were dropped"
            _logger.error("journal: %s. The range goes on; %s", text, waiting)
        if self.state == "ok":
            self.state = "failing"
            if self._on_state is not None:
                self._on_state("failing", text, 0)

    def _is_closing_after(self, wait_s: float) -> bool:
        """Wait until the hub ends at the latest, and return whether it had ended before: then the last try is
        over.
        """
        with self._changed:
            if self._closing:
                return True
            self._changed.wait_for(lambda: self._closing, wait_s)
            return False

    def _write(self, db: sqlite3.Connection, batch: list[Row]) -> None:
        db.execute("BEGIN IMMEDIATE")
        offset_ms = self._set_right(db)
        log, firsts = self._log, dict(self._firsts)
        for row in batch:
            if log is None or log[0] != row.log_id:
                log = (row.log_id, log_for(db, row.log_id))
            firsts.setdefault(log[1], row.seq)
            unix_ms = row.at_ms + offset_ms if row.unix_ms is None else row.unix_ms
            what = (row.event, row.target_id, row.data, row.report or None)
            db.execute(INSERT, (log[1], row.seq, unix_ms, *what, row.log_id, row.seq))
            if row.event == "game_started":
                schema.name_players(db, (log[1], row.seq))
        reserved_seq = self._reserved_seq
        if self._last[self.log_id] + LEAP // 2 > reserved_seq:
            reserved_seq += LEAP
            db.execute("UPDATE logs SET reserved_seq = ? WHERE id = 1", (reserved_seq,))
        db.execute("COMMIT")
        self._reserved_seq, self._offset_ms, self._log, self._firsts = reserved_seq, offset_ms, log, firsts
        self._files = check_files(self.path, self._files, was_written=True)

    def _set_right(self, db: sqlite3.Connection) -> int:
        """Return what the steady clock lacks to the time of day. Where that was set, correct the times that
        were written since the start: a computer without a battery learns late what day it is. But for a leap
        that is as good as none that it was set by: what was written before that keeps its time.
        """
        offset_ms = steady.offset_ms()
        step_ms = offset_ms - self._offset_ms
        if abs(step_ms) < _CLOCK_STEP_MS:
            return self._offset_ms
        if step_ms > self._keep_ms // 4 and steady.now_ms() + self._offset_ms > FIRST_MS:
            self._firsts.clear()
        for log, seq in self._firsts.items():
            for table in ("events", "games", "shots"):
                db.execute(
                    f"UPDATE {table} SET unix_ms = unix_ms + ? WHERE log = ? AND seq >= ?",
                    (step_ms, log, seq),
                )
        return offset_ms

    def _prune(self, db: sqlite3.Connection) -> None:
        """Remove some of what is too old; the rest after what has come meanwhile."""
        clock_ms = steady.now_ms() + steady.offset_ms()
        now_ms = self._proven_ms(db, clock_ms)
        db.execute("BEGIN IMMEDIATE")
        old = old_rows(db, now_ms - self._keep_ms, _PRUNE_ROWS)
        db.executemany("DELETE FROM events WHERE log = ? AND seq = ?", old)
        db.execute("COMMIT")
        self._files = check_files(self.path, self._files, was_written=True)
        if old:
            self.oldest_seq = oldest_seq(db, self.last_seq(self.log_id))
        if len(old) < _PRUNE_ROWS:
            self._prune_at_s = time.monotonic() + _DAY_S
            if clock_ms - now_ms > self._keep_ms // 4 and old_rows(db, clock_ms - self._keep_ms, 1):
                what = f"it is {_day(clock_ms)} by the clock, which has leapt: what that makes too old stays"
                _logger.warning("journal: %s: %s for now. Set it, if it is wrong", shown(self.path), what)

    def _proven_ms(self, db: sqlite3.Connection, clock_ms: int) -> int:
        """Return the time of day by which something may be too old: no later than the events show that time
        has passed. After a leap of the clock, be it between two starts, it has to have run on for a week, or
        a quarter of what is kept; where it has not, what it was before it leapt has to be shown likewise.
        """
        proof_ms = min(_MAX_PROOF_MS, self._keep_ms // 4)
        leap_ms = max(2 * proof_ms, self._keep_ms // 4)
        while True:
            before_ms = latest_before(db, clock_ms - proof_ms)
            if not before_ms or clock_ms - before_ms <= leap_ms:
                return min(clock_ms, before_ms + proof_ms)
            clock_ms = before_ms

    def _end(self) -> None:
        """Record an orderly end: from here the count can go on without a leap."""
        try:
            if self._db is not None and not self._queue:
                last = self._last[self.log_id]
                self._db.execute("UPDATE logs SET reserved_seq = ? WHERE id = 1", (last,))
        except DatabaseErrors as error:
            self._record_failure(error)
        if self._queue:
            _logger.error("journal: %s lacks the last %d events", self.path, len(self._queue))
        self._disconnect()

    def _reopen(self) -> sqlite3.Connection:
        """Connect again after an error; meanwhile the file may be another. Raises sqlite3.Error, OSError,
        JournalError.
        """
        db = self._connect(self.log_id)
        self._log, self._firsts = None, {}
        try:
            if own_log_id(db) != self.log_id:
                raise JournalError("another journal lies there: start the hub again to go on with that one")
            self._hold()
            db.execute(
                "UPDATE logs SET reserved_seq = max(reserved_seq, ?) WHERE id = 1", (self._reserved_seq,)
            )
            self._files = check_files(self.path, self._files, was_written=True)
        except BaseException:
            db.close()
            raise
        return db

    def _hold(self) -> None:
        """Hold the lock that another process would ask for: the one that was held may be gone with its
        directory. Raises JournalError.
        """
        if lock_id(self.path) != self._lock_id:
            self._lock.close()
            self._lock = lock(self.path)
            self._lock_id = lock_id(self.path)

    def _connect(self, log_id: str) -> sqlite3.Connection:
        """Open the file, or make one whose own log is `log_id`. Raises sqlite3.Error, JournalError."""
        make_private(self.path)
        db = open_database(self.path, timeout=_RETRY_S, isolation_level=None, check_same_thread=False)
        try:
            make_schema(db, self.path, log_id)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            own_log_id(db)  # from the first reading on there are all of its files
            self._files = files_of(self.path)
        except OSError as error:
            db.close()
            raise JournalError(f"the journal {shown(self.path)} has gone: {error.strerror}") from None
        except BaseException:
            db.close()
            raise
        return db

    def _disconnect(self, exchange: ExchangedError | None = None) -> None:
        """Close the file. After an `exchange` bring together first what was written to the one that is open,
        or, where somebody else has written to it, leave it as it is: the next opening takes of the -wal what
        is whole.
        """
        if self._db is None:
            return
        keeper = None
        try:
            self._on_exchange()
            if exchange is not None and exchange.is_whole:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            elif exchange is not None:
                keeper = open_database(self.path, "ro")  # who is last, and may write, brings the -wal in
                keeper.execute("SELECT 1 FROM logs").fetchone()
        except DatabaseErrors as error:
            _logger.error("journal: %s: %s", self.path, explained(error))
        for db in (self._db, keeper):
            try:
                if db is not None:
                    db.close()
            except DatabaseErrors as error:
                _logger.error("journal: %s: %s", self.path, explained(error))
        self._db = None


def _day(unix_ms: int) -> str:
    """Format a day for people, whatever a clock has made of it."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "no day that there is"

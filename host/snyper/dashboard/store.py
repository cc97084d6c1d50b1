"""The store of the dashboard's history: the hub's journal if that lies here, else an archive of its own."""

from collections.abc import Callable
from pathlib import Path

from snyper.client import Event
from snyper.history.database import JournalError
from snyper.history.reader import History
from snyper.hub.journal import Journal


class Store:
    """`journal` is where a hub on this computer would keep its events, None for nowhere; `archive` is made
    when a hub comes that does not. Either is known by the id of its log, so no event is kept twice.

    `on_state(state, message, dropped)` is told of the archive as `Journal` says it, in a thread of its own.
    """

    def __init__(
        self,
        journal: Path | None,
        archive: Path,
        on_state: Callable[[str, str, int], None] | None = None,
        is_hub_here: bool = False,
    ) -> None:
        """`is_hub_here` says that the hub is on this computer, as its address has it."""
        self._journal = journal
        self._archive_path = archive
        self._on_state = on_state
        self._archive: Journal | None = None
        self._seen: tuple[str, int] | None = None  # the last event: its log, its `seq`
        paths = [path for path in (journal if is_hub_here else None, archive) if path is not None]
        self.path: Path = next((path for path in paths if path.exists()), archive)

    @property
    def is_journal(self) -> bool:
        """Whether the hub's own journal is read, and nothing is kept here."""
        return self.path == self._journal

    def journal_log_id(self) -> str:
        """Return whose log the journal here is; empty where there is none that can be read."""
        if self._journal is None:
            return ""
        try:
            with History(self._journal) as history:
                return history.log_id
        except JournalError:
            return ""

    def follow(self, log_id: str, seq: int) -> tuple[int, str | None]:
        """Take the history of the hub that counts in this log, empty where nobody knows, and has come to
        `seq`. Return after which event, and of which log, it is to say its events. Raises JournalError for an
        archive that cannot be written.
        """
        if log_id and log_id == self.journal_log_id():
            assert self._journal is not None
            self.path = self._journal
            if self._seen is not None and self._seen[0] == log_id:
                seq = self._seen[1]
            return seq, log_id
        if self._archive is None:
            self._archive = Journal(self._archive_path, on_state=self._on_state)
        self.path = self._archive_path
        of_log, after = self._archive.latest_log() or (None, 0)
        return after, of_log

    def record(self, log_id: str, event: Event, ago_ms: int) -> None:
        """Keep an event of that log, which was `ago_ms` ago, unless its hub does."""
        self._seen = (log_id, event.seq)
        if not self.is_journal and self._archive is not None:
            data = (event.event, event.target_id, event.data)
            self._archive.record(log_id, event.seq, *data, ago_ms=ago_ms)

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was recorded is on the disk, at most so long."""
        if self._archive is not None:
            self._archive.flush(timeout_s)

    def close(self) -> None:
        """Write what is left. May be called again."""
        if self._archive is not None:
            self._archive.close()

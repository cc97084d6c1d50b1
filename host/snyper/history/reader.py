"""Reads a journal as people ask for it: games, players, reaction times, targets. Only reads.

`schema.py` says what the file is. It may be written meanwhile by a hub, which these do not hold up.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from snyper.client.events import says
from snyper.client.models import text_in
from snyper.history.database import (
    DatabaseErrors,
    JournalError,
    NoJournalError,
    data_in,
    explained,
    open_to_read,
)
from snyper.history.queries import Conditions, PlayerTally, TargetTally, games_where, last_seq, shots_where
from snyper.history.records import (
    ALL,
    Accuracy,
    BestTime,
    EventRecord,
    GameRecord,
    Outage,
    PlayerStats,
    RecordFilter,
    ShotRecord,
    TargetStats,
    game_record,
    shot_record,
)
from snyper.history.schema import known_as
from snyper.shared.link_core import CloseReason
from snyper.system.files import shown

_PAGE = 1_000  # rows that are fetched at once
_SEQ_BITS = 44  # `log` and `seq` in one number: for more leaps than a hub can be started in its life

# What a hit that scored has to say to be counted: the hub may have been of another version.
_SCORED: dict[str, Any] = {"player": str, "total": int, "reaction_ms": int}


class History:
    """The journal at `path`. Everything is in the order in which the journal has it, whatever the time of day
    said meanwhile; `since_ms` goes by that. Times are `unix_ms`.

    May be used by several threads, one after the other. Every method raises JournalError when the file cannot
    be read.
    """

    def __init__(self, path: Path) -> None:
        """Raises JournalError, which says what to do, where there is no journal that this can read."""
        self.path = path
        self._lock = threading.Lock()
        try:
            path.stat()
        except OSError as error:
            raise NoJournalError(
                f"there is no journal at {shown(path)} ({error.strerror}): `snyper hub` writes one,"
                " or name it with --journal"
            ) from None
        self._db = open_to_read(path)

    def __enter__(self) -> "History":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called again."""
        self._db.close()

    @property
    def log_id(self) -> str:
        """The id of the log: that of the hub, or the dashboard, which writes the file."""
        rows = self._all("SELECT CAST(log_id AS TEXT) FROM logs WHERE id = 1")
        if not rows:
            raise JournalError(
                f"the journal {shown(self.path)} cannot be read: it does not say whose log it is"
            )
        return str(rows[0][0])

    def events(self, kinds: Sequence[str] = (), since_ms: int | None = None) -> Iterator[EventRecord]:
        """Iterate over all events, or those of these kinds, in order, some at a time: memory stays small
        however many there are.
        """
        conditions = Conditions()
        if kinds:
            conditions.add(f"event IN ({', '.join('?' * len(kinds))})", *kinds)
        conditions.add_since("unix_ms", since_ms)
        yield from self._events(conditions)

    def events_of(self, which: RecordFilter) -> Iterator[EventRecord]:
        """Iterate over those events in order; where it is about games, what happened while one of them was
        played.
        """
        if not which.of_games:
            yield from self.events(since_ms=which.since_ms)
            return
        where = games_where(which)
        for log, seq, end_seq in self._all(
            f"SELECT CAST(log AS INTEGER), CAST(seq AS INTEGER), CAST(end_seq AS INTEGER) FROM games {where}",
            where.values,
        ):
            during = Conditions()
            during.add("log = ? AND seq BETWEEN ? AND ?", log, seq, end_seq or last_seq(seq))
            yield from self._events(during)

    def games(
        self,
        player: str | None = None,
        game: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[GameRecord]:
        """Return the games, newest first; only those with `player`, of the kind `game`, at most `limit` after
        the first `offset`.
        """
        where = games_where(RecordFilter(since_ms, game, player))
        rows = self._all(
            "SELECT log, seq,"
            " (SELECT CAST(unix_ms AS INTEGER) FROM events WHERE log = g.log AND seq = g.seq),"
            " (SELECT CAST(data AS TEXT) FROM events WHERE log = g.log AND seq = g.seq),"
            " (SELECT CAST(data AS TEXT) FROM events WHERE log = g.log AND seq = g.over_seq)"
            f" FROM (SELECT log, seq, over_seq FROM games {where}"
            " ORDER BY log DESC, seq DESC LIMIT ? OFFSET ?) AS g ORDER BY log DESC, seq DESC",
            (*where.values, -1 if limit is None else limit, offset),
        )
        return [
            game_record(
                unix_ms or 0,
                data_in(started or ""),
                data_in(over) if over else None,
                () if over else self._scores(log, seq),
            )
            for log, seq, unix_ms, started, over in rows
        ]

    def count_games(self, which: RecordFilter = ALL) -> int:
        where = games_where(which)
        [(count,)] = self._all(f"SELECT count(*) FROM games {where}", where.values)
        return int(count)

    def kinds(self) -> dict[str, str]:
        """Return name and title of every kind of game that was ever played."""
        return dict(
            self._all(
                "SELECT CAST(game AS TEXT), CAST(max(title) AS TEXT) FROM games GROUP BY game ORDER BY game"
            )
        )

    def names(self) -> list[str]:
        """Return the names of all who ever played."""
        return [
            name for (name,) in self._all("SELECT DISTINCT CAST(known AS TEXT) FROM seats ORDER BY known")
        ]

    def players(
        self, since_ms: int | None = None, game: str | None = None, player: str | None = None
    ) -> list[PlayerStats]:
        """Return all who played a game to its end, by wins, then games, then name."""
        where = games_where(RecordFilter(since_ms, game, player))
        if player:
            where.add("known = ?", known_as(player))
        tallies: dict[str, PlayerTally] = defaultdict(PlayerTally)
        for name, *counts in self._all(
            "SELECT CAST(known AS TEXT), CAST(game AS TEXT), count(*) FILTER (WHERE reason = 'finished'),"
            " CAST(coalesce(sum(won) FILTER (WHERE reason = 'finished'), 0) AS INTEGER),"
            " max(CAST(score AS INTEGER)) FILTER (WHERE reason = 'finished'), min(CAST(best_ms AS INTEGER)),"
            f" CAST(max((log << {_SEQ_BITS}) + seq) FILTER (WHERE reason = 'finished') AS INTEGER)"
            f" FROM games JOIN seats USING (log, seq) {where} GROUP BY known, game",
            where.values,
        ):
            tallies[name].add(*counts)
        stats = [
            PlayerStats(name, tally.games, tally.wins, tally.best, tally.best_ms, self._began_ms(tally.last))
            for name, tally in tallies.items()
            if tally.games
        ]
        return sorted(stats, key=lambda one: (-one.wins, -one.games, one.player))

    def best_times(
        self,
        limit: int = 10,
        player: str | None = None,
        game: str | None = None,
        since_ms: int | None = None,
    ) -> list[BestTime]:
        """Return the fastest hits that scored in games, the fastest first."""
        where = games_where(RecordFilter(since_ms, game, player))
        where.add("best_ms IS NOT NULL")
        if player:
            where.add("known = ?", known_as(player))
        # The fastest hits are all with those who have the fastest hit of their own.
        seats = self._all(
            "SELECT CAST(log AS INTEGER), CAST(seq AS INTEGER), CAST(end_seq AS INTEGER), CAST(game AS TEXT),"
            f" CAST(player AS TEXT), CAST(known AS TEXT) FROM games JOIN seats USING (log, seq) {where}"
            " ORDER BY best_ms, log, seq LIMIT ?",
            (*where.values, limit),
        )
        times = [time for seat in seats for time in self._times_of(*seat)]
        return [time for _, time in sorted(times, key=lambda pair: (pair[1].reaction_ms, pair[0]))[:limit]]

    def shots(self, target_id: str | None = None, since_ms: int | None = None) -> Iterator[ShotRecord]:
        """Iterate over all hits and misses, in order."""
        where = shots_where(RecordFilter(since_ms), "shots.")
        if target_id is not None:
            where.add("target_id = ?", target_id)
        yield from self._shots(where)

    def shots_of(self, which: RecordFilter) -> Iterator[ShotRecord]:
        """Iterate over those hits and misses, in order."""
        yield from self._shots(shots_where(which, "shots."))

    def _shots(self, where: "Conditions") -> Iterator[ShotRecord]:
        query = (
            "SELECT CAST(events.unix_ms AS INTEGER), CAST(event AS TEXT), CAST(target_id AS TEXT),"
            " CAST(data AS TEXT), CAST(crosstalk_of AS TEXT)"
            f" FROM shots JOIN events USING (target_id, log, seq) {where} ORDER BY log, seq"
        )
        for unix_ms, event, of_target, data, of in self._rows(query, where.values):
            yield shot_record(unix_ms, event, of_target, data_in(data), of)

    def reactions(self, since_ms: int | None = None) -> dict[str, list[ShotRecord]]:
        """Return the hits of each target that count and say a reaction time, in order."""
        found: dict[str, list[ShotRecord]] = {}
        for shot in self.shots(since_ms=since_ms):
            if shot.event == "hit" and not shot.crosstalk_of and shot.reaction_ms is not None:
                found.setdefault(shot.target_id, []).append(shot)
        return found

    def reaction_points(
        self, which: RecordFilter, target_ids: Sequence[str], limit: int
    ) -> dict[str, list[tuple[int, int]]]:
        """Return for each of these targets when its last `limit` hits were, in order, and their reaction
        times in ms.
        """
        where = shots_where(which)
        where.add("reaction_ms IS NOT NULL")
        where.add("target_id = ?")
        query = (
            "SELECT CAST(unix_ms AS INTEGER), CAST(reaction_ms AS INTEGER)"
            f" FROM shots {where} ORDER BY log DESC, seq DESC LIMIT ?"
        )
        return {
            target_id: self._all(query, (*where.values, target_id, limit))[::-1] for target_id in target_ids
        }

    def accuracy(self, which: RecordFilter = ALL) -> list[Accuracy]:
        """Return the hits and misses of each target that had any, by name."""
        where = shots_where(which)
        where.add("hit + missed > 0")
        return [
            Accuracy(*row)
            for row in self._all(
                "SELECT CAST(target_id AS TEXT), CAST(sum(hit) AS INTEGER), CAST(sum(missed) AS INTEGER),"
                " min(CAST(reaction_ms AS INTEGER))"
                f" FROM shots {where} GROUP BY target_id",
                where.values,
            )
        ]

    def targets(self, since_ms: int | None = None) -> list[TargetStats]:
        """Return the targets that reported something or was away, by name."""
        tallies: dict[str, TargetTally] = defaultdict(TargetTally)
        where = shots_where(RecordFilter(since_ms))
        for target_id, *shot in self._rows(
            "SELECT CAST(target_id AS TEXT), CAST(hit AS INTEGER), CAST(missed AS INTEGER),"
            f" CAST(reaction_ms AS INTEGER), CAST(dropped AS INTEGER) FROM shots {where}"
            " ORDER BY target_id, log, seq",
            where.values,
        ):
            tallies[target_id].add(*shot)
        for outage in self.outages(since_ms=since_ms):
            tally = tallies[outage.target_id]
            tally.outages += 1
            tally.outage_ms += (outage.until_ms or outage.since_ms) - outage.since_ms
        return [tallies[target_id].stats(target_id) for target_id in sorted(tallies)]

    def outages(self, target_id: str | None = None, since_ms: int | None = None) -> list[Outage]:
        """Return when targets were away, in order. That the hub itself stopped is no outage of a target.
        Where somebody set the clock of a hub between two of its starts, an outage over them is of no known
        length, at least of 0.
        """
        found: list[Outage] = []
        away: dict[str, int] = {}
        for event in self.events(["registered", "lost"], since_ms):
            if target_id is not None and event.target_id != target_id:
                continue
            if event.event == "registered":
                at = away.pop(event.target_id, None)
                if at is not None:
                    lost = found[at]
                    until_ms = max(lost.since_ms, event.unix_ms)
                    found[at] = replace(lost, until_ms=until_ms)
            elif event.data.get("reason") != CloseReason.STOPPING and event.target_id not in away:
                away[event.target_id] = len(found)
                why = (str(event.data.get(name, "")) for name in ("reason", "code", "message"))
                found.append(Outage(event.target_id, event.unix_ms, None, *why))
        return found

    def _began_ms(self, at: int) -> int:
        """Return when the game began that is at this place in the order of all."""
        rows = self._all(
            "SELECT CAST(unix_ms AS INTEGER) FROM games WHERE log = ? AND seq = ?",
            (at >> _SEQ_BITS, at % (1 << _SEQ_BITS)),
        )
        return int(rows[0][0]) if rows else 0

    def _times_of(
        self, log: int, seq: int, end_seq: int | None, game: str, player: str, known: str
    ) -> Iterator[tuple[tuple[int, int], BestTime]]:
        """Return a player's hits that scored in one game, each with its place in the journal."""
        where = Conditions()
        where.add("log = ? AND seq > ? AND seq <= ?", log, seq, end_seq or last_seq(seq))
        where.add("event = 'game_score'")
        scores = [
            (at, target_id, unix_ms, data_in(text))
            for at, target_id, unix_ms, text in self._all(
                "SELECT CAST(seq AS INTEGER), CAST(target_id AS TEXT), CAST(unix_ms AS INTEGER),"
                f" CAST(data AS TEXT) FROM events {where}",
                where.values,
            )
        ]
        taken_back = [data.get("score_seq") for *_, data in scores]
        for at, target_id, unix_ms, data in scores:
            game_id = text_in(data, "game_id")
            if says(data, _SCORED) and data["player"] == player and at not in taken_back:
                yield (log, at), BestTime(data["reaction_ms"], known, game, game_id, target_id, unix_ms)

    def _scores(self, log: int, seq: int) -> tuple[int, ...]:
        """Return the scores of a game's players, now or at its end."""
        rows = self._all(
            "SELECT CAST(score AS INTEGER) FROM seats WHERE log = ? AND seq = ? ORDER BY place", (log, seq)
        )
        return tuple(score for (score,) in rows)

    def _events(self, where: "Conditions") -> Iterator[EventRecord]:
        query = (
            "SELECT CAST(log_id AS TEXT), CAST(seq AS INTEGER), CAST(unix_ms AS INTEGER),"
            " CAST(event AS TEXT), CAST(target_id AS TEXT), CAST(data AS TEXT)"
            f" FROM events JOIN logs ON logs.id = log {where} ORDER BY log, seq"
        )
        for log_id, seq, unix_ms, event, target_id, data in self._rows(query, where.values):
            yield EventRecord(log_id, seq, unix_ms, event, target_id, data_in(data))

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return list(self._rows(query, values))

    def _rows(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        try:
            with self._lock:
                cursor = self._db.execute(query, values)
                rows = cursor.fetchmany(_PAGE)
            while rows:
                yield from rows
                with self._lock:
                    rows = cursor.fetchmany(_PAGE)
        except DatabaseErrors as error:
            raise JournalError(f"the journal {shown(self.path)} cannot be read: {explained(error)}") from None

"""What a journal holds, as people ask for it: games, players, reaction times, targets. Only reads.

`journal.py` says what the file is. It may be written meanwhile by a hub, which these do not hold up.
"""

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from snyper.client.events import results_of, says
from snyper.history import schema
from snyper.history.database import JournalError, NoJournalError, explained, open_database
from snyper.history.schema import known_as, names_of
from snyper.shared.link import CloseReason
from snyper.system.files import shown

_PAGE = 1_000  # rows that are fetched at once
_SEQ_BITS = 44  # `log` and `seq` in one number: for more leaps than a hub can be started in its life

# What a hit that scored has to say to be counted: the hub may have been of another version.
_SCORED: dict[str, Any] = {"player": str, "total": int, "reaction_ms": int}


@dataclass(frozen=True)
class EventRecord:
    """One event. `unix_ms` is when it was, in milliseconds of the world's time since 1970; of a `hit` or
    `miss`, when the target felt it.
    """

    log_id: str
    seq: int
    unix_ms: int
    event: str
    target_id: str
    data: dict[str, Any]


@dataclass(frozen=True)
class GameRecord:
    """One game. `scores` are in the order of `players`. `reason` says why it ended, as `game_over` does; it
    is empty, and `duration_ms` None, where the game still runs or its hub ended first.
    """

    game_id: str
    game: str
    title: str
    started_ms: int
    duration_ms: int | None
    players: tuple[str, ...]
    scores: tuple[int, ...]
    winner: str
    reason: str
    targets: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlayerStats:
    """One player over the games that were played to their end. `best` is the highest score of each kind."""

    player: str
    games: int
    wins: int
    best: Mapping[str, int]
    best_reaction_ms: int | None
    last_ms: int


@dataclass(frozen=True)
class BestTime:
    """A hit that scored in a game."""

    reaction_ms: int
    player: str
    game: str
    game_id: str
    target_id: str
    unix_ms: int


@dataclass(frozen=True)
class ShotRecord:
    """A `hit`, or a `miss` with its `reason`. None is what the report does not say. `at_us` is the instant by
    the hub's clock at that time, wrong by at most `uncertainty_us`. A hit with `crosstalk_of` does not count:
    it was a blow on that target.
    """

    unix_ms: int
    event: str
    target_id: str
    reaction_ms: int | None
    peak: int | None
    reason: str
    at_us: int | None
    uncertainty_us: int | None
    gap_us: int | None
    crosstalk_of: str


@dataclass(frozen=True)
class TargetStats:
    """One target. Each of its `rounds` was a hit, a miss, or was called off before its time was up, also by
    cross-talk.
    `accuracy` is hits of hits and misses, None where there are none. `dropped` reports never reached the hub.
    """

    target_id: str
    rounds: int
    hits: int
    misses: int
    called_off: int
    accuracy: float | None
    median_reaction_ms: int | None
    best_reaction_ms: int | None
    dropped: int
    outages: int
    outage_ms: int


@dataclass(frozen=True)
class Outage:
    """A target was away. `until_ms` is None where it has not come back."""

    target_id: str
    since_ms: int
    until_ms: int | None
    reason: str
    code: str
    message: str


@dataclass(frozen=True)
class Which:
    """Which games, hits and misses are meant: None and the empty word mean any. `since_ms` leaves out what
    was earlier, `game` is a kind of game. A hit or miss is a player's when it was that player's turn, or when
    that player got the points; where all shoot at once a miss is nobody's.
    """

    since_ms: int | None = None
    game: str | None = None
    player: str | None = None

    @property
    def of_games(self) -> bool:
        """Whether it means less than all that was shot."""
        return bool(self.game or self.player)


ALL = Which()


@dataclass(frozen=True)
class Accuracy:
    """One target's hits, and its misses: those whose time was up."""

    target_id: str
    hits: int
    misses: int
    best_reaction_ms: int | None


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
        self._db = _open(path)

    def __enter__(self) -> "History":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """May be called again."""
        self._db.close()

    @property
    def log_id(self) -> str:
        """Whose log it is: that of the hub, or the dashboard, which writes the file."""
        [(log_id,)] = self._all("SELECT log_id FROM logs WHERE id = 1")
        return str(log_id)

    def events(self, kinds: Sequence[str] = (), since_ms: int | None = None) -> Iterator[EventRecord]:
        """Every event, or those of these kinds, in order, some at a time: memory stays small however many
        there are.
        """
        conditions = _Conditions()
        if kinds:
            conditions.add(f"event IN ({', '.join('?' * len(kinds))})", *kinds)
        conditions.add_since("unix_ms", since_ms)
        yield from self._events(conditions)

    def events_of(self, which: Which) -> Iterator[EventRecord]:
        """Those events in order; where it is about games, what happened while one of them was played."""
        if not which.of_games:
            yield from self.events(since_ms=which.since_ms)
            return
        where = _games_where(which)
        for log, seq, end_seq in self._all(f"SELECT log, seq, end_seq FROM games {where}", where.values):
            during = _Conditions()
            during.add("log = ? AND seq BETWEEN ? AND ?", log, seq, end_seq or _last_seq(seq))
            yield from self._events(during)

    def games(
        self,
        player: str | None = None,
        game: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[GameRecord]:
        """The games, newest first; only those with `player`, of the kind `game`, at most `limit` after the
        first `offset`.
        """
        where = _games_where(Which(since_ms, game, player))
        rows = self._all(
            "SELECT log, seq, (SELECT unix_ms FROM events WHERE log = g.log AND seq = g.seq),"
            " (SELECT data FROM events WHERE log = g.log AND seq = g.seq),"
            " (SELECT data FROM events WHERE log = g.log AND seq = g.over_seq)"
            f" FROM (SELECT log, seq, over_seq FROM games {where}"
            " ORDER BY log DESC, seq DESC LIMIT ? OFFSET ?) AS g ORDER BY log DESC, seq DESC",
            (*where.values, -1 if limit is None else limit, offset),
        )
        return [
            _game(
                unix_ms,
                json.loads(started),
                json.loads(over) if over else None,
                () if over else self._scores(log, seq),
            )
            for log, seq, unix_ms, started, over in rows
        ]

    def count_games(self, which: Which = ALL) -> int:
        where = _games_where(which)
        [(count,)] = self._all(f"SELECT count(*) FROM games {where}", where.values)
        return int(count)

    def kinds(self) -> dict[str, str]:
        """Name and title of every kind of game that was ever played."""
        return dict(self._all("SELECT game, max(title) FROM games GROUP BY game ORDER BY game"))

    def names(self) -> list[str]:
        """Everybody who ever played."""
        return [name for (name,) in self._all("SELECT DISTINCT known FROM seats ORDER BY known")]

    def players(
        self, since_ms: int | None = None, game: str | None = None, player: str | None = None
    ) -> list[PlayerStats]:
        """Everybody who played a game to its end, by wins, then games, then name."""
        where = _games_where(Which(since_ms, game, player))
        if player:
            where.add("known = ?", known_as(player))
        tallies: dict[str, _Tally] = defaultdict(_Tally)
        for name, *counts in self._all(
            "SELECT known, game, count(*) FILTER (WHERE reason = 'finished'),"
            " coalesce(sum(won) FILTER (WHERE reason = 'finished'), 0),"
            " max(score) FILTER (WHERE reason = 'finished'), min(best_ms),"
            f" max((log << {_SEQ_BITS}) + seq) FILTER (WHERE reason = 'finished')"
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
        """The fastest hits that scored in games, the fastest first."""
        where = _games_where(Which(since_ms, game, player))
        where.add("best_ms IS NOT NULL")
        if player:
            where.add("known = ?", known_as(player))
        # The fastest hits are all with those who have the fastest hit of their own.
        seats = self._all(
            f"SELECT log, seq, end_seq, game, player, known FROM games JOIN seats USING (log, seq) {where}"
            " ORDER BY best_ms, log, seq LIMIT ?",
            (*where.values, limit),
        )
        times = [time for seat in seats for time in self._times_of(*seat)]
        return [time for _, time in sorted(times, key=lambda pair: (pair[1].reaction_ms, pair[0]))[:limit]]

    def shots(self, target_id: str | None = None, since_ms: int | None = None) -> Iterator[ShotRecord]:
        """Every hit and miss, in order."""
        where = _shots_where(Which(since_ms), "shots.")
        if target_id is not None:
            where.add("target_id = ?", target_id)
        yield from self._shots(where)

    def shots_of(self, which: Which) -> Iterator[ShotRecord]:
        """Those hits and misses, in order."""
        yield from self._shots(_shots_where(which, "shots."))

    def _shots(self, where: "_Conditions") -> Iterator[ShotRecord]:
        query = (
            "SELECT events.unix_ms, event, target_id, data, crosstalk_of"
            f" FROM shots JOIN events USING (target_id, log, seq) {where} ORDER BY log, seq"
        )
        for unix_ms, event, of_target, data, of in self._rows(query, where.values):
            yield _shot(unix_ms, event, of_target, json.loads(data), of)

    def reactions(self, since_ms: int | None = None) -> dict[str, list[ShotRecord]]:
        """The hits of each target that count and say a reaction time, in order."""
        found: dict[str, list[ShotRecord]] = {}
        for shot in self.shots(since_ms=since_ms):
            if shot.event == "hit" and not shot.crosstalk_of and shot.reaction_ms is not None:
                found.setdefault(shot.target_id, []).append(shot)
        return found

    def reaction_points(
        self, which: Which, target_ids: Sequence[str], limit: int
    ) -> dict[str, list[tuple[int, int]]]:
        """For each of these targets when its last `limit` hits were, in order, and their reaction times in
        ms.
        """
        where = _shots_where(which)
        where.add("reaction_ms IS NOT NULL")
        where.add("target_id = ?")
        query = f"SELECT unix_ms, reaction_ms FROM shots {where} ORDER BY log DESC, seq DESC LIMIT ?"
        return {
            target_id: self._all(query, (*where.values, target_id, limit))[::-1] for target_id in target_ids
        }

    def accuracy(self, which: Which = ALL) -> list[Accuracy]:
        """Each target that was hit or missed, by name."""
        where = _shots_where(which)
        where.add("hit + missed > 0")
        return [
            Accuracy(*row)
            for row in self._all(
                "SELECT target_id, sum(hit), sum(missed), min(reaction_ms)"
                f" FROM shots {where} GROUP BY target_id",
                where.values,
            )
        ]

    def targets(self, since_ms: int | None = None) -> list[TargetStats]:
        """Every target that reported something or was away, by name."""
        tallies: dict[str, _TargetTally] = defaultdict(_TargetTally)
        where = _shots_where(Which(since_ms))
        for target_id, *shot in self._rows(
            f"SELECT target_id, hit, missed, reaction_ms, dropped FROM shots {where}"
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
        """When targets were away, in order. That the hub itself stopped is no outage of a target. Where
        somebody set the clock of a hub between two of its starts, an outage over them is of no known length,
        at least of 0.
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
        """When the game began that is at this place in the order of all."""
        [(unix_ms,)] = self._all(
            "SELECT unix_ms FROM games WHERE log = ? AND seq = ?", (at >> _SEQ_BITS, at % (1 << _SEQ_BITS))
        )
        return int(unix_ms)

    def _times_of(
        self, log: int, seq: int, end_seq: int | None, game: str, player: str, known: str
    ) -> Iterator[tuple[tuple[int, int], BestTime]]:
        """A player's hits that scored in one game, each with its place in the journal."""
        where = _Conditions()
        where.add("log = ? AND seq > ? AND seq <= ?", log, seq, end_seq or _last_seq(seq))
        where.add("event = 'game_score'")
        scores = [
            (at, target_id, unix_ms, json.loads(text))
            for at, target_id, unix_ms, text in self._all(
                f"SELECT seq, target_id, unix_ms, data FROM events {where}", where.values
            )
        ]
        taken_back = [data.get("score_seq") for *_, data in scores]
        for at, target_id, unix_ms, data in scores:
            reaction_ms, game_id = data.get("reaction_ms"), str(data.get("game_id", ""))
            if says(data, _SCORED) and data["player"] == player and at not in taken_back:
                yield (log, at), BestTime(reaction_ms, known, game, game_id, target_id, unix_ms)

    def _scores(self, log: int, seq: int) -> tuple[int, ...]:
        """What the players of a game have, or had at last."""
        rows = self._all("SELECT score FROM seats WHERE log = ? AND seq = ? ORDER BY place", (log, seq))
        return tuple(score for (score,) in rows)

    def _events(self, where: "_Conditions") -> Iterator[EventRecord]:
        query = (
            "SELECT log_id, seq, unix_ms, event, target_id, data"
            f" FROM events JOIN logs ON logs.id = log {where} ORDER BY log, seq"
        )
        for log_id, seq, unix_ms, event, target_id, data in self._rows(query, where.values):
            yield EventRecord(log_id, seq, unix_ms, event, target_id, json.loads(data))

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
        except sqlite3.Error as error:
            raise JournalError(f"the journal {shown(self.path)} cannot be read: {explained(error)}") from None


class _Conditions:
    """What rows have to be like: as text the WHERE of a query that takes `values`."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self.values: list[object] = []

    def __str__(self) -> str:
        return "WHERE " + " AND ".join(self._conditions) if self._conditions else ""

    def add(self, condition: str, *values: object) -> None:
        self._conditions.append(condition)
        self.values += values

    def add_since(self, column: str, since_ms: int | None) -> None:
        if since_ms is not None:
            self.add(f"{column} >= ?", since_ms)


def _games_where(which: Which) -> _Conditions:
    where = _Conditions()
    where.add_since("games.unix_ms", which.since_ms)
    if which.game:
        where.add("game = ?", which.game)
    if which.player:
        where.add("(log, seq) IN (SELECT log, seq FROM seats WHERE known = ?)", known_as(which.player))
    return where


def _shots_where(which: Which, prefix: str = "") -> _Conditions:
    where = _Conditions()
    where.add_since(f"{prefix}unix_ms", which.since_ms)
    if which.game:
        where.add("game = ?", which.game)
    if which.player:
        where.add("player = ?", known_as(which.player))
    return where


class _Tally:
    """What a player's games add up to."""

    def __init__(self) -> None:
        self.games = self.wins = self.last = 0
        self.best: dict[str, int] = {}
        self.best_ms: int | None = None

    def add(
        self, game: str, games: int, wins: int, best: int | None, best_ms: int | None, last: int | None
    ) -> None:
        """All of one kind of game. `best` and `last` are None where none was played to its end."""
        self.games += games
        self.wins += wins
        self.last = max(self.last, last or 0)
        if best is not None:
            self.best[game] = best
        if best_ms is not None:
            self.best_ms = best_ms if self.best_ms is None else min(self.best_ms, best_ms)


class _TargetTally:
    """What a target's rounds add up to."""

    def __init__(self) -> None:
        self.rounds = self.hits = self.misses = 0
        self.outages = self.outage_ms = self.dropped = 0
        self._dropped_since_boot = 0
        self._reactions_ms: list[int] = []

    def add(self, hit: int, missed: int, reaction_ms: int | None, dropped: int) -> None:
        self.rounds += 1
        self.hits += hit
        self.misses += missed
        if reaction_ms is not None:
            self._reactions_ms.append(reaction_ms)
        before, self._dropped_since_boot = self._dropped_since_boot, dropped
        self.dropped += dropped - before if dropped >= before else dropped

    def stats(self, target_id: str) -> TargetStats:
        shots = self.hits + self.misses
        return TargetStats(
            target_id=target_id,
            rounds=self.rounds,
            hits=self.hits,
            misses=self.misses,
            called_off=self.rounds - shots,
            accuracy=self.hits / shots if shots else None,
            median_reaction_ms=round(median(self._reactions_ms)) if self._reactions_ms else None,
            best_reaction_ms=min(self._reactions_ms, default=None),
            dropped=self.dropped,
            outages=self.outages,
            outage_ms=self.outage_ms,
        )


def _open(path: Path) -> sqlite3.Connection:
    """A connection that only reads. Raises JournalError."""
    try:
        return _connection(path, "ro")
    except sqlite3.OperationalError as error:
        if path.with_name(path.name + "-wal").exists():
            raise JournalError(f"the journal {shown(path)} cannot be read: {explained(error)}") from None
    except sqlite3.Error as error:
        raise JournalError(
            f"{shown(path)} is no journal of SNYPER's, or a broken one: {explained(error)}"
        ) from None
    try:
        return _connection(path, "ro&immutable=1")  # on a disk that nobody may write to
    except sqlite3.Error as error:
        raise JournalError(f"the journal {shown(path)} cannot be read: {explained(error)}") from None


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    db = open_database(path, mode, check_same_thread=False)
    try:
        [version] = db.execute("PRAGMA user_version").fetchone()
        if version > schema.VERSION:
            raise JournalError(f"{shown(path)} was written by a newer snyper: update this one")
        if version == 0:
            raise JournalError(f"{shown(path)} is no journal of SNYPER's: name another with --journal")
        db.execute("SELECT 1 FROM events LIMIT 1")
        if version < schema.VERSION:
            schema.count_aside(db)
    except BaseException:
        db.close()
        raise
    return db


def _game(
    unix_ms: int, started: dict[str, Any], over: dict[str, Any] | None, scores: tuple[int, ...]
) -> GameRecord:
    """`scores` are those of a game that is not over."""
    over = over or {}
    names, winner = names_of(started["players"]), str(over.get("winner", ""))
    return GameRecord(
        game_id=started["game_id"],
        game=started["game"],
        title=str(started.get("title", started["game"])),
        started_ms=unix_ms,
        duration_ms=over.get("duration_ms"),
        players=tuple(names[player] for player in started["players"]),
        scores=tuple(over["scores"]) if over else scores,
        winner=names.get(winner, known_as(winner) if winner else ""),
        reason=str(over.get("reason", "")),
        targets=_integer(started.get("targets")),
        seed=_integer(started.get("seed")),
        options=started.get("options", {}),
        results=results_of(over),
    )


def _last_seq(seq: int) -> int:
    """The last `seq` that the hub which wrote this one can have come to."""
    return (seq // schema.LEAP + 1) * schema.LEAP - 1


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _shot(unix_ms: int, event: str, target_id: str, data: Mapping[str, Any], crosstalk_of: str) -> ShotRecord:
    return ShotRecord(
        unix_ms=unix_ms,
        event=event,
        target_id=target_id,
        reaction_ms=data.get("reaction_ms"),
        peak=data.get("peak"),
        reason=str(data.get("reason", "")),
        at_us=data.get("at_us"),
        uncertainty_us=data.get("uncertainty_us"),
        gap_us=data.get("gap_us"),
        crosstalk_of=crosstalk_of,
    )

"""What a journal holds, as people ask for it: games, players, reaction times, targets. Only reads.

`journal.py` says what the file is. It may be written meanwhile by a hub, which these do not hold up.
"""

import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from snyper.files import shown
from snyper.firmware.master.server import STOPPING
from snyper.journal import SCHEMA_VERSION, JournalError, NoJournalError, explained, open_database
from snyper.scoreboard import says
from snyper.shared.names import seen, tidied

_PAGE = 1_000  # rows that are fetched at once

# What the event of a game has to say to be counted: the hub may have been of another version.
_SAID: dict[str, dict[str, Any]] = {
    "game_started": {"game_id": str, "game": str, "players": [str]},
    "game_score": {"game_id": str, "player": str, "total": int},
    "game_over": {"game_id": str, "scores": [int]},
}


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
class ReportRecord:
    """A `hit`, or a `miss` with its `reason`. None is what the report does not say. `at_us` is the instant by
    the hub's clock at that time, wrong by at most `uncertainty_us`.
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


@dataclass(frozen=True)
class TargetStats:
    """One target. Each of its `rounds` was a hit, a miss, or was called off before its time was up.
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
    code: str
    message: str


class History:
    """The journal at `path`. Times are `unix_ms`; `since_ms` leaves out what was earlier.

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

    def events(
        self, kinds: Sequence[str] = (), since_ms: int | None = None, newest_first: bool = False
    ) -> Iterator[EventRecord]:
        """Every event, or those of these kinds, in the order of `unix_ms`, some at a time: memory stays
        small however many there are.
        """
        order = "DESC" if newest_first else "ASC"
        where, values = _where(kinds, since_ms)
        query = (
            "SELECT logs.log_id, seq, unix_ms, event, target_id, data FROM events JOIN logs ON logs.id = log"
            f" {where} ORDER BY unix_ms {order}, log {order}, seq {order}"
        )
        for row in self._rows(query, values):
            log_id, seq, unix_ms, event, target_id, data = row
            yield EventRecord(log_id, seq, unix_ms, event, target_id, json.loads(data))

    def games(
        self,
        player: str | None = None,
        game: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> list[GameRecord]:
        """The games, newest first; only those with `player`, of the kind `game`, at most `limit`."""
        player = None if player is None else known_as(player)
        overs = {event.data["game_id"]: event.data for event in self._whole("game_over", since_ms)}
        found: list[GameRecord] = []
        for event in self._whole("game_started", since_ms, newest_first=True):
            if limit is not None and len(found) >= limit:
                break
            data = event.data
            if player is not None and player not in _names(data["players"]).values():
                continue
            if game is None or data.get("game") == game:
                found.append(_game(event, overs.get(data["game_id"]), self._scores_of))
        return found

    def players(self, since_ms: int | None = None) -> list[PlayerStats]:
        """Everybody who played a game to its end, by wins, then games, then name."""
        tallies: dict[str, _Tally] = defaultdict(_Tally)
        for game in self.games(since_ms=since_ms):
            if game.reason == "finished":
                for player, score in zip(game.players, game.scores, strict=False):
                    tallies[player].add(game, player, score)
        for time in self._times(since_ms):
            if time.player in tallies:
                tallies[time.player].reactions_ms.append(time.reaction_ms)
        stats = [
            PlayerStats(
                player,
                tally.games,
                tally.wins,
                tally.best,
                min(tally.reactions_ms, default=None),
                tally.last_ms,
            )
            for player, tally in tallies.items()
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
        player = None if player is None else known_as(player)
        times = [
            time
            for time in self._times(since_ms)
            if (player is None or time.player == player) and (game is None or time.game == game)
        ]
        return sorted(times, key=lambda time: (time.reaction_ms, time.unix_ms))[:limit]

    def reports(self, target_id: str | None = None, since_ms: int | None = None) -> Iterator[ReportRecord]:
        """Every hit and miss, oldest first."""
        for event in self.events(["hit", "miss"], since_ms):
            if target_id is None or event.target_id == target_id:
                yield _report(event)

    def reactions(self, since_ms: int | None = None) -> dict[str, list[ReportRecord]]:
        """The hits of each target that say a reaction time, oldest first."""
        found: dict[str, list[ReportRecord]] = {}
        for report in self.reports(since_ms=since_ms):
            if report.event == "hit" and report.reaction_ms is not None:
                found.setdefault(report.target_id, []).append(report)
        return found

    def targets(self, since_ms: int | None = None) -> list[TargetStats]:
        """Every target that reported something or was away, by name."""
        tallies: dict[str, _TargetTally] = defaultdict(_TargetTally)
        for event in self.events(["hit", "miss"], since_ms):
            tallies[event.target_id].add(event)
        for outage in self.outages(since_ms=since_ms):
            tally = tallies[outage.target_id]
            tally.outages += 1
            tally.outage_ms += (outage.until_ms or outage.since_ms) - outage.since_ms
        return [tallies[target_id].stats(target_id) for target_id in sorted(tallies)]

    def outages(self, target_id: str | None = None, since_ms: int | None = None) -> list[Outage]:
        """When targets were away, oldest first. That the hub itself stopped is no outage of a target."""
        found: list[Outage] = []
        away: dict[str, int] = {}
        for event in self.events(["registered", "lost"], since_ms):
            if target_id is not None and event.target_id != target_id:
                continue
            if event.event == "registered":
                at = away.pop(event.target_id, None)
                if at is not None:
                    lost = found[at]
                    found[at] = Outage(lost.target_id, lost.since_ms, event.unix_ms, lost.code, lost.message)
            elif event.data.get("message") != STOPPING and event.target_id not in away:
                away[event.target_id] = len(found)
                code, message = str(event.data.get("code", "")), str(event.data.get("message", ""))
                found.append(Outage(event.target_id, event.unix_ms, None, code, message))
        return found

    def _times(self, since_ms: int | None) -> Iterator[BestTime]:
        games = {event.data["game_id"]: event.data for event in self._whole("game_started", since_ms)}
        for event in self._whole("game_score", since_ms):
            reaction_ms = event.data.get("reaction_ms")
            if isinstance(reaction_ms, int):
                game_id = str(event.data.get("game_id", ""))
                said = str(event.data.get("player", ""))
                started = games.get(game_id, {"game": "", "players": []})
                player = _names(started["players"]).get(said, known_as(said))
                yield BestTime(reaction_ms, player, started["game"], game_id, event.target_id, event.unix_ms)

    def _scores_of(self, started: EventRecord) -> dict[str, int]:
        """What the players of a game that did not end had at last."""
        return {
            event.data["player"]: event.data["total"]
            for event in self._whole("game_score", started.unix_ms)
            if event.data.get("game_id") == started.data.get("game_id")
        }

    def _whole(
        self, event: str, since_ms: int | None = None, newest_first: bool = False
    ) -> Iterator[EventRecord]:
        """The events of games of one kind that say what they have to."""
        for record in self.events([event], since_ms, newest_first=newest_first):
            if says(record.data, _SAID[event]):
                yield record

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


class _Tally:
    """What a player's games add up to."""

    def __init__(self) -> None:
        self.games = self.wins = self.last_ms = 0
        self.best: dict[str, int] = {}
        self.reactions_ms: list[int] = []

    def add(self, game: GameRecord, player: str, score: int) -> None:
        self.games += 1
        self.wins += game.winner == player
        self.last_ms = max(self.last_ms, game.started_ms)
        self.best[game.game] = max(self.best.get(game.game, score), score)


class _TargetTally:
    """What a target's rounds add up to."""

    def __init__(self) -> None:
        self.hits = self.misses = self.called_off = self.outages = self.outage_ms = self.dropped = 0
        self._dropped_since_boot = 0
        self._reactions_ms: list[int] = []

    def add(self, event: EventRecord) -> None:
        if event.event == "hit":
            self.hits += 1
            reaction_ms = event.data.get("reaction_ms")
            if isinstance(reaction_ms, int):
                self._reactions_ms.append(reaction_ms)
        elif event.data.get("reason", "time_up") == "time_up":
            self.misses += 1
        else:
            self.called_off += 1
        dropped = event.data.get("dropped", 0)
        if isinstance(dropped, int):
            before = self._dropped_since_boot
            self.dropped += dropped - before if dropped >= before else dropped
            self._dropped_since_boot = dropped

    def stats(self, target_id: str) -> TargetStats:
        shots = self.hits + self.misses
        return TargetStats(
            target_id=target_id,
            rounds=shots + self.called_off,
            hits=self.hits,
            misses=self.misses,
            called_off=self.called_off,
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
        if version > SCHEMA_VERSION:
            raise JournalError(f"{shown(path)} was written by a newer snyper: update this one")
        if version == 0:
            raise JournalError(f"{shown(path)} is no journal of SNYPER's: name another with --journal")
        db.execute("SELECT 1 FROM events LIMIT 1")
    except BaseException:
        db.close()
        raise
    return db


def _where(kinds: Sequence[str], since_ms: int | None) -> tuple[str, list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    if kinds:
        conditions.append(f"event IN ({', '.join('?' * len(kinds))})")
        values.extend(kinds)
    if since_ms is not None:
        conditions.append("unix_ms >= ?")
        values.append(since_ms)
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), values


def known_as(name: str) -> str:
    """A player's name in the history. Older hubs took several that nobody can tell apart."""
    return tidied(seen(name)) or "?"


def _names(players: list[str]) -> dict[str, str]:
    """What each player of a game is known as; two of whom nothing seen was different are told apart."""
    found: dict[str, str] = {}
    for player in players:
        name = known_as(player)
        alike = sum(known_as(other) == name for other in found)
        found[player] = f"{name} ({alike + 1})" if alike else name
    return found


def _game(started: EventRecord, over: dict[str, Any] | None, scores_of: Any) -> GameRecord:
    data = started.data
    players = tuple(data["players"])
    if over is None:
        totals = scores_of(started)
        scores = tuple(totals.get(player, 0) for player in players)
    else:
        scores = tuple(over["scores"])
    over = over or {}
    names = _names(data["players"])
    winner = str(over.get("winner", ""))
    return GameRecord(
        game_id=str(data.get("game_id", "")),
        game=str(data.get("game", "")),
        title=str(data.get("title", data.get("game", ""))),
        started_ms=started.unix_ms,
        duration_ms=over.get("duration_ms"),
        players=tuple(names[player] for player in players),
        scores=scores,
        winner=names.get(winner, known_as(winner)),
        reason=str(over.get("reason", "")),
        targets=_integer(data.get("targets")),
        seed=_integer(data.get("seed")),
        options=data.get("options", {}),
        results=over.get("results", {}),
    )


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _report(event: EventRecord) -> ReportRecord:
    data = event.data
    return ReportRecord(
        unix_ms=event.unix_ms,
        event=event.event,
        target_id=event.target_id,
        reaction_ms=data.get("reaction_ms"),
        peak=data.get("peak"),
        reason=str(data.get("reason", "")),
        at_us=data.get("at_us"),
        uncertainty_us=data.get("uncertainty_us"),
        gap_us=data.get("gap_us"),
    )

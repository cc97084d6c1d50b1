"""Conditions on the rows of a journal, and sums over them. Pure."""

from statistics import median

from snyper.history import schema
from snyper.history.records import RecordFilter, TargetStats
from snyper.history.schema import known_as


class Conditions:
    """Conditions on rows: as text the WHERE of a query that takes `values`."""

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


def games_where(which: RecordFilter) -> Conditions:
    """Make the conditions on rows of `games`."""
    where = Conditions()
    where.add_since("games.unix_ms", which.since_ms)
    if which.game:
        where.add("game = ?", which.game)
    if which.player:
        where.add("(log, seq) IN (SELECT log, seq FROM seats WHERE known = ?)", known_as(which.player))
    return where


def shots_where(which: RecordFilter, prefix: str = "") -> Conditions:
    """Make the conditions on rows of `shots`; `prefix` is for columns that other tables have too."""
    where = Conditions()
    where.add_since(f"{prefix}unix_ms", which.since_ms)
    if which.game:
        where.add("game = ?", which.game)
    if which.player:
        where.add("player = ?", known_as(which.player))
    return where


class PlayerTally:
    """The sums over a player's games."""

    def __init__(self) -> None:
        self.games = self.wins = self.last = 0
        self.best: dict[str, int] = {}
        self.best_ms: int | None = None

    def add(
        self, game: str, games: int, wins: int, best: int | None, best_ms: int | None, last: int | None
    ) -> None:
        """Add up all games of one kind. `best` and `last` are None where none was played to its end."""
        self.games += games
        self.wins += wins
        self.last = max(self.last, last or 0)
        if best is not None:
            self.best[game] = best
        if best_ms is not None:
            self.best_ms = best_ms if self.best_ms is None else min(self.best_ms, best_ms)


class TargetTally:
    """The sums over a target's rounds."""

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


def last_seq(seq: int) -> int:
    """Return the last `seq` that the hub which wrote this one can have come to."""
    return (seq // schema.LEAP + 1) * schema.LEAP - 1

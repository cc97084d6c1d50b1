"""Queries the journal for the page of the history, all at once."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from snyper.history.reader import History
from snyper.history.records import Accuracy, BestTime, GameRecord, PlayerStats, RecordFilter

ALL = ""
GAMES_SHOWN = 50
TIMES_SHOWN = 10
POINTS_SHOWN = 400  # of each target, the newest


@dataclass(frozen=True)
class HistoryQuery:
    """A query of the page; empty means any. `period_s` 0 means always. `page` counts from 0, the newest."""

    period_s: int = 7 * 86_400
    game: str = ALL
    player: str = ALL
    page: int = 0

    def which(self) -> RecordFilter:
        since_ms = round((time.time() - self.period_s) * 1000) if self.period_s else None
        return RecordFilter(since_ms, self.game or None, self.player or None)


@dataclass(frozen=True)
class HistoryResult:
    """The answer to a HistoryQuery."""

    count: int = 0  # of games
    page: int = 0  # which of their pages it is: the last, where the one that was chosen is not there
    games: list[GameRecord] = field(default_factory=list)  # of this page
    kinds: dict[str, str] = field(default_factory=dict)  # name and title of every game ever played
    names: list[str] = field(default_factory=list)  # everybody who ever played
    players: list[PlayerStats] = field(default_factory=list)
    times: list[BestTime] = field(default_factory=list)
    targets: list[Accuracy] = field(default_factory=list)
    reactions: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // GAMES_SHOWN))


def look_up(path: Path, chosen: HistoryQuery) -> HistoryResult:
    """Query a journal, which takes a moment. Raises JournalError when it cannot be read."""
    which = chosen.which()
    with History(path) as history:
        count = history.count_games(which)
        page = min(chosen.page, max(0, count - 1) // GAMES_SHOWN)
        targets = history.accuracy(which)
        return HistoryResult(
            count=count,
            page=page,
            games=history.games(
                which.player, which.game, which.since_ms, GAMES_SHOWN, offset=page * GAMES_SHOWN
            ),
            kinds=history.kinds(),
            names=history.names(),
            players=history.players(which.since_ms, which.game, which.player),
            times=history.best_times(TIMES_SHOWN, which.player, which.game, which.since_ms),
            targets=targets,
            reactions=history.reaction_points(
                which, [target.target_id for target in targets if target.hits], POINTS_SHOWN
            ),
        )

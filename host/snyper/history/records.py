"""Records of a journal, and the filter that asks for them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snyper.client.events import results_of
from snyper.client.models import count_in, text_in, texts_in
from snyper.history.schema import known_as, names_of


@dataclass(frozen=True)
class EventRecord:
    """One event. `unix_ms` is when it was, in milliseconds of the world's time since 1970; of a `hit` or
    `miss`, when the target detected it.
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
class RecordFilter:
    """A filter of games, hits and misses: None and the empty word let any through. `since_ms` leaves out what
    was earlier, `game` is a kind of game. A hit or miss is a player's when it was that player's turn, or when
    that player got the points; where all shoot at once a miss is nobody's.
    """

    since_ms: int | None = None
    game: str | None = None
    player: str | None = None

    @property
    def of_games(self) -> bool:
        """Whether it lets less through than all that was shot."""
        return bool(self.game or self.player)


ALL = RecordFilter()


@dataclass(frozen=True)
class Accuracy:
    """One target's hits, and its misses: those whose time was up."""

    target_id: str
    hits: int
    misses: int
    best_reaction_ms: int | None


def game_record(
    unix_ms: int, started: dict[str, Any], over: dict[str, Any] | None, scores: tuple[int, ...]
) -> GameRecord:
    """Make a record of its first and last event, whatever is in them; `scores` are those of a game that is
    not over.
    """
    over = over or {}
    players, winner = texts_in(started, "players"), text_in(over, "winner")
    names = names_of(players)
    if over:
        said = over.get("scores")
        scores = tuple(score for score in said if type(score) is int) if isinstance(said, list) else ()
    options = started.get("options")
    return GameRecord(
        game_id=text_in(started, "game_id"),
        game=text_in(started, "game"),
        title=text_in(started, "title") or text_in(started, "game"),
        started_ms=unix_ms,
        duration_ms=count_in(over, "duration_ms"),
        players=tuple(names[player] for player in players),
        scores=scores,
        winner=names.get(winner, known_as(winner) if winner else ""),
        reason=text_in(over, "reason"),
        targets=count_in(started, "targets") or 0,
        seed=count_in(started, "seed") or 0,
        options=options if isinstance(options, dict) else {},
        results=results_of(over),
    )


def shot_record(
    unix_ms: int, event: str, target_id: str, data: Mapping[str, Any], crosstalk_of: str
) -> ShotRecord:
    """Make a record of a `hit` or `miss`, whatever is in it."""
    return ShotRecord(
        unix_ms=unix_ms,
        event=event,
        target_id=target_id,
        reaction_ms=count_in(data, "reaction_ms"),
        peak=count_in(data, "peak"),
        reason=text_in(data, "reason"),
        at_us=count_in(data, "at_us"),
        uncertainty_us=count_in(data, "uncertainty_us"),
        gap_us=count_in(data, "gap_us"),
        crosstalk_of=crosstalk_of,
    )

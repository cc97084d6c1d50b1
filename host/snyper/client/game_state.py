"""Formats the state of a game: words and ranking. Pure."""

from snyper.client import GameState
from snyper.client.labels import counted

_REASONS = {
    "finished": "the game is over",
    "stopped": "stopped",
    "no_targets": "over: no target is left",
    "fault": "over: the game failed, see the hub's log",
}


def ranking(state: GameState) -> list[tuple[int, str, int]]:
    """Rank the players: place, player and score, the best first; who has as many points has the same
    place.
    """
    pairs = sorted(zip(state.players, state.scores, strict=True), key=lambda pair: -pair[1])
    return [(1 + sum(other > score for _, other in pairs), player, score) for player, score in pairs]


def seconds_to_start(state: GameState, hub_us: int | None) -> int:
    """Return the seconds of the countdown; 0 when it is over, or when the hub's clock is not known."""
    return 0 if hub_us is None else max(0, -(-(state.starts_at_us - hub_us) // 1_000_000))


def progress_words(state: GameState, hub_us: int | None) -> str:
    """Format how far a game is, or why it is over."""
    if state.status == "over":
        return _REASONS.get(state.reason, state.reason)
    seconds = seconds_to_start(state, hub_us)
    if seconds:
        return f"starts in {seconds} s"
    return f"{state.done} of {counted(state.total, state.unit)}" if state.total else ""

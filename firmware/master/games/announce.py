"""The first event of a game and the last. Loaded for each."""

from snyper.firmware.master.games.state import Reason
from snyper.shared.clock import now_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.state import GameState


def announce_start(state: "GameState", title: str) -> None:
    """Tell that the game has started."""
    about = state.about
    state.add_event(
        "game_started",
        {
            "game": about["game"],
            "title": title,
            "players": about["players"],
            "options": about["options"],
            "seed": about["seed"],
            "targets": state.targets,
            "unit": about["unit"],
            "total": 0,
            "starts_at_us": state.starts_at_us,
        },
    )


def announce_end(state: "GameState", results: "dict[str, object]") -> None:
    """Tell that it is over."""
    about = state.about
    state.add_event(
        "game_over",
        {
            "game": about["game"],
            "reason": state.reason,
            "players": about["players"],
            "scores": state.scores,
            "winner": _winner(state),
            "duration_ms": max(0, now_us() - state.starts_at_us) // 1000,
            "seed": about["seed"],
            "results": results,
        },
    )


def _winner(state: "GameState") -> str:
    """Return who has most, alone, in a game that was played to its end; else nobody."""
    best = max(state.scores)
    if len(state.scores) == 1 or state.scores.count(best) > 1 or state.reason != Reason.FINISHED:
        return ""
    winner: str = state.about["players"][state.scores.index(best)]
    return winner

"""How a game stands, from its events. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from snyper.client import Event, GameState
from snyper.client.labels import counted

_REASONS = {
    "finished": "the game is over",
    "stopped": "stopped",
    "no_targets": "over: no target is left",
    "fault": "over: the game failed, see the hub's log",
}


# What an event has to say to count, so that none leaves a state that cannot be drawn.
_SAID: dict[str, dict[str, Any]] = {
    "game_started": {
        "game_id": str,
        "game": str,
        "players": [str],
        "seed": int,
        "targets": int,
        "unit": str,
        "total": int,
        "starts_at_us": int,
    },
    "game_turn": {"player": str},
    "game_progress": {"done": int, "total": int, "unit": str},
    "game_score": {"player": str, "total": int},
    "game_over": {"reason": str, "scores": [int]},
}


def says(data: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    """Whether `data` has all these, each of its kind; [str] is a list of them."""
    return all(_is(data.get(name), kind) for name, kind in kinds.items())


def after(state: GameState, event: Event) -> GameState:
    """`state` as `event` leaves it. An event of no game or of another changes nothing, nor does one that
    lacks what it has to say.
    """
    data: dict[str, Any] = event.data
    if not says(data, _SAID.get(event.event, {})):
        return state
    if event.event == "game_started":
        known = {name: data[name] for name in _SAID["game_started"]}
        return GameState("running", scores=[0] * len(data["players"]), **known)
    if not event.event.startswith("game_") or data.get("game_id") != state.game_id:
        return state
    if event.event == "game_turn":
        return replace(state, turn=data["player"])
    if event.event == "game_progress":
        return replace(state, done=data["done"], total=data["total"], unit=data["unit"])
    if event.event == "game_score":
        scores = [
            data["total"] if player == data["player"] else score
            for player, score in zip(state.players, state.scores, strict=True)
        ]
        return replace(state, scores=scores)
    if event.event == "game_target_out":
        return replace(state, targets=max(0, state.targets - 1))
    if event.event == "game_over" and len(data["scores"]) == len(state.players):
        return replace(state, status="over", reason=data["reason"], scores=data["scores"], turn="")
    return state


def results_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The results that a `game_over` tells, each a value or a list with one for each player; None where there
    is none. Hubs up to 0.1.0 said 0 ms for a player without a hit.
    """
    said = data.get("results")
    results: dict[str, Any] = dict(said) if isinstance(said, dict) else {}
    hits = results.get("hits")
    for name, values in results.items():
        if name.endswith("_ms") and isinstance(hits, list) and isinstance(values, list):
            results[name] = [value if hit else None for value, hit in zip(values, hits, strict=False)]
    return results


def _is(value: object, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(type(item) is kind[0] for item in value)
    return type(value) is kind


def ranking(state: GameState) -> list[tuple[int, str, int]]:
    """Place, player and score, the best first; who has as many points has the same place."""
    pairs = sorted(zip(state.players, state.scores, strict=True), key=lambda pair: -pair[1])
    return [(1 + sum(other > score for _, other in pairs), player, score) for player, score in pairs]


def seconds_to_start(state: GameState, hub_us: int | None) -> int:
    """Of the countdown; 0 when it is over, or when the hub's clock is not known."""
    return 0 if hub_us is None else max(0, -(-(state.starts_at_us - hub_us) // 1_000_000))


def progress_words(state: GameState, hub_us: int | None) -> str:
    """How far it is, or why it is over."""
    if state.status == "over":
        return _REASONS.get(state.reason, state.reason)
    seconds = seconds_to_start(state, hub_us)
    if seconds:
        return f"starts in {seconds} s"
    return f"{state.done} of {counted(state.total, state.unit)}" if state.total else ""

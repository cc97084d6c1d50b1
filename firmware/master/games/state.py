"""The state of a game: scores, turn, progress, and why it is over; told as events."""

import asyncio

from snyper.shared.clock import now_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.firmware.master.events import EventLog

MAX_NOTE_CHARS = 96


class Reason:
    """The reasons for which a game is over."""

    FINISHED = "finished"
    STOPPED = "stopped"
    NO_TARGETS = "no_targets"
    FAULT = "fault"


class GameState:
    """The state of one game. `about` has `game_id`, `game`, `players`, `options`, `seed`, `unit`; `targets`
    is how many play, `scores` are in the order of the players.

    `ending` is set, and `reason` is one of Reason, as soon as the game ends; `is_over` once its targets lie.
    """

    # Here, and not in each: on a board every attribute that is set takes memory.
    turn = ""
    done = 0
    total = 0
    reason = ""
    is_over = False

    def __init__(self, events: "EventLog", about: "dict[str, Any]", targets: int) -> None:
        self.about = about
        self.targets = targets
        self.scores = [0] * len(about["players"])
        self.starts_at_us = now_us() + about["options"].get("countdown_ms", 0) * 1000
        self.ending = asyncio.Event()
        self._events = events

    def add_event(self, event: str, data: "dict[str, object]", target_id: str = "") -> int:
        """Count an event of the game, and return its `seq`."""
        told: "dict[str, object]" = {"game_id": self.about["game_id"]}
        told.update(data)
        return self._events.add(event, target_id, told)

    def note(self, text: str) -> None:
        """Tell everybody who watches."""
        self.add_event("game_note", {"text": text[:MAX_NOTE_CHARS]})

    def add_points(self, player: str, points: int, more: "dict[str, object]", target_id: str = "") -> int:
        """Give a player points, or take some; `more` is told with them. Returns the event's `seq`."""
        at = self.about["players"].index(player)
        self.scores[at] += points
        data: "dict[str, object]" = {"player": player, "points": points, "total": self.scores[at]}
        data.update(more)
        return self.add_event("game_score", data, target_id)

    def stop(self, reason: str = Reason.STOPPED) -> None:
        """End the game. Only the first reason counts."""
        self.reason = self.reason or reason
        self.ending.set()

    def describe(self) -> "dict[str, object]":
        """Return the data of `game_state`, and its `status`."""
        about = self.about
        return {
            "status": "over" if self.is_over else "running",
            "game_id": about["game_id"],
            "game": about["game"],
            "players": about["players"],
            "scores": list(self.scores),
            "done": self.done,
            "total": self.total,
            "unit": about["unit"],
            "turn": self.turn,
            "targets": self.targets,
            "seed": about["seed"],
            "reason": self.reason if self.is_over else "",
            "starts_at_us": self.starts_at_us,
        }

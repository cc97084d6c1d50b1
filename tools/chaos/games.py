"""The promises of games, checked at each event that a hub keeps."""

from typing import Any

from snyper.client import Event as ClientEvent, GameState
from snyper.client.events import fold
from snyper.client.range_model import RangeModel
from snyper.history.schema import LEAP
from tools.chaos.promises import BrokenPromise, Event

REASONS = ("finished", "stopped", "no_targets")  # `fault` would be a defect of the game
SCORES_EVERY_HIT = ("quick", "gallery", "shoot", "reaction")  # in the others some hits decide nothing


class _Game:
    """One game that is played, as its events tell."""

    def __init__(self, seq: int, data: dict[str, Any]) -> None:
        self.seq = seq
        self.game_id: str = data["game_id"]
        self.name: str = data["game"]
        self.totals = dict.fromkeys(data["players"], 0)
        self.given: dict[int, tuple[str, int]] = {}  # points that may be taken back, by their `seq`
        self.hits: dict[str, dict[int, dict[str, Any]]] = {}  # by target and `seq`: not scored yet
        self.shaken: set[str] = set()  # their reaction times have a past
        self.out: set[str] = set()


class GameLedger:
    """The games of a journal. `running` is the one that is played, `last` how the last one ended.

    `owed` are the hits, by target and peak, that were detected on a target which a game had raised, with the
    `game_id`: whoever sees it happen puts them there.
    """

    def __init__(self) -> None:
        self.running: _Game | None = None
        self.last: GameState | None = None
        self.over: set[str] = set()
        self.owed: dict[tuple[str, int], str] = {}
        self._model = RangeModel()

    def on_event(self, event: Event) -> None:
        """Take the next event of the journal. Raises BrokenPromise."""
        seq, kind, target_id, data = event
        game = self.running
        if game is not None and game.seq // LEAP != seq // LEAP:
            game = self.running = None  # its hub was killed, which the leap says to everybody
        if kind == "game_started":
            if game is not None:
                raise BrokenPromise(f"{data['game_id']} starts while {game.game_id} is played")
            self.running = _Game(seq, data)
        elif kind.startswith("game_"):
            if game is None or data["game_id"] != game.game_id:
                raise BrokenPromise(f"{kind} of {data['game_id']}, which is not played")
            if kind == "game_over":
                self._check_end(game, data)
        if game is not None:
            self._take(game, event)
        fold(self._model, ClientEvent(seq, kind, target_id, data))
        if kind == "game_over":
            self.running, self.last = None, self._model.game

    def _take(self, game: _Game, event: Event) -> None:
        seq, kind, target_id, data = event
        hits = game.hits.setdefault(target_id, {})
        if kind == "hit" and "crosstalk_of" in data:
            game.shaken.add(target_id)
        elif kind == "hit":
            hits[seq] = data
        elif kind == "crosstalk":
            game.shaken.add(target_id)
            hits.pop(data["hit_seq"], None)
        elif kind == "game_target_out":
            game.out.add(target_id)
        elif kind == "game_score":
            self._check_score(game, seq, target_id, data)

    def _check_score(self, game: _Game, seq: int, target_id: str, data: dict[str, Any]) -> None:
        player, points = data["player"], data["points"]
        game.totals[player] += points
        if data["total"] != game.totals[player]:
            raise BrokenPromise(
                f"{player} is said to have {data['total']} points, and has {game.totals[player]}"
            )
        if "score_seq" in data:
            if game.given.pop(data["score_seq"], None) != (player, -points):
                raise BrokenPromise(f"{points} points are taken back of {player}, who was not given them")
        elif "reaction_ms" in data:
            game.given[seq] = (player, points)
            hits = game.hits.setdefault(target_id, {})
            fit = [
                hit
                for hit in hits
                if hits[hit]["reaction_ms"] == data["reaction_ms"] or target_id in game.shaken
            ]
            if not fit:
                raise BrokenPromise(
                    f"{player} gets {points} points for a hit on {target_id} that there is not"
                )
            del hits[max(fit, key=lambda hit: (self._is_owed(game, target_id, hits[hit]["peak"]), hit))]

    def _check_end(self, game: _Game, data: dict[str, Any]) -> None:
        if game.game_id in self.over:
            raise BrokenPromise(f"{game.game_id} ends twice")
        self.over.add(game.game_id)
        if data["reason"] not in REASONS:
            raise BrokenPromise(f"{game.game_id} ends as {data['reason']}")
        for scores in (list(game.totals.values()), self._model.game.scores):
            if data["scores"] != scores:
                raise BrokenPromise(
                    f"{game.game_id} ends with {data['scores']}, and its events give {scores}"
                )
        if data["reason"] == "finished" and game.name in SCORES_EVERY_HIT:
            for target_id, hits in game.hits.items():
                left = [hit["peak"] for hit in hits.values() if self._is_owed(game, target_id, hit["peak"])]
                if left and target_id not in game.out:
                    raise BrokenPromise(f"{game.game_id} has given nobody a hit on {target_id}: {left}")

    def _is_owed(self, game: _Game, target_id: str, peak: int) -> bool:
        return self.owed.get((target_id, peak)) == game.game_id

    def check_orderly_end(self, boot_id: str) -> None:
        """Check that the hub of that start, which has ended in an orderly way, has ended its game. Raises
        BrokenPromise.
        """
        if self.running is not None and self.running.game_id.startswith(boot_id):
            raise BrokenPromise(f"the hub has stopped, and {self.running.game_id} has no end")

    def check_state(self, state: GameState, boot_id: str) -> None:
        """Check what the hub of that start says of its game once none is played. Raises BrokenPromise."""
        last = self.last
        if last is None or not last.game_id.startswith(boot_id):
            is_right = state.status == "none"  # also where another start's game was cut short
        else:
            is_right = (
                state.status == "over"
                and (state.game_id, state.scores, state.reason) == (last.game_id, last.scores, last.reason)
                and state.targets == last.targets
            )
        if not is_right:
            raise BrokenPromise(f"the hub says {state}, and its events {last}")

"""The game as a screen follows it, event by event."""

import io

import pytest
from rich.console import Console

from snyper.cli import scoreboard, screens
from snyper.client import Event, GameState
from snyper.client.events import fold, results_of
from snyper.client.game_state import ranking
from snyper.client.range_model import RangeModel

STARTED = {
    "game_id": "g1",
    "game": "quick",
    "title": "Quick",
    "players": ["Ann", "Bo"],
    "options": {"rounds": 4},
    "seed": 7,
    "targets": 3,
    "unit": "rounds",
    "total": 4,
    "starts_at_us": 5_000_000,
}


def play(*events: tuple[str, dict[str, object]]) -> GameState:
    model = RangeModel()
    for seq, (event, data) in enumerate(events, 1):
        fold(model, Event(seq, event, "", data))
    return model.game


def text_of(state: GameState, hub_us: int | None = None, note: str = "") -> str:
    console = Console(file=io.StringIO(), width=60)
    console.print(scoreboard.scoreboard(state, hub_us, note))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_game_from_its_start_to_its_end() -> None:
    events: list[tuple[str, dict[str, object]]] = [
        ("game_started", STARTED),
        ("game_turn", {"game_id": "g1", "player": "Bo"}),
        ("game_score", {"game_id": "g1", "player": "Bo", "points": 30, "total": 30}),
        ("game_score", {"game_id": "g1", "player": "Ann", "points": -5, "total": -5}),
        ("game_progress", {"game_id": "g1", "done": 3, "total": 4, "unit": "rounds"}),
        ("game_target_out", {"game_id": "g1", "code": "timeout"}),
    ]
    state = play(*events)
    assert (state.status, state.players, state.scores) == ("running", ["Ann", "Bo"], [-5, 30])
    assert (state.turn, state.done, state.total, state.unit, state.targets) == ("Bo", 3, 4, "rounds", 2)
    shown = text_of(state)
    assert shown.index("Bo") < shown.index("Ann")
    assert "3 of 4 rounds" in shown
    over = play(*events, ("game_over", {"game_id": "g1", "reason": "finished", "scores": [0, 31]}))
    assert (over.status, over.reason, over.scores, over.turn) == ("over", "finished", [0, 31], "")
    assert "the game is over" in text_of(over)


def test_what_belongs_to_no_game_or_to_another_changes_nothing() -> None:
    state = play(("game_started", STARTED))
    foreign: list[tuple[str, dict[str, object]]] = [
        ("hit", {"reaction_ms": 300}),
        ("game_score", {"game_id": "g0", "player": "Ann", "points": 1, "total": 1}),
        ("game_over", {"game_id": "g0", "reason": "stopped", "scores": [1, 1]}),
    ]
    for event, data in foreign:
        model = RangeModel(game=state)
        fold(model, Event(9, event, "", data))
        assert model.game == state


ODD: list[object] = [None, True, -1, 1.5, "", "word", [], [None], [1], ["a", "b", "c"], {}, {"a": []}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_data_ends_no_screen(odd: object) -> None:
    """As in the journal of a hub of another version: what cannot be drawn is as if it had not been said."""
    events: list[tuple[str, dict[str, object]]] = [
        ("game_started", STARTED),
        ("game_turn", {"game_id": "g1", "player": "Bo"}),
        ("game_score", {"game_id": "g1", "player": "Bo", "points": 30, "total": 30}),
        ("game_progress", {"game_id": "g1", "done": 3, "total": 4, "unit": "rounds"}),
        ("game_target_out", {"game_id": "g1", "code": "timeout"}),
        ("game_note", {"game_id": "g1", "text": "mind"}),
        ("game_over", {"game_id": "g1", "reason": "finished", "scores": [0, 31]}),
        ("hit", {"reaction_ms": 300, "peak": 7}),
        ("groups", {"groups": ["a"]}),
    ]
    for at, (event, data) in enumerate(events):
        for name in data:
            rest = {other: value for other, value in data.items() if other != name}
            for changed in (rest, {**data, name: odd}):
                seen = [*events[:at], (event, changed)]
                text_of(play(*seen), hub_us=2_000_001)
                screens.event_line(Event(1, event, "target_1", changed))


def test_equal_scores_share_a_place() -> None:
    state = GameState("over", players=["a", "b", "c", "d"], scores=[5, 9, 9, 1])
    assert ranking(state) == [(1, "b", 9), (1, "c", 9), (3, "a", 5), (4, "d", 1)]


def test_the_countdown_goes_by_the_hubs_clock() -> None:
    state = play(("game_started", STARTED))
    assert "starts in 3 s" in text_of(state, hub_us=2_000_001)
    assert "starts in" not in text_of(state, hub_us=5_000_000)
    assert "starts in" not in text_of(state)


def test_names_are_shown_as_they_are() -> None:
    state = GameState("running", players=["[red]x[/]"], scores=[0], game="quick")
    assert "[red]x[/]" in text_of(state, note="[bold]mind[/]")
    assert "[bold]mind[/]" in text_of(state, note="[bold]mind[/]")


def test_one_is_one_and_not_many() -> None:
    state = GameState("running", "g1", "duel", ["a"], [0], 0, 1, "rounds", targets=1)
    assert "0 of 1 round " in text_of(state)
    assert "duel, 1 target " in text_of(state)
    progress = Event(1, "game_progress", "", {"done": 1, "total": 1, "unit": "rounds"})
    assert screens.event_line(progress).plain.endswith("1 of 1 round")


def test_what_a_hit_does_not_say_is_not_said() -> None:
    assert screens.event_line(Event(1, "hit", "t", {})).plain.rstrip().endswith("hit")
    assert screens.event_line(Event(1, "hit", "t", {"peak": 7})).plain.endswith("peak 7")


def test_a_player_without_a_hit_has_no_time_whatever_the_hub_says() -> None:
    """As hubs of before said it, and as it is in their journals."""
    told = {"hits": [2, 0], "best_ms": [0, 0], "median_ms": [175, 0], "note": 3}
    assert results_of({"results": told}) == {
        "hits": [2, 0],
        "best_ms": [0, None],
        "median_ms": [175, None],
        "note": 3,
    }
    odds: list[object] = [None, [], "x", {"hits": 3, "best_ms": [0]}, {"hits": [0], "best_ms": 0}]
    for odd in odds:
        assert results_of({"results": odd}) == (odd if isinstance(odd, dict) else {})


def test_a_hit_that_does_not_count_is_said_not_to() -> None:
    hit = Event(1, "hit", "t2", {"reaction_ms": 303, "peak": 9, "crosstalk_of": "t1"})
    assert screens.event_line(hit).plain.endswith("after 303 ms, peak 9, cross-talk of t1: it does not count")
    later = Event(2, "crosstalk", "t2", {"hit_seq": 1, "crosstalk_of": "t1"})
    assert screens.event_line(later).plain.endswith("of t1: its last hit does not count")

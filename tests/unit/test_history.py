"""What a journal says when it is asked: exact numbers from known events."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from snyper import output
from snyper.cli import app
from snyper.history import BestTime, History, Outage, PlayerStats, TargetStats
from snyper.history_commands import What, write_rows
from snyper.journal import Journal, JournalError

DEADLINE_S = 15.0
GAME: dict[str, Any] = {
    "game": "quick",
    "title": "Quick",
    "targets": 2,
    "seed": 4,
    "unit": "rounds",
    "options": {"rounds": 3},
}


class Story:
    """Writes what happened, a second each."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self._count = 0

    def tell(self, event: str, target_id: str = "", **data: Any) -> None:
        self._count += 1
        self.journal.record(self.journal.log_id, self._count, event, target_id, data, self._count * 1000)

    def game(self, game_id: str, scores: dict[str, int], winner: str = "", over: bool = True) -> None:
        players = list(scores)
        self.tell("game_started", game_id=game_id, players=players, **GAME)
        for number, (player, score) in enumerate(scores.items()):
            hit: dict[str, Any] = {"points": score, "total": score, "reaction_ms": 300 + number * 50}
            self.tell("game_score", "target_1", game_id=game_id, player=player, **hit)
        if over:
            about: dict[str, Any] = {
                "scores": list(scores.values()),
                "winner": winner,
                "results": {"best_ms": 300},
            }
            self.tell("game_over", game_id=game_id, reason="finished", duration_ms=9_000, **about)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "journal.sqlite3"
    story = Story(path)
    story.tell("registered", "target_1", state="down")  # 1 s
    story.tell("registered", "target_2", state="down")
    story.game("b-g1", {"Ann": 5, "Bob": 9}, "Bob")  # 3 s to 6 s
    story.tell("hit", "target_1", reaction_ms=400, peak=48_000, gap_us=2_100, at_us=77, uncertainty_us=9)
    story.tell("hit", "target_1", reaction_ms=200, peak=30_000)
    story.tell("miss", "target_1", reason="time_up", dropped=2)
    story.tell("miss", "target_1", reason="lay_down", dropped=3)
    story.tell("lost", "target_1", code="timeout", message="silent")  # 11 s
    story.tell("lost", "target_2", code="disconnected", message="the hub stops")
    story.tell("registered", "target_1", state="down")  # 13 s
    story.tell("miss", "target_1", reason="time_up", dropped=1)  # booted anew
    story.tell("lost", "target_2", code="timeout", message="silent")  # 15 s
    story.game("b-g2", {"Ann": 7}, "Ann")  # 16 s to 18 s
    story.game("b-g3", {"Ann": 3, "Bob": 1}, over=False)  # 19 s
    assert story.journal.flush(DEADLINE_S)
    yield path
    story.journal.close()


def test_games(path: Path) -> None:
    with History(path) as history:
        third, second, first = history.games()
        assert [game.game_id for game in (first, second, third)] == ["b-g1", "b-g2", "b-g3"]
        assert (first.players, first.scores, first.winner) == (("Ann", "Bob"), (5, 9), "Bob")
        assert (first.started_ms, first.duration_ms, first.reason) == (3_000, 9_000, "finished")
        assert (first.options, first.results, first.targets) == ({"rounds": 3}, {"best_ms": 300}, 2)
        assert (third.scores, third.reason, third.duration_ms) == ((3, 1), "", None)
        assert [game.game_id for game in history.games(player="Bob")] == ["b-g3", "b-g1"]
        assert [game.game_id for game in history.games(limit=1)] == ["b-g3"]
        assert [game.game_id for game in history.games(since_ms=16_000, player="Ann")] == ["b-g3", "b-g2"]
        assert history.games(game="duel") == []


def test_players(path: Path) -> None:
    with History(path) as history:
        assert history.players() == [
            PlayerStats("Ann", 2, 1, {"quick": 7}, 300, 16_000),
            PlayerStats("Bob", 1, 1, {"quick": 9}, 350, 3_000),
        ]
        assert [player.player for player in history.players(since_ms=10_000)] == ["Ann"]


def test_best_times(path: Path) -> None:
    with History(path) as history:
        assert history.best_times(limit=2) == [
            BestTime(300, "Ann", "quick", "b-g1", "target_1", 4_000),
            BestTime(300, "Ann", "quick", "b-g2", "target_1", 17_000),
        ]
        assert [time.reaction_ms for time in history.best_times(player="Bob")] == [350, 350]


def test_targets(path: Path) -> None:
    with History(path) as history:
        assert history.targets() == [
            TargetStats("target_1", 5, 2, 2, 1, 0.5, 300, 200, 4, 1, 2_000),
            TargetStats("target_2", 0, 0, 0, 0, None, None, None, 0, 1, 0),
        ]


def test_outages(path: Path) -> None:
    with History(path) as history:
        assert history.outages() == [
            Outage("target_1", 11_000, 13_000, "timeout", "silent"),
            Outage("target_2", 15_000, None, "timeout", "silent"),
        ]
        assert [outage.target_id for outage in history.outages("target_2")] == ["target_2"]


def test_reactions(path: Path) -> None:
    with History(path) as history:
        hits = history.reactions()["target_1"]
        assert [(hit.unix_ms, hit.reaction_ms, hit.at_us) for hit in hits] == [
            (7_000, 400, 77),
            (8_000, 200, None),
        ]


def test_an_empty_journal(tmp_path: Path) -> None:
    Journal(tmp_path / "j").close()
    with History(tmp_path / "j") as history:
        found: list[object] = [*history.games(), *history.players(), *history.targets()]
        assert [*found, *history.best_times(), *history.outages(), *history.events()] == []


def test_no_journal_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="`snyper hub` writes one"):
        History(tmp_path / "none")
    (tmp_path / "letter").write_text("Dear aunt, " * 500)
    with pytest.raises(JournalError, match="no journal"):
        History(tmp_path / "letter")
    (tmp_path / "empty").touch()
    with pytest.raises(JournalError, match="no journal"):
        History(tmp_path / "empty")


# --- the commands


def run(*arguments: str) -> tuple[int, str, str]:
    output.out.width = 120  # a Console takes COLUMNS only when it is made
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_the_commands(path: Path) -> None:
    journal = ("--journal", str(path))
    status, out, _ = run("history", "--json", "--player", "Bob", *journal)
    assert status == 0
    assert [game["scores"] for game in json.loads(out)] == [[3, 1], [5, 9]]
    status, out, _ = run("history", *journal)
    assert status == 0
    assert "Bob" in out
    assert "not known to have ended" in out
    status, out, _ = run("stats", "--json", *journal)
    assert status == 0
    assert json.loads(out)["targets"][0]["accuracy"] == 0.5
    status, out, _ = run("stats", *journal)
    assert status == 0
    assert "50%" in out
    assert "300 ms" in out
    status, out, err = run("history", "--since", "7d", *journal)
    assert (status, out) == (0, "")
    assert "no such game" in err
    status, _, err = run("history", "--since", "yesterday", *journal)
    assert status == 2
    assert "2026-05-31" in err


def test_export(path: Path, tmp_path: Path) -> None:
    journal = ("--journal", str(path))
    status, out, err = run("export", "--json", *journal)
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [event["seq"] for event in events] == list(range(1, 22))
    assert events[6]["data"]["uncertainty_us"] == 9
    assert "21 rows" in err
    file = tmp_path / "games.csv"
    status, out, _ = run("export", "--csv", "--games", "-o", str(file), *journal)
    assert (status, out) == (0, "")
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [json.loads(row["scores"]) for row in rows] == [[5, 9], [7], [3, 1]]
    assert not list(tmp_path.glob("*.part"))
    status, out, _ = run("export", "--csv", "--hits", *journal)
    assert [row["reaction_ms"] for row in csv.DictReader(io.StringIO(out))] == ["400", "200", "", "", ""]
    for wrong in ((), ("--csv", "--json"), ("--csv", "--hits", "--games")):
        assert run("export", *wrong, *journal)[0] == 2
    status, _, err = run("export", "--csv", "-o", str(tmp_path / "no" / "where.csv"), *journal)
    assert status == 1
    assert "cannot be written" in err
    status, _, err = run("stats", "--journal", str(tmp_path / "none"))
    assert status == 1
    assert "`snyper hub` writes one" in err


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    """A player's name goes into a spreadsheet, which would calculate what begins like a formula."""
    story = Story(tmp_path / "j")
    story.tell("miss", "target_1", reason="=cmd()")
    story.journal.close()
    file = io.StringIO()
    with History(tmp_path / "j") as history:
        assert write_rows(file, history, What.HITS, True) == 1
    assert ",'=cmd()," in file.getvalue()


@pytest.mark.parametrize("what", [What.HITS, What.EVENTS])
@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_what_a_target_says_does_nothing_to_the_terminal(tmp_path: Path, form: str, what: What) -> None:
    hostile = "\x1b=\x1b]0;owned\x07\x9b31m\x7f"
    story = Story(tmp_path / "j")
    story.tell("miss", "target_1", reason=hostile)
    story.journal.close()
    status, out, _ = run("export", form, f"--{what}", "--journal", str(tmp_path / "j"))
    assert status == 0
    assert not {sign for sign in out if sign not in "\r\n" and (ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0)}
    if form == "--json":
        row = json.loads(out)
        assert row.get("data", row)["reason"] == hostile
    elif what is What.HITS:
        assert ",'=]0;owned31m," in out  # and no formula


def test_events_of_another_version_cost_no_other_game(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    story = Story(path)
    story.game("g1", {"Anna": 5})
    odds: list[Any] = [None, 1.5, "word", ["a", None], {"a": []}]
    for odd in odds:
        story.tell("game_started", game_id=odd, game=odd, players=odd, targets=odd, seed=odd)
        story.tell("game_started", game_id="g2", game="odd", players=["Bert"], targets=odd, seed=odd)
        story.tell("game_score", "target_1", game_id=odd, player=odd, total=odd, reaction_ms=odd)
        story.tell("game_score", "target_1", game_id="g2", player="Bert", total=odd)
        story.tell("game_over", game_id=odd, scores=odd, winner=odd)
        story.tell("game_over", game_id="g2", scores=odd)
        story.tell("game_started")
        story.tell("game_over")
    story.journal.close()
    with History(path) as history:
        assert [game.scores for game in history.games(game="quick")] == [(5,)]
        assert {game.scores for game in history.games(game="odd")} == {(0,)}
        assert [one.player for one in history.players()] == ["Anna"]
        assert [time.reaction_ms for time in history.best_times()] == [300]
        for what in What:
            for as_csv in (True, False):
                write_rows(io.StringIO(), history, what, as_csv)


OLD_NAMES = ["Zo\u00eb", "Zoe\u0308", "Zo\u00eb ", "\u200bZo\u00eb", "Zo\u00eb\u202e", "\ufeffZo\u00eb"]


@pytest.fixture
def old_path(tmp_path: Path) -> Iterator[Path]:
    """A journal of a hub that took every name as it came: one person's games under six of them."""
    path = tmp_path / "old.sqlite3"
    story = Story(path)
    for number, name in enumerate(OLD_NAMES, 1):
        story.game(f"g{number}", {name: number, "Bo": 0}, winner=name)
    story.game("g7", {OLD_NAMES[0]: 70, OLD_NAMES[1]: 80, "\u202e": 1}, winner=OLD_NAMES[1])
    story.game("g8", {OLD_NAMES[2]: 5}, over=False)
    assert story.journal.flush(DEADLINE_S)
    yield path
    story.journal.close()


def test_names_that_nobody_can_tell_apart_are_one(old_path: Path) -> None:
    with History(old_path) as history:
        assert {name for game in history.games() for name in game.players} == {
            "Zo\u00eb",
            "Bo",
            "Zo\u00eb (2)",
            "?",
        }
        [zoe] = [one for one in history.players() if one.player == "Zo\u00eb"]
        assert (zoe.games, zoe.wins, zoe.best) == (7, 6, {"quick": 70})
        for asked in OLD_NAMES:
            assert len(history.games(player=asked)) == 8
            assert {time.player for time in history.best_times(20, player=asked)} == {"Zo\u00eb"}
            assert len(history.best_times(20, player=asked)) == 8


def test_two_of_one_game_that_look_alike_are_told_apart(old_path: Path) -> None:
    with History(old_path) as history:
        [game] = [one for one in history.games() if one.game_id == "g7"]
        assert game.players == ("Zo\u00eb", "Zo\u00eb (2)", "?")
        assert (game.scores, game.winner) == ((70, 80, 1), "Zo\u00eb (2)")
        [running] = [one for one in history.games() if one.game_id == "g8"]
        assert (running.players, running.scores) == (("Zo\u00eb",), (5,))


def test_no_name_of_an_old_journal_turns_or_hides_what_is_around_it(old_path: Path) -> None:
    for arguments in (
        ["history"],
        ["stats"],
        ["history", "--json"],
        ["export", "--csv"],
        ["export", "--json"],
    ):
        said = CliRunner().invoke(app, [*arguments, "--journal", str(old_path)])
        assert said.exit_code == 0
        assert not {"\u202e", "\u200b", "\ufeff"} & set(said.output), arguments
    said = CliRunner().invoke(app, ["stats", "--journal", str(old_path)])
    assert len([line for line in said.output.splitlines() if "Zo" in line]) == 2

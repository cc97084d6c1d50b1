"""What a journal says when it is asked: exact numbers from known events."""

import csv
import io
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from snyper.cli import output
from snyper.cli.history_commands import _since_ms
from snyper.cli.main import app_with
from snyper.history.database import JournalError
from snyper.history.export import ExportKind, write_rows
from snyper.history.reader import History
from snyper.history.records import Accuracy, BestTime, Outage, PlayerStats, RecordFilter, TargetStats
from snyper.history.schema import LEAP
from snyper.hub.journal import Journal

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
    story.tell("lost", "target_1", reason="silent", code="timeout", message="silent")  # 11 s
    story.tell("lost", "target_2", reason="stopping", code="disconnected")
    story.tell("registered", "target_1", state="down")  # 13 s
    story.tell("miss", "target_1", reason="time_up", dropped=1)  # booted anew
    story.tell("lost", "target_2", reason="silent", code="timeout", message="silent")  # 15 s
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
            Outage("target_1", 11_000, 13_000, "silent", "timeout", "silent"),
            Outage("target_2", 15_000, None, "silent", "timeout", "silent"),
        ]
        assert [outage.target_id for outage in history.outages("target_2")] == ["target_2"]


def test_cross_talk_is_no_hit_whenever_it_was_known(tmp_path: Path) -> None:
    path = tmp_path / "shaken.sqlite3"
    story = Story(path)
    story.tell("hit", "a", reaction_ms=303, peak=22_000)  # taken back below
    story.tell("hit", "b", reaction_ms=300, peak=60_000)
    story.tell("crosstalk", "a", hit_seq=1, crosstalk_of="b")
    story.tell("hit", "a", reaction_ms=100, peak=9_000, crosstalk_of="b")
    story.tell("miss", "a", reason="time_up")
    assert story.journal.flush(DEADLINE_S)
    with History(path) as history:
        a, b = history.targets()
        assert (a.rounds, a.hits, a.misses, a.called_off, a.best_reaction_ms) == (3, 0, 1, 2, None)
        assert (b.rounds, b.hits, b.best_reaction_ms) == (1, 1, 300)
        assert list(history.reactions()) == ["b"]
        assert [shot.crosstalk_of for shot in history.shots()] == ["b", "", "b", ""]
        file = io.StringIO()
        assert write_rows(file, history, ExportKind.HITS, True) == 4
    story.journal.close()
    assert [row["crosstalk_of"] for row in csv.DictReader(io.StringIO(file.getvalue()))] == ["b", "", "b", ""]


def shaken_story(path: Path) -> Story:
    """Ann's fastest hit turns out to be cross-talk when it has scored; Bob's only one, too."""
    story = Story(path)
    story.tell("game_started", game_id="g", players=["Ann", "Bob"], **GAME)

    def score(player: str, points: int, **more: Any) -> None:
        story.tell("game_score", "a", game_id="g", player=player, points=points, total=0, **more)

    score("Ann", 100, reaction_ms=303)  # 2 s
    score("Ann", 100, reaction_ms=400)
    score("Bob", 100, reaction_ms=290)
    score("Ann", -100, text="cross-talk of b", crosstalk_of="b", score_seq=2)
    score("Bob", -100, text="cross-talk of b", crosstalk_of="b", score_seq=4)
    story.tell("game_over", game_id="g", reason="finished", scores=[100, 0], winner="Ann")
    assert story.journal.flush(DEADLINE_S)
    return story


def test_a_score_that_was_taken_back_is_no_best_time(tmp_path: Path) -> None:
    path = tmp_path / "shaken.sqlite3"
    story = shaken_story(path)
    with History(path) as history:
        assert [(time.player, time.reaction_ms) for time in history.best_times()] == [("Ann", 400)]
        assert [(one.player, one.best_reaction_ms) for one in history.players()] == [
            ("Ann", 400),
            ("Bob", None),
        ]
    story.journal.close()


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


# --- a clock that somebody sets


HOUR_S = 3_600
YEAR_S = 365 * 24 * HOUR_S
NOW_S = 1_790_000_000  # in 2026


class Clocks:
    """This computer's clocks: one that goes, and the time of day, which is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.went_s = 100
        self.offset_s = NOW_S
        for name in ("clock_gettime_ns", "monotonic_ns"):
            if hasattr(time, name):
                monkeypatch.setattr(time, name, lambda *clock: self.went_s * 1_000_000_000)
        monkeypatch.setattr(time, "time_ns", lambda: (self.went_s + self.offset_s) * 1_000_000_000)

    def tell(self, journal: Journal, *events: tuple[str, str, dict[str, Any]], log_id: str = "") -> None:
        """Each a second after the last."""
        log_id = log_id or journal.log_id
        for event, target_id, data in events:
            self.went_s += 1
            journal.record(log_id, journal.last_seq(log_id) + 1, event, target_id, data)
            assert journal.flush(DEADLINE_S)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def game_events(game_id: str, score: int = 5) -> list[tuple[str, str, dict[str, Any]]]:
    """A game of Ann's, six seconds long: a hit, a miss, the end."""
    hit = {"reaction_ms": 300 + score}
    return [
        ("game_started", "", {"game_id": game_id, "players": ["Ann"], **GAME}),
        ("game_turn", "", {"game_id": game_id, "player": "Ann"}),
        ("hit", "t", hit),
        ("game_score", "t", {"game_id": game_id, "player": "Ann", "points": score, "total": score, **hit}),
        ("miss", "t", {"reason": "time_up"}),
        ("game_over", "", {"game_id": game_id, "reason": "finished", "scores": [score], "winner": "Ann"}),
    ]


OUTAGE = [("lost", "t", {"code": "timeout"}), *[("state", "u", {})] * 3, ("registered", "t", {})]

# Where the time of day goes, as seconds to add at each step; the last is right.
STEPS = {
    "back an hour": [HOUR_S, -HOUR_S],
    "on an hour": [-HOUR_S, HOUR_S],
    "on a year, and back": [0, YEAR_S, -YEAR_S],
    "never set, then set": [-NOW_S, NOW_S],
    "never set, then wrong, then right": [-NOW_S, NOW_S - HOUR_S, HOUR_S],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("at", range(1, 6))
def test_a_clock_that_is_set_in_the_middle(tmp_path: Path, clocks: Clocks, steps: list[int], at: int) -> None:
    """In the middle of a game and of an outage: neither is torn, and all times are right afterwards."""
    clocks.offset_s += steps[0]
    journal = Journal(tmp_path / "j")
    began_s = clocks.went_s
    for step, game_id in zip(steps[1:], "abc", strict=False):
        events = game_events(game_id)
        clocks.tell(journal, *events[:at], *OUTAGE[:at])
        clocks.offset_s += step
        clocks.tell(journal, *events[at:], *OUTAGE[at:])
    assert clocks.offset_s == NOW_S
    clocks.tell(journal, *game_events("last", 7))
    journal.close()
    count = len(steps) - 1
    with History(tmp_path / "j") as history:
        games = history.games()
        assert [(game.game_id, game.scores, game.reason) for game in games] == [
            ("last", (7,), "finished"),
            *[(game_id, (5,), "finished") for game_id in reversed("abc"[:count])],
        ]
        assert [game.game_id for game in history.games(limit=1)] == ["last"]
        assert history.accuracy(RecordFilter(player="Ann")) == [Accuracy("t", count + 1, count + 1, 305)]
        lasted_s = 4 if at == 5 else 4 + 6 - at
        assert [(one.until_ms or 0) - one.since_ms for one in history.outages()] == [lasted_s * 1000] * count
        first_ms = (NOW_S + began_s + 1) * 1000
        assert games[-1].started_ms == first_ms
        assert len(history.games(since_ms=first_ms)) == count + 1
        assert history.count_games(RecordFilter(since_ms=first_ms + 1)) == count
        assert [event.unix_ms for event in history.events()] == [
            first_ms + 1000 * number for number in range(count * 11 + 6)
        ]


def test_several_starts_of_a_hub(tmp_path: Path, clocks: Clocks) -> None:
    """What belongs together does so over the starts, and ends with them; the newest is the last told."""
    clocks.tell(first := Journal(tmp_path / "j"), *game_events("a"))
    clocks.tell(first, *game_events("cut")[:4], ("lost", "t", {"reason": "stopping"}))
    first.close()
    clocks.offset_s -= HOUR_S
    clocks.tell(second := Journal(tmp_path / "j"), ("registered", "t", {}), ("hit", "t", {"reaction_ms": 50}))
    clocks.tell(second, *game_events("b"))
    second.close()
    with History(tmp_path / "j") as history:
        assert [game.game_id for game in history.games()] == ["b", "cut", "a"]
        assert [game.reason for game in history.games()] == ["finished", "", "finished"]
        assert [game.game_id for game in history.games(limit=1, offset=1)] == ["cut"]
        assert history.accuracy(RecordFilter(game="quick")) == [Accuracy("t", 3, 2, 305)]
        assert history.accuracy() == [Accuracy("t", 4, 2, 50)]
        assert history.outages() == []


def test_a_game_ends_with_a_hub_that_is_killed(tmp_path: Path, clocks: Clocks) -> None:
    journal = Journal(tmp_path / "j")
    clocks.tell(journal, *game_events("cut")[:4])
    journal.record(journal.log_id, LEAP + 1, "hit", "t", {"reaction_ms": 50})  # by the next hub
    journal.close()
    with History(tmp_path / "j") as history:
        assert history.accuracy(RecordFilter(player="Ann")) == [Accuracy("t", 1, 0, 305)]
        assert history.accuracy() == [Accuracy("t", 2, 0, 50)]


def test_an_archive_of_hubs_that_take_turns(tmp_path: Path, clocks: Clocks) -> None:
    """A dashboard looks at one hub, at another, at the first again: the last game is the newest, and nothing
    is there twice though a hub tells all it has.
    """
    archive = Journal(tmp_path / "j")
    for log_id, game_id in (("hub 1", "a"), ("hub 2", "b"), ("hub 1", "c"), ("hub 2", "d")):
        clocks.tell(archive, *game_events(game_id), log_id=log_id)
    for seq in range(1, 13):
        archive.record("hub 1", seq, "hit", "t", {})
    archive.close()
    with History(tmp_path / "j") as history:
        assert [game.game_id for game in history.games()] == ["d", "c", "b", "a"]
        assert [event.log_id for event in history.events(["game_over"])] == ["hub 1", "hub 2"] * 2
        assert history.accuracy() == [Accuracy("t", 4, 4, 305)]


# --- who is meant


def test_every_figure_takes_every_filter(tmp_path: Path) -> None:
    path = tmp_path / "j"
    story = Story(path)
    story.tell("hit", "t_1", reaction_ms=100)  # 1 s, in no game
    about: dict[str, Any] = {**GAME, "game": "duel", "title": "Duel"}
    story.tell("game_started", game_id="d", players=["Ann", "Bob"], **about)
    story.tell("hit", "t_1", reaction_ms=400)
    story.tell("hit", "t_2", reaction_ms=500)
    story.tell("game_score", "t_2", game_id="d", player="Bob", points=10, total=10, reaction_ms=500)
    story.tell("game_score", "t_1", game_id="d", player="Ann", points=10, total=10, reaction_ms=400)
    story.tell("miss", "t_1")
    story.tell("game_over", game_id="d", reason="finished", scores=[10, 10], winner="")  # 8 s
    story.tell("game_started", game_id="q", players=["Ann", "Bob"], **GAME)
    for player, reaction_ms in (("Ann", 300), ("Bob", 200)):
        hit: dict[str, Any] = {"reaction_ms": reaction_ms}
        story.tell("game_turn", game_id="q", player=player)
        story.tell("hit", "t_1", **hit)
        story.tell("game_score", "t_1", game_id="q", player=player, points=1, total=1, **hit)
        story.tell("miss", "t_2")
    story.tell("game_over", game_id="q", reason="finished", scores=[1, 1], winner="Bob")
    story.journal.close()
    with History(path) as history:
        for which, count, accuracy, times in (
            (RecordFilter(), 2, [("t_1", 4, 1, 100), ("t_2", 1, 2, 500)], [200, 300, 400, 500]),
            (RecordFilter(player="Ann"), 2, [("t_1", 2, 0, 300), ("t_2", 0, 1, None)], [300, 400]),
            (RecordFilter(player="Bob"), 2, [("t_1", 1, 0, 200), ("t_2", 1, 1, 500)], [200, 500]),
            (RecordFilter(game="duel"), 1, [("t_1", 1, 1, 400), ("t_2", 1, 0, 500)], [400, 500]),
            (RecordFilter(game="quick", player="Bob"), 1, [("t_1", 1, 0, 200), ("t_2", 0, 1, None)], [200]),
            (RecordFilter(since_ms=9_000), 1, [("t_1", 2, 0, 200), ("t_2", 0, 2, None)], [200, 300]),
            (RecordFilter(player="Zoe"), 0, [], []),
            (RecordFilter(game="'; --"), 0, [], []),
        ):
            parts = (which.player, which.game, which.since_ms)
            assert history.count_games(which) == len(history.games(*parts)) == count
            assert history.accuracy(which) == [Accuracy(*row) for row in accuracy]
            assert [time.reaction_ms for time in history.best_times(10, *parts)] == times
            points = history.reaction_points(which, [row[0] for row in accuracy], 1)
            assert [len(points[row[0]]) for row in accuracy] == [int(row[1] > 0) for row in accuracy]
            names = {one.player for one in history.players(which.since_ms, which.game, which.player)}
            assert names == (
                {"Ann", "Bob"} & {which.player or "Ann", which.player or "Bob"} if count else set()
            )
            hits = sum(shot.event == "hit" for shot in history.shots_of(which))
            assert hits == sum(row[1] for row in accuracy)
        [bob] = history.players(game="quick", player="Bob")
        assert (bob.games, bob.wins, bob.best, bob.best_reaction_ms) == (1, 1, {"quick": 1}, 200)
        assert history.names() == ["Ann", "Bob"]
        assert history.kinds() == {"duel": "Duel", "quick": "Quick"}


# --- an older version's journal, and a large one


OLD_SCHEMA = """
CREATE TABLE logs (id INTEGER PRIMARY KEY, log_id TEXT NOT NULL UNIQUE, reserved_seq INTEGER NOT NULL);
CREATE TABLE events (
    log INTEGER NOT NULL REFERENCES logs (id), seq INTEGER NOT NULL, unix_ms INTEGER NOT NULL,
    event TEXT NOT NULL, target_id TEXT NOT NULL, data TEXT NOT NULL, report TEXT, PRIMARY KEY (log, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_report ON events (report) WHERE report IS NOT NULL;
CREATE INDEX events_by_time ON events (unix_ms);
CREATE INDEX events_by_name ON events (event, unix_ms);
INSERT INTO logs VALUES (1, 'log', 0);
PRAGMA user_version = 1;
"""


def old_journal(path: Path, events: Iterable[tuple[int, str, str, str]]) -> None:
    """As version 1 wrote it: `unix_ms`, event, target, data of each."""
    db = sqlite3.connect(path)
    db.executescript(OLD_SCHEMA)
    with db:
        db.executemany(
            "INSERT INTO events VALUES (1, ?, ?, ?, ?, ?, NULL)",
            ((seq, *event) for seq, event in enumerate(events, 1)),
        )
    db.close()


def told(history: History) -> list[object]:
    which = RecordFilter(player="Ann")
    return [history.games(), history.players(), history.best_times(), history.targets(), history.outages(),
            history.accuracy(which), list(history.events())]  # fmt: skip


def test_a_journal_of_version_1_is_read_as_it_is_and_brought_up_to_date(tmp_path: Path) -> None:
    """Its clock went back by an hour in the middle of a game and of an outage."""
    path = tmp_path / "j"
    events = [*game_events("a"), *OUTAGE, *game_events("b", 7)]
    odd = [("game_started", "", '{"a":NaN}'), ("hit", "t", "no JSON")]
    old_journal(
        path,
        [
            (NOW_S * 1000 - (at >= 3) * HOUR_S * 1000 + at, event, target_id, json.dumps(data))
            for at, (event, target_id, data) in enumerate(events)
        ],
    )
    before = path.read_bytes()
    with History(path) as history:
        as_it_is = told(history)
        assert [game.game_id for game in history.games()] == ["b", "a"]
        assert [game.reason for game in history.games()] == ["finished"] * 2
        assert [outage.until_ms is None for outage in history.outages()] == [False]
    assert path.read_bytes() == before
    journal = Journal(path)
    with History(path) as history:
        assert told(history) == as_it_is
    for seq, (event, target_id, _) in enumerate(odd, len(events) + 1):
        journal.record(journal.log_id, seq, event, target_id, {"reaction_ms": float("nan"), "a": "\ud800"})
    assert journal.flush(DEADLINE_S)
    journal.close()
    with History(path) as history:
        assert len(list(history.events())) == len(events) + 2
        assert history.accuracy(RecordFilter(player="Ann")) == [Accuracy("t", 2, 2, 305)]


def many_games(count: int) -> Iterator[tuple[int, str, str, str]]:
    """A hub's events of so many games, each of three players of twenty."""
    rng = random.Random(20)
    for game in range(count):
        players, game_id = rng.sample([f"P{number}" for number in range(20)], 3), f"b-g{game}"
        story: list[tuple[str, str, dict[str, Any]]] = [
            ("game_started", "", {**GAME, "game_id": game_id, "game": f"kind{game % 3}", "players": players})
        ]
        for player in players:
            story.append(("game_turn", "", {"game_id": game_id, "player": player}))
            for _ in range(2):
                hit: dict[str, Any] = {"reaction_ms": rng.randrange(200, 2_000)}
                target_id = f"t_{rng.randrange(6)}"
                story.append(("hit", target_id, hit))
                score = {"game_id": game_id, "player": player, "points": 5, "total": 5, **hit}
                story.append(("game_score", target_id, score))
        scores = {"scores": [5, 5, 5], "winner": players[0]}
        story.append(("game_over", "", {"game_id": game_id, "reason": "finished", **scores}))
        for event, target_id, data in story:
            yield NOW_S * 1000 + game * 60_000, event, target_id, json.dumps(data)


def cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def recording_s(path: Path) -> float:
    """The work of keeping some more hits."""

    def record() -> None:
        for _ in range(500):
            seq = journal.last_seq(journal.log_id) + 1
            journal.record(
                journal.log_id, seq, "hit", "t_1", {"reaction_ms": 300}, report_key=f"{path} {seq}"
            )
        assert journal.flush(DEADLINE_S)

    journal = Journal(path)
    try:
        return cpu_s(record)
    finally:
        journal.close()


@pytest.mark.slow
def test_ten_thousand_games_are_counted_and_not_read(tmp_path: Path) -> None:
    """What the dashboard asks for costs a small part of reading all of it once; and to keep an event costs
    no more than in an empty journal.
    """
    path = tmp_path / "j"
    old_journal(path, many_games(10_000))
    Journal(path).close()
    with History(path) as history:
        reading_s = cpu_s(lambda: list(history.events()))

        def ask() -> None:
            history.count_games()
            history.games(limit=50, offset=9_000)
            history.players()
            history.best_times()
            history.accuracy()

        asking_s = min(cpu_s(ask) for _ in range(3))
        assert history.count_games() == 10_000
        assert history.count_games(RecordFilter(player="P3", game="kind1")) == len(
            history.games("P3", "kind1")
        )
        assert sum(one.hits for one in history.accuracy()) == 60_000
        assert sum(one.wins for one in history.players()) == 10_000
    assert asking_s < reading_s / 8, (asking_s, reading_s)
    small_s, large_s = (min(recording_s(file) for _ in range(3)) for file in (tmp_path / "small", path))
    assert large_s < 4 * small_s, (large_s, small_s)


# --- the commands


def run(*arguments: str) -> tuple[int, str, str]:
    output.out.width = 120  # a Console takes COLUMNS only when it is made
    result = CliRunner().invoke(app_with(), list(arguments))
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


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones to choose here")
@pytest.mark.parametrize(
    "now_s", [1_774_747_800, 1_792_891_800]
)  # half an hour after it was set on, and back
def test_hours_are_hours_where_summer_time_begins_and_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch, now_s: int
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        monkeypatch.setattr(time, "time", lambda: float(now_s))
        for text, seconds in (("90m", 5_400), ("2h", 7_200), ("1d", 86_400), ("1w", 604_800)):
            assert _since_ms(text) == (now_s - seconds) * 1000
        assert _since_ms("99999999999w") == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    assert run("history", "--since", "9" * 400 + "w", "--journal", str(path))[0] == 2


def test_a_list_says_that_it_is_not_all(path: Path) -> None:
    journal = ("--journal", str(path))
    for form in ([], ["--json"]):
        status, out, err = run("history", "--limit", "2", *form, *journal)
        assert (status, "the newest 2 of 3 games" in err) == (0, True)
        assert "of 3 games" not in out
        assert "of 3 games" not in run("history", "--limit", "3", *form, *journal)[2]


def test_export_of_some_games(path: Path) -> None:
    bobs = ("--player", "Bob", "--journal", str(path))
    status, out, err = run("export", "--json", "--games", *bobs)
    assert [json.loads(line)["game_id"] for line in out.splitlines()] == ["b-g1", "b-g3"]
    assert (status, "2 rows" in err) == (0, True)
    _, out, _ = run("export", "--json", *bobs)
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [3, 4, 5, 6, 19, 20, 21]
    _, out, err = run("export", "--csv", "--games", "--game", "quick", "--since", "1970-01-02", *bobs)
    assert (len(out.splitlines()), "0 rows" in err) == (1, True)


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
        assert write_rows(file, history, ExportKind.HITS, True) == 1
    assert ",'=cmd()," in file.getvalue()


@pytest.mark.parametrize("what", [ExportKind.HITS, ExportKind.EVENTS])
@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_what_a_target_says_does_nothing_to_the_terminal(tmp_path: Path, form: str, what: ExportKind) -> None:
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
    elif what is ExportKind.HITS:
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
        for what in ExportKind:
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
        said = CliRunner().invoke(app_with(), [*arguments, "--journal", str(old_path)])
        assert said.exit_code == 0
        # A table begins with a byte order mark, for Excel.
        shown = said.output.removeprefix("\ufeff")
        assert not {"\u202e", "\u200b", "\ufeff"} & set(shown), arguments
    said = CliRunner().invoke(app_with(), ["stats", "--journal", str(old_path)])
    assert len([line for line in said.output.splitlines() if "Zo" in line]) == 2

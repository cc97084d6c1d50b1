"""What `snyper watch` draws, in terminals of several sizes."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from snyper.cli import range_screen, screens
from snyper.client import CeaseFire, Event, HubStatus, TargetInfo, TargetResult

STARTED: dict[str, object] = {
    "game_id": "g1",
    "game": "quick",
    "players": ["Anna", "Bert"],
    "seed": 7,
    "targets": 4,
    "unit": "rounds",
    "total": 30,
    "starts_at_us": 0,
}


def target(number: int, *, connected: bool = True, dropped: int = 0) -> TargetInfo:
    return TargetInfo(
        target_id=f"target_{number}",
        connected=connected,
        state="standing",
        groups=["left"],
        firmware="0.1.0",
        seen_ms_ago=12_000,
        round_trip_us=4_200,
        uptime_ms=3_700_000,
        dropped=dropped,
        uncertainty_us=1_200,
    )


def drawn(columns: int, rows: int, events: int, count: int = 4, game: bool = True) -> list[str]:
    """The lines of a range of four targets, of which one is away and each was hit, with a game."""
    file = io.StringIO()
    console = Console(file=file, width=columns, height=rows)
    screen = range_screen.RangeScreen("192.168.100.100:8081", console)
    screen.record_status(HubStatus(3_700_000, 4, 1, 500))
    screen.targets = [target(number, connected=number != 4) for number in range(1, count + 1)]
    if game:
        screen.record(Event(1, "game_started", "", STARTED))
    for seq in range(2, events + 2):
        screen.record(
            Event(seq, "hit", f"target_{1 + seq % 4}", {"reaction_ms": 1_000 + seq, "peak": 40_000})
        )
    console.print(screen.render())
    return file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_cease_fire_stands_above_all(columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns, height=24)
    screen = range_screen.RangeScreen("hub:8081", console)
    screen.targets = [target(1)]

    def first_line() -> str:
        with console.capture() as shown:
            console.print(screen.render())
        return shown.get().splitlines()[0]

    assert "ARMED" not in first_line()  # a hub that knows none
    screen.record_safety(CeaseFire(False))
    assert first_line().strip() == "ARMED"
    screen.record(Event(1, "cease_fire", "", {"by": "Ann", "why": "a dog\x1b[2J", "kept": True}))
    assert re.match(r" +SAFE  cease fire by Ann since \d\d:", first_line())
    assert len(first_line()) <= columns
    screen.record(Event(2, "cease_fire", "", {"by": 7}))  # which is none
    assert "SAFE" in first_line()
    screen.record(Event(3, "release", "", {"by": "Bo", "held_ms": 7}))
    assert re.match(r" +ARMED  released by Bo at \d\d:", first_line())


@pytest.mark.parametrize("columns", [80, 120])
def test_a_target_is_a_line(columns: int) -> None:
    lines = drawn(columns, 40, 20)
    for number in range(1, 5):
        [line] = [line for line in lines if line.strip().startswith(f"target_{number}")]
        assert " ago" in line
        assert "left" in line
        assert ("away for 12 s" if number == 4 else " up ") in line
    assert "…" not in "".join(lines)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 24), (120, 40)])
def test_the_newest_event_is_in_sight(columns: int, rows: int) -> None:
    """A terminal shows the upper part of what is too high for it."""
    lines = drawn(columns, rows, 20)
    assert len(lines) <= rows
    assert "Ctrl-C ends" in lines[-1]
    assert "1021 ms" in lines[-3]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_name_that_two_boards_want_is_marked(columns: int) -> None:
    console = Console(file=io.StringIO(), width=columns)
    screen = range_screen.RangeScreen("hub:8081", Console(file=io.StringIO(), width=columns, height=40))
    screen.targets = [target(1), replace(target(2), last_error="duplicate")]
    for drawing in (screens.targets_table(screen.targets), screen.render()):
        console.print(drawing)
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if "target_" in line]
    assert ["up, twice" in line for line in lines] == [False, True, False, True]


def test_an_event_is_a_line_whatever_it_says() -> None:
    told: list[tuple[str, dict[str, object]]] = [
        ("lost", {"message": "gone\n12:00:00 target_1  hit"}),
        ("game_score", {"player": "A\u202enn\n", "points": 1, "total": 1}),
        ("game_started", {"game": "quick", "players": ["A\nnn", "B\u2028o"]}),
        ("groups", {"groups": ["a\r\nb"]}),
    ]
    for event, data in told:
        line = screens.event_line(Event(1, event, "target_1", data)).plain
        assert len(line.splitlines()) == 1
        assert "\u202e" not in line


@pytest.mark.parametrize("game", [False, True], ids=["no game", "a game"])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (80, 12), (50, 20), (40, 10), (20, 10), (20, 24)])
def test_a_small_terminal_shows_names_and_states_whole(columns: int, rows: int, game: bool) -> None:
    lines = drawn(columns, rows, 20, game=game)
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns
    for number in range(1, 5):
        state = "up" if number != 4 else "away"
        assert [line for line in lines if line.split()[:2] == [f"target_{number}", state]], lines
    assert any("target_2" in line and " hit " in line for line in lines[-3:])  # the newest
    assert not game or any("Anna 0" in line or " Anna " in line for line in lines)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (20, 10)])
def test_more_targets_than_lines_are_counted(columns: int, rows: int) -> None:
    lines = drawn(columns, rows, 20, count=60)
    assert len(lines) <= rows
    shown = sum(line.split()[:1] == [f"target_{number}"] for number in range(1, 61) for line in lines)
    [more] = [line for line in lines if line.startswith("and ")]
    names = [line.split()[0] for line in lines if line.split()[1:2] in (["up"], ["away"])]
    assert shown >= len(names) > 0
    assert more.split()[1] == str(60 - len(names))
    assert any(" hit " in line for line in lines[-3:])


def test_a_long_name_is_whole_on_more_than_one_line() -> None:
    console = Console(file=io.StringIO(), width=20, height=10)
    screen = range_screen.RangeScreen("hub:8081", console)
    screen.targets = [replace(target(1), target_id="a_name_of_thirty-two_characters_")]
    console.print(screen.render())
    assert isinstance(console.file, io.StringIO)
    first, second, *_ = console.file.getvalue().splitlines()[1:]
    assert first.split()[0] + second.strip() == "a_name_of_thirty-two_characters_"
    assert first.split()[1] == "up"


@pytest.mark.parametrize("columns", [20, 40, 50, 80])
def test_tables_in_a_narrow_terminal(columns: int) -> None:
    results = [
        TargetResult("target_1", True, "standing", 301_400),
        TargetResult("target_2", False, "error", 1_400, "busy", "the target is armed"),
    ]
    for table, lesser in (
        (screens.targets_table([target(1), target(2)]), ("firmware", "groups", "round trip")),
        (screens.results_table(results), ("after", "why")),
    ):
        console = Console(file=io.StringIO(), width=columns, height=20)
        console.print(screens.fitted(table, console, lesser))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= columns
        assert all(word in text.split() for word in ("target_1", "target_2", "up"))
        assert "…" not in text


def test_drops_are_shown_where_there_are_some() -> None:
    screen = range_screen.RangeScreen("hub:8081", Console(file=io.StringIO(), width=120, height=40))
    for dropped in (0, 3):
        screen.targets = [target(1), target(2, dropped=dropped)]
        console = Console(file=io.StringIO(), width=120, height=40)
        console.print(screen.render())
        assert isinstance(console.file, io.StringIO)
        assert ("drops" in console.file.getvalue()) == bool(dropped)


def test_a_target_that_cannot_detect_a_hit_is_named() -> None:
    """In the range, and with the round that it was missed in."""
    deaf = replace(target(2), rests_at=31_000)
    screen = range_screen.RangeScreen("hub:8081", Console(file=io.StringIO(), width=120, height=40))
    screen.targets = [replace(target(1), rests_at=0), deaf, replace(target(4), connected=False, rests_at=9)]
    console = Console(file=io.StringIO(), width=120, height=40)
    console.print(screen.render())
    assert isinstance(console.file, io.StringIO)
    assert re.findall(r"^(\w+): its piezo rests at (\d+)", console.file.getvalue(), re.MULTILINE) == [
        ("target_2", "31000")
    ]
    miss = Event(1, "miss", "target_2", {"reason": "time_up", "rests_at": 31_000})
    assert "time_up; its piezo rests at 31000, not below its threshold" in screens.event_line(miss).plain


def test_results_have_a_column_for_what_there_is_to_say() -> None:
    well = TargetResult("a", True, "standing", 300_000)
    timed = TargetResult("b", True, "standing", 300_000, data={"error_us": 100, "uncertainty_us": 300})
    failed = TargetResult("c", False, "error", 300_000, "busy", "it moves")
    for results, headers in (
        ([well], ["target", "result", "after"]),
        ([well, timed], ["target", "result", "after", "began"]),
        ([well, failed], ["target", "result", "after", "why"]),
        ([well, timed, failed], ["target", "result", "after", "began", "why"]),
    ):
        assert [column.header for column in screens.results_table(results).columns] == headers

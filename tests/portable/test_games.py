"""What games are made of: random numbers, stats, options and players. The same on both runtimes."""

from snyper.firmware.master.games import catalogue
from snyper.firmware.master.games.rng import Rng
from snyper.firmware.master.games.stats import best, median, spread
from snyper.shared.socket_protocol import MAX_DURATION_MS, ErrorCode
from tests.portable.support import raises


def test_a_seed_gives_the_same_numbers_everywhere() -> None:
    rng = Rng(7)
    assert [rng.below(100) for _ in range(8)] == [99, 17, 0, 99, 34, 13, 68, 68]
    assert Rng(7).shuffled([1, 2, 3, 4, 5]) == [3, 4, 1, 2, 5]
    assert [Rng(seed).below(1_000) for seed in (0, 1, 2, (1 << 31) - 1)] != [0, 0, 0, 0]


def test_dice_are_fair_enough() -> None:
    """Neighbouring seeds do not begin alike, and every face comes up."""
    assert len({Rng(seed).below(1_000_000) for seed in range(50)}) == 50
    rng = Rng(1)
    faces = [0] * 6
    for _ in range(6_000):
        faces[rng.below(6)] += 1
    assert all(850 < face < 1_150 for face in faces), faces
    assert {rng.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert {rng.choice(("a", "b")) for _ in range(100)} == {"a", "b"}
    assert sorted(rng.shuffled(range(20))) == list(range(20))


def test_nothing_to_choose_from() -> None:
    try:
        Rng(1).choice([])
    except ValueError:
        return
    raise AssertionError("there was something")


def test_stats() -> None:
    assert [best(times) for times in ([], [5], [9, 1, 4])] == [None, 5, 1]
    assert [median(times) for times in ([], [5], [9, 1, 4], [4, 1, 8, 9])] == [None, 5, 4, 6]
    assert [spread(times) for times in ([], [5], [9, 1], [1, 2, 3, 4, 100])] == [None, None, 8, 2]


def test_every_game_says_what_it_takes() -> None:
    for name in catalogue.NAMES:
        game = catalogue.load(name)
        options = catalogue.read_options(game, {})
        described = catalogue.describe(name, game)
        assert described["game"] == name
        listed = described["options"]
        assert isinstance(listed, list)
        assert {option["name"]: option["default"] for option in listed} == options
        assert len(catalogue.read_players(game, [])) == game.PLAYERS[0]
    raises(ErrorCode.BAD_MESSAGE, catalogue.load, "chess")


def test_simon_asks_no_target_to_be_armed_for_longer_than_it_can() -> None:
    options = catalogue.load("simon").OPTIONS
    longest = options["first_length"][2] + options["levels"][2] - 1
    assert longest * options["answer_ms"][2] <= MAX_DURATION_MS


class _Odd:
    """A game with every kind of option."""

    TITLE = "Odd"
    PLAYERS = (2, 3)
    OPTIONS = {
        "rounds": (3, 1, 9, "how often"),
        "mark": ("light", ("light", "group"), "how friends are marked"),
        "friends": ("", "group of the friends"),
    }


def test_options_are_completed_and_checked() -> None:
    given = catalogue.read_options(_Odd, {"rounds": 9, "friends": "good"})
    assert given == {"rounds": 9, "mark": "light", "friends": "good", "countdown_ms": 3_000}
    refused: "list[object]" = [
        {"rounds": 10},
        {"rounds": "3"},
        {"mark": "sound"},
        {"friends": "x" * 33},
        {"friends": "\u202e"},
        {"friends": "a b"},
        {"countdown_ms": -1},
        {"colour": 1},
        [],
    ]
    for wrong in refused:
        raises(ErrorCode.BAD_MESSAGE, catalogue.read_options, _Odd, wrong)


def test_players_are_checked() -> None:
    assert catalogue.read_players(_Odd, []) == ["Player 1", "Player 2"]
    assert catalogue.read_players(_Odd, ("Zoë", "محمد", "🎯" * 24)) == ["Zoë", "محمد", "🎯" * 24]
    assert catalogue.read_players(_Odd, (" Ann  Lee ", "Bo\u3000")) == ["Ann Lee", "Bo"]
    for wrong in (
        "Ann",
        ["Ann"],
        ["a", "b", "c", "d"],
        ["a", "a"],
        ["a", ""],
        ["a", " "],
        ["a", "b\n"],
        ["a", " a"],
        ["a", "a\u00a0"],
        ["a", "b\u202e"],
        ["a", "b\u200b"],
        ["a", "\ufeffb"],
        ["a", "\u3164"],
        ["a", "\u200d"],
        ["a", "\x7f"],
        ["a", "x" * 25],
        ["a", 7],
    ):
        raises(ErrorCode.BAD_MESSAGE, catalogue.read_players, _Odd, wrong)

"""What the hub board's small screen shows."""

from snyper.firmware.master import screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATES = ("standing", "down", "armed", "")
LONG = "Maximilian Alexander 24c"
NOBODY = ("", "")
ANN = ("Ann", "5m")
SCENES = (
    (screen.draw_empty, NOBODY, "snyper"),
    (screen.draw_empty, NOBODY, "Sch\u00fctzenverein Oberammergau"),
    (screen.draw_menu, NOBODY, STATES, 4, "quick", "1/6"),
    (screen.draw_menu, NOBODY, ("down",) * 64, 64, "a game with a long name", "12/16"),
    (screen.draw_menu, NOBODY, STATES, 4, "", ""),
    (screen.draw_countdown, NOBODY, "quick", 4, 3),
    (screen.draw_countdown, NOBODY, "a game with a long name", 64, 60),
    (screen.draw_game, NOBODY, "quick", 4, ("Player 1",), (1250,), "Player 1", 7, 20),
    (screen.draw_game, NOBODY, "quick", 4, (LONG,), (-123_456_789,), "", 0, 0),
    (screen.draw_game, NOBODY, "duel", 64, ("left", LONG), (12, -30_000), LONG, 1_000_000, 999),
    (screen.draw_game, NOBODY, "simon", 4, ("a", "b", "c"), (1, 2, 3), "b", 1, 2),
    (screen.draw_game, NOBODY, "simon", 4, (LONG,) * 8, (-100_000,) * 8, LONG, 1, 2),
    (screen.draw_over, NOBODY, "quick", ("Player 1",), (1250,), "finished"),
    (screen.draw_over, NOBODY, "duel", ("left", LONG), (5, 9), "finished"),
    (screen.draw_over, NOBODY, "duel", ("left", "right"), (5, 9), "a reason of a later age"),
    (screen.draw_menu, ANN, STATES, 4, "quick", "1/6"),
    (screen.draw_game, (LONG, "59m"), "duel", 64, ("left", LONG), (12, -30_000), LONG, 1_000_000, 999),
    (screen.draw_over, ANN, "simon", ("a", "b", "c", "d"), (1, 2, 3, 4), "finished"),
    (screen.draw_safe, "Ann", "a dog", "20s", "release: both 3s"),
    (screen.draw_safe, LONG, LONG, "59m", "release in 3 s"),
    (screen.draw_safe, "Ann", "", "3h", ""),
    (screen.draw_words, NOBODY, "gallery", "Gallery needs 2 targets, here are 1"),
)


class Canvas:
    """Takes what is drawn; a point outside of the screen is a fault."""

    def __init__(self) -> None:
        self.points = bytearray(screen.WIDTH * screen.HEIGHT)
        self.words: "list[str]" = []

    def pixel(self, x: int, y: int, colour: int = -1) -> int:
        assert 0 <= x < screen.WIDTH, x
        assert 0 <= y < screen.HEIGHT, y
        if colour >= 0:
            self.points[y * screen.WIDTH + x] = colour
        return self.points[y * screen.WIDTH + x]

    def fill_rect(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        assert min(width, height) >= 0
        for at in range(width * height):
            self.pixel(x + at % width, y + at // width, colour)

    def fill(self, colour: int) -> None:
        self.fill_rect(0, 0, screen.WIDTH, screen.HEIGHT, colour)

    def hline(self, x: int, y: int, width: int, colour: int) -> None:
        self.fill_rect(x, y, width, 1, colour)

    def vline(self, x: int, y: int, height: int, colour: int) -> None:
        self.fill_rect(x, y, 1, height, colour)

    def rect(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        for edge in (y, y + height - 1):
            self.hline(x, edge, width, colour)
        for edge in (x, x + width - 1):
            self.vline(edge, y, height, colour)

    def line(self, x: int, y: int, to_x: int, to_y: int, colour: int) -> None:
        steps = max(abs(to_x - x), abs(to_y - y))
        for at in range(steps + 1):
            self.pixel(x + (to_x - x) * at // steps, y + (to_y - y) * at // steps, colour)

    def text(self, text: str, x: int, y: int, colour: int) -> None:
        """Each letter is a block of 7 x 7 points."""
        self.words.append(text)
        for at, char in enumerate(text):
            assert " " <= char <= "~"
            if char != " ":
                self.fill_rect(x + 8 * at, y, 7, 7, colour)


def drawn(*scene: "Any") -> Canvas:
    canvas = Canvas()
    scene[0](canvas, *scene[1:])
    return canvas


def words_of(*scene: "Any") -> str:
    """All that is written, from the top left; large letters are written one by one."""
    canvas = drawn(*scene)
    text = ""
    for words in canvas.words:
        text += words if len(words) == 1 else "|%s|" % words
    return text


def test_everything_stays_on_the_screen() -> None:
    for scene in SCENES:
        assert sum(drawn(*scene).points) > 0, scene


def test_no_picture_touches_the_heartbeat() -> None:
    for scene in SCENES:
        canvas = drawn(*scene)
        before = bytes(canvas.points)
        screen.draw_heartbeat(canvas, True)
        assert sum(canvas.points) == sum(before) + 16, scene
        screen.draw_heartbeat(canvas, False)
        assert canvas.points == before, scene


def test_a_picture_wipes_the_one_before() -> None:
    canvas = Canvas()
    canvas.fill(1)
    scene: "Any" = SCENES[2]
    scene[0](canvas, *scene[1:])
    assert canvas.points == drawn(*scene).points


def test_what_is_said() -> None:
    assert words_of(screen.draw_empty, NOBODY, "snyper").startswith(
        "ARMED|SNYPER||no targets yet||join Wi-Fi|snyper"
    )
    assert "|Sch?tzenverein ~|" in words_of(*SCENES[1])
    menu = words_of(screen.draw_menu, NOBODY, STATES, 4, "quick", "1/6")
    assert menu == "ARMED|3 of 4|quick|start: play||1/6|"
    assert words_of(screen.draw_countdown, NOBODY, "quick", 4, 3) == "ARMED4|quick|3"
    assert words_of(screen.draw_game, NOBODY, "quick", 3, ("a",), (1250,), "", 7, 20) == "ARMED3|quick|1250"
    assert words_of(screen.draw_game, NOBODY, "duel", 3, ("left", "right"), (12, 9), "", 7, 20) == (
        "ARMED3|duel|12|left|9|right|"
    )
    assert words_of(screen.draw_words, NOBODY, "gallery", "it needs 2 targets, here are 1") == (
        "ARMED|gallery||it needs 2||targets, here||are 1|"
    )


def test_a_cease_fire_says_who_why_and_how_it_ends() -> None:
    safe = words_of(screen.draw_safe, "Ann", "a dog", "20s", "release: both 3s")
    assert safe == "SAFE|Ann||a dog||for 20s||release: both 3s|"
    assert words_of(screen.draw_safe, "Ann", "", "3h", "") == "SAFE|Ann||for 3h|"


def test_after_a_cease_fire_every_picture_says_who_has_released_it_and_when() -> None:
    for scene in SCENES:
        if scene[1] == NOBODY:
            said = words_of(scene[0], ("ann@laptop", "59m"), *scene[2:])
            assert said.startswith("ARMED"), said
            assert "|ann@l~ 59m|" in said, said
    assert "|Ann 5m|" in words_of(screen.draw_menu, ANN, STATES, 4, "quick", "1/6")


def test_how_a_game_ended() -> None:
    def last(*scores: int, **about: str) -> str:
        players = ("Ann", "Bob", "Cid")[: len(scores)]
        reason = about.get("reason", "finished")
        return drawn(screen.draw_over, NOBODY, "duel", players, scores, reason).words[-1]

    assert last(5) == "well done"
    assert last(5, 9) == "Bob wins"
    assert last(9, 3, 9) == "a draw"
    assert last(5, 9, reason="stopped") == "stopped"
    assert last(5, 9, reason="no_targets") == "no target left"
    assert last(5, 9, reason="fault") == "it failed: log"


def test_the_bar_is_as_long_as_the_game_is_far() -> None:
    def length(done: int, total: int) -> int:
        canvas = drawn(screen.draw_game, NOBODY, "quick", 4, ("a",), (0,), "", done, total)
        return len([x for x in range(2, 126) if canvas.pixel(x, 60)])

    assert [length(0, 20), length(10, 20), length(20, 20), length(30, 20)] == [0, 62, 124, 124]
    assert length(0, 0) == 0


def test_whose_turn_it_is_stands_out() -> None:
    for players in (("a", "b"), ("a", "b", "c"), tuple("abcdefgh")):
        scores = (0,) * len(players)
        plain = drawn(screen.draw_game, NOBODY, "duel", 4, players, scores, "", 0, 0)
        turn = drawn(screen.draw_game, NOBODY, "duel", 4, players, scores, "b", 0, 0)
        assert sum(turn.points) > sum(plain.points) + 100


def test_a_target_looks_as_it_stands() -> None:
    """Standing, armed, lying and away are four pictures; rising is standing, falling is lying."""

    def picture(state: str) -> bytearray:
        return drawn(screen.draw_menu, NOBODY, (state, "down"), 4, "", "").points

    different = [picture(state) for state in ("standing", "armed", "down", "")]
    for at, one in enumerate(different):
        for other in different[:at]:
            assert one != other
    assert picture("rising") == picture("standing")
    assert picture("falling") == picture("down")


def test_large_letters_are_the_small_ones_scaled() -> None:
    small = Canvas()
    small.text("8", 0, 0, 1)
    large = Canvas()
    screen.draw_large(large, "88", 3, 5, 3, 1)
    for x in range(48):
        for y in range(24):
            expected = small.pixel(x // 3 % 8, y // 3)
            assert large.pixel(3 + x, 5 + y) == expected, (x, y)

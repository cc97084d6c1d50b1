"""The pictures of the hub board's small screen, drawn on anything with the drawing methods of MicroPython's
`framebuf.FrameBuffer`. Pure.

Each `draw_...` makes one whole picture of 128 x 64 points: on top whether targets may rise, below a rule what
matters now. `released` is who has released the last cease fire and how long ago, two empty texts for nobody.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WIDTH = 128
HEIGHT = 64

_CHAR = 8  # points, of the font that is built in
_CHARS = 16  # of a line
_RULE_Y = 18
_ARMED_WIDTH = 41
_HEAD_CHARS = (WIDTH - _ARMED_WIDTH - 1) // _CHAR  # beside it
_ICON = 16  # points, of a target
_MAX_ICONS = 8  # side by side
_STANDING = ("rising", "standing", "arming", "armed")

_OVER = {"finished": "", "stopped": "stopped", "no_targets": "no target left", "fault": "it failed: log"}


def draw_empty(canvas: "Any", released: "tuple[str, str]", ssid: str) -> None:
    """Draw that no target is here, and where they are expected."""
    _head(canvas, released, "SNYPER")
    canvas.text("no targets yet", 0, 22, 1)
    canvas.text("join Wi-Fi", 0, 34, 1)
    canvas.fill_rect(0, 44, WIDTH, 20, 1)
    name = ascii_of(ssid)
    if len(name) <= _CHARS // 2:
        draw_large(canvas, name, (WIDTH - 2 * _CHAR * len(name)) // 2, 46, 2, 0)
    else:
        canvas.text(_cut(name, _CHARS), _centred(_cut(name, _CHARS)), 50, 0)


def draw_menu(
    canvas: "Any",
    released: "tuple[str, str]",
    states: "tuple[str, ...]",
    max_targets: int,
    game: str,
    place: str,
) -> None:
    """Draw what there is while nothing is played. `states` are those of the targets known, "" of one that is
    away; `game` is the one that the buttons have chosen, the `place`, such as "2/6", of all; both are empty
    without buttons.
    """
    here = len([state for state in states if state])
    _head(canvas, released, "%d of %d" % (here, max_targets))
    _icons(canvas, states, 20 if game else 34)
    if game:
        name = _cut(ascii_of(game), _CHARS)
        scale = 2 if len(name) <= _CHARS // 2 else 1
        draw_large(canvas, name, (WIDTH - scale * _CHAR * len(name)) // 2, 46 - 4 * scale, scale, 1)
        canvas.text("start: play", 0, 56, 1)
        canvas.text(place, WIDTH - _CHAR * len(place), 56, 1)


def draw_safe(canvas: "Any", by: str, why: str, age: str, release: str) -> None:
    """Draw that a cease fire holds, who has called it, why and for how long; and what becomes of the buttons
    that `release` it, empty where there is none.
    """
    canvas.fill(0)
    draw_large(canvas, "SAFE", (WIDTH - 4 * 3 * _CHAR) // 2, 1, 3, 1)
    lines = [ascii_of(text) for text in (by, why, "for " + age) if text]
    for at, line in enumerate(lines):
        canvas.text(_cut(line, _CHARS), 0, 27 + 9 * at, 1)
    if release:
        _foot(canvas, release)


def draw_countdown(canvas: "Any", released: "tuple[str, str]", game: str, targets: int, seconds: int) -> None:
    """Draw that the game begins in so many seconds."""
    _head(canvas, released, game, targets)
    digits = "%d" % seconds
    draw_large(canvas, digits, (WIDTH - 5 * _CHAR * len(digits)) // 2, 22, 5, 1)


def draw_game(
    canvas: "Any",
    released: "tuple[str, str]",
    game: str,
    targets: int,
    players: "tuple[str, ...]",
    scores: "tuple[int, ...]",
    turn: str,
    done: int,
    total: int,
) -> None:
    """Draw a game that runs: who has how much, whose turn it is, how far it is."""
    _head(canvas, released, game, targets)
    _scores(canvas, players, scores, turn)
    if total > 0:
        canvas.rect(0, 58, WIDTH, 6, 1)
        canvas.fill_rect(2, 60, (WIDTH - 4) * min(done, total) // total, 2, 1)


def draw_over(
    canvas: "Any",
    released: "tuple[str, str]",
    game: str,
    players: "tuple[str, ...]",
    scores: "tuple[int, ...]",
    reason: str,
) -> None:
    """Draw a game that is over: the last scores stay, and below them who has won, or why it ended early."""
    _head(canvas, released, game)
    _scores(canvas, players, scores, "")
    words = _OVER.get(reason, reason)
    if not words and len(players) > 1:
        best = max(scores)
        words = "a draw" if scores.count(best) > 1 else "%s wins" % ascii_of(players[scores.index(best)])
    _foot(canvas, words or "well done")


def draw_words(canvas: "Any", released: "tuple[str, str]", head: str, words: str) -> None:
    """Draw a sentence for a person, on five lines at most."""
    _head(canvas, released, head)
    y = 20
    line = ""
    for word in ascii_of(words).split(" "):
        if line and len(line) + 1 + len(word) > _CHARS:
            canvas.text(line, 0, y, 1)
            y += 9
            line = word
        else:
            line = "%s %s" % (line, word) if line else word
    canvas.text(line, 0, y, 1)


def draw_heartbeat(canvas: "Any", is_on: bool) -> None:
    """Draw a dot at the right end of the top line, which no picture uses: while it blinks the hub lives."""
    canvas.fill_rect(WIDTH - 5, 2, 4, 4, 1 if is_on else 0)


def draw_large(canvas: "Any", text: str, x: int, y: int, scale: int, colour: int, height: int = 0) -> None:
    """Draw `text` in letters of 8 x `scale` points, or 8 x `height` of them high, upon one colour. Takes next
    to no memory: while a game is played there is little.
    """
    height = height or scale
    letter = bytearray(_CHAR * _CHAR)
    for char in text:
        canvas.text(char, x, y, colour)
        for at in range(len(letter)):
            letter[at] = canvas.pixel(x + at % _CHAR, y + at // _CHAR) == colour
        canvas.fill_rect(x, y, _CHAR, _CHAR, 1 - colour)
        for at in range(len(letter)):
            if letter[at]:
                canvas.fill_rect(x + at % _CHAR * scale, y + at // _CHAR * height, scale, height, colour)
        x += _CHAR * scale


def ascii_of(text: str) -> str:
    """Return `text` with a question mark for each letter that the screen does not have."""
    return "".join([char if " " <= char <= "~" else "?" for char in text])


def _head(canvas: "Any", released: "tuple[str, str]", left: str, targets: int = -1) -> None:
    """Draw on top that targets may rise, and beside it what is `left` and who has released them when; on the
    right how many targets there are, where that is not said (-1) nothing.
    """
    canvas.fill(0)
    canvas.fill_rect(0, 0, _ARMED_WIDTH, _RULE_Y, 1)
    draw_large(canvas, "ARMED", 1, 1, 1, 0, 2)
    right = WIDTH - 6
    if targets >= 0:
        digits = "%d" % targets
        right = WIDTH - 13 - _CHAR * len(digits)
        canvas.text(digits, right, 1, 1)
        canvas.fill_rect(WIDTH - 13, 1, 7, 5, 1)
        canvas.fill_rect(WIDTH - 10, 6, 1, 2, 1)
    chars = (right - _ARMED_WIDTH - 1) // _CHAR
    canvas.text(_cut(ascii_of(left), chars), _ARMED_WIDTH + 1, 1, 1)
    by, age = released
    if age:
        by = _cut(ascii_of(by), _HEAD_CHARS - 1 - len(age))
        canvas.text("%s %s" % (by, age), _ARMED_WIDTH + 1, 10, 1)
    canvas.hline(0, _RULE_Y, WIDTH, 1)


def _foot(canvas: "Any", words: str) -> None:
    """Draw a line at the bottom that stands out."""
    canvas.fill_rect(0, 55, WIDTH, 9, 1)
    words = _cut(words, _CHARS)
    canvas.text(words, _centred(words), 56, 0)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "~"


def _centred(text: str) -> int:
    return (WIDTH - _CHAR * len(text)) // 2


def _icons(canvas: "Any", states: "tuple[str, ...]", y: int) -> None:
    """Draw each target as it stands, lies or is away, seen from the shooter."""
    pitch = WIDTH // _MAX_ICONS if len(states) > 4 else WIDTH // 4
    for at, state in enumerate(states[:_MAX_ICONS]):
        x = at * pitch + (pitch - _ICON) // 2
        if state in _STANDING:
            canvas.fill_rect(x + 2, y, 12, 12, 1)
            canvas.fill_rect(x + 7, y + 12, 2, 3, 1)
            if state == "armed":
                canvas.fill_rect(x + 5, y + 3, 6, 6, 0)
                canvas.fill_rect(x + 7, y + 5, 2, 2, 1)
        elif state:
            canvas.fill_rect(x + 2, y + 12, 12, 3, 1)
        else:
            canvas.line(x + 4, y + 3, x + 12, y + 11, 1)
            canvas.line(x + 4, y + 11, x + 12, y + 3, 1)
        canvas.hline(x, y + 15, _ICON, 1)


def _scores(canvas: "Any", players: "tuple[str, ...]", scores: "tuple[int, ...]", turn: str) -> None:
    """Draw one or two scores in digits as large as fit; more of them in rows."""
    if len(players) > 2:
        _rows(canvas, players, scores, turn)
        return
    width = WIDTH // len(players)
    texts = ["%d" % score for score in scores]
    longest = max([len(text) for text in texts])
    scale = max(1, min(3 if len(players) == 2 else 4, width // _CHAR // longest))
    middle_y = 42 if len(players) == 2 else 37
    for at, text in enumerate(texts):
        x = at * width
        x_text = x + (width - scale * _CHAR * len(text)) // 2
        draw_large(canvas, text, x_text, middle_y - _CHAR * scale // 2, scale, 1)
        if len(players) == 2:
            name = _cut(ascii_of(players[at]), width // _CHAR)
            is_turn = players[at] == turn
            if is_turn:
                canvas.fill_rect(x, 20, width, 9, 1)
            canvas.text(name, x + (width - _CHAR * len(name)) // 2, 21, 0 if is_turn else 1)
            canvas.vline(WIDTH // 2 - 1, 30, 24, 1)


def _rows(canvas: "Any", players: "tuple[str, ...]", scores: "tuple[int, ...]", turn: str) -> None:
    """Draw four rows; with more than four players two columns of them."""
    chars = _CHARS if len(players) <= 4 else _CHARS // 2
    for at, player in enumerate(players[:8]):
        x, y = at // 4 * (WIDTH // 2), 20 + at % 4 * 9
        score = "%d" % scores[at]
        name = _cut(ascii_of(player), max(1, chars - 1 - len(score)))
        is_turn = player == turn
        right = x + chars * _CHAR - (2 if chars < _CHARS else 0)
        if is_turn:
            canvas.fill_rect(x, y - 1, right - x, 9, 1)
        canvas.text(name, x, y, 0 if is_turn else 1)
        canvas.text(score, right - _CHAR * len(score), y, 0 if is_turn else 1)

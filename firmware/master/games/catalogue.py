"""The catalogue of games, with the options and players that each takes. Loaded when it is asked for."""

from snyper.shared.names import normalised, visible
from snyper.shared.socket_protocol import (
    MAX_PLAYER_CHARS,
    ErrorCode,
    ProtocolError,
    integer_field,
    is_target_id,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = ("quick", "gallery", "duel", "simon", "shoot", "reaction")

# What every game takes beside its own OPTIONS.
_COMMON = {"countdown_ms": (3_000, 0, 60_000, "before the game starts")}


def load(name: str) -> "Any":
    """Import the module of a game. Raises ProtocolError `bad_message` where there is none of that name."""
    game: "Any"
    if name == "quick":
        from snyper.firmware.master.games import quick as game
    elif name == "gallery":
        from snyper.firmware.master.games import gallery as game
    elif name == "duel":
        from snyper.firmware.master.games import duel as game
    elif name == "simon":
        from snyper.firmware.master.games import simon as game
    elif name == "shoot":
        from snyper.firmware.master.games import shoot as game
    elif name == "reaction":
        from snyper.firmware.master.games import reaction as game
    else:
        raise _bad("no game is called %s; there are %s" % (name[:32], ", ".join(NAMES)))
    return game


def describe(name: str, game: "Any") -> "dict[str, object]":
    """Return the data of a game's `game` message."""
    options = _options_of(game)
    return {
        "game": name,
        "title": game.TITLE,
        "rules": game.RULES,
        "min_players": game.PLAYERS[0],
        "max_players": game.PLAYERS[1],
        "min_targets": game.MIN_TARGETS,
        "options": [_described(option, options[option]) for option in sorted(options)],
    }


def read_options(game: "Any", given: object) -> "dict[str, Any]":
    """Read a value for each option of the game. Raises ProtocolError `bad_message`."""
    options = _options_of(game)
    if type(given) is not dict:
        raise _bad("`options` is an object")
    for option in given:
        if option not in options:
            known = ", ".join(sorted(options))
            raise _bad("%s has no option %s; it has %s" % (game.TITLE, option[:32], known))
    return {option: _read(option, options[option], given) for option in options}


def read_players(game: "Any", given: object) -> "list[str]":
    """Read the players' names; without any as many as the game needs are made up. Raises ProtocolError
    `bad_message`.
    """
    low, high = game.PLAYERS
    if not isinstance(given, (list, tuple)):
        raise _bad("`players` is a list of names")
    names = [normalised(name) if type(name) is str else name for name in given]
    names = names or ["Player %d" % (at + 1) for at in range(low)]
    if not low <= len(names) <= high:
        count = "%d" % low if low == high else "%d to %d" % (low, high)
        raise _bad("%s takes %s players, not %d" % (game.TITLE, count, len(names)))
    for at in range(len(names)):
        if not _is_player(names[at]):
            raise _bad(
                "players[%d]: a name has 1 to %d characters, none that is invisible or controls a screen"
                % (at, MAX_PLAYER_CHARS)
            )
        if names[at] in names[:at]:
            raise _bad("players[%d]: %s plays already" % (at, names[at]))
    return names


def _is_player(name: object) -> bool:
    return type(name) is str and 0 < len(name) <= MAX_PLAYER_CHARS and visible(name) == name


def _options_of(game: "Any") -> "dict[str, Any]":
    options = dict(game.OPTIONS)
    options.update(_COMMON)
    return options


def _read(name: str, option: "tuple[Any, ...]", given: "dict[str, Any]") -> "Any":
    """Read the value of one option: (default, low, high, meaning) is an integer, (default, words, meaning)
    one of these words, (default, meaning) the name of a group, or none.
    """
    if len(option) == 4:
        return integer_field(given, name, option[0], option[1], option[2])
    value = given.get(name, option[0])
    if len(option) == 3:
        if value not in option[1]:
            raise _bad("`%s` is one of %s" % (name, ", ".join(option[1])))
    elif value != "" and not is_target_id(value):
        raise _bad("`%s` is the name of a group, or empty" % name)
    return value


def _described(name: str, option: "tuple[Any, ...]") -> "dict[str, object]":
    data: "dict[str, object]" = {"name": name, "default": option[0], "meaning": option[-1]}
    if len(option) == 4:
        data["low"] = option[1]
        data["high"] = option[2]
    elif len(option) == 3:
        data["choices"] = list(option[1])
    return data


def _bad(message: str) -> ProtocolError:
    return ProtocolError(ErrorCode.BAD_MESSAGE, message)

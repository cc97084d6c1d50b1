"""Every kind of event, a row each: what it says, how it reads, sounds, and changes the picture of the range.

The terminal, the dashboard, the history and the tables in docs/protocol.md are made from KINDS. A new kind is
a row here and an `EventLog.add` where it happens; one that has no row is shown as what it says.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from snyper.client.labels import counted, rest_text, state_word
from snyper.client.models import CeaseFire, Event, GameState, count_in, crosstalk_of, text_in
from snyper.client.range_model import RangeModel, Shot, TargetModel
from snyper.shared.socket_protocol import MAX_INTEGER, SocketMessage

TARGETS, HISTORY = "targets", "history"  # what a kind may change that a screen then asks for again
COUNT = range(MAX_INTEGER + 1)
PEAK = range(65_536)


class Field(NamedTuple):
    """A field of an event's data. Its name ends with its unit where it has one. `meaning` is Markdown, empty
    where the name says it all. A kind is a type, a `range` of integers, or a list of the one kind of its
    items. Where `kind` is given, an event without such a field changes nothing; `optional` is the kind of one
    that may be left out. A field of another kind is left out where the event comes in.
    """

    meaning: str = ""
    kind: Any = None
    optional: Any = str


@dataclass(frozen=True)
class EventKind:
    """The description of one kind of event. `when` is Markdown for docs/protocol.md.

    `line` says in a line what happened; without it that is the first of `message`, `text`, `reason` and
    `player`, or all that the event says. `style` is Rich's, `sound` one of TUNES in dashboard/page.js.
    `fold_target` changes a target of a RangeModel, and `fold_range` what holds for all of them, by an event
    that was told at an instant of the follower's clock; `fold_game` changes its game.
    """

    name: str
    when: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    line: Callable[[Mapping[str, Any]], str] | None = None
    style: str = ""
    sound: str = ""
    changes: tuple[str, ...] = ()
    fold_target: Callable[[TargetModel, Mapping[str, Any], float], None] | None = None
    fold_game: Callable[[RangeModel, Event], None] | None = None
    fold_range: Callable[[RangeModel, Mapping[str, Any], float], None] | None = None

    @property
    def is_of_a_game(self) -> bool:
        """Whether it says of a game, by its `game_id`, how that goes on."""
        return self.name.startswith("game_")

    def takes(self, name: str, value: object) -> bool:
        """Return whether an event of this kind may say so. What the table does not name is for other eyes."""
        one = self.fields.get(name)
        return one is None or is_of(value, one.optional if one.kind is None else one.kind)

    @property
    def required(self) -> dict[str, Any]:
        """The fields that its data has to have to change anything, with their types."""
        return {name: one.kind for name, one in self.fields.items() if one.kind is not None}


# --- the lines


def _hit_line(data: Mapping[str, Any]) -> str:
    said = []
    if data.get("reaction_ms") is not None:
        said.append(f"after {data['reaction_ms']} ms")
    if data.get("peak") is not None:
        said.append(f"peak {data['peak']}")
    if crosstalk_of(data):
        said.append(f"cross-talk of {crosstalk_of(data)}: it does not count")
    return ", ".join(said)


def _miss_line(data: Mapping[str, Any]) -> str:
    reason = str(data.get("reason") or "")
    return f"{reason}; its piezo {rest_text(data['rests_at'])}" if data.get("rests_at") else reason


def _score_line(data: Mapping[str, Any]) -> str:
    points = data.get("points")
    gained = f"{points:+d}" if isinstance(points, int) else points
    return f"{data.get('player')} {gained}, has {data.get('total')}"


def _words(value: object) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else ()


def _cease_fire_line(data: Mapping[str, Any]) -> str:
    said = f"by {data.get('by')}"
    if data.get("why"):
        said += f": {data['why']}"
    if data.get("kept") is False:
        said += "; it does not outlive the hub, see its log"
    return said + "; since before the hub's start" if data.get("restored") else said


def _line_of_any(data: Mapping[str, Any]) -> str:
    """Format an event whose kind has no words of its own."""
    for name in ("message", "text", "reason", "player"):
        if data.get(name):
            return str(data[name])
    return ", ".join(f"{name} {value}" for name, value in data.items() if name != "game_id")


# --- how they change a target


def _fold_shot(target: TargetModel, data: Mapping[str, Any], word: str) -> None:
    target.shots += 1
    target.last_shot = word
    target.last_reaction_ms = count_in(data, "reaction_ms")
    target.last_peak = count_in(data, "peak")


def _fold_hit(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    if crosstalk_of(data):
        _fold_shot(target, data, "crosstalk")
    else:
        _fold_shot(target, data, "hit")
        target.last_hit_s, target.last_hit_ms = now_s, target.last_reaction_ms


def _fold_miss(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    _fold_shot(target, data, "miss")


def _fold_crosstalk(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    target.shots += 1
    target.last_shot = "crosstalk"
    target.last_hit_s = target.last_hit_ms = None


def _fold_lost(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    target.info = replace(target.info, connected=False, seen_ms_ago=0)


def _fold_state(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    target.info = replace(target.info, state=text_in(data, "state"))


def _fold_groups(target: TargetModel, data: Mapping[str, Any], now_s: float) -> None:
    target.info = replace(target.info, groups=list(_words(data.get("groups"))))


# --- how they change the range


def _fold_cease_fire(model: RangeModel, data: Mapping[str, Any], now_s: float) -> None:
    for_ms = count_in(data, "for_ms") or 0
    restored = data.get("restored") is True
    model.cease_fire = CeaseFire(True, data["by"], data["why"], for_ms, data["kept"], restored)
    model.cease_fire_s = now_s


def _fold_release(model: RangeModel, data: Mapping[str, Any], now_s: float) -> None:
    model.cease_fire = CeaseFire(False, data["by"], for_ms=0)
    model.cease_fire_s = now_s


# --- how they change the game


def _fold_started(model: RangeModel, event: Event) -> None:
    said = {name: event.data[name] for name in KINDS["game_started"].required}
    players: list[str] = said["players"]  # type: ignore[assignment]
    model.game = GameState("running", scores=[0] * len(players), **said)  # type: ignore[arg-type]
    model.note, model.winner, model.results = "", "", {}
    model.shots.clear()


def _fold_turn(model: RangeModel, event: Event) -> None:
    model.game = replace(model.game, turn=str(event.data["player"]))


def _fold_progress(model: RangeModel, event: Event) -> None:
    data: Mapping[str, Any] = event.data
    model.game = replace(model.game, done=data["done"], total=data["total"], unit=data["unit"])


def _fold_score(model: RangeModel, event: Event) -> None:
    data: Mapping[str, Any] = event.data
    game = model.game
    scores = [
        data["total"] if player == data["player"] else score
        for player, score in zip(game.players, game.scores, strict=True)
    ]
    model.game = replace(game, scores=scores)
    points = data["points"] if type(data.get("points")) is int else 0
    reaction_ms, text = count_in(data, "reaction_ms"), text_in(data, "text")
    model.shots.appendleft(Shot(data["player"], points, event.target_id, reaction_ms, text))


def _fold_note(model: RangeModel, event: Event) -> None:
    model.note = text_in(event.data, "text")


def _fold_target_out(model: RangeModel, event: Event) -> None:
    model.game = replace(model.game, targets=max(0, model.game.targets - 1))
    model.note = f"{event.target_id} is lost, the game goes on without it"


def _fold_over(model: RangeModel, event: Event) -> None:
    data: Mapping[str, Any] = event.data
    if len(data["scores"]) == len(model.game.players):
        model.game = replace(model.game, status="over", reason=data["reason"], scores=data["scores"], turn="")
        model.winner = text_in(data, "winner")
        model.results = results_of(data)


# --- the table

_GAME_ID = Field()
_COUNT = Field(optional=COUNT)
_OF_A_REPORT = {"at_us": _COUNT, "uncertainty_us": _COUNT, "gap_us": _COUNT, "dropped": _COUNT}

_ROWS = (
    EventKind(
        "registered",
        "a target is here, new or back",
        {"state": Field()},
        line=lambda data: "",
        style="cyan",
        changes=(TARGETS,),
    ),
    EventKind(
        "lost",
        "its link has ended",
        {"reason": Field("[a word](#why-a-target-is-lost)"), "code": Field(), "message": Field()},
        style="bold red",
        sound="lost",
        changes=(TARGETS,),
        fold_target=_fold_lost,
    ),
    EventKind(
        "service_here",
        "a [service](#list-of-services) is here, new or back: `target_id` is its name",
        {"firmware": Field("what it serves, for people")},
        line=lambda data: text_in(data, "firmware"),
        style="cyan",
    ),
    EventKind(
        "service_lost",
        "its link has ended",
        {"reason": Field("[a word](#why-a-target-is-lost)"), "code": Field(), "message": Field()},
        style="bold red",
    ),
    EventKind(
        "duplicate",
        "another board asks for its name, and is refused; [once](#registration), not each time",
        {"message": Field("what to do")},
        style="bold red",
    ),
    EventKind(
        "state",
        "the hub learnt that its state has changed; not for `rising`, `arming` and `falling`, which pass",
        {"state": Field()},
        line=lambda data: state_word(str(data.get("state", ""))),
        fold_target=_fold_state,
    ),
    EventKind(
        "hit",
        "its [report](#hits-and-misses) came",
        {
            "reaction_ms": _COUNT,
            "peak": Field(optional=PEAK),
            **_OF_A_REPORT,
            "crosstalk_of": Field("in one that does not count, the target that was struck"),
        },
        line=_hit_line,
        style="bold green",
        sound="hit",
        changes=(HISTORY,),
        fold_target=_fold_hit,
    ),
    EventKind(
        "miss",
        "its [report](#hits-and-misses) came",
        {"reason": Field(), "rests_at": Field(optional=PEAK), **_OF_A_REPORT},
        line=_miss_line,
        style="yellow",
        sound="miss",
        changes=(HISTORY,),
        fold_target=_fold_miss,
    ),
    EventKind(
        "crosstalk",
        "a hit that was told before does not count: a stronger one has come since",
        {
            "hit_seq": Field("the `seq` of that `hit`", optional=COUNT),
            "crosstalk_of": Field("the target that was struck"),
        },
        line=lambda data: f"of {crosstalk_of(data)}: its last hit does not count",
        style="yellow",
        fold_target=_fold_crosstalk,
    ),
    EventKind(
        "groups",
        "it was configured, and its groups have changed",
        {"groups": Field(optional=[str])},
        line=lambda data: " ".join(_words(data.get("groups"))),
        changes=(TARGETS,),
        fold_target=_fold_groups,
    ),
    EventKind(
        "cease_fire",
        "nothing is raised or armed any more: see [cease fire](#cease-fire). Of no target",
        {
            "by": Field("who has called it", str),
            "why": Field("", str),
            "kept": Field("whether it outlives the hub", bool),
            "restored": Field("true where it held before this start of the hub", optional=bool),
            "for_ms": Field("then, for how long", optional=COUNT),
        },
        line=_cease_fire_line,
        style="bold white on red",
        sound="lost",
        fold_range=_fold_cease_fire,
    ),
    EventKind(
        "release",
        "the cease fire is over. Of no target",
        {"by": Field("who has released it", str), "held_ms": Field("for how long it held", optional=COUNT)},
        line=lambda data: f"by {data.get('by')}",
        style="bold",
        fold_range=_fold_release,
    ),
    EventKind(
        "journal",
        "the hub's journal fails, or is written again. Of no target",
        {
            "state": Field("`failing` or `ok`"),
            "message": Field(),
            "dropped": Field("how many events are not in it, if there are any", optional=COUNT),
        },
        style="bold red",
    ),
    EventKind(
        "game_started",
        "it was started; it begins at `starts_at_us`",
        {
            "game_id": Field("", str),
            "game": Field("", str),
            "title": Field(),
            "players": Field("", [str]),
            "options": Field(optional=dict),
            "seed": Field("", COUNT),
            "targets": Field("how many", COUNT),
            "unit": Field("", str),
            "total": Field("so many `unit`, 0 before the first `game_progress`", COUNT),
            "starts_at_us": Field("of the hub's clock", COUNT),
        },
        line=lambda data: f"{data.get('game')} with {', '.join(_words(data.get('players')))}",
        changes=(HISTORY,),
        fold_game=_fold_started,
    ),
    EventKind(
        "game_turn",
        "from now on it is this player's turn",
        {"game_id": _GAME_ID, "player": Field("", str)},
        fold_game=_fold_turn,
    ),
    EventKind(
        "game_progress",
        "how far it is: `done` of `total`, in `unit`",
        {
            "game_id": _GAME_ID,
            "done": Field("", COUNT),
            "total": Field("", COUNT),
            "unit": Field("", str),
        },
        line=lambda data: f"{data.get('done')} of {counted(data.get('total'), str(data.get('unit')))}",
        fold_game=_fold_progress,
    ),
    EventKind(
        "game_score",
        "a player has got points, or lost some",
        {
            "game_id": _GAME_ID,
            "player": Field("", str),
            "points": Field(optional=int),
            "total": Field("what the player has now", int),
            "reaction_ms": Field("where they are for a hit", optional=COUNT),
            "text": Field("where there is more to say"),
            "crosstalk_of": Field("where points are taken back since the hit was cross-talk"),
            "score_seq": Field("then the `seq` of the `game_score` that gave them", optional=COUNT),
        },
        line=_score_line,
        sound="game_score",
        fold_game=_fold_score,
    ),
    EventKind(
        "game_note",
        "something to tell people",
        {"game_id": _GAME_ID, "text": Field("at most 96 characters")},
        fold_game=_fold_note,
    ),
    EventKind(
        "game_target_out",
        "the target plays no more",
        {"game_id": _GAME_ID, "code": Field("why, one of the error codes")},
        line=lambda data: str(data.get("code", "")),
        fold_game=_fold_target_out,
    ),
    EventKind(
        "game_over",
        "it is over, and its targets lie",
        {
            "game_id": _GAME_ID,
            "game": Field(),
            "reason": Field("", str),
            "players": Field(optional=[str]),
            "scores": Field("", [int]),
            "winner": Field(),
            "duration_ms": _COUNT,
            "seed": _COUNT,
            "results": Field(optional=dict),
        },
        style="bold",
        sound="game_over",
        changes=(HISTORY,),
        fold_game=_fold_over,
    ),
)
KINDS: dict[str, EventKind] = {kind.name: kind for kind in _ROWS}


# --- what is made from it


def event_of(message: SocketMessage) -> Event:
    """Read an `event`, whatever is in it: its data has no field that the table has of another kind."""
    data: dict[str, object] = dict(message.data or {})
    seq, event = count_in(data, "seq") or 0, text_in(data, "event")
    kind = KINDS.get(event)
    return Event(
        seq,
        event,
        message.target_id or "",
        {
            name: value
            for name, value in data.items()
            if name not in ("seq", "event") and (kind is None or kind.takes(name, value))
        },
    )


def kind_of(event: Event) -> EventKind:
    """Return the row of an event's kind, or one that has no more than the name."""
    return KINDS.get(event.event) or EventKind(event.event, "")


def line_of(event: Event) -> str:
    """Format what an event says beside its kind and target. It may hold anything that a target or hub has
    said.
    """
    kind = kind_of(event)
    line = kind.line if kind.line is not None and says(event.data, kind.required) else _line_of_any
    return line(event.data)


def sound_of(event: Event) -> str:
    """Return the sound of an event, or "": a hit that does not count is not to be heard."""
    return "" if crosstalk_of(event.data) else kind_of(event).sound


def fold(model: RangeModel, event: Event, now_s: float = 0.0, *, is_news: bool = True) -> None:
    """Bring `model` up to date. An event that lacks what it has to say, or is of another game, changes
    nothing; one that is no news, since it came before somebody followed, changes only the game.
    """
    kind = kind_of(event)
    if not says(event.data, kind.required):
        return
    target = model.targets.get(event.target_id)
    if kind.fold_target is not None and target is not None and is_news:
        kind.fold_target(target, event.data, now_s)
    if kind.fold_range is not None and is_news:
        kind.fold_range(model, event.data, now_s)
    is_of_this_game = kind.name == "game_started" or event.data.get("game_id") == model.game.game_id
    if kind.fold_game is not None and is_of_this_game:
        kind.fold_game(model, event)


def says(data: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    """Return whether `data` has all these fields, each of its kind."""
    return all(is_of(data.get(name), kind) for name, kind in kinds.items())


def is_of(value: object, kind: Any) -> bool:
    """Return whether a value is of a kind, as Field says it."""
    if isinstance(kind, list):
        return isinstance(value, list) and all(is_of(item, kind[0]) for item in value)
    if isinstance(kind, range):
        return type(value) is int and value in kind
    return type(value) is kind


def results_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results that a `game_over` tells, each a value or a list with one for each player; None
    where there is none. Hubs up to 0.1.0 said 0 ms for a player without a hit.
    """
    said = data.get("results")
    results: dict[str, Any] = dict(said) if isinstance(said, dict) else {}
    hits = results.get("hits")
    for name, values in results.items():
        if name.endswith("_ms") and isinstance(hits, list) and isinstance(values, list):
            results[name] = [value if hit else None for value, hit in zip(values, hits, strict=False)]
    return results

"""Models of what a hub says: each read out of one message. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from snyper.shared.socket_protocol import ErrorCode, MessageType, SocketMessage


@dataclass(frozen=True)
class TargetInfo:
    """One target, as the hub knows it. What is None is not known: before the first heartbeat, or at all.

    `uncertainty_us` is how far the target's idea of the hub's clock can be wrong, `dropped` how many reports
    it had to give up since its boot. `last_error` is "duplicate" where another board asks for this name, or
    empty. `rests_at` is where its piezo rests, if that was not below the threshold all the last round, in
    which nothing could be detected; else 0.
    """

    target_id: str
    connected: bool
    state: str
    groups: list[str]
    firmware: str
    seen_ms_ago: int
    round_trip_us: int | None
    uptime_ms: int | None = None
    dropped: int | None = None
    uncertainty_us: int | None = None
    heap_free_bytes: int | None = None
    last_error: str = ""
    rests_at: int | None = None


@dataclass(frozen=True)
class ServiceInfo:
    """One service, as the hub knows it. `firmware` says for people what it serves, in its own words;
    `seen_ms_ago` is 0 while it is connected. `round_trip_us` is None before the first heartbeat.
    """

    target_id: str
    connected: bool
    firmware: str
    seen_ms_ago: int
    round_trip_us: int | None = None


@dataclass(frozen=True)
class HubStatus:
    """The status of the hub. `hub_us` is its clock, `round_trip_us` how long the answer took; `targets`
    are connected now. `journal` is "ok", "failing", or "" where the hub keeps none.
    """

    uptime_ms: int
    targets: int
    hub_us: int
    round_trip_us: int
    journal: str = ""


@dataclass(frozen=True)
class CeaseFire:
    """A cease fire that is `held`, or the last one that was released. `by` is who has called or released it,
    empty where nobody has since the hub's start; `for_ms` for how long that is so, None where that is not
    known. One that is `kept` outlives the hub; one that held before the hub's start is `restored`.
    """

    held: bool
    by: str = ""
    why: str = ""
    for_ms: int | None = None
    kept: bool = True
    restored: bool = False


@dataclass(frozen=True)
class TargetResult:
    """The result of one command at one target.

    `status` is the target's own word, or `error`, or `unknown` where nobody can say whether the command was
    carried out; then `code` and `message` say why.
    """

    target_id: str
    ok: bool
    status: str
    round_trip_us: int
    code: str = ""
    message: str = ""
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class PiezoPeaks:
    """The greatest sample (0 to 65,535) of a target's piezo in each `bin_ms` of a LISTEN.
    `gap_us` is the longest time without a sample; `threshold` is what a sample must reach to be a hit.
    """

    bin_ms: int
    bins: list[int]
    samples: int
    gap_us: int
    threshold: int


@dataclass(frozen=True)
class Trace:
    """The samples of a target's piezo around its last hit: `values` (0 to 65,535), and when each was
    measured, in microseconds after the sample that reached the `threshold`. Both are empty where there was no
    hit since the target was last armed.
    """

    threshold: int
    reaction_ms: int
    peak: int
    times_us: list[int]
    values: list[int]


@dataclass(frozen=True)
class GameOption:
    """One thing to choose about a game; its name ends in its unit. `low` and `high` are None but for an
    integer, `choices` is empty but for a word out of a list.
    """

    name: str
    default: int | str
    meaning: str
    low: int | None = None
    high: int | None = None
    choices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GameInfo:
    """A game that the hub can play. `rules` say how one scores."""

    name: str
    title: str
    rules: str
    min_players: int
    max_players: int
    min_targets: int
    options: list[GameOption]


@dataclass(frozen=True)
class GameState:
    """The game that runs, or the last one. `status` is `running`, `over`, or `none` when there was no game
    since the hub's start. `scores` are in the order of `players`; `done` of `total` says how far it is, in
    `unit`; `turn` is whose turn it is, or empty. `reason` says why it is over: `finished`, `stopped`,
    `no_targets` or `fault`. `starts_at_us` is the instant of the hub's clock at which the countdown ends.
    """

    status: str
    game_id: str = ""
    game: str = ""
    players: list[str] = field(default_factory=list)
    scores: list[int] = field(default_factory=list)
    done: int = 0
    total: int = 0
    unit: str = ""
    turn: str = ""
    targets: int = 0
    seed: int = 0
    reason: str = ""
    starts_at_us: int = 0


@dataclass(frozen=True)
class Event:
    """An event: `event` is its kind, of which `snyper.client.events` has a table. `seq` counts them.
    `target_id` is empty where none is meant.
    """

    seq: int
    event: str
    target_id: str
    data: dict[str, object]


def crosstalk_of(data: Mapping[str, object]) -> str:
    """Return the target whose blow the hit with this data was no more than an echo of; empty for one that
    counts. A hit may be told first, and be taken back by a `crosstalk` with its `hit_seq`.
    """
    of = data.get("crosstalk_of")
    return of if isinstance(of, str) else ""


def count_in(data: Mapping[str, object], name: str) -> int | None:
    """Return the field if it is an integer from 0 on, else None."""
    value = data.get(name)
    return value if type(value) is int and value >= 0 else None


def text_in(data: Mapping[str, object], name: str) -> str:
    """Return the field if it is a text, else ""."""
    value = data.get(name)
    return value if isinstance(value, str) else ""


def texts_in(data: Mapping[str, object], name: str) -> list[str]:
    """Return the texts of a list."""
    value = data.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def target_info_of(message: SocketMessage) -> TargetInfo:
    """Read a `target`. Whatever is in it: what is not what it should be is not known."""
    data: Mapping[str, object] = message.data or {}
    return TargetInfo(
        target_id=message.target_id or "",
        connected=data.get("connected") is True,
        state=text_in(data, "state"),
        groups=texts_in(data, "groups"),
        firmware=text_in(data, "firmware"),
        seen_ms_ago=count_in(data, "seen_ms_ago") or 0,
        round_trip_us=count_in(data, "round_trip_us"),
        uptime_ms=count_in(data, "uptime_ms"),
        dropped=count_in(data, "dropped"),
        uncertainty_us=count_in(data, "uncertainty_us"),
        heap_free_bytes=count_in(data, "heap_free_bytes"),
        last_error=text_in(data, "last_error"),
        rests_at=count_in(data, "rests_at"),
    )


def service_info_of(message: SocketMessage) -> ServiceInfo:
    """Read an item of `list_services`. Whatever is in it: what is not what it should be is not known."""
    data: Mapping[str, object] = message.data or {}
    return ServiceInfo(
        target_id=message.target_id or "",
        connected=data.get("connected") is True,
        firmware=text_in(data, "firmware"),
        seen_ms_ago=count_in(data, "seen_ms_ago") or 0,
        round_trip_us=count_in(data, "round_trip_us"),
    )


def hub_status_of(message: SocketMessage, round_trip_us: int) -> HubStatus:
    """Read the `pong` of a hub, whatever is in it."""
    data: Mapping[str, object] = message.data or {}
    return HubStatus(
        uptime_ms=count_in(data, "uptime_ms") or 0,
        targets=count_in(data, "targets") or 0,
        hub_us=count_in(data, "hub_us") or 0,
        round_trip_us=round_trip_us,
        journal=text_in(data, "journal"),
    )


def target_result_of(message: SocketMessage) -> TargetResult:
    """Read a `result`, or the reply of the one target that was meant, whatever is in it."""
    data: dict[str, object] = dict(message.data or {})
    round_trip_us = count_in(data, "round_trip_us") or 0
    ok = message.type != MessageType.ERROR
    if message.type == MessageType.RESULT:
        ok = message.status not in ("error", "unknown") or "code" not in data
    said = {} if ok else {name: data.pop(name, "") for name in ("code", "message")}
    for name in ("round_trip_us", "round_trip_ms"):
        data.pop(name, None)
    return TargetResult(
        target_id=message.target_id or "",
        ok=ok,
        status=message.status or message.type,
        round_trip_us=round_trip_us,
        code="" if ok else text_in(said, "code") or ErrorCode.INTERNAL,
        message=text_in(said, "message"),
        data=data,
    )


def game_info_of(message: SocketMessage) -> GameInfo:
    """Read an item of `list_games`, whatever is in it."""
    data: Mapping[str, object] = message.data or {}
    options = data.get("options")
    return GameInfo(
        name=text_in(data, "game"),
        title=text_in(data, "title"),
        rules=text_in(data, "rules"),
        min_players=count_in(data, "min_players") or 1,
        max_players=count_in(data, "max_players") or 1,
        min_targets=count_in(data, "min_targets") or 1,
        options=[_option(option) for option in options if isinstance(option, dict)]
        if isinstance(options, list)
        else [],
    )


def _option(data: Mapping[str, object]) -> GameOption:
    default = data.get("default")
    low, high = (data.get(name) for name in ("low", "high"))
    return GameOption(
        name=text_in(data, "name"),
        default=default if type(default) is int else text_in(data, "default"),
        meaning=text_in(data, "meaning"),
        low=low if type(low) is int else None,
        high=high if type(high) is int else None,
        choices=texts_in(data, "choices"),
    )


def game_state_of(message: SocketMessage) -> GameState:
    """Read a `game_state`, whatever is in it: each player has a score."""
    data: Mapping[str, object] = message.data or {}
    players = texts_in(data, "players")
    scores = data.get("scores")
    said = [score for score in scores if type(score) is int] if isinstance(scores, list) else []
    return GameState(
        status=message.status or "none",
        game_id=text_in(data, "game_id"),
        game=text_in(data, "game"),
        players=players,
        scores=(said + [0] * len(players))[: len(players)],
        done=count_in(data, "done") or 0,
        total=count_in(data, "total") or 0,
        unit=text_in(data, "unit"),
        turn=text_in(data, "turn"),
        targets=count_in(data, "targets") or 0,
        seed=count_in(data, "seed") or 0,
        reason=text_in(data, "reason"),
        starts_at_us=count_in(data, "starts_at_us") or 0,
    )


def cease_fire_of(message: SocketMessage) -> CeaseFire:
    """Read the reply to `cease_fire`, `release` or `get_cease_fire`, whatever is in it."""
    data: Mapping[str, object] = message.data or {}
    return CeaseFire(
        held=data.get("held") is not False,  # if in doubt
        by=text_in(data, "by"),
        why=text_in(data, "why"),
        for_ms=count_in(data, "for_ms"),
        kept=data.get("kept") is not False,
        restored=data.get("restored") is True,
    )

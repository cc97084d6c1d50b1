"""Models of what a hub says: each read out of one message. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


def target_info_of(message: SocketMessage) -> TargetInfo:
    """Read a `target`."""
    data: dict[str, Any] = message.data or {}
    return TargetInfo(
        target_id=message.target_id or "",
        connected=bool(data.get("connected")),
        state=str(data.get("state", "")),
        groups=list(data.get("groups", [])),
        firmware=str(data.get("firmware", "")),
        seen_ms_ago=int(data.get("seen_ms_ago", 0)),
        round_trip_us=data.get("round_trip_us"),
        uptime_ms=data.get("uptime_ms"),
        dropped=data.get("dropped"),
        uncertainty_us=data.get("uncertainty_us"),
        heap_free_bytes=data.get("heap_free_bytes"),
        last_error=str(data.get("last_error", "")),
        rests_at=data.get("rests_at"),
    )


def target_result_of(message: SocketMessage) -> TargetResult:
    """Read a `result`, or the reply of the one target that was meant."""
    data: dict[str, Any] = dict(message.data or {})
    round_trip_us = int(data.pop("round_trip_us", 0))
    data.pop("round_trip_ms", None)
    ok = message.type != MessageType.ERROR
    if message.type == MessageType.RESULT:
        ok = message.status not in ("error", "unknown") or "code" not in data
    code = "" if ok else str(data.pop("code", ErrorCode.INTERNAL))
    return TargetResult(
        target_id=message.target_id or "",
        ok=ok,
        status=message.status or message.type,
        round_trip_us=round_trip_us,
        code=code,
        message="" if ok else str(data.pop("message", "")),
        data=data,
    )


def game_info_of(message: SocketMessage) -> GameInfo:
    """Read an item of `list_games`."""
    data: dict[str, Any] = message.data or {}
    options = [
        GameOption(
            name=str(option.get("name", "")),
            default=option.get("default", 0),
            meaning=str(option.get("meaning", "")),
            low=option.get("low"),
            high=option.get("high"),
            choices=list(option.get("choices", [])),
        )
        for option in data.get("options", [])
    ]
    return GameInfo(
        name=str(data.get("game", "")),
        title=str(data.get("title", "")),
        rules=str(data.get("rules", "")),
        min_players=int(data.get("min_players", 1)),
        max_players=int(data.get("max_players", 1)),
        min_targets=int(data.get("min_targets", 1)),
        options=options,
    )


def game_state_of(message: SocketMessage) -> GameState:
    """Read a `game_state`."""
    data: dict[str, Any] = message.data or {}
    known = {name: data[name] for name in GameState.__dataclass_fields__ if name in data}
    return GameState(**{**known, "status": message.status or "none"})


def cease_fire_of(message: SocketMessage) -> CeaseFire:
    """Read the reply to `cease_fire`, `release` or `get_cease_fire`."""
    data: dict[str, Any] = message.data or {}
    for_ms = data.get("for_ms")
    return CeaseFire(
        held=data.get("held") is not False,  # if in doubt
        by=str(data.get("by", "")),
        why=str(data.get("why", "")),
        for_ms=for_ms if type(for_ms) is int else None,
        kept=data.get("kept") is not False,
        restored=data.get("restored") is True,
    )


def event_of(message: SocketMessage) -> Event:
    """Read an `event`."""
    data: dict[str, Any] = dict(message.data or {})
    return Event(int(data.pop("seq", 0)), str(data.pop("event", "")), message.target_id or "", data)

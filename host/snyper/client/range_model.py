"""The range and its game as a console follows them, event by event (`events.fold`). Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from snyper.client.models import CeaseFire, GameState, TargetInfo

SHOTS = 8  # of the game that is played


@dataclass
class TargetModel:
    """One target: `info` is what the hub says of it, the rest what has become of shots at it since then.

    `last_shot` is `hit`, `miss`, or `crosstalk` where that was no hit; the times and peaks are of that one.
    `last_hit_s` is when the last hit that counts was told, by the follower's clock, `last_hit_ms` its
    reaction time.
    """

    info: TargetInfo
    shots: int = 0
    last_shot: str = ""
    last_reaction_ms: int | None = None
    last_peak: int | None = None
    last_hit_s: float | None = None
    last_hit_ms: int | None = None


@dataclass(frozen=True)
class Shot:
    """A `game_score` as a line of the scoreboard."""

    player: str
    points: int
    target_id: str
    reaction_ms: int | None
    text: str


@dataclass(eq=False)
class RangeModel:
    """Targets by their names, and the game: how it stands, what was said last, who won, its last shots.

    `cease_fire` is None where that is not known, or the hub knows none; `cease_fire_s` is when it was told,
    by the follower's clock.
    """

    targets: Mapping[str, TargetModel] = field(default_factory=dict)
    game: GameState = field(default_factory=lambda: GameState("none"))
    note: str = ""
    winner: str = ""
    results: dict[str, object] = field(default_factory=dict)
    cease_fire: CeaseFire | None = None
    cease_fire_s: float = 0.0
    shots: deque[Shot] = field(default_factory=lambda: deque(maxlen=SHOTS))

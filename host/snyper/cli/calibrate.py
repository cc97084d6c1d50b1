"""Finds a target's threshold: listens to the quiet, then to hits, and puts it between the two."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isqrt, log

from rich.table import Table
from rich.text import Text

from snyper.client import HubClient
from snyper.shared.socket_protocol import ProtocolError

GREATEST = 65_535
QUIET_S = 5.0
HITS = 3
WAIT_S = 30.0
NOISE_FLOOR = 2_000  # 0.1 V: what cable, servo and weather add on another day
MIN_RATIO = 4  # of the weakest hit to the noise: twice as much to either side of the threshold

_SETTLE_S = 0.5  # after a motion or a hit, while the plate rings on
_PIECE_MS = 5_000  # of a wait: for so long a target still listens to a console that has died
_KNOCK_RATIO = 4  # of a single knock to what nine tenths of the quiet stay below
_MAX_KNOCKS = 2  # that are put down to somebody who was not quiet

_SCALE_FROM = 100  # where a bar begins
_BAR_CHARS = 48


class CalibrationError(ValueError):
    """A threshold cannot be found; the message says why, and what to do about it."""


@dataclass
class Measured:
    """Peaks of the piezo, from 0 to 65,535: the greatest of the quiet, and each hit's."""

    target_id: str
    threshold: int  # what holds now
    noise: int = 0
    hits: list[int] = field(default_factory=list)


Say = Callable[[str], None]


async def measure(
    hub: HubClient,
    target_id: str,
    say: Say,
    *,
    quiet_s: float = QUIET_S,
    hits: int = HITS,
    wait_s: float = WAIT_S,
) -> Measured:
    """Stand the target up, listen to `quiet_s` without and to `hits` with somebody who shoots, and lay it
    down again, whatever happens. `say` tells that somebody what to do. Raises CalibrationError when the piezo
    rests too high for any threshold, and when no hit comes within `wait_s`; ProtocolError when the hub or the
    target refuses or is lost.
    """
    [result] = await hub.stand_up(target_id)
    if not result.ok:
        raise CalibrationError(f"{target_id} does not stand up ({result.message}): try again when it is free")
    try:
        await asyncio.sleep(_SETTLE_S)
        measured = await _listen_to_quiet(hub, target_id, say, quiet_s)
        above = loud(measured.noise)
        for number in range(1, hits + 1):
            say(f"hit {number} of {hits}: shoot at the plate now, where a hit is weakest: at its edge")
            measured.hits.append(await _wait_for_hit(hub, target_id, above, wait_s))
            say(f"hit {number} of {hits}: {measured.hits[-1]:,}")
            await asyncio.sleep(_SETTLE_S)
        return measured
    finally:
        await _lay_down(hub, target_id, say)


async def _listen_to_quiet(hub: HubClient, target_id: str, say: Say, quiet_s: float) -> Measured:
    for knocks_left in range(_MAX_KNOCKS, -1, -1):
        say(f"quiet, please: nobody shoots at {target_id} for {quiet_s:g} s; wind and steps may go on")
        peaks = await hub.listen(target_id, round(quiet_s * 1000))
        noise = max(peaks.bins)
        if not (knocks_left and is_knock(peaks.bins)):
            break
        say(f"something struck it ({noise:,}): once more")
    rest = min((value for value in peaks.bins if value), default=0)
    if rest > GREATEST // MIN_RATIO:
        raise CalibrationError(
            f"its piezo rests at {rest:,}, and no hit can be {MIN_RATIO} times as much. See its wires and its"
            " diodes: docs/troubleshooting.md, `rests at`. The threshold is as it was"
        )
    say(f"the quiet reaches {noise:,}")
    return Measured(target_id, peaks.threshold, noise)


async def _wait_for_hit(hub: HubClient, target_id: str, above: int, wait_s: float) -> int:
    left_ms = round(wait_s * 1000)
    while left_ms > 0:
        piece_ms = max(100, min(left_ms, _PIECE_MS))
        peaks = await hub.listen(target_id, piece_ms, above)
        if max(peaks.bins) >= above:
            return max(peaks.bins)
        left_ms -= piece_ms
    raise CalibrationError(
        f"within {wait_s:g} s nothing reached {above:,}, which is well above the quiet. Hit harder or nearer"
        " to the piezo, or see what keeps it from the blow: docs/troubleshooting.md, `never a hit`. The"
        " threshold is as it was"
    )


async def _lay_down(hub: HubClient, target_id: str, say: Say) -> None:
    try:
        [result] = await hub.lay_down(target_id)
        why = result.message
    except ProtocolError as error:
        why = str(error)
    if why:
        say(f"{target_id} may still be up ({why}): `snyper lay-down {target_id}`")


def loud(noise: int) -> int:
    """Return the peak that is no quiet any more, beside so much noise."""
    return min(max(2 * noise, NOISE_FLOOR), GREATEST)


def is_knock(bins: Sequence[int]) -> bool:
    """Tell whether the greatest peak of the quiet was more than noise, which is alike all the time."""
    usual = sorted(bins)[len(bins) * 9 // 10]
    return max(bins) >= _KNOCK_RATIO * max(usual, NOISE_FLOOR // _KNOCK_RATIO)


def proposal(measured: Measured) -> int:
    """Propose the threshold in the middle between noise and weakest hit, by ratio: the noise may grow as many
    times as the hit may shrink. The noise counts as NOISE_FLOOR at least. Raises CalibrationError when the
    two are so close that no threshold keeps them apart.
    """
    weakest = min(measured.hits)
    noise = max(measured.noise, NOISE_FLOOR)
    if weakest >= MIN_RATIO * noise:
        return isqrt(noise * weakest)
    if measured.noise >= NOISE_FLOOR:
        raise CalibrationError(
            f"the weakest hit ({weakest:,}) is not {MIN_RATIO} times the noise ({measured.noise:,}): any"
            " threshold would miss hits or count what is none. Keep wind and knocks away, or make the plate"
            " stiffer and the piezo's glue thinner, then calibrate again"
        )
    raise CalibrationError(
        f"the weakest hit ({weakest:,}) is too weak, {MIN_RATIO * NOISE_FLOOR:,} would do: glue the piezo"
        " anew, nearer to where hits land, then calibrate again"
    )


def picture(measured: Measured, proposed: int | None) -> Table:
    """Draw noise and hits as bars, with the threshold that holds (┆) and the proposed one (┃) across them."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    marks = {_column(measured.threshold): ("┆", "yellow")}
    if proposed is not None:
        marks[_column(proposed)] = ("┃", "bold green")
    rows = [("quiet", measured.noise, "blue")]
    rows += [(f"hit {number}", peak, "red") for number, peak in enumerate(measured.hits, 1)]
    for name, peak, style in rows:
        table.add_row(name, _bar(_column(peak), style, marks), f"{peak:,}")
    table.add_row("┆ now", Text(""), f"{measured.threshold:,}", style="yellow")
    if proposed is not None:
        table.add_row("┃ proposed", Text(""), f"{proposed:,}", style="bold green")
    return table


def _column(value: int) -> int:
    """Map a value to a column of a bar. Equal steps are equal ratios, as in the rule."""
    value = max(value, _SCALE_FROM)
    return round((_BAR_CHARS - 1) * log(value / _SCALE_FROM) / log(GREATEST / _SCALE_FROM))


def _bar(length: int, style: str, marks: dict[int, tuple[str, str]]) -> Text:
    bar = Text()
    for column in range(_BAR_CHARS):
        bar.append(*marks.get(column, ("█", style) if column <= length else ("·", "dim")))
    return bar

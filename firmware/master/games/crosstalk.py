"""Corrects a game for cross-talk: who fell without a hit rises again. Loaded when it happens."""

import asyncio

from snyper.shared.clock import now_us
from snyper.shared.socket_protocol import MIN_DURATION_MS, MessageType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.games.lineup import Lineup, Shot


def raise_again(lineup: "Lineup", shot: "Shot", of: str) -> None:
    """Raise again, for what is left of its time, a target that a blow on the target `of` has shaken."""
    shot.hit = False
    lineup.up[shot.target_id] = shot
    lineup.state.note("%s was shaken by the hit on %s: that does not count" % (shot.target_id, of))
    raising = [task for task in lineup.raising if not task.done()]
    raising.append(asyncio.create_task(_raise(lineup, shot)))
    lineup.raising = raising


def take_back(lineup: "Lineup", seq: int, of: str) -> None:
    """Take back the hit that was counted as `seq`, and its points: it was a blow on the target `of`."""
    for shot in lineup.done:
        if shot.hit and shot.seq == seq:
            lineup.done.remove(shot)
            raise_again(lineup, shot, of)
            return
    for shot in lineup.taken:
        if shot.hit and shot.seq == seq:
            shot.hit = False
            for player, points, score_seq in shot.scores:
                why: "dict[str, object]" = {
                    "text": "cross-talk of " + of,
                    "crosstalk_of": of,
                    "score_seq": score_seq,
                }
                lineup.state.add_points(player, -points, why, shot.target_id)


async def _raise(lineup: "Lineup", shot: "Shot") -> None:
    lying = await lineup.command(MessageType.LAY_DOWN, lineup.playing([shot.target_id]))
    past_ms = shot.reaction_ms + (now_us() - shot.at_us) // 1000
    left_ms = shot.past_ms + shot.duration_ms - past_ms
    if lineup.up.get(shot.target_id) is not shot:
        return  # it is not up any more for what it was raised for
    if lying and left_ms >= MIN_DURATION_MS:
        await lineup.activate(lying, {"duration_ms": left_ms}, left_ms, 0, past_ms)
    else:
        shot.at_us = now_us()
        shot.lost = not lying
        lineup.resolve(shot)

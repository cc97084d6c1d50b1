"""The targets of a game: which of them play, which are up, and what becomes of those that were raised."""

import asyncio

from snyper.shared.clock import now_us
from snyper.shared.log import log
from snyper.shared.runtime import call_later, unload
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from snyper.firmware.master.games.state import GameState
    from snyper.firmware.master.registry import Peer
    from snyper.firmware.master.router import Router

ORDER_MS = (
    100  # a shot is held back for so long after it was detected, in case an earlier one is still on its way
)
LATE_MS = 3_000  # what a report may be overdue, and how long a lost target has to come back and give its own
_STALE_US = 50_000  # a report from so long before a target was to rise belongs to something else
_MAX_TAKEN = 8  # hits that are known to be cross-talk only later

# Answers to a command with `at_us` after which the same command without it may do.
_CANNOT_WAIT = (ErrorCode.BUSY, ErrorCode.UNSUPPORTED, ErrorCode.EXPIRED)
_MAYBE_LATER = (ErrorCode.DISCONNECTED, ErrorCode.TIMEOUT)  # the report may come all the same


class TooFewTargets(Exception):
    """Raised to end a game that has not the targets for it."""


class Shot:
    """The outcome of one target that was raised: `hit` or not, `reaction_ms` from the instant it was armed by
    the board's own clock, `peak` of the impact. `at_us` is when, by the hub's clock. `lost`: nobody knows.

    It may be the second rise of one that was shaken after `past_ms`, which is part of `reaction_ms`. A `hit`
    that turns out to be cross-talk once it has been taken is none any more.
    """

    # Here, and not in each: on a board every attribute that is set takes memory.
    hit = False
    lost = False
    reaction_ms = 0
    peak = 0
    at_us = 0
    seq = 0  # of its event
    scores: "tuple[tuple[str, int, int], ...]" = ()  # who got points for it, how many, `seq` of the event

    def __init__(self, target_id: str, duration_ms: int, ahead_ms: int, past_ms: int = 0) -> None:
        self.target_id = target_id
        self.past_ms = past_ms
        self.duration_ms = duration_ms
        self.rises_us = now_us() + ahead_ms * 1000
        self.due_us = self.rises_us + (COMMAND_TIMEOUT_MS + duration_ms + LATE_MS) * 1000


class Lineup:
    """The targets that were there when the game began: `everybody`; and those that still play: `here`.

    Iterate over it (`async for`) for what becomes of those that are up, in the order in which it happened on
    the boards, until none is up any more. It listens to the hub's events.
    """

    taken: "tuple[Shot, ...]" = ()  # the last hits
    raising: "Sequence[asyncio.Task[None]]" = ()  # what was shaken

    def __init__(self, router: "Router", state: "GameState", targets: "list[str]") -> None:
        self.router = router
        self.state = state
        self.everybody = sorted(targets)
        self.here = list(self.everybody)
        self.up: "dict[str, Shot]" = {}  # raised, and nothing is known of what became of it
        self.done: "list[Shot]" = []  # known, and not taken yet
        self._news = asyncio.Event()

    def require(self, count: int) -> None:
        """Check that so many still play. Raises TooFewTargets."""
        if len(self.here) < count:
            raise TooFewTargets

    def playing(self, target_ids: "Sequence[str]") -> "list[str]":
        """Return those of them that still play."""
        return [target_id for target_id in target_ids if target_id in self.here]

    async def command(
        self, message_type: str, target_ids: "list[str]", data: "dict[str, object] | None" = None
    ) -> "list[str]":
        """Send a command, and return the targets that carried it out. One that cannot move is taken out."""
        done = []
        peers: "list[Peer]" = []
        for target_id in target_ids:
            try:
                peers += self.router.registry.select(target_id)
            except ProtocolError as error:  # forgotten, for so long it was away
                self._take_out(target_id, error.code)
        command = self.router.send(message_type, peers, data, COMMAND_TIMEOUT_MS)
        try:
            async for result in command:
                if result.error is None:
                    done.append(result.target_id)
                elif message_type == MessageType.ACTIVATE:
                    self._on_not_armed(result.target_id, result.error.code, "at_us" in (data or {}))
                elif message_type != MessageType.IDENTIFY and result.error.code != ErrorCode.SUPERSEDED:
                    self._take_out(result.target_id, result.error.code)
        finally:
            command.cancel()
        done.sort()
        return done

    async def activate(
        self,
        target_ids: "list[str]",
        data: "dict[str, object]",
        duration_ms: int,
        ahead_ms: int,
        past_ms: int = 0,
    ) -> "list[str]":
        """Arm targets, and return those that cannot do it at an instant."""
        for target_id in target_ids:
            self.up[target_id] = Shot(target_id, duration_ms, ahead_ms, past_ms)
        done = await self.command(MessageType.ACTIVATE, target_ids, data)
        return [
            target_id
            for target_id in self.playing(target_ids)
            if target_id in self.up and target_id not in done
        ]

    async def next_shot(self) -> "Shot | None":
        """Return what has become of a target that was up, the first by the boards' clocks, or None when none
        is up. Raises TooFewTargets when no target is left at all.
        """
        while True:
            wait_us = self._expire()
            if self.done:
                first = min(self.done, key=_at_us)
                held_us = ORDER_MS * 1000 - (now_us() - first.at_us)
                if held_us <= 0 or not self.up:
                    self.done.remove(first)
                    if first.hit:
                        self.taken = self.taken[1 - _MAX_TAKEN :] + (first,)
                    return first
                wait_us = min(wait_us, held_us)
            elif not self.up:
                self.require(1)
                return None
            self._news.clear()
            timer = call_later(wait_us // 1000 + 1, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()

    def __aiter__(self) -> "Lineup":
        return self

    async def __anext__(self) -> Shot:
        shot = await self.next_shot()
        if shot is None:
            raise StopAsyncIteration
        return shot

    def resolve(self, shot: Shot) -> None:
        """Keep a shot of which it is known what became of it, to be taken."""
        del self.up[shot.target_id]
        self.done.append(shot)
        self._news.set()

    def on_event(self, seq: int, event: str, target_id: str, data: "dict[str, Any]") -> None:
        """Take an event of the hub."""
        if event == MessageType.HIT:
            self._record_shot(target_id, data, True, seq)
        elif event == MessageType.MISS:
            self._record_shot(target_id, data, False)
        elif event == "crosstalk":
            from snyper.firmware.master.games.crosstalk import take_back

            unload("snyper.firmware.master.games.crosstalk")
            take_back(self, data["hit_seq"], data["crosstalk_of"])
        elif event == "lost":
            # It does not play on; what it was raised for may still be reported.
            self._give_up(target_id, LATE_MS)
            self._take_out(target_id, ErrorCode.DISCONNECTED)
            self._news.set()
        elif event == MessageType.REGISTERED:
            # Where the hub knew of no loss it plays on; but what it was raised for it reports soon, or never:
            # it may have booted.
            self._give_up(target_id, LATE_MS)

    def _on_not_armed(self, target_id: str, code: str, at_an_instant: bool) -> None:
        if at_an_instant and code in _CANNOT_WAIT:
            return
        if code == ErrorCode.SUPERSEDED:  # a person has laid it down
            self._record_shot(target_id, {}, False)
        else:
            self._take_out(target_id, code)
            self._give_up(target_id, LATE_MS if code in _MAYBE_LATER else 0)

    def _record_shot(self, target_id: str, data: "dict[str, Any]", hit: bool, seq: int = 0) -> None:
        if target_id not in self.up:
            return
        shot = self.up[target_id]
        now = now_us()
        at_us = data.get("at_us")
        if type(at_us) is not int or at_us > now:
            at_us = now
        elif at_us < shot.rises_us - _STALE_US:
            return
        shot.at_us = at_us
        shot.seq = seq
        if hit:
            # One that does not say its time has none to boast of.
            reaction_ms = _within(data.get("reaction_ms"), shot.duration_ms, shot.duration_ms)
            shot.reaction_ms = shot.past_ms + reaction_ms
            shot.peak = _within(data.get("peak"), 65_535, 0)
            if "crosstalk_of" in data:
                from snyper.firmware.master.games.crosstalk import raise_again

                unload("snyper.firmware.master.games.crosstalk")
                raise_again(self, shot, data["crosstalk_of"])
                return
        shot.hit = hit
        self.resolve(shot)

    def _give_up(self, target_id: str, after_ms: int) -> None:
        if target_id in self.up:
            shot = self.up[target_id]
            shot.due_us = min(shot.due_us, now_us() + after_ms * 1000)
            self._news.set()

    def _expire(self) -> int:
        """Give up what is overdue, and return in how many microseconds to check again."""
        now = now_us()
        wait_us = 1_000_000
        for shot in list(self.up.values()):
            if shot.due_us <= now:
                shot.lost = True
                shot.at_us = now
                self.resolve(shot)
                self._take_out(shot.target_id, ErrorCode.TIMEOUT)
            else:
                wait_us = min(wait_us, shot.due_us - now)
        return wait_us

    def _take_out(self, target_id: str, code: str) -> None:
        if target_id in self.here and not self.state.reason:
            self.here.remove(target_id)
            self.state.targets -= 1
            log("game", "%s is out: %s" % (target_id, code))
            self.state.add_event("game_target_out", {"code": code}, target_id)
            left = "the game goes on" if self.here else "no target is left"
            self.state.note("%s is lost, %s" % (target_id, left))


def _at_us(shot: Shot) -> int:
    return shot.at_us


def _within(value: object, high: int, otherwise: int) -> int:
    """Clamp what a target says to an integer from 0 to `high`."""
    return min(max(value, 0), high) if isinstance(value, int) else otherwise

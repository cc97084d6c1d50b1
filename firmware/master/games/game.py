"""A game: raises targets, takes shots as they come, counts points; and runs the game's coroutine to its end.

A game is a coroutine `play(game)`; `game` is a Game. docs/games.md shows how one is written.
"""

import asyncio

from snyper.firmware.master.games.rng import Rng
from snyper.shared.clock import now_us
from snyper.shared.log import log, log_exception
from snyper.shared.runtime import call_later, end_task, sleep_ms
from snyper.shared.socket_protocol import MIN_DURATION_MS, ErrorCode, MessageType, ProtocolError
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from snyper.firmware.master.registry import Peer
    from snyper.firmware.master.router import Command, Router

LEAD_MS = 400  # how long before targets rise together they are told: longer than a busy Wi-Fi delays a line
ORDER_MS = (
    100  # a shot is held back for so long after it was detected, in case an earlier one is still on its way
)
LATE_MS = 3_000  # what a report may be overdue, and how long a lost target has to come back and give its own
STALE_US = 50_000  # a report from so long before a target was raised belongs to something else
MAX_NOTE_CHARS = 96
_MAX_TAKEN = 8  # shots that are known to be cross-talk only later

# Answers to a command with `at_us` after which the same command without it may do.
_CANNOT_WAIT = (ErrorCode.BUSY, ErrorCode.UNSUPPORTED, ErrorCode.EXPIRED)
_MAYBE_LATER = (ErrorCode.DISCONNECTED, ErrorCode.TIMEOUT)  # the report may come all the same


class Reason:
    """Why a game is over."""

    FINISHED = "finished"
    STOPPED = "stopped"
    NO_TARGETS = "no_targets"
    FAULT = "fault"


class GameOver(Exception):
    """Raised to end the game, with one of Reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Shot:
    """The outcome of one target that was raised: `hit` or not, `reaction_ms` from the instant it was armed by
    the board's own clock, `peak` of the impact. `at_us` is when, by the hub's clock. `lost`: nobody knows.

    It may be the second rise of one that was shaken after `past_ms`, which is part of `reaction_ms`. A `hit`
    that turns out to be cross-talk once it has been taken is none any more.
    """

    def __init__(self, target_id: str, duration_ms: int, ahead_ms: int, past_ms: int = 0) -> None:
        self.target_id = target_id
        self.hit = False
        self.reaction_ms = 0
        self.peak = 0
        self.at_us = 0
        self.lost = False
        self.seq = 0  # of its event
        self.scores: "list[tuple[str, int, int]]" = []  # who got points for it, how many, `seq` of the event
        self.past_ms = past_ms
        self.duration_ms = duration_ms
        self.sent_us = now_us()
        self.due_us = self.sent_us + (ahead_ms + COMMAND_TIMEOUT_MS + duration_ms + LATE_MS) * 1000


class Game:
    """One game from its start to its end. What begins without an underscore is for the game's coroutine, but
    for `run`, `stop`, `state` and `on_event`, which are for the hub.

    `players` are names, `options` has a value for each of the game's OPTIONS, `rng` is random: the same seed
    gives the same numbers. What is put into `results` is told at the end.
    """

    def __init__(
        self,
        router: "Router",
        play: "Callable[[Game], Awaitable[None]]",
        about: "dict[str, Any]",
        targets: "list[str]",
    ) -> None:
        """`about` has `game_id`, `game`, `title`, `players`, `options`, `seed`, `unit`."""
        self.players: "list[str]" = about["players"]
        self.options: "dict[str, Any]" = about["options"]
        self.rng = Rng(about["seed"])
        self.results: "dict[str, object]" = {}
        self._about = about
        self._router = router
        self._script = play
        self._all = sorted(targets)
        self._here = list(self._all)
        self._up: "dict[str, Shot]" = {}  # raised, and nothing is known of what became of it
        self._done: "list[Shot]" = []  # known, and not taken yet
        self._taken: "list[Shot]" = []  # the last of those that were
        self._raising: "list[asyncio.Task[None]]" = []  # what was shaken
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._reason = ""
        self._is_over = False
        self._scores: "dict[str, int]" = {}
        for player in self.players:
            self._scores[player] = 0
        self._turn = ""
        self._progress = (0, 0)
        self._starts_at_us = now_us() + self.options.get("countdown_ms", 0) * 1000
        self._tell(
            "game_started",
            {
                "game": about["game"],
                "title": about["title"],
                "players": self.players,
                "options": self.options,
                "seed": about["seed"],
                "targets": len(self._here),
                "unit": about["unit"],
                "total": 0,
                "starts_at_us": self._starts_at_us,
            },
        )

    # --- what a game's coroutine calls

    @property
    def targets(self) -> "list[str]":
        """The names of the targets that are there, in order. With none left the game is over: raises
        GameOver, which a game lets through.
        """
        self.require_targets(1)
        return list(self._here)

    def require_targets(self, count: int) -> None:
        """End the game where there are not so many. Raises GameOver, which a game lets through."""
        if len(self._here) < count:
            raise GameOver(Reason.NO_TARGETS)

    def is_here(self, target_id: str) -> bool:
        """Return whether this target still plays."""
        return target_id in self._here

    def group(self, name: str) -> "list[str]":
        """Return those of `targets` that are in the group."""
        registry = self._router.registry
        return [target for target in self.targets if name in registry.select(target)[0].groups]

    def pick(self, but: str = "") -> str:
        """Return one of `targets` by chance; not `but`, unless there is no other."""
        targets = self.targets
        if but in targets and len(targets) > 1:
            targets.remove(but)
        target: str = self.rng.choice(targets)
        return target

    async def raise_one(self, target_id: str, duration_ms: int) -> Shot:
        """Raise a target, armed for so long (100 to 600,000 ms), and return what became of it. Not while
        others are up.
        """
        await self.raise_many([target_id], duration_ms)
        shot = await self.next_shot()
        if shot is None:
            shot = Shot(target_id, duration_ms, 0)
            shot.lost = True
        return shot

    async def raise_many(self, target_ids: "Sequence[str]", duration_ms: int) -> None:
        """Raise targets at one instant, armed for so long each; returns once they are. Then take `shots`.

        One that does not know the hub's clock yet rises as soon as it hears of it. One that is up already is
        laid down first.
        """
        for target_id in target_ids:
            self._up.pop(target_id, None)
        lying = await self._tell_targets(MessageType.LAY_DOWN, self._playing(target_ids), None)
        data: "dict[str, object]" = {"duration_ms": duration_ms}
        ahead_ms = LEAD_MS if len(lying) > 1 else 0
        at_us = now_us() + ahead_ms * 1000
        if ahead_ms:
            data["at_us"] = at_us
        late = await self._activate(lying, data, duration_ms, ahead_ms)
        if late:
            await sleep_ms(max(0, at_us - now_us()) // 1000)
            await self._activate(late, {"duration_ms": duration_ms}, duration_ms, 0)

    def shots(self) -> "Shots":
        """Iterate, with `async for shot in game.shots()`, over what becomes of the targets that are up, in
        the order in which it happened on the boards. Ends when none is up any more.
        """
        return Shots(self)

    async def next_shot(self) -> "Shot | None":
        """Return the next of `shots`, or None when none is up. Raises GameOver when no target is left at
        all.
        """
        while True:
            wait_us = self._expire()
            if self._done:
                first = min(self._done, key=_at_us)
                held_us = ORDER_MS * 1000 - (now_us() - first.at_us)
                if held_us <= 0 or not self._up:
                    self._done.remove(first)
                    self._taken = self._taken[1 - _MAX_TAKEN :] + [first]
                    return first
                wait_us = min(wait_us, held_us)
            elif not self._up:
                self.require_targets(1)
                return None
            self._news.clear()
            timer = call_later(wait_us // 1000 + 1, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()

    async def lay_down(self) -> None:
        """Lay all targets down; what becomes of those that were up does not count any more."""
        self._up = {}
        self._done = []
        await self._tell_targets(MessageType.LAY_DOWN, list(self._here), None)

    async def show(self, target_id: str, duration_ms: int) -> None:
        """Stand a target up for so long, not armed, and lay it down again."""
        if await self._tell_targets(MessageType.STAND_UP, self._playing([target_id]), None):
            await sleep_ms(duration_ms)
            await self._tell_targets(MessageType.LAY_DOWN, self._playing([target_id]), None)

    async def flicker(self, target_ids: "Sequence[str]", duration_ms: int) -> "list[str]":
        """Make the lights of targets flicker for so long (100 to 60,000 ms). Returns those that do."""
        data: "dict[str, object]" = {"duration_ms": duration_ms}
        return await self._tell_targets(MessageType.IDENTIFY, self._playing(target_ids), data)

    async def turn(self, player: str) -> None:
        """Begin this player's turn. Between two players passes the option `changeover_ms`."""
        changes = self._turn not in ("", player)
        self._turn = player
        self._tell("game_turn", {"player": player})
        if changes:
            await sleep_ms(self.options.get("changeover_ms", 0))

    def score(self, player: str, points: int, shot: "Shot | None" = None, text: str = "") -> None:
        """Give a player points, or take some. `shot` is what they are for, `text` says more."""
        self._scores[player] += points
        data: "dict[str, object]" = {"player": player, "points": points, "total": self._scores[player]}
        if shot is not None and shot.hit:
            data["reaction_ms"] = shot.reaction_ms
        if text:
            data["text"] = text[:MAX_NOTE_CHARS]
        seq = self._tell("game_score", data, shot.target_id if shot is not None else "")
        if shot is not None and shot.hit:
            shot.scores.append((player, points, seq))

    def progress(self, done: int, total: int) -> None:
        """Tell how far the game is, in its UNIT."""
        self._progress = (done, total)
        self._tell("game_progress", {"done": done, "total": total, "unit": self._about["unit"]})

    def note(self, text: str) -> None:
        """Tell everybody who watches."""
        self._tell("game_note", {"text": text[:MAX_NOTE_CHARS]})

    async def pause_ms(self, duration_ms: int) -> None:
        """Wait."""
        await sleep_ms(duration_ms)

    # --- what the hub calls

    async def run(self) -> None:
        """Play to the end, however that comes, and lay the targets down."""
        playing = asyncio.create_task(self._play())
        try:
            await self._over.wait()
        finally:
            await end_task(playing)
            for raising in self._raising:
                await end_task(raising)
            self._turn = ""
            self._up = {}
        try:
            await self._tell_targets(MessageType.LAY_DOWN, self._all, None)  # also those that came back
        except Exception as error:
            log_exception("game", error)
        self._is_over = True
        self._tell(
            "game_over",
            {
                "game": self._about["game"],
                "reason": self._reason,
                "players": self.players,
                "scores": [self._scores[player] for player in self.players],
                "winner": self._winner(),
                "duration_ms": max(0, now_us() - self._starts_at_us) // 1000,
                "seed": self._about["seed"],
                "results": self.results,
            },
        )

    def stop(self, reason: str = Reason.STOPPED) -> None:
        """End the game; `run` returns once the targets lie. Only the first reason counts."""
        self._reason = self._reason or reason
        self._over.set()

    def state(self) -> "dict[str, object]":
        """Return the data of `game_state`, and `status`."""
        return {
            "status": "over" if self._is_over else "running",
            "game_id": self._about["game_id"],
            "game": self._about["game"],
            "players": self.players,
            "scores": [self._scores[player] for player in self.players],
            "done": self._progress[0],
            "total": self._progress[1],
            "unit": self._about["unit"],
            "turn": self._turn,
            "targets": len(self._here),
            "seed": self._about["seed"],
            "reason": self._reason if self._is_over else "",
            "starts_at_us": self._starts_at_us,
        }

    def on_event(self, seq: int, event: str, target_id: str, data: "dict[str, Any]") -> None:
        """Take an event of the hub: the game listens to them."""
        if event == MessageType.HIT:
            self._record_shot(target_id, data, True, seq)
        elif event == MessageType.MISS:
            self._record_shot(target_id, data, False)
        elif event == "crosstalk":
            self._on_crosstalk(data["hit_seq"], data["crosstalk_of"])
        elif event == "lost":
            # It does not play on; what it was raised for may still be reported.
            self._give_up(target_id, LATE_MS)
            self._take_out(target_id, ErrorCode.DISCONNECTED)
            self._news.set()
        elif event == MessageType.REGISTERED:
            # Where the hub knew of no loss it plays on; but what it was raised for it reports soon, or never:
            # it may have booted.
            self._give_up(target_id, LATE_MS)

    # --- how it works

    async def _play(self) -> None:
        reason = Reason.FINISHED
        try:
            await self.lay_down()
            await sleep_ms(max(0, self._starts_at_us - now_us()) // 1000)
            await self._script(self)
        except GameOver as over:
            reason = over.reason
        except Exception as error:
            log_exception("game", error)
            reason = Reason.FAULT
        self.stop(reason)

    def _playing(self, target_ids: "Sequence[str]") -> "list[str]":
        return [target_id for target_id in target_ids if target_id in self._here]

    async def _tell_targets(
        self, message_type: str, target_ids: "list[str]", data: "dict[str, object] | None"
    ) -> "list[str]":
        """Send a command, and return the targets that carried it out. One that cannot move is taken out."""
        done = []
        command = self._start(message_type, target_ids, data)
        try:
            async for result in command:
                if result.error is None:
                    done.append(result.target_id)
                elif message_type != MessageType.IDENTIFY and result.error.code != ErrorCode.SUPERSEDED:
                    self._take_out(result.target_id, result.error.code)
        finally:
            command.cancel()
        done.sort()
        return done

    async def _activate(
        self,
        target_ids: "list[str]",
        data: "dict[str, object]",
        duration_ms: int,
        ahead_ms: int,
        past_ms: int = 0,
    ) -> "list[str]":
        """Arm targets, and return those that cannot do it at an instant."""
        late = []
        for target_id in target_ids:
            self._up[target_id] = Shot(target_id, duration_ms, ahead_ms, past_ms)
        command = self._start(MessageType.ACTIVATE, target_ids, data)
        try:
            async for result in command:
                if result.error is None:
                    continue
                code = result.error.code
                if "at_us" in data and code in _CANNOT_WAIT:
                    late.append(result.target_id)
                elif code == ErrorCode.SUPERSEDED:  # a person has laid it down
                    self._record_shot(result.target_id, {}, False)
                else:
                    self._take_out(result.target_id, code)
                    self._give_up(result.target_id, LATE_MS if code in _MAYBE_LATER else 0)
        finally:
            command.cancel()
        late.sort()
        return late

    def _start(
        self, message_type: str, target_ids: "list[str]", data: "dict[str, object] | None"
    ) -> "Command":
        peers: "list[Peer]" = []
        for target_id in target_ids:
            try:
                peers += self._router.registry.select(target_id)
            except ProtocolError as error:  # forgotten, for so long it was away
                self._take_out(target_id, error.code)
        return self._router.send(message_type, peers, data, COMMAND_TIMEOUT_MS)

    def _record_shot(self, target_id: str, data: "dict[str, Any]", hit: bool, seq: int = 0) -> None:
        if target_id not in self._up:
            return
        shot = self._up[target_id]
        now = now_us()
        at_us = data.get("at_us", now)
        if type(at_us) is not int or at_us > now:
            at_us = now
        if at_us < shot.sent_us - STALE_US:
            return
        shot.at_us = at_us
        shot.seq = seq
        if hit:
            # One that does not say its time has none to boast of.
            reaction_ms = _within(data.get("reaction_ms"), shot.duration_ms, shot.duration_ms)
            shot.reaction_ms = shot.past_ms + reaction_ms
            shot.peak = _within(data.get("peak"), 65_535, 0)
            if "crosstalk_of" in data:
                self._shake(shot, data["crosstalk_of"])
                return
        shot.hit = hit
        self._resolve(shot)

    def _on_crosstalk(self, seq: int, of: str) -> None:
        """Take back the hit that was counted as `seq`: it was a blow on the target `of`."""
        for shot in self._done:
            if shot.hit and shot.seq == seq:
                self._done.remove(shot)
                self._shake(shot, of)
                return
        for shot in self._taken:
            if shot.hit and shot.seq == seq:
                shot.hit = False
                for score in shot.scores:
                    self._take_back(score, shot.target_id, of)

    def _shake(self, shot: Shot, of: str) -> None:
        """Raise again, for what is left of its time, a target that has fallen without a hit."""
        shot.hit = False
        self._up[shot.target_id] = shot
        self.note("%s was shaken by the hit on %s: that does not count" % (shot.target_id, of))
        self._raising = [task for task in self._raising if not task.done()]
        self._raising.append(asyncio.create_task(self._raise_again(shot)))

    async def _raise_again(self, shot: Shot) -> None:
        lying = await self._tell_targets(MessageType.LAY_DOWN, self._playing([shot.target_id]), None)
        past_ms = shot.reaction_ms + (now_us() - shot.at_us) // 1000
        left_ms = shot.past_ms + shot.duration_ms - past_ms
        if self._up.get(shot.target_id) is not shot:
            return  # it is not up any more for what it was raised for
        if lying and left_ms >= MIN_DURATION_MS:
            await self._activate(lying, {"duration_ms": left_ms}, left_ms, 0, past_ms)
        else:
            shot.at_us = now_us()
            shot.lost = not lying
            self._resolve(shot)

    def _take_back(self, score: "tuple[str, int, int]", target_id: str, of: str) -> None:
        player, points, seq = score
        self._scores[player] -= points
        data: "dict[str, object]" = {"player": player, "points": -points, "total": self._scores[player]}
        data["text"] = "cross-talk of " + of
        data["crosstalk_of"] = of
        data["score_seq"] = seq
        self._tell("game_score", data, target_id)

    def _give_up(self, target_id: str, after_ms: int) -> None:
        if target_id in self._up:
            shot = self._up[target_id]
            shot.due_us = min(shot.due_us, now_us() + after_ms * 1000)
            self._news.set()

    def _expire(self) -> int:
        """Give up what is overdue, and return in how many microseconds to check again."""
        now = now_us()
        wait_us = 1_000_000
        for shot in list(self._up.values()):
            if shot.due_us <= now:
                shot.lost = True
                shot.at_us = now
                self._resolve(shot)
                self._take_out(shot.target_id, ErrorCode.TIMEOUT)
            else:
                wait_us = min(wait_us, shot.due_us - now)
        return wait_us

    def _resolve(self, shot: Shot) -> None:
        del self._up[shot.target_id]
        self._done.append(shot)
        self._news.set()

    def _take_out(self, target_id: str, code: str) -> None:
        if target_id in self._here and not self._over.is_set():
            self._here.remove(target_id)
            log("game", "%s is out: %s" % (target_id, code))
            self._tell("game_target_out", {"code": code}, target_id)
            left = "the game goes on" if self._here else "no target is left"
            self.note("%s is lost, %s" % (target_id, left))

    def _winner(self) -> str:
        best = max(self._scores.values())
        ahead = [player for player in self.players if self._scores[player] == best]
        return ahead[0] if len(self.players) > 1 and len(ahead) == 1 and self._reason == "finished" else ""

    def _tell(self, event: str, data: "dict[str, object]", target_id: str = "") -> int:
        """Count an event of the game, and return its `seq`."""
        told: "dict[str, object]" = {"game_id": self._about["game_id"]}
        told.update(data)
        return self._router.events.add(event, target_id, told)


class Shots:
    """An iterator over shots: see `Game.shots`."""

    def __init__(self, game: Game) -> None:
        self._game = game

    def __aiter__(self) -> "Shots":
        return self

    async def __anext__(self) -> Shot:
        shot = await self._game.next_shot()
        if shot is None:
            raise StopAsyncIteration
        return shot


def _at_us(shot: Shot) -> int:
    return shot.at_us


def _within(value: object, high: int, otherwise: int) -> int:
    """Clamp what a target says to an integer from 0 to `high`."""
    return min(max(value, 0), high) if isinstance(value, int) else otherwise

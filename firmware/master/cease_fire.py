"""Cease fire: no target is raised or armed, and each is lowered, until a person releases it. Loaded when it
is called or asked for, and for as long as it holds.
"""

import asyncio
import json
import os

from snyper.firmware.master.router import is_reading
from snyper.shared.clock import now_ms
from snyper.shared.log import keep, log_exception
from snyper.shared.runtime import unload
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, MAX_BY_CHARS, MAX_WHY_CHARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from snyper.firmware.master.registry import Peer
    from snyper.firmware.master.router import Command, Result
    from snyper.firmware.master.server import Hub
    from snyper.shared.link import Link

_RAISED = ("rising", "arming", "standing", "armed")

# Beside readings, all that a target is still asked: none of these raises or arms it. A word that is not known
# here may, and is refused.
STILL = (
    MessageType.LAY_DOWN,
    MessageType.IDENTIFY,
    MessageType.CONFIGURE,
    MessageType.LISTEN,
    MessageType.OFFER,
    MessageType.CHUNK,
)


class Lowering:
    """Targets that are told to lie down: `results` has what each answers once `ended` is set."""

    results: "Sequence[Result]" = ()

    def __init__(self) -> None:
        self.ended = asyncio.Event()


class CeaseFire:
    """The cease fire that holds. `why` and `by` are texts for people, `since_ms` is of `now_ms()`: it may be
    before the hub's start, on a computer; a board that starts with it does not know for how long it has held.
    """

    is_kept = False  # where it outlives the hub
    is_restored = False  # from there, at the start of this hub
    _calls = 0  # so many times it was called: a release from before the last one does not count
    _keeping: "asyncio.Task[None] | None" = None

    def __init__(self, hub: "Hub", by: str, why: str, since_ms: int) -> None:
        self.by = by
        self.why = why
        self.since_ms = since_ms
        self._hub = hub
        self.is_told = asyncio.Event()  # set once it is kept, or cannot be, and everybody knows of it
        self._lock = asyncio.Lock()  # of the file
        self._tasks: "list[asyncio.Task[None]]" = []
        # By name, and over which link: who is asked to lie down, and who has said that it lies.
        self._asked: "dict[str, Any]" = {}
        self._lowered: "dict[str, Any]" = {}

    def refusal(self, word: str) -> "ProtocolError | None":
        """Return why no target is told this word; None for one that neither raises nor arms."""
        if word in STILL or is_reading(word):
            return None
        said = "cease fire by %s for %d s" % (self.by, (now_ms() - self.since_ms) // 1000)
        if self.why:
            said += " (%s)" % self.why
        return ProtocolError(
            ErrorCode.CEASE_FIRE, said + ": `release` ends it, `snyper cease-fire --release`"
        )

    def describe(self) -> "dict[str, object]":
        """Return what the wire says of it."""
        return {
            "held": True,
            "by": self.by,
            "why": self.why,
            "for_ms": max(0, now_ms() - self.since_ms),
            "kept": self.is_kept,
            "restored": self.is_restored,
        }

    def lower(self, peers: "Sequence[Peer]") -> "Lowering":
        """Lay these targets down, and have those that do not do it asked again."""
        lowering = Lowering()
        links = {peer.target_id: peer.link for peer in peers}
        self._asked.update(links)
        command = self._hub.router.send(MessageType.LAY_DOWN, peers, None, COMMAND_TIMEOUT_MS)
        self._tasks.append(asyncio.create_task(self._take_results(command, lowering, links)))
        return lowering

    async def _take_results(self, command: "Command", lowering: "Lowering", links: "dict[str, Any]") -> None:
        try:
            lowering.results = await command.results()
            for result in lowering.results:
                target_id = result.target_id
                if self._asked.get(target_id) is links[target_id]:
                    del self._asked[target_id]
                    if result.ok:
                        self._lowered[target_id] = links[target_id]
        finally:
            lowering.ended.set()
            self._tasks.remove(asyncio.current_task())  # type: ignore[arg-type]

    def enforce(self) -> None:
        """Lower every target that is here and has not said over its present link that it lies, or has said
        since that it does not. For the hub's sweep: what fails is tried again.
        """
        try:
            peers = [peer for peer in self._hub.router.registry.connected() if self._is_up(peer)]
            if peers:
                self.lower(peers)
        except Exception as error:
            log_exception("cease fire", error)

    def _is_up(self, peer: "Any") -> bool:
        if self._asked.get(peer.target_id) is peer.link:
            return False
        return self._lowered.get(peer.target_id) is not peer.link or peer.state in _RAISED

    def call(self) -> "Lowering":
        """Begin it, or go on with it, and return what becomes of the targets. A release that is under
        way does not count any more.
        """
        self._calls += 1
        lowering = self.lower(self._hub.router.registry.connected())
        if not self.is_kept:
            self.is_told.clear()
            # A task of its own: it goes on when who called it has gone.
            self._keeping = asyncio.create_task(self._keep(self._keeping is None))
        return lowering

    async def _keep(self, is_new: bool) -> None:
        """Write it where it outlives the hub, and tell everybody. What cannot be written holds as well, until
        the hub ends.
        """
        said = {"by": self.by, "why": self.why, "for_ms": now_ms() - self.since_ms}
        file = _file_of(self._hub)
        try:
            if file is not None:
                async with self._lock:
                    await file.write(said)
                self.is_kept = True
        except OSError as error:
            keep(
                "cease fire",
                "holds, but not beyond this hub's end: %s cannot be written (%r)" % (file, error),
            )
        if is_new:
            told: "dict[str, object]" = {"by": self.by, "why": self.why, "kept": self.is_kept}
            self._hub.router.events.add(MessageType.CEASE_FIRE, "", told)
        self.is_told.set()

    async def release(self, by: str) -> None:
        """End it. Raises ProtocolError: `fault` where the file cannot be removed, so that the next start of
        the hub would bring it back; `cease_fire` when it was called anew meanwhile. Then it goes on.
        """
        ended = asyncio.Event()
        failed: "list[ProtocolError]" = []
        # A task of its own: it goes on when who released it has gone, and the file with it.
        self._tasks.append(asyncio.create_task(self._end(by, self._calls, failed, ended)))
        await ended.wait()
        if failed:
            raise failed[0]

    async def _end(self, by: str, calls: int, failed: "list[ProtocolError]", ended: asyncio.Event) -> None:
        try:
            async with self._lock:
                if self._hub.router.cease_fire is self:  # else another release has ended it
                    if calls == self._calls:  # else the file stays
                        await self._forget()
                    if calls == self._calls:
                        self._tell_end(by)
                    else:
                        said = "somebody has called it again: it goes on"
                        failed.append(ProtocolError(ErrorCode.CEASE_FIRE, said))
        except OSError as error:
            said = "it goes on: %s cannot be removed (%r)" % (_file_of(self._hub), error)
            failed.append(ProtocolError(ErrorCode.FAULT, said))
        finally:
            ended.set()
            self._tasks.remove(asyncio.current_task())  # type: ignore[arg-type]

    async def _forget(self) -> None:
        file = _file_of(self._hub)
        if file is not None:
            was_kept, self.is_kept = self.is_kept, False
            try:
                await file.remove()
            except OSError:
                self.is_kept = was_kept
                raise

    def _tell_end(self, by: str) -> None:
        held_ms = max(0, now_ms() - self.since_ms)
        self._hub.router.cease_fire = None
        self._hub.released = (by, now_ms())
        keep("cease fire", "released by %s" % by)
        self._hub.router.events.add("release", "", {"by": by, "held_ms": held_ms})


def hold(hub: "Hub", data: "dict[str, Any]", name: str) -> "Lowering":
    """Begin a cease fire, or go on with the one that holds, and lower every target at once. `data` may say
    `by`, otherwise it is `name`, and `why`: texts, of which what cannot be shown is left out. Returns
    what becomes of them.
    """
    latch = hub.router.cease_fire
    if latch is not None:
        return latch.call()  # whoever says it again and again fills no log
    by = _text(data.get("by"), MAX_BY_CHARS) or name or "a console"
    why = _text(data.get("why"), MAX_WHY_CHARS)
    latch = CeaseFire(hub, by, why, now_ms())
    hub.router.cease_fire = latch
    lowering = latch.call()
    keep("cease fire", "called by %s: %s" % (by, why or "no reason given"))
    return lowering


def restore(hub: "Hub") -> None:
    """Take up the cease fire that held when the hub ended. A file that cannot be read is one, too, whatever
    is wrong with it: a board may have no memory for it.
    """
    file = _file_of(hub)
    try:
        data = file.read()
        for_ms = data["for_ms"] if data is not None else 0
    except Exception as error:
        data, for_ms = {"why": "%s cannot be read: %r" % (file, error)}, 0
    if data is None:
        return
    by = _text(data.get("by"), MAX_BY_CHARS) or "somebody"
    latch = CeaseFire(hub, by, _text(data.get("why"), MAX_WHY_CHARS), now_ms() - for_ms)
    latch.is_kept = latch.is_restored = True
    latch.is_told.set()
    hub.router.cease_fire = latch
    keep("cease fire", "goes on since before this start, called by %s" % by)
    told = {"by": latch.by, "why": latch.why, "kept": True, "restored": True, "for_ms": for_ms}
    hub.router.events.add("cease_fire", "", told)


async def answer(
    hub: "Hub", link: "Link", message: SocketMessage, name: str, lowering: "Lowering | None"
) -> SocketMessage:
    """Answer CEASE_FIRE, with a `result` of each target by `lowering`, RELEASE or GET_CEASE_FIRE of the
    console `name`. Raises ProtocolError: what `CeaseFire.release` raises, `disconnected`.
    """
    latch = hub.router.cease_fire
    if lowering is not None and latch is not None:
        await latch.is_told.wait()
        await lowering.ended.wait()
        for result in lowering.results:
            await link.send(_result(message, result))
        latch = hub.router.cease_fire
    if message.type == MessageType.RELEASE and latch is not None:
        by = _text((message.data or {}).get("by"), MAX_BY_CHARS)
        await latch.release(by or name or "a console")
        latch = None
    if latch is None:
        data: "dict[str, object]" = {"held": False}
        if hub.released is not None:
            data["by"] = hub.released[0]
            data["for_ms"] = now_ms() - hub.released[1]
        return message.reply(MessageType.REPLY, "released", data)
    return message.reply(MessageType.REPLY, "held", latch.describe())


def _result(message: SocketMessage, result: "Result") -> SocketMessage:
    data: "dict[str, object]" = {
        "round_trip_ms": (result.round_trip_us + 999) // 1000,
        "round_trip_us": result.round_trip_us,
    }
    error = result.error
    if error is None:
        status = "down"
    else:
        status = "unknown" if error.unknown_fate else "error"
        data["code"] = error.code
        data["message"] = error.message
    return SocketMessage(MessageType.RESULT, message.id, result.target_id, status, data)


def _text(value: object, chars: int) -> str:
    """Return of a text for people what can be shown: a cease fire is not refused for its words, and waits for
    no memory for them.
    """
    if not isinstance(value, str):
        return ""
    try:
        from snyper.shared.names import visible

        return visible(value[: 2 * chars].replace("\n", " "))[:chars].strip()
    except MemoryError:
        return ""
    finally:
        unload("snyper.shared.names")


def _file_of(hub: "Hub") -> "Any":
    """Return where it is kept: what has `read`, `write` and `remove`; None for nowhere."""
    file = hub.cease_fire_file
    return _FlashFile(file) if type(file) is str else file


class _FlashFile:
    """The file of that path on a board, which does not know the date: what it keeps has held for 0 ms."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __str__(self) -> str:
        return self._path

    def read(self) -> "dict[str, Any]":
        with open(self._path) as file:
            said: "dict[str, Any]" = json.load(file)
        said["for_ms"] = 0
        return said

    async def write(self, said: "dict[str, Any]") -> None:
        """Replace the file at once: a power cut leaves the old one or the new one. A flash that is full keeps
        nothing of it. Raises OSError.
        """
        new_path = self._path + ".new"
        try:
            with open(new_path, "w") as file:
                json.dump(said, file)
            os.rename(new_path, self._path)
        except OSError:
            if new_path in os.listdir():
                os.remove(new_path)
            raise

    async def remove(self) -> None:
        if self._path in os.listdir():
            os.remove(self._path)

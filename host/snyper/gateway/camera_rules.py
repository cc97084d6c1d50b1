"""Rules of cameras at work: they are judged as detections come, and the hub is told to cease fire.

An operator's aid: no camera makes a range safe by itself.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from snyper.cameras.log import RULE, Entry
from snyper.cameras.presence import OFFLINE
from snyper.cameras.records import Accepted, Detection
from snyper.cameras.rules import CEASE_FIRE, Rule, Rules
from snyper.cameras.service import Cameras
from snyper.client import ReconnectingClient
from snyper.shared.socket_protocol import ProtocolError
from snyper.system.text import one_line

BY = "camera rule"
_AGAIN_S = 0.5
# For a hub that is away; targets that have lost it go to their safe pose by themselves. A frame is followed
# by others, silence by nothing: of that the hub is told as soon as it is back, if it lasts until then.
_GIVE_UP_S = 10.0

_FIRED = "the range ceases fire"
_HELD = "the range held fire already"

_log = logging.getLogger("snyper")


class CameraRules:
    """Applies `rules` to what `cameras` take, and has `hub` cease fire."""

    def __init__(self, rules: Rules, cameras: Cameras, hub: ReconnectingClient) -> None:
        self._rules = rules
        self._cameras = cameras
        self._hub = hub
        self._calling: dict[Rule, asyncio.Task[str]] = {}
        self._waiting: dict[Rule, asyncio.Task[str]] = {}  # each until the call before it is over
        self._holding: dict[Rule, asyncio.Task[None]] = {}

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules, in their order."""
        return self._rules.rules

    def judge(self, detection: Detection) -> tuple[Detection, Callable[[Accepted], None]]:
        """Apply the rules to a detection that comes; return it with what is to be kept of that, and what
        writes down what came of it.
        """
        verdict = self._rules.judge(detection, self._age_s(detection), time.monotonic())
        calls = [(rule, self._fire(rule)) for rule in verdict.fired]

        def on_kept(accepted: Accepted) -> None:
            for rule, why in verdict.missed:
                self._record(rule, detection.camera_id, accepted.id, why)
            for rule, call in calls:
                self._record_outcome(call, rule, detection.camera_id, accepted.id)

        return replace(detection, warnings=(*detection.warnings, *verdict.notes)), on_kept

    async def watch(self) -> None:
        """Look for cameras that are silent, until cancelled. Of one that was not heard since the start that
        is said after a minute.
        """
        for camera_id in self._rules.expected:
            self._cameras.expect_soon(camera_id)
        try:
            with closing(self._cameras.listen()) as feed:
                async for event in feed:
                    if event.kind == "status" and event.data["status"] == OFFLINE:
                        self._on_silence(event.data["camera_id"])
                    elif event.kind == "lost":  # more have fallen silent at once than a feed holds
                        for camera_id in filter(self._cameras.is_silent, self._rules.expected):
                            self._on_silence(camera_id)
        finally:
            calls: list[asyncio.Task[Any]] = [
                *self._waiting.values(),
                *self._calling.values(),
                *self._holding.values(),
            ]
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def _on_silence(self, camera_id: str) -> None:
        for rule in self._rules.of_silence(camera_id):
            if rule not in self._holding or self._holding[rule].done():
                self._holding[rule] = asyncio.create_task(self._hold(rule, camera_id))

    async def _hold(self, rule: Rule, camera_id: str) -> None:
        """Have the range cease fire for as long as a camera is silent: again after each release."""
        is_first = True
        while is_first or self._cameras.is_silent(camera_id):
            result = await self._cease_fire(rule)
            if is_first or result != _HELD:
                self._record(rule, camera_id, None, result)
            is_first = False
            await asyncio.sleep(_AGAIN_S)

    def _record_outcome(self, call: asyncio.Task[str], rule: Rule, camera_id: str, detection_id: str) -> None:
        """Write down what comes of a call, once it is over."""

        def record(_: object) -> None:
            if not call.cancelled():
                self._record(rule, camera_id, detection_id, call.result())

        call.add_done_callback(record)

    def _record(self, rule: Rule, camera_id: str, detection_id: str | None, result: str) -> None:
        what = {"camera_id": camera_id, "then": CEASE_FIRE, "result": result}
        self._cameras.log.note(Entry(RULE, rule.name, what, about=detection_id))

    def _age_s(self, detection: Detection) -> float | None:
        """Return how long ago a frame was taken: by this clock where the camera knows it, else by its own."""
        stamp = detection.details.get("captured_by_hub")
        at_s = stamp.get("at_s") if isinstance(stamp, dict) else None
        if not isinstance(at_s, int | float) or isinstance(at_s, bool):
            at_s = self._cameras.seconds_of(detection)
        return None if at_s is None else time.time() - at_s

    def _fire(self, rule: Rule) -> asyncio.Task[str]:
        """Return a call that has not begun: to one that has, the hub may have answered before a person
        released what is to hold again now.
        """
        if rule not in self._waiting:
            self._waiting[rule] = asyncio.create_task(self._call_after(self._calling.get(rule), rule))
        return self._waiting[rule]

    async def _call_after(self, before: asyncio.Task[str] | None, rule: Rule) -> str:
        if before is not None:
            await asyncio.wait([before])
        self._calling[rule] = self._waiting.pop(rule)
        return await self._cease_fire(rule)

    async def _cease_fire(self, rule: Rule) -> str:
        """Have the hub cease fire; return what came of it."""
        name = one_line(rule.name)
        until_s = time.monotonic() + _GIVE_UP_S
        is_said = False
        while True:
            try:
                state = await self._hub.cease_fire_state()
                if state is not None and state.held:
                    return _HELD
                await self._hub.cease_fire(why=rule.name, by=BY)
                _log.warning("the rule %r has the range cease fire", name)
                return _FIRED
            except ProtocolError as error:
                if time.monotonic() > until_s:
                    if not is_said:
                        _log.error("the rule %r cannot have the range cease fire: %s", name, error.message)
                        is_said = True
                    if rule.silent is None or not self._cameras.is_silent(rule.silent):
                        return f"the hub was not told: {error.message}"
            await asyncio.sleep(_AGAIN_S)

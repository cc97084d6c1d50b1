"""Silence of cameras that come over Socket.IO and REST: until when each counts as there."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, tzinfo

from snyper.cameras.service import Cameras
from snyper.cameras.silence import INTERVALS, LEAST_S, Expectation, Intervals

CONNECTED_S = 10 * 365 * 86_400.0  # for who has a connection, whose end is seen
_MAX_CAMERAS = 1_000  # for which one connection speaks; of more than these its end says nothing
_NONE = Expectation()


class CameraSilence:
    """Tells `cameras` who is there: while a connection speaks for a camera, and for three intervals of one
    that comes without. `expectations` are of some cameras; their parts of a day are in `zone`.
    """

    def __init__(self, cameras: Cameras, expectations: Mapping[str, Expectation], zone: tzinfo) -> None:
        self._cameras = cameras
        self._expectations = expectations
        self._zone = zone
        self._intervals = Intervals()
        self._of_connection: dict[str, dict[str, str]] = defaultdict(dict)  # cameras, with their checkpoints
        self._connections: dict[str, set[str]] = defaultdict(set)  # of a camera

    def hear(self, camera_id: str, checkpoint_id: str, is_told: bool = True) -> None:
        """Note a request of a camera. `is_told`: who listens is to hear that it is there."""
        if camera_id not in self._connections:
            silence_s = self._intervals.hear(camera_id, asyncio.get_running_loop().time())
            interval_s = self._cameras.settings_of(camera_id).interval_s
            if interval_s is not None:
                silence_s = max(LEAST_S, INTERVALS * interval_s)
            self._cameras.see(camera_id, checkpoint_id, silence_s + self._grace_s(camera_id), is_told)

    def connect(self, connection: str, camera_id: str, checkpoint_id: str, is_told: bool = True) -> None:
        """Note that a connection speaks for a camera."""
        spoken_for = self._of_connection[connection]
        if camera_id not in spoken_for and len(spoken_for) < _MAX_CAMERAS:
            spoken_for[camera_id] = checkpoint_id
            self._connections[camera_id].add(connection)
            self._cameras.see(camera_id, checkpoint_id, CONNECTED_S, is_told)

    def disconnect(self, connection: str) -> None:
        """Note that a connection has ended: its cameras are gone, or will be after their grace."""
        for camera_id, checkpoint_id in self._of_connection.pop(connection, {}).items():
            others = self._connections[camera_id]
            others.discard(connection)
            if others:
                continue
            del self._connections[camera_id]
            grace_s = self._grace_s(camera_id)
            if grace_s:
                self._cameras.see(camera_id, checkpoint_id, grace_s)
            else:
                self._cameras.lose(camera_id)

    def is_asleep(self, camera_id: str) -> bool:
        """Tell whether a camera is expected to be asleep now."""
        return self.asleep_until_s(camera_id) is not None

    def asleep_until_s(self, camera_id: str) -> float | None:
        """Return until when a camera is expected to be asleep, in seconds since 1970 (UTC), None where it is
        not: as was set, else as its day has it.
        """
        set_s = self._cameras.settings_of(camera_id).asleep_until_s
        if set_s is not None and set_s > time.time():
            return set_s
        until = self._expectations.get(camera_id, _NONE).asleep_until(datetime.now(self._zone))
        return None if until is None else until.timestamp()

    def _grace_s(self, camera_id: str) -> float:
        grace_s = self._cameras.settings_of(camera_id).grace_s
        return self._expectations.get(camera_id, _NONE).grace_s if grace_s is None else grace_s

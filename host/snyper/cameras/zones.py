"""The zones of cameras' clocks. Pure."""

from collections.abc import Mapping
from datetime import UTC, tzinfo

from snyper.cameras.times import zone_named


class Zones:
    """The zones in which naive stamps are read: by camera, else `zone`, which also has today. Raises
    ValueError.
    """

    def __init__(self, zone: str = "UTC", cameras: Mapping[str, str] | None = None) -> None:
        self.name = zone
        self.zone: tzinfo = UTC if zone == "UTC" else zone_named(zone)
        self._cameras: dict[str, tzinfo] = {}
        self._names: dict[str, str] = {}
        for camera_id, name in (cameras or {}).items():
            self.change(camera_id, name)

    def change(self, camera_id: str, zone: str | None) -> None:
        """Read a camera's stamps in that zone, or as those of others. Raises ValueError."""
        if zone is None:
            self._cameras.pop(camera_id, None)
            self._names.pop(camera_id, None)
        else:
            self._cameras[camera_id] = zone_named(zone)
            self._names[camera_id] = zone

    def name_of(self, camera_id: str) -> str:
        """Return the name of the zone of a camera's clock."""
        return self._names.get(camera_id, self.name)

    def of(self, camera_id: str) -> tzinfo:
        """Return the zone of a camera's clock."""
        return self._cameras.get(camera_id, self.zone)

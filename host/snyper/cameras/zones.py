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
        self._cameras = {camera_id: zone_named(name) for camera_id, name in (cameras or {}).items()}

    def of(self, camera_id: str) -> tzinfo:
        """Return the zone of a camera's clock."""
        return self._cameras.get(camera_id, self.zone)

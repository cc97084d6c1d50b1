"""Settings of single cameras as they come and go over REST. Pure."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import tzinfo
from typing import Any

from snyper.cameras.records import CameraSettings, Malformed
from snyper.cameras.silence import MAX_SET_S
from snyper.cameras.times import iso, seconds_of

_FIELDS = ("zone", "interval_s", "grace_s", "asleep_until")


def settings_body(camera_id: str, settings: CameraSettings) -> dict[str, object]:
    """Return the body of an answer with what is set of a camera."""
    values = asdict(settings)
    until_s = values.pop("asleep_until_s")
    asleep_until = None if until_s is None else iso(until_s)
    return {"success": True, "camera_id": camera_id, **values, "asleep_until": asleep_until}


def changed_settings(settings: CameraSettings, body: object, zone: tzinfo) -> CameraSettings:
    """Return settings with those changes that a body has; null takes one back. A time that names no zone is
    in `zone`. Raises Malformed.
    """
    if not isinstance(body, Mapping) or not body.keys() <= {*_FIELDS}:
        raise Malformed(f"the body has to be a JSON object of {', '.join(_FIELDS)}")
    if "zone" in body:
        name = body["zone"]
        if not (name is None or isinstance(name, str)):
            raise Malformed("zone is a text such as Asia/Bangkok, or null")
        settings = replace(settings, zone=name)
    if "interval_s" in body:
        settings = replace(settings, interval_s=_seconds(body, "interval_s", above=0.0))
    if "grace_s" in body:
        settings = replace(settings, grace_s=_seconds(body, "grace_s"))
    if "asleep_until" in body:
        stamp = body["asleep_until"]
        until_s = seconds_of(stamp, zone) if isinstance(stamp, str) else None
        if stamp is not None and until_s is None:
            raise Malformed("asleep_until is a time such as 2024-12-19T10:00:00Z, or null")
        settings = replace(settings, asleep_until_s=until_s)
    return settings


def _seconds(body: Mapping[str, Any], name: str, above: float = -1.0) -> float | None:
    value = body[name]
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not above < value <= MAX_SET_S or value < 0:
        raise Malformed(f"{name} is a number of seconds up to {MAX_SET_S:,.0f}, or null")
    return float(value)

"""Faces of what a gateway says of cameras, of which any part may be nonsense. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from snyper.client.labels import natural
from snyper.dashboard.camera_gateway import short

_MOST = 10**15  # of a number
_MOST_BUCKETS = 100_000
_MOST_NAMED = 7  # cameras in a plot: there are eight colours
_OTHERS = "all others"
_MOST_NAME_CHARS = 128
_MOST_PLATES = 12
_MOST_BOXES = 40
_MOST_CROPS = 8
_MOST_WARNINGS = 8
_PICTURE = re.compile(r"/api/(?:pictures|thumbnails)/(?!.*\.\.)[A-Za-z0-9/_.-]{1,200}")
_FACTS = (
    ("vehicles_count", "Vehicles"),
    ("plates_count", "Plates"),
    ("processing_time_ms", "Processing, ms"),
    ("class", "Class"),
)

_STATES = {"active": "here", "asleep": "asleep"}

Said = dict[str, Any]


def items(value: object, most: int) -> list[Said]:
    """Return the objects of a list, of at most so many."""
    return [one for one in value if isinstance(one, dict)][:most] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text as it is shown."""
    return short(value) if isinstance(value, str) else ""


def texts(value: object, most: int) -> list[str]:
    """Return the texts of a list, of at most so many."""
    return [text(one) for one in value if isinstance(one, str)][:most] if isinstance(value, list) else []


def identity(value: object) -> str:
    """Return the id of a camera, checkpoint or record as it is."""
    return value[:_MOST_NAME_CHARS] if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """Return a number that is one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if -_MOST < value < _MOST else None


def count(value: object) -> int:
    """Return a count, 0 for none."""
    found = number(value)
    return 0 if found is None or found < 0 else int(found)


def seconds(value: object) -> float | None:
    """Return a time (ISO 8601, with an offset) in seconds since 1970; None for none."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if time is None or time.tzinfo is None else time.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def picture(value: object) -> str | None:
    """Return where the dashboard has what is a link to a picture at the gateway; None for none."""
    if not isinstance(value, str) or not _PICTURE.fullmatch(value):
        return None
    return "/cameras/" + value.removeprefix("/api/")


def camera_face(said: Mapping[str, Any], now_s: float) -> Said:
    """Return what a tile shows of its camera, but for its last detection. What is said was so at `now_s`."""
    health, age_s = text(said.get("health_status")), number(said.get("age_s"))
    return {
        "id": identity(said.get("camera_id")),
        "name": text(said.get("camera_id")),
        "place": text(said.get("checkpoint_id")),
        "state": _STATES.get(text(said.get("status")), "offline"),
        "seen_s": None if age_s is None else now_s - age_s,
        "detections": count(said.get("detection_count")),
        "as_of": (count(said.get("detection_count")), count(said.get("last_cursor"))),  # its records
        "health": "" if health == "unknown" else health,
        "warnings": texts(said.get("warnings"), _MOST_WARNINGS),
        "asleep_until": seconds(said.get("asleep_until")),
    }


def record_face(said: Mapping[str, Any]) -> Said:
    """Return what is shown of a detection."""
    annotated, original = picture(said.get("annotated_image")), picture(said.get("original_image"))
    is_annotated = annotated is not None
    captured_s = seconds(said.get("timestamp"))
    received_s = seconds(said.get("received_at"))
    return {
        "id": identity(said.get("detection_id")),
        "cursor": count(said.get("cursor")),
        "camera_id": identity(said.get("camera_id")),
        "camera": text(said.get("camera_id")),
        "place": text(said.get("checkpoint_id")),
        "plates": texts(said.get("ocr_results"), _MOST_PLATES),
        "at_s": received_s if captured_s is None else captured_s,
        "stamp": text(said.get("timestamp")),
        "received_s": received_s,
        "picture": annotated or original,
        "thumbnail": picture(said.get("thumbnail")) or annotated or original,
        "boxes": [] if is_annotated else _boxes(said),
        "size": _size(said.get("picture_size")),
        "crops": _crops(said),
        "protected": said.get("protected") is True,
        "double": said.get("possible_double_of") is not None,
        "warnings": texts(said.get("warnings"), _MOST_WARNINGS),
        "facts": [[name, _fact(said.get(field))] for field, name in _FACTS if _fact(said.get(field))],
    }


def visit_face(said: Mapping[str, Any]) -> Said:
    """Return what is shown of a visit."""
    ids = said.get("detection_ids")
    return {
        "camera_id": identity(said.get("camera_id")),
        "camera": text(said.get("camera_id")),
        "place": text(said.get("checkpoint_id")),
        "plates": [text(said.get("plate"))],
        "at_s": seconds(said.get("first_seen")),
        "until_s": seconds(said.get("last_seen")),
        "count": count(said.get("count")),
        "picture": picture(said.get("picture")),
        "thumbnail": picture(said.get("thumbnail")) or picture(said.get("picture")),
        "id": "/".join([identity(said.get("camera_id")), *map(identity, ids[:1])])
        if isinstance(ids, list)
        else "",
        "boxes": [],
        "crops": [],
        "warnings": [],
        "facts": [],
    }


def _fact(value: object) -> str:
    found = number(value)
    return text(value) if isinstance(value, str) else "" if found is None else f"{found:,.10g}"


def _size(value: object) -> list[int] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    sides = [count(one) for one in value]
    return sides if all(sides) else None


def _boxes(said: Mapping[str, Any]) -> list[Said]:
    """Return the boxes of what was seen: x1, y1, x2, y2 in pixels of the picture."""
    return [
        box
        for kind, field in (("vehicle", "vehicle_detections"), ("plate", "plate_detections"))
        for one in items(said.get(field), _MOST_BOXES)
        if (box := _box(kind, one)) is not None
    ]


def _box(kind: str, said: Said) -> Said | None:
    corners = said.get("bbox")
    if not isinstance(corners, list) or len(corners) != 4:
        return None
    numbers = [number(one) for one in corners]
    if any(one is None for one in numbers):
        return None
    x1, y1, x2, y2 = (float(one or 0) for one in numbers)
    name = text(said.get("text")) or text(said.get("class"))
    sure = number(said.get("confidence"))
    return {
        "kind": kind,
        "x": min(x1, x2),
        "y": min(y1, y2),
        "width": abs(x2 - x1),
        "height": abs(y2 - y1),
        "words": " ".join(filter(None, (name, "" if sure is None else f"{100 * sure:.0f} %"))),
    }


def _crops(said: Mapping[str, Any]) -> list[str]:
    links: Iterable[object] = said["cropped_plates"] if isinstance(said.get("cropped_plates"), list) else ()
    found = [one.get("picture") if isinstance(one, dict) else one for one in links]
    return [link for link in map(picture, found) if link is not None][:_MOST_CROPS]


def counts(buckets: object) -> dict[str, list[tuple[float, int]]]:
    """Return how many detections each camera had, at the begin of each part of time: the cameras with most of
    them, and all others together.
    """
    found: dict[str, dict[float, int]] = {}
    for one in items(buckets, _MOST_BUCKETS):
        at_s = seconds(one.get("from"))
        if at_s is not None:
            of_camera = found.setdefault(text(one.get("camera_id")), {})
            of_camera[at_s] = of_camera.get(at_s, 0) + count(one.get("detections"))
    ranked = sorted(found, key=lambda name: -sum(found[name].values()))
    others: dict[float, int] = {}
    for name in ranked[_MOST_NAMED:]:
        for at_s, number_of in found[name].items():
            others[at_s] = others.get(at_s, 0) + number_of
    named = {name: found[name] for name in sorted(ranked[:_MOST_NAMED], key=natural)}
    return {
        name: sorted(points.items())
        for name, points in {**named, **({_OTHERS: others} if others else {})}.items()
    }


def times_words(said: Mapping[str, Any]) -> str:
    """Return how often something happened, where that is more than once."""
    times = count(said.get("times"))
    return f", {times:,} times" if times > 1 else ""


def rule_words(said: Mapping[str, Any]) -> str:
    """Return in words when a rule applies, as its file says it."""
    when = said.get("when")
    parts = when.items() if isinstance(when, dict) else ()
    words = (f"{name.replace('_', ' ')} {_fact(value)}" for name, value in parts if _fact(value))
    return short(", ".join(words))

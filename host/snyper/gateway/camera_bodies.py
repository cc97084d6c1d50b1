"""Bodies of cameras as the clients that exist have them: what comes, what is answered. Pure."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence

from snyper.cameras.intake import detection_of, health_of, registration_of
from snyper.cameras.records import (
    Accepted,
    Bucket,
    CameraState,
    Detection,
    Health,
    Malformed,
    MissingField,
    Picture,
    Record,
    RecordPage,
    Registration,
    Statistics,
)
from snyper.cameras.times import iso
from snyper.cameras.visits import VisitPage

PICTURES_PATH = "/api/pictures"
THUMBNAILS_PATH = "/api/thumbnails"
NO_CAMERA = "camera_id and checkpoint_id are required"
_DETECTION_TYPES = ("detection_result", "detection", "lpr_data")
_HEALTH_TYPES = ("health_check", "health", "health_status")
_REGISTRATION_TYPES = ("camera_register", "registration", "register")
_SHOWN_CHARS = 40

Item = Registration | Detection | Health


def parse(content: bytes | bytearray) -> object:
    """Parse a body. Raises Malformed."""
    try:
        return json.loads(content)
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    except ValueError:  # UnicodeDecodeError is one
        raise Malformed("the body has to be a JSON object") from None


def take_registration(body: object) -> Registration:
    """Take a registration. Raises MissingField, Malformed."""
    return registration_of(body)


def take_detection(body: object) -> Detection:
    """Take a detection. Raises MissingField, Malformed."""
    _check_type(body)
    return detection_of(body)


def take_health(body: object) -> Health:
    """Take a health check. Raises MissingField, Malformed."""
    _check_type(body)
    return health_of(body)


def take_any(body: object) -> Item:
    """Take what its `type` says. Raises MissingField, Malformed."""
    _check_type(body)
    kind = body["type"] if isinstance(body, Mapping) else None
    if kind in _DETECTION_TYPES:
        return detection_of(body)
    if kind in _HEALTH_TYPES:
        return health_of(body)
    if kind in _REGISTRATION_TYPES:
        return registration_of(body)
    raise Malformed(f"type is detection_result or health_check, not {str(kind)[:_SHOWN_CHARS]!r}")


def _check_type(body: object) -> None:
    if isinstance(body, Mapping) and body.get("type") in (None, ""):
        raise MissingField("type")


def lacks_camera(body: object) -> bool:
    """Tell whether a body says neither its camera nor its checkpoint."""
    return isinstance(body, Mapping) and not body.get("camera_id") and not body.get("checkpoint_id")


def answer_of(item: Item, accepted: Accepted, words: str) -> dict[str, object]:
    """Return what is answered to an item that was taken."""
    identity: dict[str, object] = {}
    if isinstance(item, Detection):
        identity = {"detection_id": accepted.id}
    elif isinstance(item, Health):
        identity = {"health_id": accepted.id}
    return {
        "success": True,
        "message": words,
        **identity,
        "camera_id": item.camera_id,
        "checkpoint_id": item.checkpoint_id,
        "timestamp": now(),
        **({"warnings": list(accepted.warnings)} if accepted.warnings else {}),
    }


def now() -> str:
    """Return this moment as answers have it."""
    return iso(time.time())


def statistics_body(statistics: Statistics, connected_clients: int) -> dict[str, object]:
    """Return the body of the statistics."""
    return {
        "success": True,
        "data": {
            "total_detections": statistics.total_detections,
            "today_detections": statistics.today_detections,
            "total_health_checks": statistics.total_health_checks,
            "today_health_checks": statistics.today_health_checks,
            "unique_cameras": statistics.unique_cameras,
            "active_cameras": statistics.active_cameras,
            "connected_clients": connected_clients,
            "last_update": iso(statistics.last_update_s),
            "server_status": "running",
        },
    }


def camera_body(state: CameraState, zone: str) -> dict[str, object]:
    """Return a camera of the list, which is asleep where it is not there and expected to be."""
    silent = "inactive" if state.asleep_until_s is None else "asleep"
    return {
        "camera_id": state.camera_id,
        "checkpoint_id": state.checkpoint_id,
        "registered_at": None if state.registered_s is None else iso(state.registered_s),
        "last_seen": iso(state.last_seen_s),
        "status": "active" if state.is_active else silent,
        "detection_count": state.detection_count,
        "health_status": state.health_status or "unknown",
        "age_s": round(state.age_s, 3),
        "skew_ms": None if state.skew_s is None else round(state.skew_s * 1000),
        "warnings": list(state.warnings),
        "asleep_until": None if state.asleep_until_s is None else iso(state.asleep_until_s),
        "zone": zone,
        "last_picture": _link(state.last_picture),
        "last_thumbnail": _thumbnail(state.last_picture),
        "last_detection_id": state.last_detection_id,
        "last_cursor": state.last_cursor,
    }


def record_parts(page: RecordPage) -> list[bytes]:
    """Return the records of a page as JSON each."""
    return [json.dumps(record_body(record), separators=(",", ":")).encode() for record in page.records]


def records_body(parts: Sequence[bytes], last: RecordPage) -> Iterator[bytes]:
    """Iterate over the parts of an answer with records, the last of which are of the page `last`."""
    rest = {
        "total_count": last.total,
        "returned_count": len(parts),
        "next_cursor": last.next_cursor,
        "timestamp": now(),
    }
    yield b'{"success":true,"records":['
    for number, part in enumerate(parts):
        if number:
            yield b","
        yield part
    yield b"]," + json.dumps(rest, separators=(",", ":"))[1:].encode()


def record_body(record: Record) -> dict[str, object]:
    """Return a record, with links to its pictures."""
    picture = _link(record.picture)
    return {
        **record.details,
        "type": "detection_result",
        "cursor": record.cursor,
        "detection_id": record.detection_id,
        "camera_id": record.camera_id,
        "checkpoint_id": record.checkpoint_id,
        "timestamp": record.timestamp,
        "received_at": iso(record.received_s),
        "vehicles_count": record.vehicles_count,
        "plates_count": record.plates_count,
        "ocr_results": list(record.ocr_results),
        "annotated_image": picture if record.is_annotated else None,
        "original_image": None if record.is_annotated else picture,
        "annotated": record.is_annotated,
        "thumbnail": _thumbnail(record.picture),
        "picture_size": None if record.picture is None else [record.picture.width, record.picture.height],
        "cropped_plates": [_link(plate) for plate in record.cropped_plates],
        "cropped_thumbnails": [_thumbnail(plate) for plate in record.cropped_plates],
        "protected": record.is_protected,
        "possible_double_of": record.possible_double_of,
        "warnings": list(record.warnings),
    }


def visits_body(page: VisitPage) -> dict[str, object]:
    """Return the body of an answer with visits."""
    visits = [
        {
            "camera_id": visit.camera_id,
            "checkpoint_id": visit.checkpoint_id,
            "plate": visit.plate,
            "first_seen": iso(visit.first_s),
            "last_seen": iso(visit.last_s),
            "count": len(visit.cursors),
            "picture": _link(visit.picture),
            "thumbnail": _thumbnail(visit.picture),
            "detection_ids": visit.detection_ids,
        }
        for visit in page.visits
    ]
    following = None if page.next_cursor is None else str(page.next_cursor)
    return {"success": True, "visits": visits, "next_cursor": following, "timestamp": now()}


def history_content(buckets: Sequence[Bucket]) -> bytes:
    """Return the body of an answer with what came over time."""
    found = [
        {
            "from": iso(bucket.from_s),
            "camera_id": bucket.camera_id,
            "detections": bucket.detections,
            "health_checks": bucket.health_checks,
        }
        for bucket in buckets
    ]
    return json.dumps({"success": True, "buckets": found, "timestamp": now()}, separators=(",", ":")).encode()


def _thumbnail(picture: Picture | None) -> str | None:
    return None if picture is None else f"{THUMBNAILS_PATH}/{picture.name}"


def _link(picture: Picture | None) -> str | None:
    return None if picture is None else f"{PICTURES_PATH}/{picture.name}"

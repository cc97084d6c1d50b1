"""Bodies as clients send them, taken or refused. Pure.

Numbers stand as text, lists as JSON text, fields are missing or more than there should be: what can be taken
is, with a warning where something is lost.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from snyper.cameras.plates import MAX_PLATE_CHARS
from snyper.cameras.records import MAX_NAME_CHARS, Detection, Health, Malformed, MissingField, Registration
from snyper.cameras.times import MAX_STAMP_CHARS

MAX_DETAILS_CHARS = 262_144  # of the JSON beside the pictures: some 1,000 boxes
MAX_DEPTH = 32
MAX_PLATES = 64  # in one picture
_MAX_COUNT = 1_000_000
_MAX_MESSAGE_CHARS = 4_096
_PICTURES = ("annotated_image", "original_image")
_TAKEN = {
    *("type", "camera_id", "checkpoint_id", "timestamp", "detection_id", "vehicles_count", "plates_count"),
    *("ocr_results", "cropped_plates", *_PICTURES),
}

_NO_NUMBER = "a number is infinite, too large or none: null is kept for it"

_encode = json.JSONEncoder(ensure_ascii=False).encode


def registration_of(body: object) -> Registration:
    """Take the body of a registration. Raises MissingField, Malformed."""
    fields = _object(body)
    camera, checkpoint = _names(fields)
    return Registration(camera, checkpoint, _stamp(fields, is_needed=False))


def detection_of(body: object) -> Detection:
    """Take the body of a detection, with pictures as base64 or bytes, which are not looked at yet. Raises
    MissingField, Malformed.
    """
    fields = _object(body)
    camera, checkpoint = _names(fields)
    stamp = _stamp(fields, is_needed=True)
    warnings: list[str] = []
    plates = _texts(fields.get("ocr_results"), warnings)
    detection_id = fields.get("detection_id")
    sent = [name for name in _PICTURES if fields.get(name)]
    name = sent[0] if sent else _PICTURES[0]
    if len(sent) > 1:
        warnings.append(f"{sent[1]} is not kept: one picture is, and {name} came too")
    picture, crops = fields.get(name), fields.get("cropped_plates")
    if picture is not None and not isinstance(picture, str | bytes):
        warnings.append(f"{name} is neither base64 nor bytes: no picture is kept")
        picture = None
    return Detection(
        camera_id=camera,
        checkpoint_id=checkpoint,
        timestamp=stamp,
        detection_id=None if detection_id in (None, "") else _name("detection_id", detection_id),
        vehicles_count=_count(fields, "vehicles_count", "vehicle_detections", warnings),
        plates_count=_count(fields, "plates_count", "plate_detections", warnings),
        ocr_results=plates,
        details=_details({name: value for name, value in fields.items() if name not in _TAKEN}, warnings),
        picture=picture or None,
        is_annotated=name == "annotated_image",
        cropped_plates=_crops(crops, warnings),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def health_of(body: object) -> Health:
    """Take the body of a health check. Raises MissingField, Malformed."""
    fields = _object(body)
    camera, checkpoint = _names(fields)
    stamp = _stamp(fields, is_needed=True)
    component, status = (_name(name, _needed(fields, name)) for name in ("component", "status"))
    warnings: list[str] = []
    message = _storable("" if (sent := fields.get("message")) is None else str(sent))
    if len(message) > _MAX_MESSAGE_CHARS:
        warnings.append(f"message is cut after {_MAX_MESSAGE_CHARS:,} characters")
    details = fields.get("details")
    health_id = fields.get("health_id")
    return Health(
        camera_id=camera,
        checkpoint_id=checkpoint,
        timestamp=stamp,
        component=component,
        status=status,
        message=message[:_MAX_MESSAGE_CHARS],
        details=_details(
            details if isinstance(details, Mapping) else {} if details is None else {"value": details},
            warnings,
        ),
        warnings=tuple(warnings),
        health_id=None if health_id in (None, "") else _name("health_id", health_id),
    )


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise Malformed("the body has to be a JSON object")
    return body


def _needed(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None or value == "":
        raise MissingField(name)
    return value


def _names(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the camera and the checkpoint, without blanks around them, which are not meant."""
    return (
        _name("camera_id", _needed(fields, "camera_id")).strip(),
        _name("checkpoint_id", _needed(fields, "checkpoint_id")).strip(),
    )


def _name(field: str, value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_NAME_CHARS or not _is_clean(text):
        raise Malformed(
            f"{field} has to be a text of 1 to {MAX_NAME_CHARS} characters, none of them a control"
        )
    return text


def _is_clean(text: str) -> bool:
    return text.isprintable() or not any(unicodedata.category(one) in ("Cc", "Cs") for one in text)


def _stamp(fields: Mapping[str, Any], is_needed: bool) -> str:
    value = fields.get("timestamp")
    if value in (None, ""):
        value = fields.get("created_at")
    if value in (None, ""):
        if is_needed:
            raise MissingField("timestamp")
        return ""
    return _storable(str(value))[:MAX_STAMP_CHARS]


def _count(fields: Mapping[str, Any], name: str, items: str, warnings: list[str]) -> int:
    value = fields.get(name)
    counted = fields.get(items)
    if value is None:
        return len(counted) if isinstance(counted, list) else 0
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if 0 <= number <= _MAX_COUNT:
        return number
    warnings.append(f"{name} is no count: it is taken as 0")
    return 0


def _texts(value: object, warnings: list[str]) -> tuple[str, ...]:
    """Return the plates: a list, the JSON text of a list, or one plate."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        try:
            found = json.loads(value) if value.lstrip().startswith("[") else value
        except (ValueError, RecursionError):
            found = value
        value = found if isinstance(found, list) else [value]
    if not isinstance(value, list | tuple):
        warnings.append("ocr_results is no list: no plate is kept")
        return ()
    texts = [_plate(one, warnings) for one in value[:MAX_PLATES]]
    if len(value) > MAX_PLATES:
        warnings.append(f"ocr_results has {len(value)} plates: the first {MAX_PLATES} are kept")
    return tuple(text for text in texts if text)


def _plate(value: object, warnings: list[str]) -> str:
    text = value.get("text") if isinstance(value, Mapping) else value
    if text == "":
        warnings.append("a plate is an empty text: it is not kept")
        return ""
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str) or len(text) > MAX_PLATE_CHARS:
        warnings.append(f"a plate is no text of at most {MAX_PLATE_CHARS} characters: it is not kept")
        return ""
    kept = _storable(text)
    if kept != text:
        warnings.append("a plate has characters that are none: they are kept as U+FFFD")
    return kept


def _crops(value: object, warnings: list[str]) -> tuple[str | bytes, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else [value]
        except (ValueError, RecursionError):
            value = [value]
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        warnings.append("cropped_plates is no list: none is kept")
        return ()
    if len(value) > MAX_PLATES:
        warnings.append(f"cropped_plates has {len(value)} pictures: the first {MAX_PLATES} are kept")
    kept = []
    for place, one in enumerate(value[:MAX_PLATES]):
        if one and isinstance(one, str | bytes):
            kept.append(one)
        elif one not in (None, "", b""):
            warnings.append(f"cropped_plates[{place}] is neither base64 nor bytes: it is not kept")
    return tuple(kept)


def _details(fields: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return fields as JSON that every database and browser takes. Raises Malformed."""
    cleaned = _cleaned(fields, MAX_DEPTH, warnings)
    assert isinstance(cleaned, dict)
    if len(_encode(cleaned)) > MAX_DETAILS_CHARS:
        raise Malformed(f"the body has more than {MAX_DETAILS_CHARS:,} characters beside its pictures")
    return cleaned


def _cleaned(value: object, depth: int, warnings: list[str]) -> object:
    if depth == 0:
        raise Malformed(f"the body is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, int | float):
        if abs(value) <= sys.float_info.max:  # NaN is not
            return float(value)
        if _NO_NUMBER not in warnings:
            warnings.append(_NO_NUMBER)
        return None
    if isinstance(value, list | tuple):
        return [_cleaned(one, depth - 1, warnings) for one in value]
    if isinstance(value, Mapping):
        return {_storable(str(name)): _cleaned(one, depth - 1, warnings) for name, one in value.items()}
    raise Malformed("the body has bytes where none are expected")


def _storable(text: str) -> str:
    """Return a text that UTF-8 and PostgreSQL take: without NUL and without half of a pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")

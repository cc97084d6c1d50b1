"""Detections, healths and registrations as they come, records as they are kept, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_NAME_CHARS = 128  # of the id of a camera or checkpoint; indices hold them


class CamerasError(Exception):
    """An error that whoever sent something is told; the message is a sentence for people."""


class MissingField(CamerasError):
    """A field that has to be there is missing."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Missing required field: {field}")
        self.field = field


class Malformed(CamerasError):
    """A body that cannot be taken, whenever it is sent."""


class Overloaded(CamerasError):
    """Too much is being written, the disk is full or the database away: the same may be sent again later."""


@dataclass(frozen=True)
class Registration:
    """A camera says who it is. `timestamp` is as sent."""

    camera_id: str
    checkpoint_id: str
    timestamp: str = ""


@dataclass(frozen=True)
class Detection:
    """A detection of a camera. `timestamp` and `ocr_results` are as sent; pictures are base64 or bytes, as
    sent too. `details` is JSON: all other fields, such as `vehicle_detections`.
    """

    camera_id: str
    checkpoint_id: str
    timestamp: str
    detection_id: str | None = None
    vehicles_count: int = 0
    plates_count: int = 0
    ocr_results: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    picture: str | bytes | None = None
    is_annotated: bool = True
    cropped_plates: tuple[str | bytes, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Health:
    """The state of a component of a camera. `timestamp` is as sent; `details` is JSON. With a `health_id` of
    the device it is known among the last ones of that camera.
    """

    camera_id: str
    checkpoint_id: str
    timestamp: str
    component: str
    status: str
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    health_id: str | None = None


@dataclass(frozen=True)
class Accepted:
    """The answer to what is on the disk now. `received_s` is in seconds since 1970 (UTC). `is_known`: it came
    before, and `id` is what was answered then.
    """

    id: str
    received_s: float
    warnings: tuple[str, ...] = ()
    is_known: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that is kept. `name` is what `Cameras.picture` finds its file by; the size is in pixels."""

    name: str
    media_type: str
    width: int
    height: int
    length: int


@dataclass(frozen=True)
class Record:
    """A detection that is kept. `cursor` rises with each that comes. `captured_s` is the camera's stamp in
    seconds since 1970 (UTC), None where it is none; `time_s` is what it is sorted by: that, or when it came.
    """

    cursor: int
    id: str
    detection_id: str
    camera_id: str
    checkpoint_id: str
    timestamp: str
    captured_s: float | None
    time_s: float
    received_s: float
    vehicles_count: int
    plates_count: int
    ocr_results: tuple[str, ...]
    details: Mapping[str, Any]
    picture: Picture | None
    is_annotated: bool
    cropped_plates: tuple[Picture, ...]
    possible_double_of: str | None
    is_protected: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RecordQuery:
    """Conditions that records are to meet. The newest come first; with `after`, a cursor, those that came
    later, in the order in which they came. `before` is the `next_cursor` of a page. `from_s` (included) and
    `until_s` (not) are seconds since 1970 (UTC). `plate` is exact, has `*` and `?`, or begins with `~1` for
    one letter that may differ; `class_name` is that of the first vehicle. `among` are the cameras that may be
    seen, as `is_among` reads them, None for all.
    """

    limit: int = 10
    after: int | None = None
    before: str | None = None
    camera_id: str | None = None
    checkpoint_id: str | None = None
    plate: str | None = None
    from_s: float | None = None
    until_s: float | None = None
    class_name: str | None = None
    among: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RecordPage:
    """Records, how many there are in all, and where the next page begins, None after the last: those with
    megabytes of details come in shorter pages. From 10,000 on
    `total` may be a lower bound: `is_total_exact` says so.
    """

    records: tuple[Record, ...]
    total: int
    next_cursor: str | None = None
    is_total_exact: bool = True


@dataclass(frozen=True)
class CameraState:
    """A camera as it is known. Times are in seconds since 1970 (UTC); `registered_s` is None for one that has
    sent without having registered. It `is_active` while it is there; until `asleep_until_s` it is expected
    not to be, None where it is not now. It was seen `age_s` ago, whatever became of the time of day since.
    `skew_s` is how far its clock is ahead, from its last live messages; `warnings` are sentences for people.
    The last detection is None once it is removed.
    """

    camera_id: str
    checkpoint_id: str
    registered_s: float | None
    first_seen_s: float
    last_seen_s: float
    is_active: bool
    detection_count: int
    health_status: str
    asleep_until_s: float | None = None
    age_s: float = 0.0
    skew_s: float | None = None
    last_picture: Picture | None = None
    warnings: tuple[str, ...] = ()
    last_detection_id: str | None = None
    last_cursor: int | None = None


@dataclass(frozen=True)
class Statistics:
    """Counters of all that ever came, which retention does not lower; `today` is that of `zone`."""

    total_detections: int
    today_detections: int
    total_health_checks: int
    today_health_checks: int
    unique_cameras: int
    active_cameras: int
    last_update_s: float
    zone: str = "UTC"


@dataclass(frozen=True)
class Bucket:
    """A count of what came in an hour or a day that began at `from_s`, in seconds since 1970 (UTC): of a
    camera, or of all where that is None.
    """

    from_s: float
    camera_id: str | None
    detections: int
    health_checks: int


@dataclass(frozen=True)
class CameraSettings:
    """The settings of one camera; what is None is as it is for others. `zone` is that of its clock,
    `interval_s` how often it sends, `grace_s` how much longer it may be silent, and until `asleep_until_s`,
    in seconds since 1970 (UTC), it is expected to be.
    """

    zone: str | None = None
    interval_s: float | None = None
    grace_s: float | None = None
    asleep_until_s: float | None = None


@dataclass(frozen=True)
class Event:
    """An event that listeners hear of: `kind` is `detection`, `health` or `status`; `data` is JSON."""

    kind: str
    data: Mapping[str, Any]

"""The tables, the same in SQLite and PostgreSQL."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Select,
    Subquery,
    Table,
    Text,
    func,
    select,
    union_all,
)

VERSION = 1
PICTURE_BYTES = "picture_file_bytes"
OF_ALL = ""  # in the place of a camera, which is called something
TABLES = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # of which SQLite makes the row's own
_Key = Text().with_variant(Text(collation="C"), "postgresql")  # which is sorted by its bytes

# By name: the version of the tables; the folder that PostgreSQL belongs to; the last number that a detection,
# a health, a plate was given; how many detections and healths came, how many are kept, how many cameras
# there are, the bytes of pictures, of which several records may have one.
numbers = Table(
    "numbers",
    TABLES,
    Column("name", Text, primary_key=True),
    Column("value", _Number, nullable=False),
)
cameras = Table(
    "cameras",
    TABLES,
    Column("camera_id", Text, primary_key=True),
    Column("checkpoint_id", Text, nullable=False),
    Column("registered_s", Double),
    Column("first_seen_s", Double, nullable=False),
    Column("last_seen_s", Double, nullable=False),
    Column("detections", _Number, nullable=False),
    Column("healths", _Number, nullable=False),
    Column("skew_s", Double),
    Column("last_cursor", _Number),
)
# Counters of each day of a zone: all that ever came, whatever is kept of it.
days = Table(
    "days",
    TABLES,
    Column("zone", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("detections", _Number, nullable=False),
    Column("healths", _Number, nullable=False),
)
# Counters of each hour of a camera, and of all of them as camera "".
hours = Table(
    "hours",
    TABLES,
    Column("camera_id", Text, primary_key=True),
    Column("from_s", _Number, primary_key=True, autoincrement=False),
    Column("detections", _Number, nullable=False),
    Column("healths", _Number, nullable=False),
    Index("hours_by_time", "from_s"),
)
# Who searched, exported and erased, and which rules fired.
entries = Table(
    "entries",
    TABLES,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),  # JSON
    Column("plate", Text),  # the pattern that was asked for, folded
    Column("about", Text),  # the id of a detection
    Column("first_s", Double, nullable=False),
    Column("last_s", Double, nullable=False),
    Column("times", _Number, nullable=False),
    Column("count", _Number, nullable=False),
    Index("entries_by_kind", "kind", "number"),
    Index("entries_by_time", "last_s"),
)
# What a person has set of a camera; what is null is as it is for others.
camera_settings = Table(
    "camera_settings",
    TABLES,
    Column("camera_id", Text, primary_key=True),
    Column("zone", Text),
    Column("interval_s", Double),
    Column("grace_s", Double),
    Column("asleep_until_s", Double),
)
detections = Table(
    "detections",
    TABLES,
    Column("cursor", _Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("device_id", Text),
    Column("camera_id", Text, nullable=False),
    Column("checkpoint_id", Text, nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("captured_s", Double),
    Column("time_s", Double, nullable=False),
    Column("received_s", Double, nullable=False),
    Column("vehicles_count", Integer, nullable=False),
    Column("plates_count", Integer, nullable=False),
    Column("class_name", Text, nullable=False),
    Column("plates", Text, nullable=False),  # JSON: as read
    Column("details", Text, nullable=False),  # JSON
    Column("is_annotated", Boolean, nullable=False),
    Column("is_protected", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("possible_double_of", Text),
    Column("warnings", Text, nullable=False),  # JSON
    Column("principal", Text, nullable=False),
    Index("detections_by_camera", "camera_id", "cursor"),
    Index("detections_by_checkpoint", "checkpoint_id", "cursor"),
    Index("detections_by_time", "time_s", "cursor"),
    Index("detections_by_camera_time", "camera_id", "time_s", "cursor"),
    Index("detections_by_checkpoint_time", "checkpoint_id", "time_s", "cursor"),
    Index("detections_by_arrival", "received_s", "cursor"),
    Index("detections_by_class", "class_name", "cursor"),
)
pictures = Table(
    "pictures",
    TABLES,
    Column("cursor", _Number, ForeignKey("detections.cursor"), primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True),  # 0 is the scene, then each plate
    Column("name", _Key, nullable=False),
    Column("received_s", Double, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Index("pictures_by_name", "name"),
    Index("pictures_by_arrival", "received_s", "cursor"),
)
plates = Table(
    "plates",
    TABLES,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("folded", Text, nullable=False, unique=True),
    Column("alike", Text, nullable=False),
    Index("plates_by_alike", "alike"),
)
sightings = Table(
    "sightings",
    TABLES,
    Column("plate", _Number, ForeignKey("plates.number"), primary_key=True, autoincrement=False),
    Column("cursor", _Number, ForeignKey("detections.cursor"), primary_key=True, autoincrement=False),
    Index("sightings_by_cursor", "cursor"),
)
# Ids that devices have used, which outlive what they came with: SHA-256 of camera and id.
device_ids = Table(
    "device_ids",
    TABLES,
    Column("hash", Text, primary_key=True),
    Column("digest", Text, nullable=False),
)
# Of each camera the ids of its last health checks, as JSON: one that has lost the answer tells it again.
told_healths = Table(
    "told_healths",
    TABLES,
    Column("camera_id", Text, primary_key=True),
    Column("ids", Text, nullable=False),
)
healths = Table(
    "healths",
    TABLES,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("camera_id", Text, nullable=False),
    Column("checkpoint_id", Text, nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("received_s", Double, nullable=False),
    Column("component", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Column("principal", Text, nullable=False),
    Index("healths_by_camera", "camera_id", "number"),
    Index("healths_by_arrival", "received_s"),
)
# The last row of healths of each component, so that only changes make new ones.
components = Table(
    "components",
    TABLES,
    Column("camera_id", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    Column("checkpoint_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("stored_s", Double, nullable=False),
)


def _last_cursors() -> Subquery:
    """Return the last cursor of records that are there, and those of cameras, which outlive records."""
    of_cameras = select(func.max(cameras.c.last_cursor))
    return union_all(select(func.max(detections.c.cursor).label("cursor")), of_cameras).subquery()


def _ever(counter: Column[int]) -> Select[int]:
    return select(func.sum(counter)).where(hours.c.camera_id == OF_ALL)


_files = select(pictures.c.name, pictures.c.length).distinct().subquery()
# What each of the numbers is counted from where it is missing.
COUNTS: dict[str, Select[int]] = {
    "detections": select(func.max(_last_cursors().c.cursor)),
    "healths": select(func.max(healths.c.number)),
    "plates": select(func.max(plates.c.number)),
    "kept": select(func.count()).select_from(detections),
    "cameras": select(func.count()).select_from(cameras),
    "all_detections": _ever(hours.c.detections),
    "all_healths": _ever(hours.c.healths),
    PICTURE_BYTES: select(func.sum(_files.c.length)),
}

"""The rows of a batch: all that is known of what came together, in one transaction."""

import hashlib
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sql

from snyper.cameras import schema
from snyper.cameras.database import Database
from snyper.cameras.pictures import NewPicture
from snyper.cameras.plates import MAX_PLATE_CHARS, fold, fold_alike
from snyper.cameras.recent import RecentBodies
from snyper.cameras.records import Accepted, Detection, Health, Malformed, Picture, Registration
from snyper.cameras.times import day_of, hour_of, seconds_of, why_none
from snyper.cameras.zones import Zones

Item = Registration | Detection | Health
MAX_PLATES = 64  # in one picture
MAX_CAMERAS = 10_000  # each is a row of the page and of every statistic
MAX_SKEW_S = 2.0  # how far ahead a camera's clock may be before its stamps are not sorted by
MAX_TOLD_HEALTHS = 32  # ids that a camera's health checks are known by: it has 16 under way
_REPEATED_S = 3600.0  # an unchanged health is stored once in this
_ADD_TRIGRAMS = "INSERT INTO plates_trigrams (rowid, folded, alike) VALUES (:number, :folded, :alike)"
# Of a new difference: some ten messages make the mean, of a clock that was not set in between.
_SKEW_WEIGHT: sql.ColumnElement[float] = sql.literal_column("0.2")
_MAX_SKEW: sql.ColumnElement[float] = sql.literal_column(repr(MAX_SKEW_S))
_TABLES = schema.TABLES.sorted_tables  # what others point to first
_CAMERAS = "SELECT camera_id FROM cameras WHERE camera_id IN"
_IDS = "SELECT hash, digest FROM device_ids WHERE hash IN"
_PLATES = "SELECT folded, number FROM plates WHERE folded IN"
_COMPONENTS = "SELECT * FROM components WHERE camera_id IN"
_TOLD_HEALTHS = "SELECT camera_id, ids FROM told_healths WHERE camera_id IN"
_PICTURES = "SELECT DISTINCT name FROM pictures WHERE name IN"
_NUMBERS = sql.select(schema.numbers)
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass
class Incoming:
    """An item that is to be written, when it came, and what has become of it. Its `digest` is the same for
    the same detection of the same camera, however it was sent.
    """

    item: Item
    received_s: float
    principal: str = ""
    is_live: bool = True
    outcome: Accepted | Exception | None = None
    cursor: int | None = None
    parts: list[tuple[int, NewPicture]] = field(default_factory=list)
    new_files: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    digest: str = ""

    @property
    def pictures(self) -> list[tuple[int, Picture]]:
        """The pictures, each with its place."""
        return [(place, part.picture) for place, part in self.parts]


class Batch:
    """A batch that is written through `db`. `cameras` are some of those that are there, which stay."""

    def __init__(
        self,
        database: Database,
        db: sql.Connection,
        recent: RecentBodies,
        zones: Zones,
        cameras: Collection[str],
    ) -> None:
        self._database, self._db, self._recent, self._zones = database, db, recent, zones
        self._cameras = cameras
        self.more_cameras: set[str] = set()  # that are there once this is written
        self._numbers: dict[str, int] = {row.name: row.value for row in db.execute(_NUMBERS)}
        self._changed: set[str] = set()  # numbers
        self._known_pictures: set[str] = set()  # by their names
        self._rows: defaultdict[sql.Table, list[dict[str, Any]]] = defaultdict(list)

    def write(self, items: Sequence[Incoming]) -> list[Accepted | Exception]:
        """Write all rows, and return the outcome of each item, which holds once the transaction does. Raises
        sqlalchemy.exc.SQLAlchemyError.
        """
        self.more_cameras = self._known_cameras(items)
        ids, components = self._known_ids(items), self._known_components(items)
        told = self._told_healths(items)
        names = {picture.name for one in items for _, picture in one.pictures}
        self._known_pictures = {row.name for row in self._find(_PICTURES, names)}
        outcomes: list[Accepted | Exception] = []
        for one in items:
            if not self._takes(one.item.camera_id):
                refusal = f"there are {MAX_CAMERAS:,} cameras already: no other is taken"
                outcomes.append(Malformed(refusal))
            elif isinstance(one.item, Detection):
                outcomes.append(self._add_detection(one, one.item, ids))
            elif isinstance(one.item, Health):
                outcomes.append(self._add_health(one, one.item, components, told))
            else:
                outcomes.append(Accepted(str(uuid.uuid4()), one.received_s))
        new = [
            one
            for one, outcome in zip(items, outcomes, strict=True)
            if isinstance(outcome, Accepted) and not outcome.is_known
        ]
        self._add_sightings(new)
        for table in _TABLES:
            if table in self._rows:
                self._database.put(self._db, table, self._rows[table])
        if self._database.is_sqlite and schema.plates in self._rows:
            self._db.exec_driver_sql(_ADD_TRIGRAMS, self._rows[schema.plates])
        self._count(new)
        changed = [row for row in components.values() if row.pop("is_new", False)]
        self._database.put(self._db, schema.components, changed, _new_component)
        rows = [{"camera_id": name, "ids": _json(last)} for name, last in sorted(told.items())]
        self._database.put(self._db, schema.told_healths, rows, _new_ids)
        numbers = [{"name": name, "value": self._numbers[name]} for name in sorted(self._changed)]
        self._database.put(self._db, schema.numbers, numbers, new_value)
        return outcomes

    def _next(self, name: str, count: int = 1) -> int:
        self._changed.add(name)
        self._numbers[name] = self._numbers.get(name, 0) + count
        return self._numbers[name]

    # --- what is there already

    def _known_cameras(self, items: Iterable[Incoming]) -> set[str]:
        names = {one.item.camera_id for one in items}.difference(self._cameras)
        return {row.camera_id for row in self._find(_CAMERAS, names)}

    def _takes(self, camera_id: str) -> bool:
        if camera_id not in self._cameras and camera_id not in self.more_cameras:
            if self._numbers.get("cameras", 0) >= MAX_CAMERAS:
                return False
            self._next("cameras")
            self.more_cameras.add(camera_id)
        return True

    def _known_ids(self, items: Iterable[Incoming]) -> dict[str, str]:
        hashes = {
            _id_hash(one.item)
            for one in items
            if isinstance(one.item, Detection) and one.item.detection_id is not None
        }
        return {row.hash: row.digest for row in self._find(_IDS, hashes)}

    def _known_components(self, items: Iterable[Incoming]) -> dict[tuple[str, str], dict[str, Any]]:
        names = {one.item.camera_id for one in items if isinstance(one.item, Health)}
        return {(row.camera_id, row.component): row._asdict() for row in self._find(_COMPONENTS, names)}

    def _told_healths(self, items: Iterable[Incoming]) -> dict[str, list[str]]:
        """Return the last ids of those cameras whose health checks bring one."""
        names = {one.item.camera_id for one in items if isinstance(one.item, Health) and one.item.health_id}
        rows = self._find(_TOLD_HEALTHS, names)
        return {name: [] for name in names} | {row.camera_id: json.loads(row.ids) for row in rows}

    def _find(self, query: str, values: Iterable[str]) -> Iterator[sql.Row[Any]]:
        return self._database.find(self._db, query, sorted(values))

    # --- what comes

    def _add_detection(self, one: Incoming, item: Detection, ids: dict[str, str]) -> Accepted:
        warnings = [*item.warnings, *one.warnings]
        own, double = str(uuid.uuid4()), None
        answer = own if item.detection_id is None else item.detection_id
        if item.detection_id is not None:
            key = _id_hash(item)
            if key in ids:
                if ids[key] != one.digest:
                    warnings.append("this detection_id came before with another body: the first is kept")
                return Accepted(answer, one.received_s, tuple(warnings), is_known=True)
            ids[key] = one.digest
            self._rows[schema.device_ids].append({"hash": key, "digest": one.digest})
        else:
            double = self._recent.first(one.digest, one.received_s)
            self._recent.add(one.digest, double or own, one.received_s)
        one.cursor = self._next("detections")
        self._next("kept")
        captured_s = seconds_of(item.timestamp, self._zones.of(item.camera_id), one.received_s)
        if captured_s is None:
            warnings.append(f"timestamp {why_none(item.timestamp)}: the time at which it came stands for it")
        elif captured_s > one.received_s + MAX_SKEW_S:
            warnings.append("timestamp is in the future: it is sorted by the time at which it came")
        is_usable = captured_s is not None and captured_s <= one.received_s + MAX_SKEW_S
        self._rows[schema.detections].append(
            {
                "cursor": one.cursor,
                "id": own,
                "device_id": item.detection_id,
                "camera_id": item.camera_id,
                "checkpoint_id": item.checkpoint_id,
                "timestamp": item.timestamp,
                "captured_s": captured_s,
                "time_s": captured_s if is_usable else one.received_s,
                "received_s": one.received_s,
                "vehicles_count": item.vehicles_count,
                "plates_count": item.plates_count,
                "class_name": _class_of(item),
                "plates": _json(item.ocr_results),
                "details": _json(item.details),
                "is_annotated": item.is_annotated,
                "is_protected": False,
                "digest": one.digest,
                "possible_double_of": double,
                "warnings": _json(warnings),
                "principal": one.principal,
            }
        )
        for place, picture in one.pictures:
            row = {"cursor": one.cursor, "place": place, "received_s": one.received_s}
            self._rows[schema.pictures].append({**row, **vars(picture)})
            if picture.name not in self._known_pictures:  # else it is another record's too
                self._known_pictures.add(picture.name)
                self._next(schema.PICTURE_BYTES, picture.length)
        return Accepted(answer, one.received_s, tuple(warnings))

    def _add_sightings(self, items: Iterable[Incoming]) -> None:
        seen = {
            (one.cursor, folded)
            for one in items
            if isinstance(one.item, Detection)
            for plate in _plates_of(one.item)
            if (folded := fold(plate))
        }
        if not seen:
            return
        texts = sorted({folded for _, folded in seen})
        known = {row.folded: row.number for row in self._find(_PLATES, texts)}
        for text in texts:
            if text not in known:
                known[text] = self._next("plates")
                row = {"number": known[text], "folded": text, "alike": fold_alike(text)}
                self._rows[schema.plates].append(row)
        self._rows[schema.sightings] = [
            {"plate": known[folded], "cursor": cursor} for cursor, folded in sorted(seen)
        ]

    def _add_health(
        self,
        one: Incoming,
        item: Health,
        components: dict[tuple[str, str], dict[str, Any]],
        told: dict[str, list[str]],
    ) -> Accepted:
        answer = Accepted(item.health_id or str(uuid.uuid4()), one.received_s, item.warnings)
        if item.health_id is not None:
            last_ids = told[item.camera_id]
            if item.health_id in last_ids:
                return replace(answer, is_known=True)
            told[item.camera_id] = [*last_ids, item.health_id][-MAX_TOLD_HEALTHS:]
        key = (item.camera_id, item.component)
        last = components.get(key)
        # Either way, since a clock that was ahead is set back.
        is_recent = last is not None and abs(one.received_s - last["stored_s"]) < _REPEATED_S
        if last and is_recent and (last["status"], last["message"]) == (item.status, item.message):
            return answer
        common = {
            "camera_id": item.camera_id,
            "checkpoint_id": item.checkpoint_id,
            "component": item.component,
            "status": item.status,
            "message": item.message,
        }
        components[key] = {**common, "stored_s": one.received_s, "is_new": True}
        self._rows[schema.healths].append(
            {
                **common,
                "number": self._next("healths"),
                "id": answer.id,
                "timestamp": item.timestamp,
                "received_s": one.received_s,
                "details": _json(item.details),
                "principal": one.principal,
            }
        )
        return answer

    # --- counters

    def _count(self, items: Sequence[Incoming]) -> None:
        cameras: dict[str, dict[str, Any]] = {}
        days: defaultdict[str, Counter[str]] = defaultdict(Counter)
        hours: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
        for one in items:
            item = one.item
            row = cameras.setdefault(item.camera_id, _uncounted(one))
            row |= {"checkpoint_id": item.checkpoint_id, "last_seen_s": one.received_s}
            day = days[day_of(one.received_s, self._zones.zone).isoformat()]
            hour_s = hour_of(one.received_s, self._zones.zone)
            counters = (day, hours[item.camera_id, hour_s], hours[schema.OF_ALL, hour_s])
            zone = self._zones.of(item.camera_id)
            captured_s = seconds_of(item.timestamp, zone, one.received_s) if one.is_live else None
            if captured_s is not None:
                row["skew_s"] = captured_s - one.received_s
            if isinstance(item, Registration):
                row["registered_s"] = one.received_s
            elif isinstance(item, Detection):
                row["detections"] += 1
                row["last_cursor"] = one.cursor
                for counter in counters:
                    counter["detections"] += 1
                self._next("all_detections")
            else:
                row["healths"] += 1
                for counter in counters:
                    counter["healths"] += 1
                self._next("all_healths")
        self._database.put(self._db, schema.cameras, list(cameras.values()), _camera_change)
        named = {"zone": self._zones.name}
        self._put_sums(schema.days, [{**named, "day": day, **counts} for day, counts in days.items()])
        self._put_sums(
            schema.hours,
            [{"camera_id": name, "from_s": from_s, **counts} for (name, from_s), counts in hours.items()],
        )

    def _put_sums(self, table: sql.Table, rows: Iterable[dict[str, Any]]) -> None:
        """Add to counters of detections and healths, of which a row may have none."""
        counts = {"detections": 0, "healths": 0}
        found = [{**counts, **row} for row in rows if row.keys() & counts.keys()]
        self._database.put(self._db, table, found, _sums)


def new_value(old: Any, new: Any) -> dict[str, Any]:
    """Have a number be what it is now."""
    return {"value": new.value}


def _new_ids(old: Any, new: Any) -> dict[str, Any]:
    return {"ids": new.ids}


def _new_component(old: Any, new: Any) -> dict[str, Any]:
    return {name: new[name] for name in ("checkpoint_id", "status", "message", "stored_s")}


def _sums(old: Any, new: Any) -> dict[str, Any]:
    return {name: old[name] + new[name] for name in ("detections", "healths")}


def _camera_change(old: Any, new: Any) -> dict[str, Any]:
    change = new.skew_s - old.skew_s
    is_set = sql.func.abs(change) > _MAX_SKEW
    skew = sql.case((is_set, new.skew_s), else_=old.skew_s + change * _SKEW_WEIGHT)
    return {
        "checkpoint_id": new.checkpoint_id,
        "registered_s": sql.func.coalesce(new.registered_s, old.registered_s),
        "last_seen_s": new.last_seen_s,
        **_sums(old, new),
        "skew_s": sql.func.coalesce(skew, new.skew_s, old.skew_s),
        "last_cursor": sql.func.coalesce(new.last_cursor, old.last_cursor),
    }


def digest_of(detection: Detection, pictures: Iterable[bytes]) -> str:
    """Return what is the same for equal bodies. `pictures` are digests of theirs."""
    fields = [
        *(detection.camera_id, detection.checkpoint_id, detection.timestamp, detection.detection_id),
        *(detection.vehicles_count, detection.plates_count, detection.ocr_results, detection.details),
    ]
    body = json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.sha256(body + b"".join(pictures)).hexdigest()


def _id_hash(item: Detection) -> str:
    return hashlib.sha256(json.dumps([item.camera_id, item.detection_id]).encode()).hexdigest()


def _uncounted(one: Incoming) -> dict[str, Any]:
    return {
        "camera_id": one.item.camera_id,
        "registered_s": None,
        "first_seen_s": one.received_s,
        "detections": 0,
        "healths": 0,
        "skew_s": None,
        "last_cursor": None,
    }


def _plates_of(item: Detection) -> list[str]:
    """Return all that was read as a plate: also what a box alone says."""
    boxes = item.details.get("plate_detections")
    texts = [box.get("text") for box in boxes if isinstance(box, dict)] if isinstance(boxes, list) else []
    read = (*item.ocr_results, *(text for text in texts if isinstance(text, str)))
    return [text for text in read if len(text) <= MAX_PLATE_CHARS][: 2 * MAX_PLATES]


def _class_of(item: Detection) -> str:
    """Return the class of the first thing in the picture, such as car."""
    found = item.details.get("vehicle_detections")
    first = found[0] if isinstance(found, list) and found else None
    name = first.get("class") if isinstance(first, dict) else None
    return name[:64] if isinstance(name, str) else ""

"""Visits: what a camera has read of one vehicle while it was there, out of its records. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from snyper.cameras.plates import fold, is_similar
from snyper.cameras.records import Picture, Record

_MAX_BOXES = 64  # of plates in one picture
GAP_S = 15.0  # without it in sight, after which the same plate is another visit


@dataclass
class Visit:
    """A visit: the same camera, similar plates, less than 15 s between two records. `plate` is as it was read
    most often; `picture` is that with the surest plate. Times are in seconds since 1970 (UTC).
    """

    camera_id: str
    checkpoint_id: str
    plate: str
    first_s: float
    last_s: float
    cursors: list[int] = field(default_factory=list)
    detection_ids: list[str] = field(default_factory=list)
    picture: Picture | None = None
    picture_cursor: int | None = None
    _confidence: float = -1.0
    _texts: dict[str, int] = field(default_factory=dict)

    def add(self, record: Record, plate: str) -> None:
        """Add a record in which this plate was read."""
        self.first_s, self.last_s = min(self.first_s, record.time_s), max(self.last_s, record.time_s)
        self.cursors.append(record.cursor)
        self.detection_ids.append(record.detection_id)
        self._texts[plate] = self._texts.get(plate, 0) + 1
        self.plate = max(self._texts, key=lambda text: self._texts[text])
        confidence = _confidence_of(record, plate)
        if record.picture is not None and confidence > self._confidence:
            self.picture, self.picture_cursor, self._confidence = record.picture, record.cursor, confidence

    def is_of(self, record: Record, plate: str) -> bool:
        """Tell whether a plate in a record of this place belongs here."""
        is_near = self.first_s - GAP_S < record.time_s < self.last_s + GAP_S
        is_other = record.cursor in self.cursors  # of two vehicles in one picture
        return is_near and not is_other and any(is_similar(fold(plate), fold(text)) for text in self._texts)


@dataclass(frozen=True)
class VisitPage:
    """Visits, the newest first, and where the next page begins, None after the last."""

    visits: tuple[Visit, ...]
    next_cursor: str | None = None


def page_of(records: Sequence[Record], has_more: bool, before_s: float | None, limit: int) -> VisitPage:
    """Return the visits whose last record is older than `before_s`, at most `limit` of them and those that
    ended with the last. `records` are the newest that are older than that plus GAP_S; `has_more`: there are
    older ones, so that visits that reach to the first of these are not all there.
    """
    # A visit that goes on past `before_s` has a record in the gap after it, so it is left out as a whole.
    found = [one for one in visits_of(records) if before_s is None or one.last_s < before_s]
    if not has_more:
        whole = found
    else:
        begin_s = min(record.time_s for record in records) + GAP_S
        cut = next((at for at, one in enumerate(found) if one.first_s < begin_s), len(found))
        whole = [one for one in found[:cut] if cut == len(found) or one.last_s > found[cut].last_s]
        if not whole:  # of more records than are looked at: what is there of it is told
            end_s = begin_s if before_s is None else min(begin_s, before_s)
            return VisitPage(tuple(found), repr(end_s - GAP_S))
    page = [one for at, one in enumerate(whole) if at < limit or one.last_s == whole[limit - 1].last_s]
    is_last = not has_more and len(page) == len(whole)
    return VisitPage(tuple(page), None if is_last else repr(page[-1].last_s))


def slim(record: Record) -> Record:
    """Return a record with no more of its details than visits are made of: 256 kB of them may be there."""
    boxes = record.details.get("plate_detections")
    kept = [
        {"text": box["text"], "confidence": box.get("confidence")}
        for box in (boxes[:_MAX_BOXES] if isinstance(boxes, list) else [])
        if isinstance(box, Mapping) and isinstance(box.get("text"), str)
    ]
    return replace(record, details={"plate_detections": kept}, warnings=())


def visits_of(records: Iterable[Record]) -> list[Visit]:
    """Return the visits that records are of, the newest first: all records of a span of time."""
    visits: list[Visit] = []
    open_visits: dict[tuple[str, str], list[Visit]] = {}
    for record in sorted(records, key=lambda one: (one.time_s, one.cursor)):
        place = (record.camera_id, record.checkpoint_id)
        near = [one for one in open_visits.get(place, []) if record.time_s < one.last_s + GAP_S]
        plates = {fold(plate): plate for plate in record.ocr_results if fold(plate)}
        for plate in plates.values():
            alike = [one for one in near if one.is_of(record, plate)]
            visit = max(alike, key=lambda one: fold(plate) == fold(one.plate), default=None)
            if visit is None:
                visit = Visit(*place, plate, record.time_s, record.time_s)
                visits.append(visit)
                near.append(visit)
            visit.add(record, plate)
        open_visits[place] = near
    return sorted(visits, key=lambda one: one.last_s, reverse=True)


def _confidence_of(record: Record, plate: str) -> float:
    """Return how sure a plate is, as its camera says: 0 where it says nothing."""
    boxes = record.details.get("plate_detections")
    found = 0.0
    for box in boxes if isinstance(boxes, list) else []:
        value = box.get("confidence") if isinstance(box, Mapping) and box.get("text") == plate else None
        if isinstance(value, int | float):
            found = max(found, float(value))
    return found

"""Visits: what a camera has read of one vehicle while it was there, out of its records. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from snyper.cameras.plates import fold, fold_alike
from snyper.cameras.records import Picture, Record

_MAX_BOXES = 64  # of plates in one picture
_MAX_SIMILAR_CHARS = 32  # a longer plate is compared as a whole
_MAX_COMPARED = 128  # visits that a plate may be of
_WHOLE = -1  # in the place of the letter that is left out
GAP_S = 15.0  # without it in sight, after which the same plate is another visit

_End = tuple[float, int, int]  # of a visit: time, record, place of the plate in that
_Common = tuple[int, str]  # what similar plates have: the place of a letter, and the text without it


@dataclass(eq=False)
class Visit:
    """A visit: the same camera, similar plates, less than 15 s between two records. `plate` is as it was read
    most often; `picture` is that with the surest plate. Times are in seconds since 1970 (UTC).
    """

    camera_id: str
    checkpoint_id: str
    plate: str
    first_s: float
    end: _End
    cursors: list[int] = field(default_factory=list)
    detection_ids: list[str] = field(default_factory=list)
    picture: Picture | None = None
    picture_cursor: int | None = None
    _confidence: float = -1.0
    _texts: dict[str, int] = field(default_factory=dict)

    @property
    def last_s(self) -> float:
        """Return when its last record is of."""
        return self.end[0]

    def add(self, record: Record, place: int, plate: str, confidence: float) -> None:
        """Add a record, none older than those that are there, in which this plate was read at that place."""
        self.end = (record.time_s, record.cursor, place)
        self.cursors.append(record.cursor)
        self.detection_ids.append(record.detection_id)
        self._texts[plate] = self._texts.get(plate, 0) + 1
        if self._texts[plate] > self._texts.get(self.plate, 0):
            self.plate = plate
        if record.picture is not None and confidence > self._confidence:
            self.picture, self.picture_cursor, self._confidence = record.picture, record.cursor, confidence


@dataclass(frozen=True)
class VisitCursor:
    """A place between two visits: those that end before `end` follow. Where more records than are looked at
    are of a few seconds, only those before `record`, a time and a cursor, are looked at.
    """

    end: _End
    record: tuple[float, int] | None = None

    def __str__(self) -> str:
        return ":".join(map(repr, (*self.end, *(self.record or ()))))


@dataclass(frozen=True)
class VisitPage:
    """Visits, the newest first, and where the next page begins, None after the last."""

    visits: tuple[Visit, ...]
    next_cursor: VisitCursor | None = None


def parse_cursor(text: str) -> VisitCursor:
    """Return the cursor that a page had. Raises ValueError for a text that is none."""
    parts = text.split(":")
    times, numbers = [float(one) for one in parts[::3]], [int(one) for one in parts[1:3] + parts[4:]]
    if len(parts) not in (3, 5) or not all(map(math.isfinite, times)):
        raise ValueError("the cursor is none that a page of visits had")
    end = (times[0], numbers[0], numbers[1])
    return VisitCursor(end, (times[1], numbers[2]) if len(parts) == 5 else None)


def page_of(records: Sequence[Record], has_more: bool, before: VisitCursor | None, limit: int) -> VisitPage:
    """Return at most `limit` visits, those that end before the cursor. `records` are the newest, from the
    newest on, that are older than its end plus GAP_S and come before its record; `has_more`: there are older
    ones, so that visits that reach to the last of these are not all there.
    """
    # A visit that goes on past the cursor has a record in the gap after it, so it is left out as a whole.
    found = [one for one in visits_of(records) if before is None or one.end < before.end]
    whole = found
    if has_more:
        begin_s = records[-1].time_s + GAP_S
        whole = found[: next((at for at, one in enumerate(found) if one.first_s < begin_s), None)]
    # Of more records than are looked at: what is there of it is told.
    listed = whole or found
    page = tuple(listed[:limit])
    cut = before.record if before else None
    if len(listed) > limit or (whole and has_more):
        return VisitPage(page, VisitCursor(page[-1].end, cut if _binds(cut, page[-1].last_s) else None))
    if not has_more:
        return VisitPage(page)
    last = (records[-1].time_s, records[-1].cursor)
    is_stuck = records[0].time_s < last[0] + GAP_S  # the next page would look at the same records
    return VisitPage(page, VisitCursor((*last, 0), last if is_stuck else None))


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
    places: dict[tuple[str, str], _OpenVisits] = {}
    for record in sorted(records, key=lambda one: (one.time_s, one.cursor)):
        where = (record.camera_id, record.checkpoint_id)
        opened = places.setdefault(where, _OpenVisits())
        opened.end_by(record.time_s)
        confidences = _confidences(record)
        plates = {fold(plate): plate for plate in record.ocr_results}
        for place, (folded, plate) in enumerate(plates.items()):
            if not folded:
                continue
            visit = opened.find(folded, record.cursor)
            if visit is None:
                visit = Visit(*where, plate, record.time_s, (record.time_s, record.cursor, place))
                visits.append(visit)
            visit.add(record, place, plate, confidences.get(plate, 0.0))
            opened.add(visit, folded)
    return sorted(visits, key=lambda one: one.end, reverse=True)


class _OpenVisits:
    """The visits of one place that may go on, by what similar plates have in common: so a plate is compared
    with few, however many there are.
    """

    def __init__(self) -> None:
        self._visits: dict[Visit, dict[_Common, None]] = {}  # by their ends
        self._with: dict[_Common, dict[Visit, None]] = {}

    def end_by(self, time_s: float) -> None:
        """Forget the visits that have ended by then."""
        while self._visits and (visit := next(iter(self._visits))).last_s + GAP_S <= time_s:
            for common in self._visits.pop(visit):
                del self._with[common][visit]
                if not self._with[common]:
                    del self._with[common]

    def find(self, folded: str, cursor: int) -> Visit | None:
        """Return the visit that a plate is of; of one record two plates are two vehicles."""
        text = fold_alike(folded)
        for commons in ([(_WHOLE, text)], _similar(text)):
            visits = chain.from_iterable(self._with.get(common, ()) for common in commons)
            alike = [one for one in islice(visits, _MAX_COMPARED) if one.cursors[-1] != cursor]
            if alike:
                return max(alike, key=lambda one: folded == fold(one.plate))
        return None

    def add(self, visit: Visit, folded: str) -> None:
        """Add a visit, or the plate that its newest record has."""
        commons = self._visits.pop(visit, {})
        text = fold_alike(folded)
        self._visits[visit] = commons
        if (_WHOLE, text) not in commons:
            for common in ((_WHOLE, text), *_without_one(text)):
                commons[common] = None
                self._with.setdefault(common, {})[visit] = None


def _similar(text: str) -> Iterator[_Common]:
    """Yield what plates have that differ from this one in one letter."""
    for common in _without_one(text):
        yield common  # of those with another letter there
        yield _WHOLE, common[1]
    if len(text) < _MAX_SIMILAR_CHARS:
        yield from ((at, text) for at in range(len(text) + 1))


def _without_one(text: str) -> list[_Common]:
    if len(text) > _MAX_SIMILAR_CHARS:
        return []
    return [(at, text[:at] + text[at + 1 :]) for at in range(len(text))]


def _binds(cut: tuple[float, int] | None, last_s: float) -> bool:
    """Tell whether records after a cut are looked at for visits that end by then."""
    return cut is not None and cut[0] < last_s + GAP_S


def _confidences(record: Record) -> dict[str, float]:
    """Return how sure each plate is, as its camera says."""
    boxes = record.details.get("plate_detections")
    found: dict[str, float] = {}
    for box in boxes if isinstance(boxes, list) else []:
        text, value = (box.get("text"), box.get("confidence")) if isinstance(box, Mapping) else (None, None)
        if isinstance(text, str) and isinstance(value, int | float):
            found[text] = max(found.get(text, 0.0), float(value))
    return found

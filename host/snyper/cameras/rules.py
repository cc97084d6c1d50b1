"""Rules by which what cameras tell has a range cease fire. They are read from TOML; nothing in them is run.

    [[rule]]
    when = {class = "person", camera = "lane", min_confidence = 0.6, for_frames = 3}
    then = "cease_fire"

    [[rule]]
    when = {silent = "lane"}
    then = "cease_fire"

Pure.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snyper.cameras.grants import check_is_one
from snyper.cameras.records import MAX_NAME_CHARS, Detection
from snyper.cameras.tables import check_known, read_tables
from snyper.shared.vocabulary import MAX_WHY_CHARS

CEASE_FIRE = "cease_fire"
MAX_AGE_S = 2.0
MAX_GAP_S = 60.0
LATE = "rule not applied: late"
AHEAD = "rule not applied: its time lies ahead"
MAX_RULES = 100
_MAX_AGE_S = 60.0
_MAX_GAP_S = 86_400.0
_MAX_FRAMES = 1_000
_MAX_COUNTED = 10_000  # cameras whose frames in a row are counted; who was heard longest ago is forgotten
_MAX_DOUBTS = 8  # of one detection
_MAX_SHOWN_CHARS = 64


@dataclass(frozen=True)
class Rule:
    """A rule. It is about what a camera sees (`class_name`), or about one that is silent (`silent`).

    The former takes frames of at most `max_age_s`, of `camera` or of any, and fires at the `for_frames`th in
    a row in which something of that class has at least `min_confidence`, and at each from then on; between
    two of a row at most `max_gap_s` pass.
    """

    name: str
    class_name: str = ""
    camera: str | None = None
    min_confidence: float = 0.0
    for_frames: int = 1
    max_age_s: float = MAX_AGE_S
    max_gap_s: float = MAX_GAP_S
    silent: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The outcome of a frame: the rules that fire, and those that were not applied, each with why. `doubts`
    say what of the frame rules cannot read.
    """

    fired: tuple[Rule, ...] = ()
    missed: tuple[tuple[Rule, str], ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of those that were not applied, and of what they cannot read."""
        return (*dict.fromkeys(why for _, why in self.missed), *self.doubts)


@dataclass
class _Row:
    """The frames in a row that a rule has met, by their names, and when the last of them came."""

    names: deque[str | int]
    last_s: float


class Rules:
    """Rules, and how many frames in a row each of them has met."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._met: OrderedDict[tuple[Rule, str], _Row] = OrderedDict()

    def judge(self, detection: Detection, age_s: float | None, now_s: float) -> Verdict:
        """Return what comes of a frame that was taken `age_s` ago, None where nobody knows. `now_s` is by a
        clock that nobody sets.
        """
        fired: list[Rule] = []
        missed: list[tuple[Rule, str]] = []
        camera_id = detection.camera_id
        rules = [rule for rule in self.rules if rule.class_name and rule.camera in (None, camera_id)]
        things, doubts = _read(detection.details) if rules else ([], [])
        name: str | int | None = None
        for rule in rules:
            is_met = any(
                kind == rule.class_name and confidence >= rule.min_confidence for kind, confidence in things
            )
            if age_s is None or abs(age_s) > rule.max_age_s:
                if is_met:
                    missed.append((rule, AHEAD if age_s is not None and age_s < 0 else LATE))
                continue
            key = rule, camera_id
            if not is_met:
                self._met.pop(key, None)
                continue
            row = self._met.pop(key, None)
            if row is None or now_s - row.last_s > rule.max_gap_s:
                row = _Row(deque(maxlen=rule.for_frames), now_s)
            self._met[key] = row
            name = _name_of(detection) if name is None else name
            if name not in row.names:  # what is sent again is no other frame
                row.names.append(name)
                row.last_s = now_s
            if len(self._met) > _MAX_COUNTED:
                self._met.popitem(last=False)
            if len(row.names) == rule.for_frames:
                fired.append(rule)
        return Verdict(tuple(fired), tuple(missed), tuple(doubts[:_MAX_DOUBTS]))

    def of_silence(self, camera_id: str) -> list[Rule]:
        """Return the rules that fire when a camera is silent."""
        return [rule for rule in self.rules if rule.silent == camera_id]

    @property
    def expected(self) -> list[str]:
        """The cameras that must not be silent."""
        return sorted({rule.silent for rule in self.rules if rule.silent is not None})


def read_rules(text: str) -> Rules:
    """Read rules from TOML. Raises ValueError with what is wrong, of a field that is not known too."""
    table = read_tables(text)
    check_known(table, {"rule"}, "the file")
    given = table.get("rule", [])
    if not isinstance(given, list) or not 0 < len(given) <= MAX_RULES:
        raise ValueError(f"there are 1 to {MAX_RULES} rules, each below a line [[rule]]")
    rules = [_rule(number, one) for number, one in enumerate(given, 1)]
    numbers: dict[str, int] = {}
    for number, rule in enumerate(rules, 1):
        if numbers.setdefault(rule.name, number) != number:
            first = numbers[rule.name]
            raise ValueError(
                f"rules {first} and {number} are both called {rule.name!r}: each has its own name"
            )
    return Rules(tuple(rules))


def _rule(number: int, given: object) -> Rule:
    where = f"rule {number}"
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is no table: write [[rule]]")
    check_known(given, {"name", "when", "then"}, where)
    if given.get("then") != CEASE_FIRE:
        raise ValueError(f'{where} has then = "{CEASE_FIRE}", which is all that a rule does')
    when = given.get("when")
    if not isinstance(when, Mapping):
        raise ValueError(f'{where} has no when, such as when = {{class = "person", camera = "lane"}}')
    if "silent" in when:
        check_known(when, {"silent"}, f"{where}, about who is silent,")
        silent = _camera(when, "silent", where)
        return Rule(_name(given, f"{silent} is silent", where), silent=silent)
    check_known(when, {"class", "camera", "min_confidence", "for_frames", "max_age", "max_gap"}, where)
    class_name = _text(when, "class", where)
    camera = _camera(when, "camera", where) if "camera" in when else None
    seen = f"{class_name} at {camera}" if camera else class_name
    return Rule(
        _name(given, seen, where),
        class_name.strip().casefold(),
        camera,
        _number(when, "min_confidence", 0.0, 1.0, where),
        int(_number(when, "for_frames", 1, _MAX_FRAMES, where, is_whole=True)),
        _above_0(when, "max_age", MAX_AGE_S, _MAX_AGE_S, where),
        _above_0(when, "max_gap", MAX_GAP_S, _MAX_GAP_S, where),
    )


def _name(given: Mapping[str, Any], default: str, where: str) -> str:
    return _text(given, "name", where, MAX_WHY_CHARS) if "name" in given else default


def _camera(given: Mapping[str, Any], field: str, where: str) -> str:
    camera_id = _text(given, field, where)
    check_is_one(camera_id, f"{field} of {where}")
    if camera_id != camera_id.strip():
        raise ValueError(f"{field} of {where} has blanks around it, {camera_id!r}: leave them out")
    return camera_id


def _text(given: Mapping[str, Any], field: str, where: str, most: int = MAX_NAME_CHARS) -> str:
    value = given.get(field)
    if not isinstance(value, str) or len(value) > most or not value.strip() or not value.isprintable():
        raise ValueError(f"{field} of {where} is a text of 1 to {most} characters")
    return value


def _above_0(when: Mapping[str, Any], field: str, default: float, most: float, where: str) -> float:
    seconds = _number(when, field, default, most, where)
    if not seconds:
        raise ValueError(f"{field} of {where} is more than 0, such as {default:g}")
    return seconds


def _number(
    given: Mapping[str, Any], field: str, default: float, most: float, where: str, is_whole: bool = False
) -> float:
    value = given.get(field, default)
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    least = default if is_whole else 0
    if not is_number or not least <= value <= most:
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(f"{field} of {where} is {kind} from {least} to {most:g}")
    return float(value)


def _name_of(detection: Detection) -> str | int:
    """Return what is the same for a frame that is sent again: its id, else what is made of all of it."""
    if detection.detection_id is not None:
        return detection.detection_id
    details = json.dumps(detection.details, sort_keys=True)
    counts = detection.vehicles_count, detection.plates_count, detection.ocr_results
    pictures = detection.picture, detection.cropped_plates
    return hash((detection.checkpoint_id, detection.timestamp, counts, details, pictures))


def _read(details: Mapping[str, Any]) -> tuple[list[tuple[str, float]], list[str]]:
    """Return the classes and confidences of what was detected, in whichever list a camera tells it, one thing
    alone or JSON text too; and what cannot be read of that.
    """
    things: list[tuple[str, float]] = []
    doubts: dict[str, None] = {}
    for field, value in details.items():
        items = _items(value)
        is_told = field.endswith("detections")  # elsewhere may be anything
        shown = field[:_MAX_SHOWN_CHARS]
        if items is None:
            if is_told and value not in (None, "", {}):
                doubts[f"rules do not see {shown}: it is no list of objects"] = None
            continue
        for item in items:
            name = item.get("class") if isinstance(item, Mapping) else None
            if isinstance(name, str):
                confidence = _confidence(item.get("confidence"))
                if confidence is None:
                    doubts[f"rules do not see all of {shown}: a confidence is no number from 0 to 1"] = None
                else:
                    things.append((name.strip().casefold(), confidence))
            elif is_told and (name is not None or not isinstance(item, Mapping)):
                doubts[f"rules do not see all of {shown}: a class is no text"] = None
    return things, list(doubts)


def _items(value: object) -> list[Any] | None:
    """Return the things that a field has, None where it is no list of them."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, Mapping) and "class" in value:
        return [value]
    return value if isinstance(value, list) else None


def _confidence(value: object) -> float | None:
    """Return a confidence, a number in text too, None for what is none; where nothing is said it is 0."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= 1 else None

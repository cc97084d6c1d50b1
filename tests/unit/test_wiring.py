"""The wiring picture joins what it has to join, read from the SVG as a person reads it: along the lines."""

import copy
import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from typing import Any

import pytest

from snyper.firmware.target.config import DEFAULTS
from tools import wiring

SVG = "{http://www.w3.org/2000/svg}"

Point = tuple[int, int]
Way = list[Point]

# What has to be joined, with the pins of the defaults.
CIRCUIT = {
    frozenset({"supply.+", "servo.red", "C1.+", "D3.anode"}),
    frozenset({"D3.cathode", "pico.39"}),
    frozenset({"supply.-", "servo.brown", "C1.-", "R4.b", "pico.18"}),
    frozenset({"pico.36", "D1.cathode"}),
    frozenset({"pico.33", "D2.anode", "R3.a", "piezo.brass"}),
    frozenset({"pico.31", "D1.anode", "D2.cathode", "R2.b"}),
    frozenset({"R2.a", "R3.b", "piezo.white"}),
    frozenset({"pico.21", "R1.a"}),
    frozenset({"R1.b", "R4.a", "servo.yellow"}),
}

# From the datasheet once more, the other way round than the tool has it.
HEADER = {
    "GND": {3, 8, 13, 18, 23, 28, 38},
    "AGND": {33},
    "3V3(OUT)": {36},
    "VSYS": {39},
    "VBUS": {40},
    "RUN": {30},
    "3V3_EN": {37},
    "ADC_VREF": {35},
}
GPIOS = [*range(23), 26, 27, 28]


def configured(servo: int, piezo: int) -> dict[str, Any]:
    config = copy.deepcopy(dict(DEFAULTS))
    config["servo"]["pin"] = servo
    config["piezo"]["pin"] = piezo
    return config


class Picture:
    """What can be seen: lines of wire, points where something ends, dots."""

    def __init__(self, svg: str) -> None:
        root = ElementTree.fromstring(svg)
        self.wires = [
            points(path.attrib["d"]) for path in root.iter(f"{SVG}path") if "data-net" in path.attrib
        ]
        self.terminals: dict[str, Point] = {}
        self.dots: set[Point] = set()
        for circle in root.iter(f"{SVG}circle"):
            at = (int(circle.attrib["cx"]), int(circle.attrib["cy"]))
            if "data-terminal" in circle.attrib:
                self.terminals[circle.attrib["data-terminal"]] = at
            if circle.attrib["class"] == "joint":
                self.dots.add(at)
        self.words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]

    def nets(self) -> set[frozenset[str]]:
        """The terminals that wires join: wires are joined where one ends on the other."""
        groups = [{number} for number in range(len(self.wires))]
        for a, b in itertools.permutations(range(len(self.wires)), 2):
            if touches(self.wires[a][0], self.wires[b]) or touches(self.wires[a][-1], self.wires[b]):
                merged = next(group for group in groups if a in group) | next(g for g in groups if b in g)
                groups = [*(group for group in groups if not group & merged), merged]
        return {
            frozenset(
                name
                for name, at in self.terminals.items()
                if any(touches(at, self.wires[number]) for number in group)
            )
            for group in groups
        }


def points(path: str) -> Way:
    """The corners of a path of straight pieces."""
    return [
        (int(x), int(y))
        for x, y in (pair.split() for pair in path.replace("M", "").replace(" L", ",").split(","))
    ]


def rows_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


# What the breadboard list calls the ends of a part.
LEGS = {
    "plain end": "anode",
    "ring end": "cathode",
    "long leg": "+",
    "leg beside the stripe": "-",
    "wire from the white": "white",
    "wire from the brass": "brass",
    "−": "-",
}
FREE_HOLES = {"left": 1, "right": 3}  # in a row with a pin of the board in it


def plugged(breadboard_list: str) -> set[frozenset[str]]:
    """What is joined when the list is followed: holes of one half row, and those of a rail."""
    joined: dict[str, set[str]] = {}
    for row in range(1, 21):
        joined[f"row {row} left"] = {f"pico.{row}"}
        joined[f"row {row} right"] = {f"pico.{41 - row}"}
    holes: Counter[str] = Counter()
    wires = []
    for _, what, *ends in rows_of(breadboard_list):
        part = re.split(r"[ ,]", what)[0]
        for number, end in enumerate(filter(None, ends)):
            name, _, hole = end.rpartition(": ")
            holes[hole] += 1
            if part == "wire":
                wires.append(hole)
            else:
                joined.setdefault(hole, set()).add(f"{part}.{LEGS.get(name, name) or 'ab'[number]}")
    for hole, count in holes.items():
        if hole.startswith("row") and int(hole.split()[1]) <= 20:
            assert count <= FREE_HOLES[hole.split()[2]], hole
    [one, other] = wires
    joined[one] |= joined.pop(other)
    return {frozenset(legs) for legs in joined.values() if len(legs) > 1}


def pieces(way: Way) -> list[tuple[Point, Point]]:
    return list(itertools.pairwise(way))


def touches(point: Point, way: Way) -> bool:
    return any(
        min(a[0], b[0]) <= point[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])
        for a, b in pieces(way)
    )


def meet(one: Way, other: Way) -> bool:
    """Whether two ways have a point in common; their pieces are level or upright."""
    return any(
        overlap(a[0], b[0], c[0], d[0]) and overlap(a[1], b[1], c[1], d[1])
        for a, b in pieces(one)
        for c, d in pieces(other)
    )


def overlap(a: int, b: int, c: int, d: int) -> bool:
    return max(min(a, b), min(c, d)) <= min(max(a, b), max(c, d))


def test_the_documents_hold_what_the_tool_makes() -> None:
    assert wiring.main(["--check"]) == 0, "python -m tools.wiring"


def test_a_stale_picture_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    stale = tmp_path / "wiring.svg"
    stale.write_text(wiring.draw(configured(15, 27)), encoding="utf-8")
    monkeypatch.setattr(wiring, "ROOT", tmp_path)
    monkeypatch.setattr(wiring, "PICTURE", stale)
    assert wiring.main(["--check"]) == 1


def test_the_header_is_a_pico_w_s() -> None:
    assert len(wiring.PICO_W) == 40
    for name, numbers in HEADER.items():
        assert {number for number, has in enumerate(wiring.PICO_W, 1) if has == name} == numbers, name
    assert [name for name in wiring.PICO_W if name.startswith("GP")] == [f"GP{number}" for number in GPIOS]


def test_the_picture_joins_what_has_to_be_joined() -> None:
    assert Picture(wiring.draw(DEFAULTS)).nets() == CIRCUIT


def test_every_wire_ends_at_a_pin_a_part_or_another_wire() -> None:
    picture = Picture(wiring.draw(DEFAULTS))
    for wire in picture.wires:
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pieces(wire)), wire
        for end in (wire[0], wire[-1]):
            others = [other for other in picture.wires if other is not wire]
            assert end in picture.terminals.values() or any(touches(end, way) for way in others), wire


def test_every_dot_is_on_a_wire() -> None:
    picture = Picture(wiring.draw(DEFAULTS))
    off = [dot for dot in picture.dots if not any(touches(dot, wire) for wire in picture.wires)]
    assert len(off) == 1, "the one in the key"
    assert len(picture.dots) > 8


@pytest.mark.parametrize("servo", GPIOS)
@pytest.mark.parametrize("piezo", [26, 27, 28])
def test_the_picture_follows_the_configuration(servo: int, piezo: int) -> None:
    if servo == piezo:
        with pytest.raises(ValueError, match="both"):
            wiring.draw(configured(servo, piezo))
        return
    config = configured(servo, piezo)
    picture = Picture(wiring.draw(config))
    by_name = {name: number for number, name in enumerate(wiring.PICO_W, 1)}
    drive, sense = f"pico.{by_name[f'GP{servo}']}", f"pico.{by_name[f'GP{piezo}']}"
    nets = picture.nets()
    assert frozenset({drive, "R1.a"}) in nets
    assert frozenset({sense, "D1.anode", "D2.cathode", "R2.b"}) in nets
    [ground] = [net for net in nets if "servo.brown" in net]
    assert {f"pico.{number}" for number in HEADER["GND"]} & ground
    pins = {int(row[0]): row for row in rows_of(wiring.pin_table(config)) if row[0].isdigit()}
    assert pins[by_name[f"GP{servo}"]][4] == "`servo.pin`"
    assert pins[by_name[f"GP{piezo}"]][4] == "`piezo.pin`"
    assert {f"pico.{pin}" for pin in pins} == {name for name in picture.terminals if name.startswith("pico.")}
    assert plugged(wiring.breadboard_list(config)) == nets


@pytest.mark.parametrize("servo", [gpio for gpio in GPIOS if 2 <= gpio < 26])
def test_wires_meet_only_where_there_is_a_dot_or_a_leg(servo: int) -> None:
    picture = Picture(wiring.draw(configured(servo, 26)))
    ends = picture.dots | set(picture.terminals.values())
    for one, other in itertools.combinations(picture.wires, 2):
        if meet(one, other):
            assert any(touches(at, one) and touches(at, other) for at in ends), (one, other)


@pytest.mark.parametrize(("servo", "piezo"), [(16, 22), (16, 29), (23, 26), (29, 26), (40, 26)])
def test_a_pin_that_cannot_do_it_is_refused(servo: int, piezo: int) -> None:
    with pytest.raises(ValueError, match="GP"):
        wiring.draw(configured(servo, piezo))


def test_a_light_of_one_s_own_is_refused() -> None:
    config = copy.deepcopy(dict(DEFAULTS))
    config["led"]["pin"] = 15
    with pytest.raises(ValueError, match="LED"):
        wiring.draw(config)


def test_words_in_the_picture_stay_words() -> None:
    words = Picture(wiring.draw(DEFAULTS)).words
    for expected in ("GP16 21", "GP26 31", "AGND 33", "VSYS 39", "3V3(OUT) 36", "18 GND"):
        assert expected in words

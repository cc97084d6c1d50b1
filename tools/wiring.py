"""The wiring of a target: its picture and its table, from the pins that its configuration has by default.

`python -m tools.wiring` writes docs/wiring.svg and two tables in docs/build-a-target.md; `--check` writes
nothing and ends with 1 where either is not what it would write.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from snyper.firmware.target.config import DEFAULTS

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "wiring.svg"
GUIDE = ROOT / "docs" / "build-a-target.md"

# A Pico W's 40 pins in their order, pin 1 first (Raspberry Pi Pico W datasheet, section 2.1, "Pinout").
PICO_W = (
    *("GP0", "GP1", "GND", "GP2", "GP3", "GP4", "GP5", "GND", "GP6", "GP7"),
    *("GP8", "GP9", "GND", "GP10", "GP11", "GP12", "GP13", "GND", "GP14", "GP15"),
    *("GP16", "GP17", "GND", "GP18", "GP19", "GP20", "GP21", "GND", "GP22", "RUN"),
    *("GP26", "GP27", "AGND", "GP28", "ADC_VREF", "3V3(OUT)", "3V3_EN", "GND", "VSYS", "VBUS"),
)
ADC = ("GP26", "GP27", "GP28")
LEFT_GROUNDS = (3, 8, 13, 18)

Point = tuple[int, int]


def header_pin(name: str) -> int:
    """Return the number on the header, 1 to 40, of a pin that is there once. Raises ValueError when it is
    not.
    """
    if PICO_W.count(name) != 1:
        raise ValueError(f"a Pico W has no pin of its own named {name}")
    return PICO_W.index(name) + 1


@dataclass(frozen=True)
class Pins:
    """The numbers on the header of every pin that is wired."""

    servo: int
    piezo: int
    ground: int
    vsys: int
    supply_3v3: int
    analog_ground: int


def pins_of(config: Mapping[str, Any]) -> Pins:
    """Return the pins that a target with this configuration uses. Raises ValueError for one that cannot do
    its work on a Pico W, and for a light that is not the board's own: the picture has none.
    """
    if config["led"]["pin"] != "LED":
        raise ValueError("the picture knows only the board's own LED")
    servo, piezo = f"GP{config['servo']['pin']}", f"GP{config['piezo']['pin']}"
    if piezo not in ADC:
        raise ValueError(f"{piezo} does not measure a voltage, only {', '.join(ADC)} do")
    if servo == piezo:
        raise ValueError(f"{servo} is wanted for both servo and piezo")
    pin = header_pin(servo)
    # On the left the signal runs inside of the ground wire, so that they do not cross.
    ground = max((at for at in LEFT_GROUNDS if at < pin), default=LEFT_GROUNDS[0])
    return Pins(
        pin, header_pin(piezo), ground, header_pin("VSYS"), header_pin("3V3(OUT)"), header_pin("AGND")
    )


# --- the picture

WIDTH, HEIGHT = 960, 836
BOARD_LEFT, BOARD_RIGHT, FIRST_PIN_Y, PIN_PITCH = 70, 268, 112, 26
RAIL_5V_Y, RAIL_3V3_Y, RAIL_PIN_Y, PIEZO_Y = 138, 216, 486, 414
SIGNAL_Y, GROUND_Y = 606, 736
D1_X, D2_X, R2_X, R3_X, PIEZO_X = 666, 336, 424, 496, 606
D3_X, R1_X, R4_X, SERVO_X, SUPPLY_X, RETURN_X = 430, 400, 560, 760, 850, 906
C1_Y = 400

STYLE = """
    .page { fill: #fbfaf7; stroke: #d8d4ca; }
    .zone { fill: #eef3f6; stroke: #c3d0d8; }
    .board { fill: #2f6b4f; stroke: #1d4734; stroke-width: 2; }
    .usb { fill: #c9c9c4; stroke: #77756d; stroke-width: 1.5; }
    .light { fill: #f4f08a; stroke: #1d4734; }
    .free { fill: #8fae9d; stroke: #1d4734; }
    .body { fill: #ffffff; stroke: #2a2822; stroke-width: 2; }
    .solid { fill: #2a2822; stroke: #2a2822; stroke-width: 2; }
    .lead { fill: none; stroke: #2a2822; stroke-width: 2; }
    .brass { fill: #e4c766; stroke: #7a6520; stroke-width: 2; }
    .ceramic { fill: #fbfaf7; stroke: #7a6520; stroke-width: 1.5; }
    .horn { fill: #d8d4ca; stroke: #2a2822; stroke-width: 2; }
    .end { fill: #ffffff; stroke: #2a2822; stroke-width: 1.5; }
    .casing { fill: none; stroke: #2a2822; stroke-width: 6; stroke-linejoin: round; stroke-linecap: round; }
    .wire { fill: none; stroke-width: 4; stroke-linejoin: round; stroke-linecap: round; }
    .red { stroke: #d6301d; }
    .black { stroke: #2a2822; }
    .yellow { stroke: #f2c530; }
    .orange { stroke: #ee8a1d; }
    .blue { stroke: #2f83c4; }
    .joint { fill: #2a2822; }
    text { font-family: "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; fill: #2a2822;
           font-size: 15px; }
    .name { font-weight: 700; }
    .note { fill: #5d594d; font-size: 14px; }
    .pin { font-size: 13px; fill: #b9d0c4; }
    .used { fill: #ffffff; font-weight: 700; }
    .on { fill: #ffffff; }
    .right { text-anchor: end; }
    .middle { text-anchor: middle; }
"""


@dataclass(frozen=True)
class Wire:
    """A piece of wire of one colour, along these points; each piece of it is level or upright."""

    net: str
    colour: str
    points: tuple[Point, ...]


@dataclass
class Drawing:
    """Lines of SVG, and what was wired in them."""

    terminals: dict[str, Point] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        self.parts.extend(lines)

    def text(self, x: int, y: int, words: str, *classes: str) -> None:
        kind = f' class="{" ".join(classes)}"' if classes else ""
        self.add(f'<text x="{x}" y="{y}"{kind}>{escape(words)}</text>')

    def terminal(self, name: str, at: Point) -> None:
        self.terminals[name] = at

    def wire(self, net: str, colour: str, *points: Point) -> None:
        self.wires.append(Wire(net, colour, points))

    def svg(self) -> Iterable[str]:
        """Draw the wires, then the parts over them, then the points where a wire ends."""
        for wire in self.wires:
            yield f'<path class="casing" d="{path_of(wire.points)}"/>'
        for wire in self.wires:
            yield (
                f'<path class="wire {wire.colour}" data-net="{escape(wire.net)}" d="{path_of(wire.points)}"/>'
            )
        for x, y in joints(self.wires):
            yield f'<circle class="joint" cx="{x}" cy="{y}" r="6"/>'
        yield from self.parts
        for name, (x, y) in self.terminals.items():
            is_joint = any(is_on_the_way((x, y), wire.points) for wire in self.wires)
            kind, radius = ("joint", 6) if is_joint else ("end", 4)
            yield f'<circle class="{kind}" data-terminal="{name}" cx="{x}" cy="{y}" r="{radius}"/>'


def path_of(points: tuple[Point, ...]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in points)


def joints(wires: list[Wire]) -> list[Point]:
    """Return where a wire ends on the way of another of its net."""
    found = {
        end
        for wire in wires
        for end in (wire.points[0], wire.points[-1])
        for other in wires
        if other is not wire and other.net == wire.net and is_on_the_way(end, other.points)
    }
    return sorted(found)


def is_on_the_way(point: Point, points: tuple[Point, ...]) -> bool:
    if point in (points[0], points[-1]):
        return False
    x, y = point
    return any(
        min(a[0], b[0]) <= x <= max(a[0], b[0]) and min(a[1], b[1]) <= y <= max(a[1], b[1])
        for a, b in itertools.pairwise(points)
    )


def pin_at(pin: int) -> Point:
    """Return where a pin of the header is: 1 to 20 down the left side, 21 to 40 up the right side."""
    if pin <= 20:
        return BOARD_LEFT, FIRST_PIN_Y + PIN_PITCH * (pin - 1)
    return BOARD_RIGHT, FIRST_PIN_Y + PIN_PITCH * (40 - pin)


def draw(config: Mapping[str, Any]) -> str:
    """Draw the picture, as SVG. Raises ValueError for a pin that cannot do its work on a Pico W, and for a
    light that is not the board's own.
    """
    pins = pins_of(config)
    drawing = Drawing()
    _board(drawing, pins)
    _power(drawing, pins)
    _piezo(drawing, pins)
    _servo(drawing, pins)
    _key(drawing)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title desc">',
        '<title id="title">The wiring of a SNYPER target</title>',
        '<desc id="desc">A Pico W on the left. A 5 V supply feeds the servo, and through the diode D3 the '
        f"board's pin VSYS. The servo's signal comes from {PICO_W[pins.servo - 1]} through R1, with R4 to "
        f"ground. The piezo lies between AGND and, through R2, {PICO_W[pins.piezo - 1]}; R3 bridges it, "
        "D1 and D2 guard the pin. All grounds are joined.</desc>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12"/>',
        '<rect class="zone" x="298" y="176" width="440" height="352" rx="8"/>',
        *drawing.svg(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _board(drawing: Drawing, pins: Pins) -> None:
    used = {pins.servo, pins.piezo, pins.ground, pins.vsys, pins.supply_3v3, pins.analog_ground}
    top, bottom = FIRST_PIN_Y - 44, FIRST_PIN_Y + 19 * PIN_PITCH + 24
    middle = (BOARD_LEFT + BOARD_RIGHT) // 2
    drawing.add(
        f'<rect class="board" x="{BOARD_LEFT}" y="{top}" width="{BOARD_RIGHT - BOARD_LEFT}" '
        f'height="{bottom - top}" rx="8"/>',
        f'<rect class="usb" x="{middle - 28}" y="{top - 16}" width="56" height="36" rx="3"/>',
        f'<rect class="light" x="{BOARD_LEFT + 16}" y="{top + 10}" width="9" height="14" rx="2"/>',
    )
    drawing.text(24, 34, "Pico W, seen from above", "name")
    drawing.text(middle, top + 7, "USB", "middle")
    drawing.text(BOARD_LEFT + 31, top + 22, "LED", "on")
    for pin, name in enumerate(PICO_W, 1):
        x, y = pin_at(pin)
        kind = ("pin", "used") if pin in used else ("pin",)
        if pin in used:
            drawing.terminal(f"pico.{pin}", (x, y))
        else:
            drawing.add(f'<circle class="free" cx="{x}" cy="{y}" r="4"/>')
        if pin <= 20:
            drawing.text(x + 12, y + 5, f"{pin} {name}", *kind)
        else:
            drawing.text(x - 12, y + 5, f"{name} {pin}", *kind, "right")


def _power(drawing: Drawing, pins: Pins) -> None:
    """Draw the supply, D3 to the board, the rails to the servo with C1 between them."""
    drawing.add(f'<rect class="body" x="{SUPPLY_X - 26}" y="66" width="120" height="112" rx="6"/>')
    drawing.text(SUPPLY_X + 34, 92, "Supply", "name", "middle")
    drawing.text(SUPPLY_X + 34, 112, "5 V, 2 A", "middle")
    drawing.text(SUPPLY_X - 10, RAIL_5V_Y + 6, "+", "name")
    drawing.text(RETURN_X, 170, "−", "name", "middle")
    drawing.terminal("supply.+", (SUPPLY_X - 26, RAIL_5V_Y))
    drawing.terminal("supply.-", (RETURN_X, 178))
    _diode(drawing, "D3", "5 V", (D3_X + 30, RAIL_5V_Y), "VSYS", (D3_X - 30, RAIL_5V_Y))
    drawing.text(D3_X, RAIL_5V_Y - 22, "D3 1N5817", "middle")
    drawing.wire("VSYS", "red", pin_at(pins.vsys), drawing.terminals["D3.cathode"])
    drawing.wire("5 V", "red", drawing.terminals["D3.anode"], drawing.terminals["supply.+"])
    drawing.text(SERVO_X - 90, RAIL_5V_Y - 12, "5 V", "name", "middle")

    ground = pin_at(pins.ground)
    drawing.wire(
        "GND",
        "black",
        ground,
        (30, ground[1]),
        (30, GROUND_Y),
        (RETURN_X, GROUND_Y),
        drawing.terminals["supply.-"],
    )
    drawing.text(BOARD_LEFT, GROUND_Y - 12, "ground, shared by all", "name")

    left, right = (SERVO_X + 56, C1_Y), (SERVO_X + 94, C1_Y)
    drawing.add(
        f'<path class="lead" d="M{left[0]} {C1_Y} H{SERVO_X + 70} M{SERVO_X + 80} {C1_Y} H{right[0]}"/>',
        f'<rect class="body" x="{SERVO_X + 66}" y="{C1_Y - 20}" width="6" height="40"/>',
        f'<rect class="solid" x="{SERVO_X + 78}" y="{C1_Y - 20}" width="6" height="40"/>',
    )
    drawing.terminal("C1.+", left)
    drawing.terminal("C1.-", right)
    drawing.wire("5 V", "red", (SERVO_X, C1_Y), left)
    drawing.wire("GND", "black", right, (RETURN_X, C1_Y))
    drawing.text(SERVO_X + 54, C1_Y - 12, "+", "name", "middle")
    drawing.text(SERVO_X + 75, C1_Y + 42, "C1 470 µF", "middle")
    drawing.text(SERVO_X + 75, C1_Y + 60, "stripe to ground", "note", "middle")


def _piezo(drawing: Drawing, pins: Pins) -> None:
    """Draw the piezo with R2 and R3, and D1 and D2, which guard the pin.

    From the top: 3.3 V, AGND, the pin.
    """
    agnd_y = pin_at(pins.analog_ground)[1]
    drawing.text(316, 200, "Piezo, and what guards the pin", "name")
    _diode(drawing, "D1", "pin", (D1_X, 400), "3.3 V", (D1_X, 340))
    drawing.text(D1_X + 16, 367, "D1", "name")
    drawing.text(D1_X + 16, 385, "BAT85")
    _diode(drawing, "D2", "AGND", (D2_X, 350), "pin", (D2_X, 410))
    drawing.text(D2_X + 16, 376, "D2", "name")
    drawing.text(D2_X + 16, 394, "BAT85")
    _resistor(drawing, "R2", "10 kΩ", (R2_X, PIEZO_Y), (R2_X, RAIL_PIN_Y))
    _resistor(drawing, "R3", "1 MΩ", (R3_X, agnd_y), (R3_X, PIEZO_Y))
    centre = (agnd_y + PIEZO_Y) // 2
    drawing.add(
        f'<circle class="brass" cx="{PIEZO_X}" cy="{centre}" r="38"/>',
        f'<circle class="ceramic" cx="{PIEZO_X}" cy="{centre}" r="25"/>',
    )
    drawing.text(PIEZO_X, centre + 5, "piezo", "middle")
    drawing.terminal("piezo.brass", (PIEZO_X, centre - 32))
    drawing.terminal("piezo.white", (PIEZO_X, centre + 18))

    drawing.wire(
        "3.3 V", "orange", pin_at(pins.supply_3v3), (D1_X, RAIL_3V3_Y), drawing.terminals["D1.cathode"]
    )
    drawing.wire(
        "AGND", "black", pin_at(pins.analog_ground), (PIEZO_X, agnd_y), drawing.terminals["piezo.brass"]
    )
    drawing.wire("AGND", "black", (D2_X, agnd_y), drawing.terminals["D2.anode"])
    x, y = pin_at(pins.piezo)
    if y > agnd_y:
        way: tuple[Point, ...] = ((x, y), (288, y), (288, RAIL_PIN_Y))
    else:
        way = ((x, y), (D1_X - 14, y), (D1_X - 14, RAIL_PIN_Y), (D2_X, RAIL_PIN_Y))
    drawing.wire("pin", "blue", *way, (D1_X, RAIL_PIN_Y), drawing.terminals["D1.anode"])
    drawing.wire("pin", "blue", (D2_X, RAIL_PIN_Y), drawing.terminals["D2.cathode"])
    drawing.wire("piezo", "blue", (R2_X, PIEZO_Y), (PIEZO_X, PIEZO_Y), drawing.terminals["piezo.white"])
    drawing.text(316, RAIL_3V3_Y + 22, "3.3 V")
    drawing.text(316, agnd_y - 10, "analogue ground")
    drawing.text(
        316, RAIL_PIN_Y + 26, f"to {PICO_W[pins.piezo - 1]}, never above 3.7 V nor below −0.4 V", "note"
    )


def _servo(drawing: Drawing, pins: Pins) -> None:
    """Draw R1 in the signal, R4 from it to ground, and the servo."""
    top, bottom = SIGNAL_Y - 46, SIGNAL_Y + 54
    left, right = SERVO_X - 74, SERVO_X + 74
    drawing.add(
        f'<rect class="body" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" rx="6"/>',
        f'<circle class="horn" cx="{right - 34}" cy="{SIGNAL_Y + 4}" r="22"/>',
        f'<circle class="solid" cx="{right - 34}" cy="{SIGNAL_Y + 4}" r="4"/>',
    )
    drawing.text(left, top - 10, "Servo", "name")
    drawing.text(SERVO_X, top + 22, "red", "middle")
    drawing.text(left + 12, SIGNAL_Y + 5, "yellow")
    drawing.text(SERVO_X, bottom - 12, "brown", "middle")
    drawing.terminal("servo.red", (SERVO_X, top))
    drawing.terminal("servo.yellow", (left, SIGNAL_Y))
    drawing.terminal("servo.brown", (SERVO_X, bottom))
    drawing.wire("5 V", "red", (SERVO_X, RAIL_5V_Y), (SERVO_X, top))
    drawing.wire("GND", "black", (SERVO_X, bottom), (SERVO_X, GROUND_Y))
    _resistor(drawing, "R1", "330 Ω", (R1_X - 40, SIGNAL_Y), (R1_X + 40, SIGNAL_Y))
    _resistor(drawing, "R4", "10 kΩ", (R4_X, SIGNAL_Y), (R4_X, GROUND_Y))
    x, y = pin_at(pins.servo)
    if x == BOARD_RIGHT:
        way: tuple[Point, ...] = ((x, y), (x + 10, y), (x + 10, SIGNAL_Y)) if y != SIGNAL_Y else ((x, y),)
    else:
        way = ((x, y), (x - 20, y), (x - 20, GROUND_Y - 44), (x + 250, GROUND_Y - 44), (x + 250, SIGNAL_Y))
    drawing.wire("drive", "yellow", *way, drawing.terminals["R1.a"])
    drawing.wire("signal", "yellow", drawing.terminals["R1.b"], drawing.terminals["servo.yellow"])
    drawing.text(R4_X + 40, SIGNAL_Y - 12, "signal", "name", "middle")


def _key(drawing: Drawing) -> None:
    drawing.add(f'<circle class="joint" cx="36" cy="{HEIGHT - 58}" r="6"/>')
    drawing.text(
        54,
        HEIGHT - 53,
        "A dot joins wires; an open circle is a pin or the leg of a part. Without a dot nothing is joined.",
    )
    drawing.text(
        54,
        HEIGHT - 27,
        "The ring on a diode is the bar in its sign: D1 towards 3.3 V, D2 towards the pin, D3 towards VSYS.",
    )


def _resistor(drawing: Drawing, name: str, value: str, a: Point, b: Point) -> None:
    """Draw a resistor, level or upright, between two points."""
    x, y = (a[0] + b[0]) // 2, (a[1] + b[1]) // 2
    drawing.terminal(f"{name}.a", a)
    drawing.terminal(f"{name}.b", b)
    drawing.add(f'<path class="lead" d="{path_of((a, b))}"/>')
    if a[1] == b[1]:
        drawing.add(f'<rect class="body" x="{x - 24}" y="{y - 9}" width="48" height="18" rx="3"/>')
        drawing.text(x, y - 18, f"{name} {value}", "middle")
    else:
        drawing.add(f'<rect class="body" x="{x - 9}" y="{y - 22}" width="18" height="44" rx="3"/>')
        drawing.text(x + 18, y - 3, name, "name")
        drawing.text(x + 18, y + 15, value)


def _diode(
    drawing: Drawing, name: str, anode_net: str, anode: Point, cathode_net: str, cathode: Point
) -> None:
    """Draw a diode: the triangle points from anode to cathode, and the bar is at the cathode."""
    (ax, ay), (cx, cy) = anode, cathode
    x, y = (ax + cx) // 2, (ay + cy) // 2
    drawing.terminal(f"{name}.anode", anode)
    drawing.terminal(f"{name}.cathode", cathode)
    drawing.add(f'<path class="lead" d="{path_of((anode, cathode))}"/>')
    if ay == cy:
        d = 11 if cx > ax else -11
        drawing.add(
            f'<path class="solid" d="M{x - d} {y - 11} L{x - d} {y + 11} L{x + d} {y} Z"/>',
            f'<path class="lead" d="M{x + d} {y - 12} V{y + 12}"/>',
        )
    else:
        d = 11 if cy > ay else -11
        drawing.add(
            f'<path class="solid" d="M{x - 11} {y - d} L{x + 11} {y - d} L{x} {y + d} Z"/>',
            f'<path class="lead" d="M{x - 12} {y + d} H{x + 12}"/>',
        )


# --- the tables


def pin_table(config: Mapping[str, Any]) -> str:
    """Tell where each pin goes, as Markdown. Raises ValueError for a pin that cannot do its work on a Pico W,
    and for a light that is not the board's own.
    """
    pins = pins_of(config)
    wired = [
        (pins.vsys, "ring end of D3; the other end of D3 to 5 V of the supply", "red", ""),
        (pins.ground, "ground: supply −, brown servo wire, stripe leg of C1, R4", "black", ""),
        (pins.servo, "R1, then the yellow servo wire", "yellow", "`servo.pin`"),
        (pins.piezo, "R2, plain end of D1, ring end of D2", "blue", "`piezo.pin`"),
        (pins.analog_ground, "the piezo's brass, R3, plain end of D2", "black", ""),
        (pins.supply_3v3, "ring end of D1", "orange", ""),
    ]
    return _markdown(
        ("pin", "its name", "goes to", "colour in the picture", "setting"),
        *((str(pin), PICO_W[pin - 1], *rest) for pin, *rest in wired),
        ("none", "LED", "nothing: the light is on the board", "", "`led.pin`"),
    )


def breadboard_list(config: Mapping[str, Any]) -> str:
    """Tell what to plug where, as Markdown, with the board's pin 1 in row 1, column b, and its pin 40 in row
    1, column g: so the right side has three free holes in each row, the left one. Raises ValueError for a pin
    that cannot do its work on a Pico W, and for a light that is not the board's own.
    """
    pins = pins_of(config)
    hole = {name: _row_of(pin) for name, pin in vars(pins).items()}
    piezo, signal = "row 25 right", "row 28 right"
    red, blue = "red rail", "blue rail"
    steps = [
        ("wire", blue, hole["ground"]),
        ("D3, 1N5817", f"plain end: {red}", f"ring end: {hole['vsys']}"),
        ("C1, 470 µF", f"long leg: {red}", f"leg beside the stripe: {blue}"),
        ("D1, BAT85", f"plain end: {hole['piezo']}", f"ring end: {hole['supply_3v3']}"),
        ("D2, BAT85", f"plain end: {hole['analog_ground']}", f"ring end: {hole['piezo']}"),
        ("R2, 10 kΩ", piezo, hole["piezo"]),
        ("R3, 1 MΩ", hole["analog_ground"], piezo),
        ("piezo", f"wire from the white: {piezo}", f"wire from the brass: {hole['analog_ground']}"),
        ("R1, 330 Ω", hole["servo"], signal),
        ("R4, 10 kΩ", signal, blue),
        ("servo", f"yellow: {signal}", f"red: {red}", f"brown: {blue}"),
        ("supply, switched off", f"+: {red}", f"−: {blue}"),
    ]
    rows = [(str(number), *step) for number, step in enumerate(steps, 1)]
    return _markdown(("", "take", "one end", "other end", ""), *((*row, "")[:5] for row in rows))


def _row_of(pin: int) -> str:
    return f"row {pin} left" if pin <= 20 else f"row {41 - pin} right"


def _markdown(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) + "\n" for line in lines)


def with_block(guide: str, name: str, block: str) -> str:
    """Return the text of the guide with one of its blocks replaced.

    Raises ValueError where it has no place.
    """
    begins, ends = f"<!-- The {name} is made by tools/wiring.py -->", f"<!-- End of the {name} -->"
    head, found, rest = guide.partition(begins)
    _, found_end, tail = rest.partition(ends)
    if not found or not found_end:
        raise ValueError(f"{GUIDE.name} has no place for the {name}")
    return f"{head}{begins}\n\n{block}\n{ends}{tail}"


def main(arguments: list[str]) -> int:
    guide = GUIDE.read_text(encoding="utf-8")
    guide = with_block(guide, "pin table", pin_table(DEFAULTS))
    guide = with_block(guide, "breadboard list", breadboard_list(DEFAULTS))
    made = {PICTURE: draw(DEFAULTS), GUIDE: guide}
    stale = [
        path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: python -m tools.wiring", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print("usage: python -m tools.wiring [--check]", file=sys.stderr)
        return 2
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The driver of the small screen, and the SSD1306 at the end of its wires."""

import errno
import sys

from snyper.shared.runtime import MICROPYTHON

_VIRTUAL_BOARD = __file__.rpartition("/")[0] + "/../../host/snyper/boards/virtual_board"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snyper.boards.virtual_board import i2c as i2c, machine as machine
else:
    sys.path.insert(0, _VIRTUAL_BOARD)
    try:
        import i2c
        import machine
    finally:
        sys.path.remove(_VIRTUAL_BOARD)

from snyper.firmware.master.peripherals import screen_bus  # noqa: E402

CONFIG = {"sda_pin": 4, "scl_pin": 5}


class Bench:
    """A board with a screen on GPIO 4 and 5."""

    def __init__(self) -> None:
        self.settings = {"sda": 4, "scl": 5, "address": 0x3C, "plugged": 1}
        self.writes = 0
        board = machine.VirtualBoard()
        machine.use(board)
        board.bus = self.wires = i2c.Wires(lambda: dict(self.settings), self._written)

    def _written(self, chip: "Any") -> None:
        self.writes += 1

    def plug(self, plugged: int, address: int = 0x3C) -> None:
        self.settings["plugged"] = plugged
        self.settings["address"] = address
        self.wires.refresh()

    def seen(self) -> bytes:
        return b"".join([self.wires.screen.row(y) for y in range(64)])


def refused(kind: "Any", call: "Callable[[], object]") -> "Any":
    """The exception of that kind that the call raises."""
    try:
        call()
    except kind as raised:
        return raised
    raise AssertionError("nothing was raised")


def test_the_bus_is_the_pins_own() -> None:
    Bench()
    for sda, scl in ((4, 5), (6, 7), (0, 13), (26, 3), (20, 21)):
        screen_bus({"sda_pin": sda, "scl_pin": scl})
    for sda, scl, fault in ((4, 7, "bad SCL pin"), (5, 4, "bad SCL pin"), (7, 5, "bad SCL pin")):
        error = refused(ValueError, lambda: screen_bus({"sda_pin": sda, "scl_pin": scl}))  # noqa: B023
        assert str(error) == fault
    assert screen_bus(CONFIG).scan() == [0x3C]
    assert screen_bus({"sda_pin": 8, "scl_pin": 9}).scan() == []


def test_the_chip_fills_its_memory_as_its_modes_say() -> None:
    """The three modes of addressing (datasheet, section 10.1.3), as another driver would use them."""
    for mode, second in ((0, 1), (1, 128), (2, 1)):
        chip = i2c.Screen()
        chip.write(bytes((0, 0x20, mode)))
        if mode != 2:
            chip.write(bytes((0x80, 0x21, 0x80, 0x00, 0x80, 0x7F, 0x80, 0x22, 0x80, 0x00, 0x80, 0x07)))
        else:
            chip.write(bytes((0, 0xB0, 0x00, 0x10)))
        chip.write(b"\x40" + bytes((1, 2)))
        assert (chip.memory[0], chip.memory[second]) == (1, 2), mode
        chip.write(b"\x40" + bytes(1022))
        chip.write(b"\x40\x09")  # round to the first again
        assert chip.memory[0] == 9, mode
        assert chip.unknown == []


if MICROPYTHON:  # CPython has no framebuf
    import framebuf

    from snyper.firmware.master import screen
    from snyper.firmware.master.ssd1306 import SSD1306_I2C

    def expected(display: "Any") -> bytes:
        """What was drawn, row by row."""
        raw = bytearray(1024)
        rows = framebuf.FrameBuffer(raw, 128, 64, framebuf.MONO_HLSB)
        for at in range(128 * 64):
            rows.pixel(at % 128, at // 128, display.pixel(at % 128, at // 128))
        return bytes(raw)

    def test_what_is_drawn_is_what_is_seen() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        assert bench.seen() == bytes(1024)  # dark before it is set up
        display.init_display()
        nobody = ("", "")
        for draw, arguments in (
            (screen.draw_menu, (nobody, ("standing", "down", "armed", ""), 4, "quick", "1/6")),
            (screen.draw_game, (nobody, "duel", 4, ("left", "right"), (12, 9), "left", 7, 20)),
            (screen.draw_words, (nobody, "gallery", "it needs 2 targets, here are 1")),
        ):
            draw(display, *arguments)
            screen.draw_heartbeat(display, True)
            display.show()
            assert bench.seen() == expected(display), arguments
        assert bench.wires.screen.unknown == []

    def test_no_write_is_longer_than_a_page() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        display.init_display()
        display.fill(1)
        display.show()
        assert bench.wires.screen.longest_bytes == 135  # 3.1 ms at 400 kHz, with the address

    def test_only_what_has_changed_is_sent() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        display.init_display()
        display.show()
        assert not display.show_changed()
        before = bench.writes
        display.pixel(3, 20, 1)
        assert display.show_changed()
        assert not display.show_changed()
        assert bench.writes == before + 1
        display.fill(1)
        pages = 0
        while display.show_changed():
            pages += 1
        assert pages == 8

    def test_a_screen_that_lost_its_power_is_set_up_and_shown_again() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        display.init_display()
        display.fill_rect(0, 0, 40, 40, 1)
        display.show()
        bench.plug(0)
        display.pixel(100, 0, 1)
        for method in (display.show, display.init_display):
            assert refused(OSError, method).errno == errno.EIO
        bench.plug(2)
        assert bench.seen() == bytes(1024)
        display.init_display()
        display.show()
        assert bench.seen() == expected(display)

    def test_a_page_that_could_not_be_sent_is_sent_later() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        display.init_display()
        display.show()
        display.pixel(0, 0, 1)
        bench.plug(1, address=0x3D)
        assert refused(OSError, display.show).errno == errno.EIO
        bench.plug(1)
        display.show()
        assert bench.seen() == expected(display)

    def test_the_drivers_other_words() -> None:
        bench = Bench()
        display = SSD1306_I2C(128, 64, screen_bus(CONFIG), 0x3C)
        display.init_display()
        display.pixel(5, 5, 1)
        display.show()
        picture = bench.seen()
        display.poweroff()
        assert bench.seen() == bytes(1024)
        display.poweron()
        assert bench.seen() == picture
        display.invert(1)
        assert bench.seen() == bytes([byte ^ 0xFF for byte in picture])
        display.invert(0)
        display.contrast(7)
        assert bench.seen() == picture
        assert bench.wires.screen.contrast == 7
        assert bench.wires.screen.unknown == []

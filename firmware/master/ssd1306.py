"""A screen of 128 x 64 points with an SSD1306 on I2C.

From Solomon Systech's datasheet of the SSD1306, revision 1.1, and its application note. It has the interface
of micropython-lib's driver of this name, and beside it `show_changed`, which holds the processor for the time
of one page only.
"""

import framebuf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Control bytes of a write (datasheet, section 8.1.5.2).
_COMMANDS = 0x00  # all that follows are commands
_ONE_COMMAND = 0x80  # one command follows, then another control byte
_DATA = 0x40  # all that follows goes into the display's memory

# Commands (datasheet, table 9-1).
_COLUMN_LOW = 0x00  # | the low four bits of the column in which the data begins
_COLUMN_HIGH = 0x10  # | the high four bits
_ADDRESSING = 0x20
_BY_PAGE = 0x02
_START_LINE = 0x40  # | line
_CONTRAST = 0x81
_CHARGE_PUMP = 0x8D  # makes the voltage of the light out of the supply's
_CHARGE_PUMP_ON = 0x14
_COLUMNS_REVERSED = 0xA1  # the glass stands upright on the usual modules with these two reversed
_ROWS_REVERSED = 0xC8
_SHOW_MEMORY = 0xA4
_NORMAL = 0xA6  # | 1: light and dark exchanged
_ROWS = 0xA8
_OFF = 0xAE
_ON = 0xAF
_PAGE = 0xB0  # | page
_ROW_OFFSET = 0xD3
_ROW_PINS = 0xDA
_ROW_PINS_ALTERNATE = 0x12  # as the glass of 64 rows is wired; 0x02 for 32

_BRIGHTEST = 0xFF  # it is read in daylight
_BEFORE_DATA = 7  # bytes of a write, before a page's own


class SSD1306_I2C(framebuf.FrameBuffer):  # type: ignore[misc, unused-ignore]
    """A FrameBuffer that can be shown. Making one sends nothing; `init_display` does.

    A page is eight rows. Each lies in the buffer with what addresses it in front: it goes out in one write of
    135 bytes, for which nothing is copied, in 3 ms at 400 kHz. Every method that sends raises OSError where
    the screen does not answer.
    """

    def __init__(self, width: int, height: int, i2c: "Any", addr: int = 0x3C) -> None:
        self.width = width
        self.height = height
        self.i2c = i2c
        self.addr = addr
        self.pages = height // 8
        self._write_bytes = _BEFORE_DATA + width
        size = self.pages * self._write_bytes
        buffer = bytearray(size)
        self._writes = memoryview(buffer)
        self._shown = memoryview(bytearray(size))
        for page in range(self.pages):
            before = (
                _ONE_COMMAND,
                _PAGE | page,
                _ONE_COMMAND,
                _COLUMN_LOW,
                _ONE_COMMAND,
                _COLUMN_HIGH,
                _DATA,
            )
            at = page * self._write_bytes
            buffer[at : at + _BEFORE_DATA] = bytes(before)
        self._next_page = 0
        super().__init__(self._writes[_BEFORE_DATA:], width, height, framebuf.MONO_VLSB, self._write_bytes)

    def init_display(self) -> None:
        """Set the screen up and switch it on, as after its power came. What it shows is not known then:
        `show_changed` sends every page again. It does no harm to a screen that is on.
        """
        for page in range(self.pages):
            self._shown[page * self._write_bytes] = 0
        self._command(_ROWS, self.height - 1, _ROW_OFFSET, 0, _START_LINE, _COLUMNS_REVERSED, _ROWS_REVERSED)
        self._command(_ROW_PINS, _ROW_PINS_ALTERNATE, _CONTRAST, _BRIGHTEST, _SHOW_MEMORY, _NORMAL)
        self._command(_ADDRESSING, _BY_PAGE, _CHARGE_PUMP, _CHARGE_PUMP_ON, _ON)

    def show_changed(self) -> bool:
        """Send one page that is not yet as it was drawn, each in its turn. Returns False when there is
        none.
        """
        for _ in range(self.pages):
            begin = self._next_page * self._write_bytes
            end = begin + self._write_bytes
            self._next_page = (self._next_page + 1) % self.pages
            if self._writes[begin:end] != self._shown[begin:end]:
                self.i2c.writeto(self.addr, self._writes[begin:end])
                self._shown[begin:end] = self._writes[begin:end]
                return True
        return False

    def show(self) -> None:
        """Send all that is not yet as it was drawn: up to 25 ms."""
        while self.show_changed():
            pass

    def poweroff(self) -> None:
        """Switch the screen off; what was drawn stays."""
        self._command(_OFF)

    def poweron(self) -> None:
        """Switch the screen on, as it was before `poweroff`."""
        self._command(_ON)

    def contrast(self, contrast: int) -> None:
        """Set the brightness, from 0 to 255, the brightest."""
        self._command(_CONTRAST, contrast)

    def invert(self, invert: int) -> None:
        """Exchange light and dark (1), or not (0)."""
        self._command(_NORMAL | (invert & 1))

    def _command(self, *commands: int) -> None:
        self.i2c.writeto(self.addr, bytes((_COMMANDS,) + commands))

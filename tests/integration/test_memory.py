"""What a board has left of its memory, for some minutes of its clock; `make memory` takes an hour."""

import asyncio
import re
from pathlib import Path

import pytest

from snyper.boards import image
from snyper.boards.board import STAND_INS_BYTES, WORDS_BYTES, BoardProcess
from tests.integration.harness import DEADLINE_S, linux_only, needs_micropython
from tools import game_memory, memory
from tools.soak import Report, soak
from tools.watched_board import Sample

pytestmark = [needs_micropython, linux_only]

# Loaded only where the board has it, or while somebody wants it.
ON_DEMAND = (
    *(f"snyper.firmware.master.{name}" for name in ("panel", "screen", "ssd1306", "buttons", "peripherals")),
    *(f"snyper.firmware.master.{name}" for name in ("game", "console_requests", "cease_fire")),
    "snyper.firmware.master.asking",
    "snyper.firmware.target.piezo_stream",
    "snyper.firmware.master.duplicates",
    "snyper.firmware.master.keyring",
    "snyper.firmware.master.roles.service",
    *("snyper.shared.names", "snyper.shared.attachment_bytes", "snyper.shared.attachment_receiver"),
    *(f"snyper.shared.{name}" for name in ("keys", "seal", "sealed_proof", "sealed_stream", "utf8")),
    "snyper.shared.tls_micropython",
)

MOST_WORDS = 1_200
MINUTES = 6  # seven seconds here: each kind of outage happens to both boards
MARGIN = 0.005  # of the heap: `make memory` has the hour that shows more


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """A target and a hub board, each after MINUTES of its clock."""

    async def both() -> list[Report]:
        directory = tmp_path_factory.mktemp("soak")
        return list(await asyncio.gather(*(soak(role, directory / role, MINUTES) for role in image.ROLES)))

    return {report.role: report for report in asyncio.run(both())}


@pytest.mark.slow
@pytest.mark.parametrize("role", image.ROLES)
def test_a_third_of_the_heap_is_free(reports: dict[str, Report], role: str) -> None:
    assert memory.faults_of(reports[role], MARGIN) == []


def test_the_firmware_gets_no_more_than_a_picos_heap(tmp_path: Path) -> None:
    """What is added to a virtual board's heap for the stand-ins is not more than they take."""
    main = tmp_path / "main.py"
    main.write_text("import gc\ngc.collect()\nprint('in use', gc.mem_alloc())\n")
    board = BoardProcess(tmp_path / "board", "target", main=main)
    board.start()
    assert board.wait(DEADLINE_S) == 0
    in_use = int(board.log.split()[-1]) - WORDS_BYTES
    assert STAND_INS_BYTES < in_use < STAND_INS_BYTES + 4_096


@pytest.mark.parametrize("role", image.ROLES)
def test_no_firmware_fills_the_table_of_words(tmp_path: Path, role: str) -> None:
    """At 1,260 words it takes another large piece of a heap that by then is in pieces. What is
    left is for the words of its configuration and of what is said to it.
    """
    main = tmp_path / "main.py"
    # A module that is unloaded leaves its words. Those that a board loads seldom come first, while there is
    # memory for all that they import.
    imports = "".join(
        f"import {name}\n{f'unload({name!r})' * (name in memory.unloaded(role))}\ngc.collect()\n"
        for name in reversed(memory.modules_of(role))
    )
    head = "import gc, micropython\nmicropython.qstr_info()\n"
    begin = head + "from snyper.shared.runtime_micropython import unload\n"
    main.write_text(f"{begin}{imports}micropython.qstr_info()\n")
    board = BoardProcess(tmp_path / "board", role, main=main)
    board.start()
    assert board.wait(DEADLINE_S) == 0, board.log
    before, after = [int(count) for count in re.findall(r"n_qstr=(\d+)", board.log)]
    assert after - before < MOST_WORDS


def test_a_traceback_names_the_file_that_a_board_has(tmp_path: Path) -> None:
    """Which is a word of its import already, on a board."""
    main = tmp_path / "main.py"
    main.write_text(
        "import sys\nfrom snyper.shared.address import parse_address\n"
        "try:\n    parse_address('a:b')\nexcept ValueError as error:\n    sys.print_exception(error)\n"
    )
    board = BoardProcess(tmp_path / "board", "target", main=main)
    board.start()
    assert board.wait(DEADLINE_S) == 0, board.log
    (file,) = set(re.findall(r'File "(/[^"]+)", line \d+, in parse_address', board.log))
    assert (board.flash / file[1:]).is_file()


@pytest.mark.parametrize("role", image.ROLES)
def test_the_soak_is_one(reports: dict[str, Report], role: str) -> None:
    report = reports[role]
    assert len(report.samples) == 2 * MINUTES
    for what in ("commands", "hits", "misses", "outages"):
        assert report.counts[what] > 0, what


@pytest.mark.parametrize("role", image.ROLES)
def test_what_is_flashed_is_what_runs(reports: dict[str, Report], role: str) -> None:
    flashed = set(image.modules(role))
    imported = reports[role].modules
    assert not [name for name in flashed - imported if not name.startswith(ON_DEMAND)]
    ours = {name for name in imported if name.startswith("snyper")}
    firmware = "snyper.firmware"
    folders = {"snyper", "snyper.shared", firmware, f"{firmware}.board", f"{firmware}.{role}"}
    assert ours - flashed - {f"{firmware}.master.roles"} == folders


@pytest.mark.parametrize("role", image.ROLES)
def test_each_module_comes_after_those_that_it_imports_and_takes_something(role: str) -> None:
    modules = memory.modules_of(role)
    assert set(modules) == set(image.modules(role))
    assert modules.index("snyper.shared.runtime_micropython") < modules.index("snyper.shared.link")
    costs = memory.unix_costs(role)
    assert list(costs) == ["asyncio", *modules]
    for name, cost in costs.items():
        assert cost is not None, name
        assert 100 < cost < 40_000, (name, cost)


async def test_a_hub_board_with_a_screen_has_memory_for_a_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_memory, "GAMES", ("gallery",))
    monkeypatch.setattr(game_memory, "ROUNDS", 1)
    monkeypatch.setattr(game_memory, "GAME_S", 1.0)
    begun: list[str] = []
    found = await game_memory.measure(True, begun.append)
    assert begun == ["gallery"]
    assert found.refused == 0
    assert min(found.during) > 0.09 * found.heap
    assert min(found.between) > 0.18 * found.heap
    assert min(found.before) > max(found.between) > max(found.during)


def report_of(free: list[int], heap: int = 180_000, largest: int = 6_144) -> Report:
    samples = [Sample(600 + 60 * at, bytes_, largest, True) for at, bytes_ in enumerate(free)]
    return Report("target", False, heap, 40_000, samples)


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        pytest.param(report_of([60_001] * 51), "", id="enough"),
        pytest.param(report_of([59_999] * 51), "33.3% of the heap is free", id="too little"),
        pytest.param(report_of([90_000] * 50 + [44_000]), "at worst 24.4%", id="too little once"),
        pytest.param(report_of([90_000 - 32 * at for at in range(51)]), "grew by 1248 bytes", id="a leak"),
        pytest.param(report_of([90_000] * 51, largest=6_143), "at worst 6143 bytes", id="in pieces"),
        pytest.param(report_of([90_000 - 400 * (at % 2) for at in range(51)]), "", id="to and fro"),
    ],
)
def test_the_bounds_are_bounds(report: Report, fault: str) -> None:
    found = memory.faults_of(report)
    assert found == [] if not fault else len(found) == 1 and fault in found[0]

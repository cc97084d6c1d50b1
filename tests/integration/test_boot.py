"""A board survives its owner: crashes, hangs, bad settings and power cuts, on the real boot code."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from snyper.boards import image
from snyper.boards.board import WIFI, BoardProcess
from snyper.boards.usb_board import UsbBoard
from snyper.firmware.board import flash_log
from snyper.firmware.board.status import Status
from tests.integration.harness import DEADLINE_S, needs_micropython, until

pytestmark = needs_micropython

SPEED = 40  # of the board's clock: what takes a board 15 s is seen in 0.4
LED = "LED"

# A target's session.py, in the place of the compiled one: MicroPython looks for the source first.
CRASHES = """
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self): raise RuntimeError("the barn is on fire")
    def is_alive(self): return True
"""
CRASHES_IN_A_TASK = """
import asyncio
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self):
        asyncio.create_task(self.die())
        await asyncio.Event().wait()
    async def die(self): raise RuntimeError("nobody waits for me")
    def is_alive(self): return True
"""
CRASHES_AT_IMPORT = """
import there_is_no_such_module
"""
BLOCKS = """
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self):
        print("blocked now")
        while True: pass
    def is_alive(self): return True
"""
SAYS_IT_IS_DEAD = """
import asyncio
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self): await asyncio.Event().wait()
    def is_alive(self): return False
"""
IS_BUSY = """
import asyncio
from snyper.shared.runtime_micropython import now_ms
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self):
        began_ms = now_ms()
        while now_ms() - began_ms < 25_000:
            for _ in range(1000): pass
            await asyncio.sleep(0)
        print("busy for three timeouts")
        await asyncio.Event().wait()
    def is_alive(self): return True
"""
IDLES = """
import asyncio
class TargetSession:
    def __init__(self, config, led, on_status): print("runs as", config["target_id"])
    async def run(self): await asyncio.Event().wait()
    def is_alive(self): return True
"""


@asynccontextmanager
async def board_with(
    directory: Path, session: str | None, config: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[BoardProcess]:
    """A target whose session is `session`, its power on; its clock is fast. It has no watchdog unless
    `config` says so: at this pace a busy machine would make it bite.
    """
    settings = {"watchdog_ms": 0, **(config or {})}
    board = BoardProcess(
        directory / "board", "target", settings, speed=options.pop("speed", SPEED), **options
    )
    if session is not None:
        (board.flash / "lib/snyper/firmware/target/session.py").write_text(session)
    board.start()
    try:
        yield board
    finally:
        board.kill()


def kept(board: BoardProcess) -> str:
    """What the flash remembers."""
    files = (flash_log.OLD_PATH, flash_log.PATH)
    return "".join(
        (board.flash / path[1:]).read_text() for path in files if (board.flash / path[1:]).exists()
    )


def was_reset(board: UsbBoard) -> Callable[[], bool]:
    """Whether it was reset since this call."""
    resets = board.resets
    return lambda: board.resets > resets


def blinks(board: BoardProcess) -> Callable[[], bool]:
    """Whether the light was seen both on and off."""
    seen = set()

    def check() -> bool:
        pins = board.outputs()["pins"]
        if LED in pins:
            seen.add(pins[LED]["level"])
        return seen == {0, 1}

    return check


# --- crashes


@pytest.mark.parametrize(
    ("session", "says"),
    [
        pytest.param(CRASHES, "RuntimeError: the barn is on fire", id="in the firmware"),
        pytest.param(CRASHES_IN_A_TASK, "RuntimeError: nobody waits for me", id="in a task of it"),
        pytest.param(
            CRASHES_AT_IMPORT, "ImportError: no module named 'there_is_no_such_module'", id="import"
        ),
        pytest.param("def broken(", "SyntaxError: invalid syntax", id="syntax"),
    ],
)
async def test_a_crash_is_kept_shown_and_followed_by_restarts_then_by_safe_mode(
    tmp_path: Path, session: str, says: str
) -> None:
    async with board_with(tmp_path, session) as board:
        await until(blinks(board), "the light should show the crash")
        await until(lambda: board.status == Status.SAFE_MODE, "safe mode should begin")
        await until(blinks(board), "the light should show safe mode")
        assert board.log.count("target 0.1.0, reset by") == 6
        assert board.resets == 5
        log = kept(board)
        assert log.count(says) == 5
        assert log.count("reset by crash") == 5
        assert 'File "/lib/snyper/firmware/target/session.py", line' in log or "main.py" in log


async def test_power_off_and_on_leaves_safe_mode(tmp_path: Path) -> None:
    async with board_with(tmp_path, CRASHES) as board:
        await until(lambda: board.status == Status.SAFE_MODE, "safe mode should begin")
        (board.flash / "lib/snyper/firmware/target/session.py").write_text(IDLES)
        board.restart()
        await until(lambda: "runs as target_1" in board.log, "the firmware should run again")
        assert "reset by power on" in kept(board).splitlines()[-1]


async def test_failures_that_lie_far_apart_do_not_add_up(tmp_path: Path) -> None:
    """Each run lasts longer than the minute after which a boot has not failed."""
    crashes_late = CRASHES.replace("raise Runtime", "import asyncio; await asyncio.sleep(70); raise Runtime")
    async with board_with(tmp_path, crashes_late, speed=400) as board:
        await until(lambda: board.log.count("reset by crash") == 8, "it should be restarted again and again")
        assert "safe mode" not in board.log


async def test_main_py_alone_says_what_is_missing_and_waits(tmp_path: Path) -> None:
    board = BoardProcess(tmp_path / "board", "target", speed=SPEED)
    (board.flash / "lib/snyper/firmware/board/boot.mpy").unlink()
    board.start()
    try:
        await until(lambda: board.resets >= 1, "it should try again after a minute of its clock")
        assert "ImportError: no module named 'snyper.firmware.board.boot'" in board.log
    finally:
        board.kill()


@pytest.mark.slow
async def test_the_log_on_the_flash_stays_small(tmp_path: Path) -> None:
    crashes_late = CRASHES.replace("raise Runtime", "import asyncio; await asyncio.sleep(70); raise Runtime")
    async with board_with(tmp_path, crashes_late, speed=400) as board:
        old = board.flash / flash_log.OLD_PATH[1:]
        await until(old.exists, "the log should be full")
        await until(lambda: board.log.count("reset by crash") >= 30, "it should crash on")
        for path in (flash_log.PATH, flash_log.OLD_PATH):
            assert (board.flash / path[1:]).stat().st_size <= flash_log.MAX_FILE_BYTES


async def test_a_full_flash_costs_the_log_and_not_the_board(tmp_path: Path) -> None:
    async with board_with(tmp_path, IDLES, faults={"capacity_bytes": 0}) as board:
        await until(lambda: "runs as target_1" in board.log, "the firmware should run")
        assert "cannot be written" in board.log
        assert kept(board) == ""
        assert not list(board.flash.glob("*.new"))


# --- the watchdog


@pytest.mark.parametrize(
    "session", [BLOCKS, SAYS_IT_IS_DEAD], ids=["a blocked loop", "a dead link or motion"]
)
async def test_the_watchdog_resets_what_hangs(tmp_path: Path, session: str) -> None:
    async with board_with(tmp_path, session, {"watchdog_ms": 8_000}) as board:
        await until(lambda: board.status == Status.SAFE_MODE, "the watchdog should have bitten")
        assert kept(board).count("reset by watchdog") == 5


@pytest.mark.slow
async def test_the_watchdog_leaves_a_busy_board_alone(tmp_path: Path) -> None:
    async with board_with(tmp_path, IS_BUSY, {"watchdog_ms": 8_000}, speed=8) as board:
        await until(lambda: "busy for three timeouts" in board.log, "it should work undisturbed")
        assert board.resets == 0


async def test_there_is_no_watchdog_where_none_is_wanted(tmp_path: Path) -> None:
    async with board_with(tmp_path, BLOCKS) as board:
        await until(lambda: "blocked now" in board.log, "it should block")
        assert not (board.directory / "watchdog").exists()


# --- maintenance, updates


async def test_the_maintenance_mark_holds_for_one_boot(tmp_path: Path) -> None:
    async with board_with(tmp_path, CRASHES) as board:
        mark = board.flash / "maintenance"
        await until(lambda: "unexpected RuntimeError" in board.log, "it should crash, and start anew")
        mark.touch()
        await until(lambda: not board.is_on, "main.py should end: the board is at its prompt")
        assert "boot: maintenance, the firmware does not start" in board.log
        assert not mark.exists()
        assert not (board.directory / "watchdog").exists()
        (board.flash / "lib/snyper/firmware/target/session.py").write_text(IDLES)
        board.start()
        await until(lambda: "runs as target_1" in board.log, "the firmware should start again")


async def test_a_maintenance_mark_from_before_a_power_cut_holds_no_longer(tmp_path: Path) -> None:
    async with board_with(tmp_path, IDLES) as board:
        await until(lambda: "runs as target_1" in board.log, "the firmware should start")
        board.kill()
        (board.flash / "maintenance").touch()
        board.start()
        await until(lambda: board.log.count("runs as target_1") == 2, "the firmware should start")
        assert not (board.flash / "maintenance").exists()


async def test_a_committed_update_is_finished_at_boot(tmp_path: Path) -> None:
    board = BoardProcess(tmp_path / "board", "target", speed=SPEED)
    stage = board.flash / "snyper.update"
    (stage / "lib/snyper/firmware/target").mkdir(parents=True)
    (stage / "lib/snyper/firmware/target/session.py").write_text(IDLES)
    (stage / "extra/deep").mkdir(parents=True)
    (stage / "extra/deep/new.py").write_text("")
    (stage / "left_over.py").write_text("")
    (board.flash / "gone/deep").mkdir(parents=True)
    (board.flash / "gone/deep/old.py").write_text("")
    record = {
        "files": ["lib/snyper/firmware/target/session.py", "extra/deep/new.py", "done/before.py"],
        "remove": ["gone/deep/old.py", "was/never.py"],
    }
    (board.flash / "snyper.update.json").write_text(json.dumps(record))
    board.start()
    try:
        await until(lambda: "runs as target_1" in board.log, "the new firmware should run")
        assert (board.flash / "extra/deep/new.py").exists()
        for path in ("snyper.update", "snyper.update.json", "gone"):
            assert not (board.flash / path).exists(), path
        assert "reset by update" in kept(board)
    finally:
        board.kill()


async def test_an_update_that_was_not_committed_changes_nothing(tmp_path: Path) -> None:
    async with board_with(tmp_path, None) as board:
        stage = board.flash / "snyper.update/lib/snyper/firmware/target"
        stage.mkdir(parents=True)
        (stage / "session.py").write_text(CRASHES)
        broken_off = '{"files": ["lib/snyper/firmware/target/session.py"], "rem'
        (board.flash / "snyper.update.json.new").write_text(broken_off)
        board.restart()
        await until(lambda: board.log.count("wifi: joining") == 2, "the old firmware should run")


# --- settings


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "/config.json: "),
        (b'{"target_id": "half', "/config.json: "),
        (b"[1, 2]", "/config.json: "),
        (b"\xff\xfe", "/config.json: "),
        (b'{"tarjet_id": "x"}', "tarjet_id"),
        (b'{"servo": {"pin": "sixteen"}}', "servo.pin"),
        (b'{"piezo": {"pin": 16}}', "piezo.pin"),
        (None, "/config.json: there is no such file"),
    ],
    ids=["empty", "torn", "no object", "no text", "unknown key", "wrong type", "pin conflict", "missing"],
)
async def test_bad_settings_fall_back_to_the_last_good_ones(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    async with board_with(tmp_path, IDLES, {"target_id": "left_1"}) as board:
        await until(lambda: "runs as left_1" in board.log, "the firmware should run")
        board.kill()
        config = board.flash / "config.json"
        if content is None:
            config.unlink()
        else:
            config.write_bytes(content)
        board.start()
        await until(lambda: board.log.count("runs as left_1") == 2, "the last good settings should hold")
        assert fault in kept(board)
        assert "running with the last good configuration" in kept(board)
        assert board.resets == 0


async def test_without_any_good_settings_the_defaults_hold_and_the_light_says_so(tmp_path: Path) -> None:
    board = BoardProcess(tmp_path / "board", "target", speed=SPEED)
    (board.flash / "config.json").write_text("{")
    (board.flash / "lib/snyper/firmware/target/session.py").write_text(
        IDLES.replace("print(", "self.led = led; print(").replace(
            "await asyncio",
            "led = self.led; led.show('registered'); print('shows', led.shown); await asyncio",
        )
    )
    board.start()
    try:
        await until(lambda: "shows safe_mode" in board.log, "the firmware should run, the light say so")
        assert "runs as target_1" in board.log
        assert "running with the defaults" in kept(board)
        await until(blinks(board), "the light should blink")
        assert board.resets == 0
    finally:
        board.kill()


async def test_settings_are_kept_as_good_once_and_only_when_they_are(tmp_path: Path) -> None:
    async with board_with(tmp_path, IDLES) as board:
        good = board.flash / "config.good.json"
        await until(lambda: "runs as" in board.log, "the firmware should run")
        assert good.read_bytes() == (board.flash / "config.json").read_bytes()
        written_ns = good.stat().st_mtime_ns
        board.restart()
        await until(lambda: board.log.count("runs as") == 2, "the firmware should run")
        assert good.stat().st_mtime_ns == written_ns


async def test_a_pin_that_cannot_do_it_ends_in_safe_mode_and_is_named(tmp_path: Path) -> None:
    """On a board whose pins nobody could check: the driver refuses."""
    config = {"piezo": {"pin": 5}}
    async with board_with(tmp_path, None, config, identity={"platform": "esp32"}) as board:
        await until(lambda: board.status == Status.SAFE_MODE, "safe mode should begin")
        assert "ADC" in kept(board)


async def test_a_light_that_is_not_there_keeps_nobody_from_work(tmp_path: Path) -> None:
    config = {"led": {"pin": "GP99"}}
    async with board_with(tmp_path, IDLES, config, identity={"platform": "esp32"}) as board:
        await until(lambda: "runs as target_1" in board.log, "the firmware should run")
        assert "led.pin" in board.log


# --- somebody at the USB


@pytest.mark.parametrize(
    ("session", "when"),
    [
        pytest.param(None, "wifi: joining", id="running"),
        pytest.param(BLOCKS, "blocked now", id="blocked"),
        pytest.param(CRASHES, "unexpected RuntimeError", id="between two crashes"),
        pytest.param(CRASHES, "safe mode after 5", id="safe mode"),
    ],
)
async def test_ctrl_c_always_reaches_the_prompt(tmp_path: Path, session: str | None, when: str) -> None:
    image.stage("target", tmp_path / "flash", {"wifi": WIFI, "watchdog_ms": 8_000})
    if session is not None:
        (tmp_path / "flash/lib/snyper/firmware/target/session.py").write_text(session)
    speed = SPEED if when.startswith("safe") else 1
    with UsbBoard(tmp_path / "flash", tmp_path / "control", speed=speed) as board:
        await until(lambda: when in board.log, "it should come so far", 30.0)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mpremote", "connect", board.port, "exec", "print(6 * 7)"),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert (process.returncode, said.strip()) == (0, b"42")
        assert "stopped from USB" in board.log


async def test_who_stops_it_over_usb_is_no_failed_boot(tmp_path: Path) -> None:
    image.stage("target", tmp_path / "flash", {"wifi": WIFI})
    with UsbBoard(tmp_path / "flash", tmp_path / "control") as board:
        for _ in range(20):  # a slow computer's watchdog may be first
            await until(lambda: board.log.rstrip().endswith("joining snyper"), "it should run")
            if board.log.count("reset by USB") == 7:
                break
            starts_anew = was_reset(board)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mpremote", "connect", board.port, "reset")
            )
            try:
                assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
            await until(starts_anew, "it should start anew")
        assert board.log.count("reset by USB") == 7
        assert "safe mode" not in board.log

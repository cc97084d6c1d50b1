"""Virtual boards, one in a process or many: power, reset, watchdog, inputs, outputs, and nothing left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from snyper.boards import board as boards, image, simulator
from snyper.boards.board import BoardProcess
from snyper.boards.micropython import MicropythonNotFoundError, find_micropython
from snyper.boards.simulator import Notice, simulate
from tests.integration.harness import (
    DEADLINE_S,
    ROOT,
    is_alive,
    linux_only,
    scripted_hub,
    until,
    wait_for_log,
    wait_until,
)

PRINT_CAUSE = "import machine\nprint('cause', machine.reset_cause())\n"
SLEEP = "import time\nwhile True:\n    time.sleep_ms(10)\n"

MakeBoard = Callable[[str], BoardProcess]


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[MakeBoard]:
    """Makes boards whose main.py is the text given, and takes their power away at the end."""
    try:
        find_micropython()
    except MicropythonNotFoundError as error:
        pytest.skip(str(error))
    boards: list[BoardProcess] = []

    def make(main: str) -> BoardProcess:
        source = tmp_path / f"main_{len(boards)}.py"
        source.write_text(main)
        boards.append(BoardProcess(tmp_path / f"board_{len(boards)}", "target", main=source))
        return boards[-1]

    yield make
    for board in boards:
        board.kill()


def pids_of(directory: Path) -> list[int]:
    """The processes whose board lives somewhere below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdigit()
                and f"SNYPER_BOARD={directory}/".encode() in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
    return found


def assert_nothing_is_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []
    if sys.platform == "linux":
        assert pids_of(directory) == []


# --- one board


def test_its_own_files_come_first_and_the_hardware_is_virtual(make_board: MakeBoard) -> None:
    board = make_board(
        "import sys, machine, network, snyper.shared.log as log\n"
        "print(machine.__file__, network.__file__, log.__file__, sys.implementation.name)\n"
    )
    board.start()
    assert board.wait(DEADLINE_S) == 0
    machine, network, log, runtime = board.log.split()
    assert [machine, network] == [
        str(board.directory / "hardware" / name) for name in ("machine.mpy", "network.mpy")
    ]
    assert log == "/lib/snyper/shared/log.mpy"  # nothing of the computer's file system is in sight
    assert runtime == "micropython"


def test_its_outputs_are_seen(make_board: MakeBoard) -> None:
    board = make_board(
        "import machine\n"
        "machine.PWM(machine.Pin(16), freq=50, duty_ns=1_500_000)\n"
        "machine.Pin('LED', machine.Pin.OUT).on()\n" + SLEEP
    )
    assert board.outputs() == {"pins": {}, "pwm": {}, "adc": {}, "wifi": {}}
    board.start()
    wait_until(lambda: board.outputs()["pins"] == {"LED": {"level": 1}}, "the LED is off")
    assert board.outputs()["pwm"]["16"] == {"freq_hz": 50, "duty_ns": 1_500_005}
    assert not board.is_sampling()


def test_a_strike_is_detected(make_board: MakeBoard) -> None:
    board = make_board(
        "import machine\nadc = machine.ADC(26)\nwhile adc.read_u16() < 40_000:\n    pass\nprint('struck')\n"
    )
    board.start()
    wait_until(board.is_sampling, "the piezo is not read")
    board.strike(50_000, 30_000)
    wait_for_log(board, "struck")
    assert board.wait(DEADLINE_S) == 0


def test_the_air_changes_under_it(make_board: MakeBoard) -> None:
    board = make_board(
        "import network, time\n"
        "wlan = network.WLAN(network.STA_IF)\n"
        "wlan.active(True)\n"
        f"wlan.connect('snyper', '{boards.WIFI['networks'][0]['password']}')\n"
        "status = None\n"
        "while True:\n"
        "    if wlan.status() != status:\n"
        "        status = wlan.status()\n"
        "        print('status', status)\n"
        "    time.sleep_ms(5)\n"
    )
    board.start()
    wait_for_log(board, "status 3")
    board.set_air(up=False)
    wait_for_log(board, "status 3\nstatus 1")


def test_a_reset_starts_it_again(make_board: MakeBoard) -> None:
    board = make_board(
        PRINT_CAUSE
        + "try:\n    if machine.reset_cause() == machine.PWRON_RESET:\n        machine.reset()\n"
        + "finally:\n    print('the end')\n"
    )
    board.start()
    assert board.wait(DEADLINE_S) == 0
    assert board.log.split("\n") == ["cause 1", "cause 3", "the end", ""]
    assert board.resets == 1


def test_the_watchdog_bites_a_firmware_that_hangs(make_board: MakeBoard) -> None:
    board = make_board(
        PRINT_CAUSE
        + "if machine.reset_cause() == machine.PWRON_RESET:\n"
        + "    machine.WDT(timeout=300)\n    while True:\n        pass\n"
    )
    board.start()
    assert board.wait(DEADLINE_S) == 0
    assert board.log.split("\n") == ["cause 1", "cause 3", ""]


def test_the_watchdog_bites_after_the_firmware_has_ended(make_board: MakeBoard) -> None:
    board = make_board(
        PRINT_CAUSE + "if machine.reset_cause() == machine.PWRON_RESET:\n    machine.WDT(timeout=300)\n"
    )
    board.start()
    assert board.wait(DEADLINE_S) == 0
    assert board.log.split("\n") == ["cause 1", "cause 3", ""]


def test_power(make_board: MakeBoard) -> None:
    board = make_board(PRINT_CAUSE + SLEEP)
    board.kill()
    board.start()
    with pytest.raises(RuntimeError, match="is on already"):
        board.start()
    wait_for_log(board, "cause 1")
    with pytest.raises(TimeoutError):
        board.wait(0)
    board.restart()
    wait_for_log(board, "cause 1\ncause 1")
    board.kill()
    assert not board.is_on
    assert board.pid is None
    assert board.returncode == -signal.SIGKILL


def test_stop_is_a_ctrl_c(make_board: MakeBoard) -> None:
    board = make_board(
        "try:\n    print('ready')\n"
        + "".join(f"    {line}\n" for line in SLEEP.splitlines())
        + "except KeyboardInterrupt:\n    print('good bye')\n"
    )
    board.start()
    wait_for_log(board, "ready")
    board.stop()
    assert board.log == "ready\ngood bye\n"
    assert board.returncode == 0


def test_stop_ends_a_firmware_that_will_not(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "STOP_SECONDS", 0.1)
    board = make_board(
        "import time\nprint('ready')\nwhile True:\n"
        "    try:\n        time.sleep_ms(10)\n    except KeyboardInterrupt:\n        pass\n"
    )
    board.start()
    wait_for_log(board, "ready")
    board.stop()
    assert board.returncode == -signal.SIGKILL


def test_an_exit_code_and_a_traceback_are_kept(make_board: MakeBoard) -> None:
    board = make_board("raise ValueError('oh')\n")
    board.start()
    assert board.wait(DEADLINE_S) == 1
    assert "ValueError: oh" in board.log


def test_a_micropython_that_does_not_run(tmp_path: Path) -> None:
    broken = tmp_path / "micropython"
    board = BoardProcess(tmp_path / "board", "target", micropython=broken)
    with suppress(OSError):  # where another program starts it, that one fails
        board.start()
        assert board.wait(DEADLINE_S) != 0


def test_the_terminals_ctrl_c_is_not_for_it(make_board: MakeBoard) -> None:
    board = make_board("print('ready')\n" + SLEEP)
    board.start()
    wait_for_log(board, "ready")
    assert board.pid is not None
    assert os.getpgid(board.pid) != os.getpgrp()


@linux_only
def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path, make_board: MakeBoard) -> None:
    main = tmp_path / "main.py"
    main.write_text("print('ready')\n" + SLEEP)
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom snyper.boards.board import BoardProcess\n"
        "board = BoardProcess(Path(sys.argv[1]), 'target', main=Path(sys.argv[2]))\n"
        "board.start()\n"
        "while 'ready' not in board.log:\n    time.sleep(0.01)\n"
        "print(board.pid, flush=True)\nboard.wait()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "orphan"), str(main)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    wait_until(lambda: not is_alive(pid), "the board outlives its parent")


def test_the_image_of_each_role(tmp_path: Path) -> None:
    for role in image.ROLES:
        image.stage(role, tmp_path / role, {"listen": "here"})
        assert {str(path.relative_to(tmp_path / role)) for path in (tmp_path / role).rglob("*.*")} == {
            *image.contents(role),
            "config.json",
            "snyper.json",
        }
        main = ROOT / "firmware" / role / "main.py"
        assert (tmp_path / role / "main.py").read_bytes() == main.read_bytes()
        assert json.loads((tmp_path / role / "config.json").read_text()) == {"listen": "here"}
    assert "lib/snyper/firmware/master/server.py" not in image.files("target")
    assert "lib/snyper/shared/link.py" in image.files("target")
    for source, missing in ((False, {"runtime", "clock", "runtime_cpython"}), (True, {"runtime_cpython"})):
        shared = {Path(path).stem for path in image.files("target", source) if "/shared/" in path}
        assert {"runtime", "clock", "runtime_cpython"} - shared == missing, source
    with pytest.raises(ValueError, match="target, master"):
        image.files("service")


def test_a_micropython_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(MicropythonNotFoundError, match="nowhere is no program"):
        find_micropython()
    monkeypatch.delenv("MICROPYTHON")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MicropythonNotFoundError, match="pip install"):
        find_micropython()


# --- many targets


class FakeHub:
    """A hub that only listens: it knows who wanted to register, and how many are still connected."""

    def __init__(self) -> None:
        self.registered: list[str] = []
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeHub":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError):
            message = json.loads(await reader.readline() or b"{}")
            if message.get("type") == "register":
                self.registered.append(message["target_id"])
            while await reader.read(1000):
                pass
        self.connections -= 1
        writer.close()


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine to simulate with, whose files go to `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(simulator, "RESTART_SECONDS", 0.01)
    if request.param == "micropython":
        try:
            find_micropython()
        except MicropythonNotFoundError as error:
            pytest.skip(str(error))
    return str(request.param)


@pytest.mark.parametrize("engine", ["micropython", "cpython"], indirect=True)
async def test_simulated_targets_come_and_go(engine: str, tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with FakeHub() as hub:
        simulation = asyncio.create_task(simulate(3, engine, hub.address, on_notice=notices.append))
        await until(lambda: len(hub.registered) >= 3, f"only {hub.registered} registered")
        await cancel(simulation)
        await until(lambda: hub.connections == 0, "connections outlive the simulation")
    assert set(hub.registered) == {"target_1", "target_2", "target_3"}
    assert notices == [Notice(None, f"3 on {engine}")]
    assert_nothing_is_left(tmp_path)


@linux_only
@pytest.mark.parametrize("engine", ["micropython"], indirect=True)
async def test_a_target_that_dies_is_started_again(engine: str, tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with FakeHub() as hub:
        simulation = asyncio.create_task(simulate(1, engine, hub.address, on_notice=notices.append))
        await until(lambda: hub.registered == ["target_1"], "it does not register")
        for pid in pids_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(hub.registered) > 1, "it does not come back")
        await cancel(simulation)
    assert notices[1].target_id == "target_1"
    assert notices[1].text.startswith("ended by itself with -9, starts again: ")


@pytest.mark.parametrize("engine", ["cpython"], indirect=True)
async def test_a_hub_that_refuses_begins_no_line(engine: str) -> None:
    notices: list[Notice] = []
    async with scripted_hub() as hub:
        simulation = asyncio.create_task(simulate(1, engine, hub.address, on_notice=notices.append))
        peer = await hub.accept()
        asked = await peer.expect("register")
        refusal = {"code": "unauthorized", "message": "no\n12:00:00 hub: all is well"}
        await peer.send({"type": "error", "id": asked["id"], "status": "error", "data": refusal})
        await until(lambda: len(notices) > 1, "nothing is reported")
        await cancel(simulation)
    assert notices[1].text == "is not let in: unauthorized: no 12:00:00 hub: all is well"


@pytest.mark.parametrize("engine", ["cpython"], indirect=True)
async def test_a_session_that_breaks_is_started_again(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[Notice] = []
    simulator.import_virtual_hardware()
    from snyper.firmware.target.session import TargetSession

    async def break_down(session: TargetSession) -> None:
        raise OSError("broken")

    monkeypatch.setattr(TargetSession, "run", break_down)
    simulation = asyncio.create_task(simulate(1, engine, "127.0.0.1:1", on_notice=notices.append))
    await until(lambda: len(notices) > 2, "nothing is reported")
    await cancel(simulation)
    assert notices[1] == notices[2] == Notice("target_1", "ended by itself, starts again: OSError('broken')")


async def test_what_cannot_be_simulated() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        await simulate(0)
    with pytest.raises(ValueError, match="from 0 to 1"):
        await simulate(1, hit_rate=2.0)
    with pytest.raises(ValueError, match="micropython or cpython"):
        await simulate(1, "jython")


def test_many_targets_share_one_process() -> None:
    assert simulator._best_engine(simulator.MAX_PROCESSES + 1) == "cpython"

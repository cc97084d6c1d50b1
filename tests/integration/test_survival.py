"""What a range lives through that is neither a crash nor a clean loss: a network that half works, a hub that
refuses, names that need a name server, files of other projects, a log full of small errors.
"""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import BoardProcess
from snyper.boards.fleet import BoardSpec, configuration
from snyper.boards.micropython import find_micropython
from snyper.client.environment import key_text
from snyper.firmware.board import flash_log
from snyper.firmware.master.access import set_limits
from snyper.firmware.master.server import Hub
from snyper.shared import log
from tests.integration.harness import HOST, ROOT, needs_micropython, running_hub, until

pytestmark = needs_micropython

SPEED = 20  # of a board's clock
RANGE = {"ssid": "range", "password": "a-good-password"}
FULL = {"ssid": "full", "password": "another-password"}

# On lwIP, `getaddrinfo` says SOCK_STREAM whatever it was asked for (MicroPython's extmod/modlwip.c).
EXCHANGE = """
import asyncio, socket
from snyper.shared import runtime_micropython as runtime
class LwipSocket:
    def __getattr__(self, name): return getattr(socket, name)
    def getaddrinfo(self, host, port, *hints):
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", socket.getaddrinfo(host, port)[0][-1])]
runtime.socket = LwipSocket()
print(asyncio.run(runtime.exchange_datagrams("%s", %d, b"where is the hub", 5_000)))
"""

# A target's session.py: many small errors, then the crash that somebody wants to read about.
FAILING = """
from snyper.shared.log import keep
class TargetSession:
    def __init__(self, config, led, on_status): pass
    async def run(self):
        for number in range(40):
            keep("session", "no hub at barn-%d" % number)
        raise RuntimeError("the barn is on fire")
    def is_alive(self): return True
"""


def _target(
    directory: Path, config: dict[str, Any], air: dict[str, Any] | None = None, speed: int = SPEED
) -> BoardProcess:
    settings = {"watchdog_ms": 0, "wifi": {"networks": [RANGE]}, **config}
    return BoardProcess(directory / "target_1", "target", settings, speed=speed, air=air)


async def test_a_network_that_gives_no_address_does_not_keep_the_next_one_from_being_tried(
    tmp_path: Path,
) -> None:
    """Its 15 s are also those after which a target without a hub switches its radio off and on."""
    async with running_hub("cpython", tmp_path) as hub:
        static = {**RANGE, "address": "10.1.2.3/16"}
        board = _target(
            tmp_path,
            {"hub": [hub.address], "wifi": {"networks": [FULL, static]}},
            {"networks": [FULL, RANGE], "dhcp": False},
        )
        board.start()
        try:
            await until(lambda: board.log.count("joining ") >= 2, "it should try again")
            assert board.log.count("joining full") == 1, board.log
            await until(lambda: board.times_up, "it should register")
        finally:
            board.kill()


async def test_a_hub_that_refuses_is_there_and_the_radio_stays_on(tmp_path: Path) -> None:
    hub = Hub(HOST, 0, 4, 1, keys=key_text("open sesame"))
    # Its target's clock is faster.
    set_limits(hub, {"unregistered": 100, "strangers_per_s": 100, "wrong_keys_at_once": 100})
    await hub.start()
    board = _target(tmp_path, {"hub": [f"{HOST}:{hub.port}"], "key": key_text("open barley")}, speed=5)
    try:
        board.start()
        await until(lambda: board.log.count("takes no registration") >= 12, "it should try again and again")
        assert "the radio starts anew" not in board.log
        assert board.outputs()["wifi"]["activations"] == 1
    finally:
        board.kill()
        await hub.shut_down()


async def test_a_crash_is_kept_however_many_errors_were_before_it(tmp_path: Path) -> None:
    board = _target(tmp_path, {})
    (board.flash / "lib/snyper/firmware/target/session.py").write_text(FAILING)
    board.start()
    try:
        await until(lambda: board.resets > 0, "it should start anew")
        log = "".join(
            path.read_text()
            for name in (flash_log.OLD_PATH, flash_log.PATH)
            if (path := board.flash / name[1:]).exists()
        )
        assert "RuntimeError: the barn is on fire" in log
    finally:
        board.kill()


async def test_a_name_server_is_asked_over_udp_whatever_the_network_stack_calls_its_address(
    tmp_path: Path,
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.setblocking(False)
        board = await asyncio.create_subprocess_exec(
            find_micropython(),
            "-c",
            EXCHANGE % (HOST, server.getsockname()[1]),
            cwd=ROOT / "host",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        asked = asyncio.ensure_future(loop.sock_recvfrom(server, 512))
        ended = asyncio.ensure_future(board.communicate())
        await asyncio.wait((asked, ended), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            await loop.sock_sendto(server, b"in the barn", asked.result()[1])
        asked.cancel()
        said, _ = await ended
    assert said.strip() == b"b'in the barn'"


async def test_a_board_starts_beside_a_file_of_another_project_with_the_name_of_our_record(
    tmp_path: Path,
) -> None:
    board = _target(tmp_path, {})
    (board.flash / "snyper.update.json").write_text('{"version": 3}')
    board.start()
    try:
        await until(lambda: "boot: " in board.log or "Traceback" in board.log, "it should start")
        assert "Traceback" not in board.log, board.log
    finally:
        board.kill()


def test_settings_that_are_lost_for_a_fault_in_the_file_are_told() -> None:
    stored = b'{"key": "k", "wifi": {"networks": [{"ssid": "Home", "password": "good-password"}]},,}'
    _content, _config, remarks = configuration(BoardSpec(role="target", target_id="target_1"), stored, "rp2")
    assert any("default" in remark for remark in remarks), remarks


def test_a_fault_in_one_setting_costs_no_other_one() -> None:
    stored = b'{"target_id": "t", "servo": {"pin": 26}, "piezo": {"pin": 27}, "bogus": 1}'
    _content, config, _remarks = configuration(BoardSpec(role="target"), stored, "rp2")
    assert (config["servo"]["pin"], config["piezo"]["pin"]) == (26, 27)


async def test_the_light_is_on_while_the_firmware_is_loaded(tmp_path: Path) -> None:
    """A board that hangs there would else look like one without power."""
    board = _target(tmp_path, {})
    (board.flash / "lib/snyper/firmware/target/session.py").write_text("print('loading')\nwhile True: pass\n")
    board.start()
    try:
        await until(lambda: "loading" in board.log, "it should start")
        assert board.outputs()["pins"].get("LED", {}).get("level") == 1
    finally:
        board.kill()


def test_what_is_kept_is_on_the_flash_before_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a board each piece of what is said may take 0.5 s when a terminal holds the port and does not read:
    with a traceback that is longer than the watchdog waits.
    """
    said_before: list[str] = []
    monkeypatch.setattr(log, "_sink", lambda entry: said_before.extend(caplog.messages))
    with caplog.at_level("INFO", "snyper"):
        log.keep("boot", "crashed")
    assert caplog.messages == ["boot: crashed"]
    assert said_before == []

"""A target and its radio in a field: what it does when the network, the address or the hub is not there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.boards.board import BoardProcess
from snyper.client.environment import key_text
from tests.integration.harness import (
    HOST,
    HubUnderTest,
    free_port,
    needs_micropython,
    running_hub,
    scripted_hub,
    until,
)

pytestmark = needs_micropython

SPEED = 20  # of the target's clock: the 15 s after which it doubts its radio take 0.75
RANGE = {"ssid": "range", "password": "a-good-password"}
OTHER = {"ssid": "other", "password": "another-password"}
LED = "LED"


class Air:
    """What carries a target's bytes to the hub. Where there is no radio contact they vanish, as on the air:
    nobody is told.
    """

    def __init__(self, sock: socket.socket, hub: HubUnderTest) -> None:
        self.carries = True
        self.swallowed = 0
        self._sock = sock
        self._hub = hub
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self.address = f"{HOST}:{sock.getsockname()[1]}"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._sock)
            far = socket.socket()
            self._sockets += [near, far]
            far.setblocking(False)
            await loop.sock_connect(far, (HOST, self._hub.port))
            for pair in ((near, far), (far, near)):
                task = asyncio.create_task(self._carry(*pair))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while piece := await loop.sock_recv(source, 65536):
                if self.carries:
                    await loop.sock_sendall(sink, piece)
                else:
                    self.swallowed += len(piece)
            if self.carries:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sock in self._sockets:
            sock.close()


@asynccontextmanager
async def air_to(hub: HubUnderTest) -> AsyncIterator[Air]:
    sock = socket.create_server((HOST, 0))
    sock.setblocking(False)
    air = Air(sock, hub)
    running = asyncio.create_task(air.run())
    try:
        yield air
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await air.close()
        sock.close()


@asynccontextmanager
async def target_at(
    directory: Path, hubs: list[str], networks: list[dict[str, str]], air: dict[str, Any] | None = None
) -> AsyncIterator[BoardProcess]:
    config = {"target_id": "target_1", "hub": hubs, "wifi": {"networks": networks}}
    board = BoardProcess(
        directory / "target_1", "target", config, speed=SPEED, air={"networks": [RANGE], **(air or {})}
    )
    board.start()
    try:
        yield board
        assert "Traceback" not in board.log, board.log
    finally:
        board.kill()


def is_registered(board: BoardProcess, times: int = 1) -> Callable[[], bool]:
    return lambda: board.times_up >= times


async def until_registered(board: BoardProcess, times: int = 1) -> None:
    await until(is_registered(board, times), "the target should register")


async def test_a_wrong_password_is_said_and_shown_and_tried_again(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        wrong = {"ssid": "range", "password": "not-the-password"}
        async with target_at(tmp_path, [hub.address], [wrong]) as board:
            await until(lambda: board.log.count("refuses the password") >= 3, "it should try again")
            assert "shows" not in board.log
            assert wrong["password"] not in board.log
            assert board.log.count("Wi-Fi range: the access point refuses the password") >= 3
            board.set_air(networks=[wrong])  # somebody mends the access point
            await until_registered(board)
            # In the flash's log it stands once, however often it was tried.
            log = (board.flash / "snyper.log").read_text()
            assert log.count("refuses the password") == 1


async def test_no_access_point_is_said_and_waited_for(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        target_at(tmp_path, [hub.address], [RANGE], {"up": False}) as board,
    ):
        await until(lambda: board.log.count("no access point of that name") >= 3, "it should try again")
        board.set_air(up=True)
        await until_registered(board)


async def test_networks_are_tried_in_order(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        air_to(hub) as air,
        target_at(tmp_path, [air.address], [OTHER, RANGE]) as board,
    ):
        await until_registered(board)
        assert board.log.index("joining other") < board.log.index("joining range")
        air.carries = False
        board.set_air(networks=[OTHER])
        await until(lambda: "joined other" in board.log, "it should change over")
        air.carries = True
        await until_registered(board, 2)


async def test_an_access_point_that_goes_and_comes_back(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        air_to(hub) as air,
        target_at(tmp_path, [air.address], [RANGE]) as board,
    ):
        await until_registered(board)
        air.carries = False
        board.set_air(up=False)
        await until(lambda: "the hub is lost: timeout" in board.log, "it should notice")
        await until(lambda: "no access point of that name" in board.log, "it should see why")
        air.carries = True
        board.set_air(up=True)
        await until_registered(board, 2)
        assert board.resets == 0


async def test_no_address_by_dhcp_is_said_and_waited_for(tmp_path: Path) -> None:
    async with (
        running_hub("cpython", tmp_path) as hub,
        target_at(tmp_path, [hub.address], [RANGE], {"dhcp": False}) as board,
    ):
        await until(lambda: "got no address by DHCP" in board.log, "it should say so")
        board.set_air(dhcp=True)
        await until_registered(board)


async def test_a_static_address_needs_no_dhcp(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        static = {**RANGE, "address": "10.1.2.3/16", "gateway": "10.1.0.1", "dns": "10.1.0.2"}
        async with target_at(tmp_path, [hub.address], [static], {"dhcp": False}) as board:
            await until_registered(board)
            assert "joined range as 10.1.2.3" in board.log


async def test_a_fixed_address_is_that_of_its_own_network_only(tmp_path: Path) -> None:
    """A Pico W keeps it when its radio is switched off and on."""
    fixed = {**OTHER, "address": "10.1.2.3/16"}
    async with (
        running_hub("cpython", tmp_path) as hub,
        air_to(hub) as air,
        target_at(tmp_path, [air.address], [fixed, RANGE], {"networks": [OTHER, RANGE]}) as board,
    ):
        await until_registered(board)
        assert "joined other as 10.1.2.3" in board.log
        air.carries = False
        await until(lambda: "joined range as 192.168.4." in board.log, "it should try the other network")


@pytest.mark.slow
async def test_a_radio_that_says_connected_and_is_not(tmp_path: Path) -> None:
    """The bytes vanish, the status stays: after 15 s without a hub the radio is switched off and on."""
    async with (
        running_hub("cpython", tmp_path) as hub,
        air_to(hub) as air,
        target_at(tmp_path, [air.address], [RANGE], {"lies": True}) as board,
    ):
        await until_registered(board)
        assert board.outputs()["wifi"]["activations"] == 1
        air.carries = False
        await until(
            lambda: board.outputs()["wifi"]["activations"] >= 3, "the radio should start again and again"
        )
        assert "no hub for 15 s: the radio starts anew" in board.log
        assert board.outputs()["wifi"]["joins"] >= 2
        air.carries = True
        await until_registered(board, 2)
        assert board.resets == 0


async def test_a_wrong_hub_address_does_not_stop_the_search(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        nobody = f"{HOST}:{free_port()}"
        async with target_at(tmp_path, [nobody, hub.address], [RANGE]) as board:
            await until_registered(board)


async def test_a_name_that_nobody_knows_does_not_stop_the_search(tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        network = {**RANGE, "address": "127.0.0.1/8", "dns": "127.0.0.1"}
        async with target_at(tmp_path, ["hub.invalid:8081", hub.address], [network]) as board:
            await until_registered(board)
            assert "no hub at hub.invalid" in board.log
            assert board.resets == 0


async def test_the_first_hub_dead_the_second_alive_and_back(tmp_path: Path) -> None:
    async with (
        scripted_hub() as first,
        running_hub("cpython", tmp_path) as second,
        target_at(tmp_path, [first.address, second.address], [RANGE]) as board,
    ):
        await first.register()
        await until_registered(board)
        port = first.port
        await first.close()
        await until_registered(board, 2)
        assert second.hub is not None
        assert len(second.hub.router.registry.connected()) == 1
        async with scripted_hub(port) as returned:
            await second.hub.shut_down()
            _peer, message = await returned.register()
            assert message["target_id"] == "target_1"
            await second.hub.start()


async def test_a_hub_that_wants_a_key(tmp_path: Path) -> None:
    from snyper.firmware.master.access import set_limits
    from snyper.firmware.master.server import Hub

    hub = Hub(HOST, 0, 4, 1, keys=key_text("open sesame"))
    # Its target's clock is faster.
    set_limits(hub, {"unregistered": 100, "strangers_per_s": 100, "wrong_keys_at_once": 100})
    await hub.start()
    try:
        config = {"hub": [f"{HOST}:{hub.port}"], "wifi": {"networks": [RANGE]}}
        stranger = BoardProcess(
            tmp_path / "stranger", "target", {**config, "key": key_text("open barley")}, speed=SPEED
        )
        friend = BoardProcess(
            tmp_path / "friend", "target", {**config, "key": key_text("open sesame")}, speed=SPEED
        )
        try:
            stranger.start()
            await until(lambda: "unauthorized" in stranger.log, "the stranger should be told")
            friend.start()
            await until_registered(friend)
            assert not is_registered(stranger)()
            assert "open" not in stranger.log + friend.log
        finally:
            stranger.kill()
            friend.kill()
    finally:
        await hub.shut_down()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "name"), [("", "snyper-target-1"), ("barn-door", "barn-door")], ids=["by default", "chosen"]
)
async def test_the_board_has_a_host_name_of_its_own(tmp_path: Path, given: str, name: str) -> None:
    board = BoardProcess(tmp_path / "b", "target", {"wifi": {"networks": [RANGE], "hostname": given}})
    board.start()
    try:
        await until(lambda: "joining range" in board.log, "it should join")
        await until(lambda: board.outputs()["wifi"].get("joins"), "it should join")
        assert board.outputs()["wifi"]["hostname"] == name
        assert board.outputs()["wifi"]["pm"] == 16  # PM_NONE
    finally:
        board.kill()

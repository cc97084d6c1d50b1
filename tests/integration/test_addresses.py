"""What a command prints as an address, the others take, whatever it was that it was told to listen on."""

import asyncio
import json
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from snyper.boards.board import WIFI, BoardProcess
from tests.integration.harness import (
    HOST,
    Command,
    each_engine,
    free_port,
    needs_micropython,
    run_snyper,
    snyper,
    until,
)

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


async def said_address(hub: Command) -> str:
    await hub.says("Ctrl-C stops it")
    address = str((await hub.says_json())["listen"])
    assert f"{address}; Ctrl-C stops it" in hub.err
    return address


@needs_ipv6
@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("[::1]:0", "[::1]"),
        ("[::]:0", "[::1]"),
        ("[::1%1]:0", "[::1%1]"),
        (":0", HOST),
        ("0.0.0.0:0", HOST),
        ("localhost:0", "localhost"),
    ],
)
async def test_the_address_of_a_hub(listen: str, host: str, tmp_path: Path) -> None:
    async with snyper("hub", "--listen", listen, "--open", "--json") as hub:
        address = await said_address(hub)
        assert address.rpartition(":")[0] == host
        assert ("every address" in hub.err) == (listen in (":0", "0.0.0.0:0", "[::]:0"))
        status, out, err = await run_snyper("targets", "--json", "--hub", address)
        assert (status, json.loads(out)) == (0, []), err


@needs_ipv6
@each_engine
async def test_the_address_of_a_hub_board(engine: str, tmp_path: Path) -> None:
    listen = f"[::1]:{free_port()}"
    async with snyper("hub", "--engine", engine, "--listen", listen, "--json", TMPDIR=str(tmp_path)) as hub:
        assert await said_address(hub) == listen
        status, out, err = await run_snyper("targets", "--json", "--hub", listen)
        assert (status, json.loads(out)) == (0, []), err


@needs_micropython
async def test_the_address_of_a_hub_board_on_every_address(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("hub", "--engine", "micropython", "--listen", f":{port}", "--open", "--json")
    async with snyper(*arguments, TMPDIR=str(tmp_path)) as hub:
        assert await said_address(hub) == f"{HOST}:{port}"


@needs_ipv6
@each_engine
@pytest.mark.parametrize("listen", ["[::1]:0", "[::]:0", "[::1%1]:0", "localhost:0"])
async def test_simulated_targets_find_it(engine: str, listen: str, tmp_path: Path) -> None:
    async with snyper("hub", "--listen", listen, "--open", "--json") as hub:
        address = await said_address(hub)
        arguments = ("simulate", "--engine", engine, "--targets", "1", "--hub", address)
        async with snyper(*arguments, TMPDIR=str(tmp_path)) as command:
            await hub.says("target_1")
            assert await command.interrupt() == 0


def status_of(url: str) -> int:
    with urlopen(url) as answer:
        return int(answer.status)


@needs_ipv6
@pytest.mark.parametrize(
    ("listen", "host"), [("[::1]:0", "[::1]"), ("127.0.0.2:0", "127.0.0.2"), ("localhost:0", HOST)]
)
async def test_the_address_of_a_dashboard(listen: str, host: str, tmp_path: Path) -> None:
    pytest.importorskip("nicegui")
    archive = str(tmp_path / "archive.sqlite3")
    arguments = ("dashboard", "--listen", listen, "--hub", "[::1]:9", "--no-open", "--archive", archive)
    async with snyper(*arguments, "--json") as command:
        await command.says("Ctrl-C stops it")
        url = (await command.says_json())["url"]
        assert url.rpartition(":")[0] == f"http://{host}"
        assert await asyncio.to_thread(status_of, url) == 200


@needs_ipv6
@needs_micropython
async def test_a_target_says_which_hub_it_does_not_find(tmp_path: Path) -> None:
    address = f"[::1]:{free_port()}"
    config = {"target_id": "target_1", "hub": [address], "wifi": WIFI}
    board = BoardProcess(tmp_path / "target_1", "target", config)
    board.start()
    try:
        await until(lambda: f"no hub at {address}: " in board.log, "it should say where it looks")
    finally:
        board.kill()


async def test_another_hub_is_asked_for_only_where_the_port_is_taken() -> None:
    with socket.create_server((HOST, 0)) as taken:
        for listen, is_asked in ((f"{HOST}:{taken.getsockname()[1]}", True), ("nobody.invalid:8081", False)):
            status, _, err = await run_snyper("hub", "--listen", listen, "--open")
            assert (status, "another hub" in err) == (1, is_asked), err
            assert f"cannot listen on {listen}" in err
            assert err.count("\n") == 1

"""Where no hub is: what every kind of address says to a command, and how soon; and who asks there."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    each_engine,
    free_port,
    linux_only,
    run_snyper,
    scripted_hub,
    snyper,
)

NO_HUB = 3
ALERT = (
    b"\x15\x03\x03\x00\x02\x02\x16"  # TLS's `record_overflow`, as a server answers what is no TLS: RFC 8446
)
BANNERS = {
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>Bad Request</h1>\r\n",
    "tls": ALERT,
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "garbage": bytes(range(256)) * 64,
    "json": b'{"hello": "world"}\n[1, 2]\n',
    "mute": b"",
}


@asynccontextmanager
async def server_that_says(text: bytes, hangs_up: bool) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1_000)
            writer.write(text)
            if not hangs_up:
                await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """A port that takes no connection, and says so to nobody: as lwIP with all of its places taken."""
    with socket.create_server((HOST, 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        try:
            yield f"{HOST}:{port}"
        finally:
            for filler in fillers:
                filler.close()


async def no_hub(address: str, *commands: str) -> list[str]:
    """What each of these commands says, which ends with NO_HUB and names the address."""

    async def run(command: str) -> str:
        status, out, err = await run_snyper(*command.split(), "--hub", address)
        assert (status, out) == (NO_HUB, ""), (command, err)
        assert err.startswith(f"snyper: no hub at {address} ("), command
        assert err.count("\n") == 1, command
        return err

    return await asyncio.gather(*map(run, commands))


async def test_nothing_listens() -> None:
    said = await no_hub(
        f"{HOST}:{free_port()}", "watch", "watch --json --timeout 60", "game watch", "logs --target a"
    )
    assert all("nothing listens there" in line for line in said)


async def test_no_such_name() -> None:
    for address in ("nobody.invalid:8081", f"{'a' * 64}.invalid:8081"):
        said = await no_hub(address, "watch", "targets")
        assert all("no computer is known by that name" in line for line in said)
        status, _, err = await run_snyper("simulate", "--engine", "cpython", "--hub", address)
        assert (status, f"no hub at {address}" in err) == (NO_HUB, True)


@linux_only
async def test_nothing_answers() -> None:
    async with black_hole() as address:
        said = await no_hub(address, "watch", "watch --json", "game watch", "targets")
        assert all("nothing answers there" in line for line in said)
        [said_soon] = await no_hub(address, "watch --timeout 0.5")
        assert "within 0.5 s" in said_soon


@pytest.mark.parametrize("what", BANNERS)
async def test_something_else_answers(what: str) -> None:
    async with server_that_says(BANNERS[what], hangs_up=what != "mute") as address:
        said = await no_hub(address, "watch", "targets")
        assert all("does not answer as a hub" in line for line in said)
        if what == "mute":
            await no_hub(address, "watch --timeout 0.5")


async def test_a_hub_that_is_there_is_watched_for_so_long(tmp_path: Path) -> None:
    async with scripted_hub() as hub, snyper("watch", "--timeout", "1", "--hub", hub.address) as watch:
        peer, _ = await hub.register()
        await peer.expect("subscribe")
        assert (await watch.wait(), watch.err) == (0, "")


# --- a connection that says nothing costs a hub board one of its five places for 10 s


@each_engine
async def test_a_simulation_makes_no_connection_but_its_targets(engine: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(scripted_hub())
        await stack.enter_async_context(
            snyper(
                "simulate", "--engine", engine, "--targets", "2", "--hub", hub.address, TMPDIR=str(tmp_path)
            )
        )
        registered = {(await hub.register())[1]["target_id"] for _ in range(2)}
        assert registered == {"target_1", "target_2"}


@each_engine
async def test_a_simulation_says_that_there_is_no_hub(engine: str, tmp_path: Path) -> None:
    address = f"{HOST}:{free_port()}"
    running = snyper("simulate", "--engine", engine, "--targets", "1", "--hub", address, TMPDIR=str(tmp_path))
    async with running as simulation:
        await simulation.says("nothing answers there yet")
        assert await simulation.interrupt() == 0
        assert simulation.err.count("nothing answers") == 1


@pytest.mark.parametrize(
    "command", ["targets", "watch", "game watch", "dashboard --no-open --listen 127.0.0.1:0"]
)
async def test_a_commands_first_connection_registers(command: str) -> None:
    if command.startswith("dashboard"):
        pytest.importorskip("nicegui")
    async with scripted_hub() as hub, snyper(*command.split(), "--hub", hub.address):
        peer = await hub.accept()
        assert (await peer.next(DEADLINE_S))["type"] == "register"

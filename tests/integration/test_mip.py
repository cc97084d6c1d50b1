"""`mpremote mip install` from this checkout onto a virtual board: the other way to install the firmware."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from snyper.boards.fleet import BoardSpec, configuration
from snyper.boards.usb import Connection
from snyper.boards.usb_board import UsbBoard
from tests.integration.harness import HOST, ROOT, free_port, needs_micropython, running_hub, until
from tools import mip_packages

pytestmark = needs_micropython

HEAP_FOR_SOURCES = 320 * 1024  # what the compiler makes is pointers, which take twice the memory here


async def mpremote(port: str, *arguments: str) -> str:
    """Real mpremote's stdout; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mpremote", "connect", port, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize("folder", mip_packages.PACKAGES)
async def test_each_package_installs_what_it_lists(tmp_path: Path, folder: str) -> None:
    with UsbBoard(tmp_path / "flash", tmp_path / "board") as board:
        await mpremote(board.port, "mip", "install", f"{folder}/package.json")
        package = json.loads((ROOT / folder / "package.json").read_text())
        found = {
            path.relative_to(board.flash).as_posix(): path.read_bytes()
            for path in board.flash.rglob("*")
            if path.is_file()
        }
        assert found == {
            f"lib/{path}": (ROOT / folder / source).read_bytes() for path, source in package["urls"]
        }


@pytest.mark.slow
async def test_a_target_that_was_installed_so_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snyper.boards.board.HEAP_BYTES", HEAP_FOR_SOURCES)
    async with running_hub("cpython", tmp_path) as hub:
        spec = BoardSpec(role="target", target_id="target_1", hub=[hub.address])
        await installed(tmp_path, spec)


@pytest.mark.slow
async def test_a_hub_that_was_installed_so_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snyper.boards.board.HEAP_BYTES", HEAP_FOR_SOURCES)
    spec = BoardSpec(role="master", settings={"listen": f"{HOST}:{free_port()}"})
    await installed(tmp_path, spec)


async def installed(directory: Path, spec: BoardSpec) -> None:
    """Install a role and its config.json, reset the board, and wait until it does its work."""
    content, _, _ = configuration(spec, None, "rp2")
    config = directory / "config.json"
    config.write_bytes(content)
    with UsbBoard(directory / "flash", directory / "board") as board:
        await mpremote(board.port, "mip", "install", f"firmware/{spec.role}/package.json")
        await mpremote(board.port, "cp", f"firmware/{spec.role}/main.py", ":/main.py")
        await mpremote(board.port, "cp", str(config), ":/config.json", "+", "reset")
        connection = Connection(board.port)  # somebody has to read what a board says
        await until(lambda: board.times_up, f"the board should do its work: {board.log[-2000:]}")
        connection.close()

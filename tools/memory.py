"""Measures where the memory of a board goes: `make memory`. Ends with 1 when a bound does not hold.

    python -m tools.memory [--minutes N] [--json] [--write]
    python -m tools.memory --games

First each module alone: on the unix port, whose objects are up to twice as large as a board's, and on the
WebAssembly build, whose are a board's. Then a target and a hub board for an hour of their clocks. With
`--games` a hub board while games are played, in four minutes.
"""

import argparse
import ast
import asyncio
import base64
import json
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from snyper.boards import image
from snyper.boards.board import HEAP_BYTES, BoardProcess
from snyper.boards.temporary import temporary_directory
from snyper.shared.socket_protocol import ProtocolError
from tools import game_memory
from tools.soak import SPEED, WARM_UP_S, Report, soak

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "memory.md"
BEGIN = "<!-- measured: python -m tools.memory --write -->"
END = "<!-- end of what was measured -->"

MIN_FREE_SHARE = 1 / 3  # in the middle of all samples
MIN_LEAST_SHARE = 3 / 10  # in the worst
KEY_SHARE = 6 / 100  # of the heap, that a key may take: 5 kB of modules, and 1 kB of each connection
KEY = "fleet:" + 32 * "5a"
MIN_PIECE_BYTES = 6_144  # free in one piece: a module with what it is made of, or a log's page, sealed
MAX_GROWTH_BYTES = 1_024  # from the tenth minute to the end; a lost link or message each minute would be more
END_S = 30.0

WASM = "@micropython/micropython-webassembly-pyscript"
WASM_VERSION = "1.29.0-6"
_NODE_MODULES = ROOT / ".venv" / "node"
_PROBE = Path(__file__).with_name("memory_probe.py")

# There are no sockets and no pins: what imports them gets an empty module, which takes nothing of the heap.
_WASM_SCRIPT = """
const {loadMicroPython} = await import(process.argv[1]);
let text = "";
for await (const piece of process.stdin) text += piece;
const {files, names} = JSON.parse(text);
const mp = await loadMicroPython({heapsize: 1 << 22, linebuffer: true, stdout: line => console.log(line)});
for (const name of ["socket", "machine", "network"]) mp.registerJsModule(name, {});
for (const [path, content] of Object.entries(files)) {
    let parent = "";
    for (const folder of path.split("/").slice(0, -1)) {
        parent += "/" + folder;
        if (!mp.FS.analyzePath(parent).exists) mp.FS.mkdir(parent);
    }
    mp.FS.writeFile("/" + path, Buffer.from(content, "base64"));
}
// What is unused is freed between two calls from outside, not by gc.collect() itself.
const used = () => {
    mp.runPython("import gc; gc.collect()");
    mp.runPython("used = gc.mem_alloc()");
    return mp.globals.get("used");
};
used();
for (const module of names) {
    const before = used();
    let error = "";
    try { mp.runPython("__import__('" + module + "')"); } catch (missing) { error = String(missing); }
    console.log("cost " + JSON.stringify({module, bytes: used() - before, error}));
}
"""

PANEL = ("buttons", "panel", "peripherals", "screen", "ssd1306")

Costs = dict[str, int | None]  # bytes by module; None where it cannot be imported


def modules_of(role: str) -> list[str]:
    """List the modules on a board of this role after those that it imports; last what is needed only to
    read the configuration.
    """
    sources = image.modules(role)
    ordered: list[str] = []

    def visit(module: str) -> None:
        if module in sources and module not in ordered:
            for imported in _imports_of(sources[module]):
                visit(imported)
            ordered.append(module)

    for module in [name for name in sources if name not in unloaded(role)] + sorted(unloaded(role)):
        visit(module)
    return ordered


def unloaded(role: str) -> set[str]:
    """Return the modules that the firmware unloads once it runs, or each time that they were needed; and
    those that it loads only when somebody asks for a game, or where there is a screen or a button.
    """
    known = {
        *("snyper.shared.address", "snyper.shared.tls_micropython"),
        "snyper.shared.config",
        f"snyper.firmware.{role}.config",
        "snyper.firmware.board.settings",
        "snyper.firmware.board.update",
        "snyper.shared.attachment_bytes",
        "snyper.shared.attachment_receiver",
        "snyper.shared.keys",
        "snyper.shared.seal",
        "snyper.shared.sealed_proof",
        "snyper.shared.sealed_stream",
        "snyper.shared.utf8",
    }
    if role == "target":
        known |= {
            f"snyper.firmware.target.{name}"
            for name in ("configure", "dns", "joining", "log_page", "maintenance", "piezo_stream")
        }
        known.add("snyper.shared.handshake_client")
    else:
        games = (image.PACKAGE / "firmware" / "master" / "games").glob("*.py")
        known |= {f"snyper.firmware.master.games.{file.stem}" for file in games}
        known |= {
            "snyper.firmware.master.wifi",
            "snyper.firmware.master.cease_fire",
            "snyper.firmware.master.console_requests",
            "snyper.firmware.master.crosstalk",
            "snyper.firmware.master.duplicates",
            "snyper.shared.handshake_server",
            "snyper.shared.names",
        }
        known |= {f"snyper.firmware.master.{name}" for name in ("game_runner", *PANEL)}
    return known


def _imports_of(source: Path) -> list[str]:
    found = []
    for node in ast.parse(image.minify_module(source)).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


# --- (a) each module alone


def unix_costs(role: str) -> Costs:
    """Measure what each module takes on the unix port. Raises OSError, TimeoutError."""
    with temporary_directory("snyper-memory-") as name:
        directory = Path(name)
        main = directory / "costs_main.py"
        lines = [f'probe.begin()\nimport {name}\nprobe.cost("{name}")\n' for name in _names(role)]
        main.write_text("import memory_probe as probe\n" + "".join(lines))
        heap_bytes = 2 * HEAP_BYTES  # no board has all of them at once
        board = BoardProcess(directory / "board", role, main=main, heap_bytes=heap_bytes)
        (board.flash / "memory_probe.mpy").write_bytes(image.compile_module(_PROBE))
        board.start()
        try:
            board.wait(END_S)
        finally:
            board.kill()
        return _costs_in(board.log)


def wasm_costs(role: str) -> Costs:
    """Measure what each module takes with 32-bit objects. Raises OSError with what to do where there is no
    Node or no package.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise OSError("no 32-bit sizes: they need node (20 or later) and npm on the PATH")
    module = _NODE_MODULES / "node_modules" / WASM / "micropython.mjs"
    if not module.exists():
        command = [
            npm,
            "install",
            "--silent",
            "--no-save",
            "--prefix",
            str(_NODE_MODULES),
            f"{WASM}@{WASM_VERSION}",
        ]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise OSError(f"no 32-bit sizes: npm cannot install {WASM} {WASM_VERSION}; is there a network?")
    given = {
        "files": {path: base64.b64encode(content).decode() for path, content in image.contents(role).items()},
        "names": _names(role),
    }
    command = [node, "--input-type=module", "-e", _WASM_SCRIPT, "--", module.as_uri()]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"no 32-bit sizes: {done.stderr.strip().splitlines()[-1]}")
    return _costs_in(done.stdout)


def _names(role: str) -> list[str]:
    return ["asyncio", *modules_of(role)]


def _costs_in(output: str) -> Costs:
    costs: Costs = {}
    for line in output.splitlines():
        if line.startswith("cost "):
            cost = json.loads(line.removeprefix("cost "))
            costs[cost["module"]] = None if cost.get("error") else cost["bytes"]
    return costs


# --- (c) at run


async def run_soaks(minutes: int, console: Console) -> list[Report]:
    """Soak a target and a hub board at the same time, without a key and with one, for so many minutes of
    their clocks. Raises RuntimeError when a board fails, TimeoutError when it does not come back.
    """
    with (
        temporary_directory("snyper-memory-") as name,
        Progress(console=console, transient=True) as progress,
    ):

        async def one(role: str, key: str) -> Report:
            title = name_of(role, bool(key))
            task = progress.add_task(f"{title}, minutes of its clock", total=minutes)
            directory = Path(name) / title
            return await soak(role, directory, minutes, lambda minute: progress.advance(task), key)

        runs = [one(role, key) for key in ("", KEY) for role in image.ROLES]
        return list(await asyncio.gather(*runs))


def faults_of(report: Report, margin: float = 0.0) -> list[str]:
    """List the bounds that do not hold, of shares by more than a `margin`, within which a short run's are."""
    found = []
    name = name_of(report.role, report.has_key)
    key_share = KEY_SHARE if report.has_key else 0
    for what, share, bound in (
        ("", report.share, MIN_FREE_SHARE - key_share),
        ("at worst ", report.least_share, MIN_LEAST_SHARE - key_share),
    ):
        if share < bound - margin:
            found.append(f"{name}: {what}{share:.1%} of the heap is free, and should be {bound:.1%}")
    if report.least_largest < MIN_PIECE_BYTES:
        piece = f"at worst {report.least_largest} bytes are free in one piece"
        found.append(f"{name}: {piece}, and should be {MIN_PIECE_BYTES}")
    if report.growth > MAX_GROWTH_BYTES:
        found.append(f"{name}: it grew by {report.growth} bytes, and should by {MAX_GROWTH_BYTES} at most")
    return found


# --- what is said


def name_of(role: str, has_key: bool) -> str:
    return f"{role}, with a key" if has_key else role


def tables(costs: dict[str, dict[str, Costs]], reports: list[Report]) -> list[tuple[str, list[list[str]]]]:
    """Return each table's title and rows, the first of which is its head."""
    found = []
    for role, by_runtime in costs.items():
        rows = [["module", "unix port", "32 bits"]]
        for name in by_runtime["unix"]:
            shown = f"{name} (not always there)" if name in unloaded(role) else name
            rows.append([shown, *(_bytes(by_runtime[runtime].get(name)) for runtime in ("unix", "wasm"))])
        rows.append(
            [
                "all but those",
                *(_total(role, by_runtime[runtime]) for runtime in ("unix", "wasm")),
            ]
        )
        found.append((f"Modules of a {role}, in bytes of heap", rows))
    if reports:
        rows = [["at run", *(name_of(report.role, report.has_key) for report in reports)]]

        def add(name: str, values: list[str]) -> None:
            rows.append([name, *values])

        add("minutes of its clock", [str(report.samples[-1].at_s // 60) for report in reports])
        add("samples", [str(len(report.samples)) for report in reports])
        for what in sorted({what for report in reports for what in report.counts}):
            add(what, [str(report.counts.get(what, 0)) for report in reports])
        add("heap", [_bytes(report.heap) for report in reports])
        add("free after `gc.collect()`, median", [_bytes(report.typical_free) for report in reports])
        add("as a share of the heap", [f"{report.share:.1%}" for report in reports])
        add("the least", [_bytes(report.least_free) for report in reports])
        add("the largest free piece, median", [_bytes(report.typical_largest) for report in reports])
        add("the largest free piece, the least", [_bytes(report.least_largest) for report in reports])
        add("as a share of the heap, the least", [f"{report.least_share:.1%}" for report in reports])
        add("the stand-ins, not in the above", [_bytes(report.stand_ins) for report in reports])
        add("share with the stand-ins in the heap", [f"{report.raw_share:.1%}" for report in reports])
        add(f"growth from second {WARM_UP_S} to the end", [_bytes(report.growth) for report in reports])
        found.append(("At run", rows))
    return found


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _total(role: str, costs: Costs) -> str:
    counted = [cost for name, cost in costs.items() if name not in unloaded(role) and cost is not None]
    return _bytes(sum(counted)) if counted else "-"


def _write(found: list[tuple[str, list[list[str]]]], notes: list[str]) -> None:
    lines = [f"Measured on {date.today()}: {_machine()}", ""]
    lines += [line for note in notes for line in (note, "")]
    for title, (head, *rows) in found:
        lines += [f"### {title}", "", _row(head), _row(["---"] + ["---:"] * (len(head) - 1))]
        lines += [*map(_row, rows), ""]
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n" + END + after)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}, MicroPython's unix"
        f" port with {HEAP_BYTES // 1024}K of heap, {WASM} {WASM_VERSION}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the memory of a board goes.")
    parser.add_argument("--minutes", type=int, default=60, help="of the boards' clocks; 0 for no soak (60)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="also write the tables into docs/memory.md")
    parser.add_argument(
        "--games", action="store_true", help="a hub board while games are played, and no more"
    )
    arguments = parser.parse_args()
    console = Console(stderr=True)
    if arguments.games:
        _show_games(console)
        return
    notes = []
    costs: dict[str, dict[str, Costs]] = {}
    try:
        for role in image.ROLES:
            costs[role] = {"unix": unix_costs(role), "wasm": {}}
            try:
                costs[role]["wasm"] = wasm_costs(role)
            except OSError as error:
                if str(error) not in notes:
                    notes.append(str(error))
        reports: list[Report] = []
        if arguments.minutes > 0:
            console.print(
                f"memory: {arguments.minutes} minutes of four boards' clocks at {SPEED} times the pace"
            )
            began = time.monotonic()
            reports = asyncio.run(run_soaks(arguments.minutes, console))
            console.print(f"memory: took {time.monotonic() - began:.0f} s")
    except (OSError, RuntimeError) as error:
        sys.exit(f"memory: {error}")
    faults = [fault for report in reports for fault in faults_of(report)]
    found = tables(costs, reports)
    if arguments.json:
        print(
            json.dumps({"costs": costs, "runs": [_as_json(report) for report in reports], "faults": faults})
        )
    else:
        _show(found)
    if arguments.write:
        _write(found, notes)
    for line in [*notes, *faults]:
        console.print(f"memory: {line}", style="red", highlight=False)
    sys.exit(1 if faults else 0)


def _show(found: list[tuple[str, list[list[str]]]]) -> None:
    for title, (head, *rows) in found:
        table = Table(title=title)
        for at, name in enumerate(head):
            table.add_column(name, justify="right" if at else "left")
        for row in rows:
            table.add_row(*row)
        Console().print(table)


def _show_games(console: Console) -> None:
    found = []
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("games", total=2 * len(game_memory.GAMES) * game_memory.ROUNDS)
            for has_screen in (False, True):
                measured = game_memory.measure(has_screen, lambda game: progress.advance(task))
                found.append(asyncio.run(measured))
    except (OSError, RuntimeError, ProtocolError) as error:
        sys.exit(f"memory: {error}")
    _show([("Free of a hub board's heap, in bytes", game_memory.rows(found))])


def _as_json(report: Report) -> dict[str, Any]:
    return {
        **asdict(report),
        "modules": sorted(report.modules),
        "share": report.share,
        "least_share": report.least_share,
        "raw_share": report.raw_share,
        "growth": report.growth,
    }


if __name__ == "__main__":
    main()

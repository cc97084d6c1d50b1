"""The wheel, installed into an environment of its own, beside other people's packages.

Needs a package index, for what the wheel depends on: `make package` runs this, `make test` does not.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snyper.boards.micropython import MicropythonNotFoundError, find_micropython

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 120
INSTALL_S = 600
NAMES = ("shared", "firmware", "tools", "tests", "host")  # what people call packages of their own

THEIRS = """
import {first}
import {second}
import shared, shared.link, firmware, firmware.target, tools, tools.simulator, tests, host
for module in (shared, shared.link, firmware, firmware.target, tools, tools.simulator, tests, host):
    assert module.OWNER == "somebody else", module.__file__
import snyper
from snyper.shared.link import Link
from snyper.firmware.target.controller import TargetController
from snyper.boards.simulator import simulate
assert callable(snyper.connect)
assert shared.link.OWNER == "somebody else"
print(snyper.__file__)
"""


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """A command that must end well."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **{"timeout": DEADLINE_S, **options},  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def built_wheel(source: Path, directory: Path) -> Path:
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", directory, source, timeout=INSTALL_S
    )
    [built] = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that has the wheel, and packages of somebody else."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[dashboard]", timeout=INSTALL_S)
    [site] = directory.glob("lib/python*/site-packages")
    make_decoys(site)
    return python.parent


def make_decoys(directory: Path, content: str = "OWNER = 'somebody else'\n") -> None:
    for name in NAMES:
        for module in ("__init__", "link", "simulator", "board", "target", "config", "socket_protocol"):
            path = directory / name / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the commands' own: a deploy makes keys there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder to work in, whose packages of those names nobody may import."""
    make_decoys(tmp_path, "raise AssertionError(__file__ + ' is not ours')\n")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def running(installed: Path, desk: Path, *arguments: str, says: str) -> Iterator[str]:
    """The line, which begins with `says`, that a `snyper` command says once it runs.

    At the end of the block comes a Ctrl-C, after which it must end well.
    """
    with subprocess.Popen(
        [installed / "snyper", *arguments],
        cwd=desk,
        env=environment(PYTHONPATH=str(desk), TMPDIR=str(desk)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        guard = threading.Timer(DEADLINE_S, process.kill)
        guard.start()
        try:
            for line in process.stdout:
                said.append(line)
                if line.startswith(says):
                    break
            else:
                raise AssertionError("".join(said))
            rest = threading.Thread(target=said.extend, args=(process.stdout,))
            rest.start()
            yield line.strip()
            process.send_signal(signal.SIGINT)
            rest.join(DEADLINE_S)
            assert process.wait(DEADLINE_S) == 0, "".join(said)
        finally:
            guard.cancel()
            process.kill()


def needs_micropython() -> None:
    try:
        find_micropython()
    except MicropythonNotFoundError as error:
        pytest.skip(str(error))


def test_it_holds_one_name_and_what_boards_run(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"snyper"}
    for folder, files in (("shared", "*.py"), ("firmware", "*/**/*.py"), ("host/snyper", "**/*.py")):
        for source in (ROOT / folder).glob(files):
            path = source.relative_to(ROOT).as_posix().removeprefix("host/snyper/")
            assert f"snyper/{path}" in names, path
    for path in ("snyper/py.typed", "snyper/dashboard/theme.css", "snyper/boards/virtual_board/machine.py"):
        assert path in names


def test_an_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "builder", with_pip=True)
    python = tmp_path / "builder" / "bin" / "python"
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    run(python, "-m", "pip", "install", "--quiet", *build["requires"], timeout=INSTALL_S)
    program = "import sys, hatchling.build; hatchling.build.build_sdist(sys.argv[1])"
    run(python, "-c", program, tmp_path / "sdist", cwd=ROOT)
    [sdist] = (tmp_path / "sdist").iterdir()
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(built_wheel(sdist, tmp_path / "wheel")) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


@pytest.mark.parametrize("place", ["site-packages", "the current folder", "the path"])
@pytest.mark.parametrize("first", ["shared", "snyper"])
def test_a_script_has_its_own_packages_and_snyper(
    installed: Path, tmp_path: Path, place: str, first: str
) -> None:
    own = tmp_path if place != "site-packages" else tmp_path / "elsewhere"
    own.mkdir(exist_ok=True)
    if place != "site-packages":
        make_decoys(own)
    script = tmp_path / ("script.py" if place == "the current folder" else "scripts/script.py")
    script.parent.mkdir(exist_ok=True)
    script.write_text(THEIRS.format(first=first, second="snyper" if first == "shared" else "shared"))
    path = {"PYTHONPATH": str(own)} if place == "the path" else {}
    done = run(installed / "python", script, cwd=tmp_path, env=environment(**path))
    assert str(installed.parent) in done.stdout


def test_help_and_version(installed: Path, desk: Path) -> None:
    assert "Usage" in run(installed / "snyper", "--help", cwd=desk, env=environment()).stdout
    version = run(installed / "snyper", "--version", cwd=desk, env=environment()).stdout
    assert (
        version.split()[-1]
        == run(
            *(installed / "python", "-c", "from importlib.metadata import version; print(version('snyper'))"),
            cwd=desk.parent,
            env=environment(),
        ).stdout.strip()
    )


def test_demo(installed: Path, desk: Path) -> None:
    needs_micropython()
    done = run(installed / "snyper", "demo", cwd=desk, env=environment(PYTHONPATH=str(desk)))
    assert "DEMO OK" in done.stdout + done.stderr


def test_play(installed: Path, desk: Path) -> None:
    play = ("play", "--no-open", "--targets", "2", "--listen", "127.0.0.1:0")
    with (
        running(installed, desk, *play, says="dashboard ") as line,
        urllib.request.urlopen(line.split()[-1], timeout=DEADLINE_S) as page,
    ):
        assert "<title>" in page.read().decode()


def test_deploy_to_a_virtual_board(installed: Path, desk: Path) -> None:
    needs_micropython()
    with (
        running(
            installed, desk, "hub", "--listen", "127.0.0.1:0", "--no-journal", "--json", says="{"
        ) as line,
        running(installed, desk, "board", "flash", says="/dev/") as port,
    ):
        hub = json.loads(line)["listen"]
        run(
            *(installed / "snyper", "deploy", "--port", port, "--role", "target", "--id", "target_1"),
            *("--hub", hub),
            cwd=desk,
            env=environment(PYTHONPATH=str(desk)),
        )
        stood = run(installed / "snyper", "stand-up", "target_1", "--hub", hub, cwd=desk, env=environment())
        assert "target_1" in stood.stdout
        assert (desk / "flash" / "lib" / "snyper" / "shared" / "link.mpy").is_file()

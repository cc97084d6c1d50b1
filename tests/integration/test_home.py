"""Commands of a user whose home directory is not there, not to be had, or not known."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.integration.harness import HOST, ROOT, free_port, running_hub, until

# A user that the system does not know, as in many a container; it owns what this one does.
STRANGER = ("unshare", "--user", "--map-user=12345", "--")
VARIABLES = ("HOME", "XDG_DATA_HOME", "SNYPER_JOURNAL", "SNYPER_HUB", "TMPDIR", "SNYPER_KEYS")


def _can_be_a_stranger() -> bool:
    try:
        return subprocess.run([*STRANGER, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _can_be_a_stranger(), reason="no user namespaces here")

NO_HOME: list[dict[str, str]] = [{}, {"HOME": ""}, {"HOME": "relative"}]
NO_HOME_IDS = ["no HOME", "an empty HOME", "a relative HOME"]


def command(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """`snyper` of a user without an entry in passwd, with nothing but `environment` of these VARIABLES."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [*STRANGER, sys.executable, "-m", "snyper.cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**kept, "COLUMNS": "200", **environment},
        cwd=cwd,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("environment", NO_HOME, ids=NO_HOME_IDS)
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("--help", 0, "Usage"),
        ("hub --help", 0, "--journal"),
        ("dashboard --help", 0, "--archive"),
        (f"hub --listen {HOST}:0", 1, "--journal PATH, or go without one: --no-journal"),
        (f"dashboard --listen {HOST}:0 --no-open", 1, "--archive FILE"),
        ("history", 1, "--journal PATH"),
        ("stats", 1, "--journal PATH"),
        ("export --csv", 1, "--journal PATH"),
    ],
)
def test_a_default_that_is_missing_names_the_option(
    arguments: str, status: int, words: str, environment: dict[str, str], tmp_path: Path
) -> None:
    if arguments.startswith("dashboard"):
        pytest.importorskip("nicegui")
    result = command(arguments.split(), environment, tmp_path)
    assert result.returncode == status, result.stderr
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("environment", NO_HOME, ids=NO_HOME_IDS)
async def test_what_needs_no_home_works_without(environment: dict[str, str], tmp_path: Path) -> None:
    async with running_hub("cpython", tmp_path) as hub:
        for arguments in (("targets", "--json"), ("game", "scores")):
            result = await asyncio.to_thread(command, (*arguments, "--hub", hub.address), environment)
            assert result.returncode == 0, result.stderr
        made = command(("keys", "new"), environment)
        assert (made.returncode, "say where with SNYPER_KEYS=PATH" in made.stderr) == (1, True)


@pytest.mark.parametrize("mode", [0o000, 0o555])
async def test_a_home_that_is_not_ones_own(mode: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    try:
        for variable in ("HOME", "XDG_DATA_HOME"):
            where = {"HOME": str(tmp_path), variable: str(home)}
            hub = command(("hub", "--listen", f"{HOST}:0"), where)
            assert hub.returncode == 1
            assert f"{home}" in hub.stderr
            assert "--no-journal" in hub.stderr
            history = command(("history",), where)
            assert history.returncode == 1
            assert "--journal" in history.stderr
            async with running_hub("cpython", tmp_path) as running:
                scores = await asyncio.to_thread(command, ("game", "scores", "--hub", running.address), where)
                assert scores.returncode == 0, scores.stderr
            assert "Traceback" not in hub.stderr + history.stderr + scores.stderr
    finally:
        home.chmod(0o755)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "there is no home directory"),
        ({"HOME": "/dev/null"}, "/dev/null: File exists"),
        ({"HOME": "/proc/1"}, "/proc/1/.bashrc: "),
    ],
)
def test_completion_that_cannot_be_installed(environment: dict[str, str], why: str, tmp_path: Path) -> None:
    script = f"{sys.executable} -m snyper.cli --install-completion; exit $?"
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    result = subprocess.run(
        [*STRANGER, "bash", "-c", script],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"snyper: completion is not installed ({why}"), result.stderr
    assert result.stderr.endswith("): --show-completion shows what to install\n")


def test_a_picture_says_nothing_of_caches(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = (
        "from pathlib import Path; from snyper.client import Trace; from snyper.cli.trace import save_png;"
        " save_png(Trace(20_000, 400, 50_000, [-50, 0, 50], [100, 30_000, 50_000]), Path('a.png'), 'a')"
    )
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    result = subprocess.run(
        [*STRANGER, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=kept,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


async def test_a_folder_that_has_gone(tmp_path: Path) -> None:
    """The shell of somebody whose folder another has removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    address = f"{HOST}:{free_port()}"
    program = f"{sys.executable} -m snyper.cli"
    script = f"rmdir {gone}; {program} --help && {program} boards --no-ask && exec {program} hub --no-journal"
    with (tmp_path / "said").open("w") as said:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"{script} --listen {address}"),
            cwd=gone,
            stdout=said,
            stderr=said,
            env={**os.environ, "TMPDIR": "/nowhere"},
        )
    text = tmp_path / "said"
    try:
        await until(
            lambda: "Ctrl-C stops it" in text.read_text() or process.returncode is not None, "it should run"
        )
        assert f"listening on {address}" in text.read_text(), text.read_text()
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0

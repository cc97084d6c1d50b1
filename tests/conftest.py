"""What every test has: no deadline for hypothesis, no task or callback that dies unnoticed, and a process to
run in.
"""

import gc
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from snyper.boards.micropython import MicropythonNotFoundError, find_micropython

# What helps tests says what it found where it was not as it should be, as tests do.
pytest.register_assert_rewrite("tests.integration", "tests.portable")

# Tests of a module whose fixtures are for all of it run in one process, one after the other: each process
# would start its hub, its server, its browser anew. So do those whose path begins in this way, with the
# same words in the groups, which share what else takes long to come by. Marks would say it as well, but xdist
# 3.8 does not find its groups in pytest 9.2.
SHARED = ('scope="module"', "from tests.integration.browsing import")
TOGETHER = re.compile(
    r"tests/unit/test_(naming)\.py"  # all that the project has, parsed
    r"|tests/unit/test_(client_types)\.py::\w+\[(mypy)"  # what mypy has read once, in its cache
    r"|tests/unit/test_on_micropython\.py::\w+\[(\w+\.py)"  # a file's run on MicroPython
)

# Where the environment forbids it, each of the hundreds of commands that are started would compile anew what
# it imports, for a third of its time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell has what it starts in the background ignore Ctrl-C, and `nohup` the end of a terminal, and with it
# all that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_RECURSION_LIMIT = sys.getrecursionlimit()

# A slow machine is no failure.
settings.register_profile("snyper", deadline=None)
settings.load_profile("snyper")


@cache
def shares_fixtures(path: Path) -> bool:
    """Tell whether the tests of a module share something that takes long to come by."""
    text = path.read_text(encoding="utf-8")
    return any(words in text for words in SHARED)


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if shares_fixtures(self.config.rootpath / path):
            return path
        found = TOGETHER.match(nodeid)
        return "".join(filter(None, found.groups())) if found else nodeid

    def remove_node(self, node: WorkerController) -> str | None:
        """Deal out again what a lost process had; return the test that it was in, which has failed.

        As xdist 3.8 does it the test would run again, and what is run already be dealt out as an empty unit,
        after which a process asks for nothing more.
        """
        left = {
            scope: waiting
            for scope, unit in self.assigned_work.pop(node).items()
            if (waiting := {test: False for test, is_done in unit.items() if not is_done})
        }
        if not left:
            return None
        scope, unit = next(iter(left.items()))
        lost: str = next(iter(unit))
        del unit[lost]
        if not unit:
            del left[scope]
        self.workqueue.update(left)
        for other in self.nodes:
            self._reschedule(other)
        return lost

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process units until it has enough to go on: it begins a test only when it has the next."""
        if (
            node not in self.registered_collections
        ):  # it has only begun, and is given some when it has collected
            return
        try:
            super()._reschedule(node)
        except OSError:  # it is lost, too: what it was given now comes back with all that it had
            return
        is_short = self._pending_of(self.assigned_work[node]) <= 2
        if is_short and self.workqueue and not node.shutting_down:
            self._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduler:
    """Return who deals the tests out to the processes."""
    return _Scheduler(config, log)


def pytest_collection_finish() -> None:
    """Keep all that is loaded by now out of every collection of garbage: it stays until the end."""
    gc.collect()
    gc.freeze()


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" or record.msg.startswith("a defect"):
            self.texts.append(logging.Formatter().format(record))


@pytest.fixture(autouse=True)
def _nothing_dies_unnoticed() -> Iterator[None]:
    """Fail a test in which a forgotten task or a callback raised, which asyncio and a server of calls log."""
    errors = _Errors()
    loggers = [logging.getLogger(name) for name in ("asyncio", "snyper")]
    for logger in loggers:
        logger.addHandler(errors)
    yield
    for logger in loggers:
        logger.removeHandler(errors)
    assert not errors.texts, "\n".join(errors.texts)


@pytest.fixture(autouse=True)
def _nests_as_deep_as_usual() -> None:
    """Set the limit of recursion back, which libraries of other tests raise: JSON is read that nests deeper
    where it is higher.
    """
    sys.setrecursionlimit(_RECURSION_LIMIT)


@pytest.fixture(autouse=True)
def _no_keys_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have each test, and what it starts, begin without a key: never with those of whoever runs it."""
    for name in ("SNYPER_KEY", "SNYPER_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SNYPER_KEYS", str(tmp_path / "no-keys.toml"))


@pytest.fixture(autouse=True)
def _no_cease_fire_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have each hub keep its cease fire where no other finds it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Make a disk of 12 MB. Only who may mount has one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def micropython() -> Path:
    """Return the MicroPython on this machine; without one the test is skipped."""
    try:
        return find_micropython()
    except MicropythonNotFoundError as error:
        pytest.skip(str(error))

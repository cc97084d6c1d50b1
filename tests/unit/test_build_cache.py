"""What is built once is found again by this user's other processes, and never when it is of another age."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snyper.boards import build_cache, image
from snyper.boards.board import VIRTUAL_BOARD
from snyper.boards.build_cache import MOST_ENTRIES, Built, kept

BUILT = {"a.mpy": b"M\x06\x00", "b/c.mpy": bytes(range(256))}
OTHER = {"a.mpy": b"other"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where entries are, in a cache of this test's own."""
    monkeypatch.setattr(build_cache, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "snyper" / "builds"


def ask(key: str, built: Built = BUILT, is_current: bool = True) -> tuple[Built, bool]:
    """Return what is kept, and whether it was built for that."""
    times = []

    def build() -> Built:
        times.append(1)
        return built

    return kept(key, build, lambda: is_current), bool(times)


def test_it_is_built_once(folder: Path) -> None:
    assert ask("key") == (BUILT, True)
    assert ask("key", OTHER) == (BUILT, False)
    assert ask("another", OTHER) == (OTHER, True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "key").stat().st_mode & 0o777 == 0o600


def test_what_changed_while_it_was_built_is_not_kept(folder: Path) -> None:
    assert ask("key", OTHER, is_current=False) == (OTHER, True)
    assert ask("key") == (BUILT, True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:64],
        lambda content: content.replace(b"TQ", b"TR", 1),
        lambda content: content + b" ",
    ],
)
def test_a_damaged_entry_is_built_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    ask("key")
    was = (folder / "key").read_bytes()
    assert damage(was) != was
    (folder / "key").write_bytes(damage(was))
    assert ask("key") == (BUILT, True)
    assert (folder / "key").read_bytes() == was


def test_those_that_were_read_last_stay(folder: Path) -> None:
    for number in range(MOST_ENTRIES):
        ask(f"key-{number}")
    assert ask("key-0") == (BUILT, False)
    (folder / ".snyper-1234.part").write_bytes(b"of a process that was killed")
    for number in range(MOST_ENTRIES - 1):
        ask(f"later-{number}")
        ask("key-0")
    assert len(list(folder.iterdir())) == MOST_ENTRIES
    assert ask("key-0") == (BUILT, False)
    assert ask("key-1") == (BUILT, True)
    assert not list(folder.glob("*.part"))


def test_without_a_folder_it_is_built_each_time(folder: Path) -> None:
    folder.parent.parent.write_bytes(b"a file where the folder should be")
    assert ask("key") == ask("key") == (BUILT, True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
def test_a_folder_that_others_may_write_into_is_left_alone(folder: Path) -> None:
    ask("key", OTHER)
    folder.chmod(0o777)
    assert ask("key") == (BUILT, True)
    folder.chmod(0o700)
    assert ask("key") == (OTHER, False)


BUILDS = """
import subprocess, sys
from pathlib import Path
from snyper.boards import build_cache, image
from snyper.boards.board import VIRTUAL_BOARD
build_cache.user_cache_path = lambda name: Path(sys.argv[1]) / name
commands = []
run = subprocess.run
subprocess.run = lambda command, **options: commands.append(1) or run(command, **options)
for role in image.ROLES:
    print(image.manifest(role, image.contents(role)).decode())
print(image.manifest("none", image.compile_folder(VIRTUAL_BOARD)).decode())
print(len(commands), file=sys.stderr)
"""


@pytest.mark.slow
def test_another_process_compiles_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDS, str(tmp_path)]
    at_once = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    first = [process.communicate() for process in at_once]
    later = subprocess.run(command, capture_output=True, check=True)
    assert {said for said, _ in first} == {later.stdout}
    assert all(int(compiled) > 0 for _, compiled in first)
    assert int(later.stderr) == 0


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have images be made of a copy of the package, which may be changed."""
    package = tmp_path / "copy" / image.NAME
    for name in ("shared", "firmware"):
        shutil.copytree(image.PACKAGE / name, package / name)
    with monkeypatch.context() as patched:
        patched.setattr(image, "PACKAGE", package)
        yield package
    image._imports_of.cache_clear()  # it has files of the copy


CHANGES = {
    "code": ("shared/backoff.py", "return random", "return 1 + random"),
    "a constant that others inline": ("shared/socket_protocol.py", "MAX_GROUPS = ", "MAX_GROUPS = 1 + "),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_built_whatever_is_kept(folder: Path, package: Path, change: str) -> None:
    name, before, after = CHANGES[change]
    module = package / name
    first = image.contents("target")
    was = module.read_text()
    assert was.count(before) >= 1
    module.write_text(was.replace(before, after, 1))
    changed = image.contents("target")
    module.write_text(was)
    again = image.contents("target")
    module.write_text(was.replace(before, after, 1))
    shutil.rmtree(folder)
    assert image.contents("target") == changed != first == again


def test_a_program_has_what_it_calls(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    images = []
    for text in ("import snyper.shared.address", "import snyper.shared.device"):
        program.write_text(text)
        images.append(image.contents("target", program=program))
    assert [found["main.py"].decode() for found in images] == [
        "import snyper.shared.address",
        "import snyper.shared.device",
    ]
    assert "lib/snyper/shared/device.mpy" not in images[0]
    assert "lib/snyper/shared/device.mpy" in images[1]


def test_a_changed_stand_in_is_compiled(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "virtual_board"
    shutil.copytree(VIRTUAL_BOARD, copy)
    first = image.compile_folder(copy)
    (copy / "computer.py").write_text((copy / "computer.py").read_text() + "\nMORE = 'more'\n")
    assert b"more" in image.compile_folder(copy)["computer"]
    assert b"more" not in first["computer"]

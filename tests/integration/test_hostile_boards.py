"""What answers on a USB port is no board of ours: it has the raw REPL, and says there what it likes."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from snyper.boards.ports import BoardError
from snyper.boards.usb import CHUNK_BYTES, MAX_ANSWER_BYTES, Connection, LostError
from tests.integration.harness import linux_only
from tools.faults.hostile_board import ENDLESS, IDENTITY, UNENDED, HostileBoard, Says, asked_of_boards, saying
from tools.faults.lied_to import SEED

pytestmark = linux_only


def short(said: object) -> str:
    return repr(said)[:30]


@contextmanager
def connected(says: Says) -> Iterator[Connection]:
    with HostileBoard(says).running() as board:
        connection = Connection(board.port, patience_s=2.0)
        try:
            connection.enter_repl()
            yield connection
        finally:
            connection.close()


def test_what_a_board_says_of_itself() -> None:
    with connected(saying({"unique_id": IDENTITY})) as connection:
        identity = connection.identity()
        assert (identity.platform, identity.version, identity.has_wifi) == ("rp2", (1, 26, 0), True)


@pytest.mark.parametrize(
    "said",
    [
        [],
        5,
        "rp2",
        {},
        {**IDENTITY, "version": [1, "a"]},
        {**IDENTITY, "version": 1},
        {**IDENTITY, "version": [1, True]},
        {**IDENTITY, "version": None},
        {**IDENTITY, "platform": 7},
        {**IDENTITY, "name": ["x"]},
        {**IDENTITY, "unique_id": None},
        b"not JSON",
        b"[" * 50_000,
        b'{"platform": "\xff"}',
    ],
    ids=short,
)
def test_an_identity_that_is_none(said: object) -> None:
    with connected(saying({"unique_id": said})) as connection, pytest.raises(LostError, match="try again"):
        connection.identity()


def test_what_is_shown_of_a_board_is_short_and_printable() -> None:
    said = {**IDENTITY, "name": "\x1b[2J\u202e" + "x" * 50_000}
    with connected(saying({"unique_id": said})) as connection:
        name = connection.identity().name
        assert len(name) < 100
        assert name.isprintable()


@pytest.mark.parametrize("said", [[1], {}, "ab", [None, None], [], [["x"]]], ids=short)
def test_digests_that_are_none(said: object) -> None:
    with connected(saying({"sha256": said})) as connection, pytest.raises(LostError, match="try again"):
        connection.hashes(["/main.py"])


@pytest.mark.parametrize("said", [[1], {}, 5, [["x"]]], ids=short)
def test_names_that_are_none(said: object) -> None:
    with connected(saying({"listdir": said})) as connection, pytest.raises(LostError, match="try again"):
        connection.names()


@pytest.mark.parametrize(
    "said",
    [
        b"x",
        b"[",
        b"f()",
        b"\xff\xfe",
        b"open('/etc/passwd')",
        b"1.5",
        b"None",
        b"'x'",
        b"(1,)",
        b"{1: 2}",
        b"[0] * 10",
    ],
    ids=short,
)
def test_a_file_that_is_none(said: bytes) -> None:
    with connected(saying({"os.stat": said, "f.read": said})) as connection, pytest.raises(BoardError):
        connection.read("/config.json")


@pytest.mark.parametrize(
    ("size", "said"), [(CHUNK_BYTES, "has more than 65,536"), (2, "goes on after its end")]
)
def test_a_file_without_an_end(size: int, said: str) -> None:
    stat = repr((32768,) + 9 * (0,)).encode()
    answers: dict[str, object] = {"os.stat": stat, "r(": repr(b"x" * size).encode()}
    with connected(saying(answers)) as connection, pytest.raises(BoardError, match=said):
        connection.read("/config.json")


@pytest.mark.parametrize(
    "work",
    [
        Connection.identity,
        Connection.names,
        lambda connection: connection.read("/config.json"),
        lambda connection: connection.hashes(["/main.py"]),
    ],
    ids=["identity", "names", "read", "hashes"],
)
def test_a_board_that_prints_without_end(work: Callable[[Connection], object]) -> None:
    says = saying({"unique_id": ENDLESS, "listdir": ENDLESS, "stat": ENDLESS, "sha256": ENDLESS})
    with HostileBoard(says).running() as board:
        connection = Connection(board.port)
        connection.enter_repl()
        with pytest.raises(BoardError, match="prints without end"):
            work(connection)
        connection.close()
        assert board.printed_bytes < 2 * MAX_ANSWER_BYTES


def test_the_command_shows_what_is_wrong_and_ends() -> None:
    wrong: list[dict[str, object]] = [{"unique_id": ENDLESS}, {"unique_id": []}, {"sha256": [1]}]
    for answers in wrong:
        with HostileBoard(saying(answers)).running() as board:
            done = subprocess.run(
                [sys.executable, "-m", "snyper.cli", "boards", "--port", board.port],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 1, done.stderr
            assert f"snyper: {board.port}: " in done.stderr
            assert "Traceback" not in done.stderr


def test_commands_show_what_a_board_says_wrong() -> None:
    """The first of those that `make faults` has."""
    for what, _, wrong in asked_of_boards(6, SEED):
        assert not wrong, what


def test_ctrl_c_ends_the_command_while_a_board_is_asked() -> None:
    with HostileBoard(saying({"os.stat": UNENDED})).running() as board:
        command = [sys.executable, "-m", "snyper.cli", "boards", "--port", board.port]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert board.is_asked.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)  # a third of what a board may take for an answer
        assert process.returncode == 130, said
        assert "stopped" in said

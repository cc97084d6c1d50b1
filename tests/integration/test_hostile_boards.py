"""What answers on a USB port is no board of ours: it has the raw REPL, and says there what it likes."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from snyper.boards.ports import BoardError
from snyper.boards.usb import MAX_ANSWER_BYTES, Connection, LostError
from tests.integration.harness import linux_only

pytestmark = linux_only

BANNER = b"raw REPL; CTRL-B to exit\r\n>"
IDENTITY = {
    "platform": "rp2",
    "version": [1, 26, 0],
    "name": "Raspberry Pi Pico W",
    "has_wifi": True,
    "unique_id": "e66",
}

ENDLESS = b"without end "
UNENDED = b"wait for more"

Says = Callable[[str], bytes]


class HostileBoard:
    """Takes each program that is sent to the prompt, and prints what `says` makes of it: that without end
    where it is ENDLESS, and never an end where it is UNENDED.
    """

    def __init__(self, says: Says) -> None:
        self._says = says
        self._own, terminal = pty.openpty()
        tty.setraw(terminal)
        self._terminal = terminal
        self.port = os.ttyname(terminal)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self.printed_bytes = 0
        self.is_asked = threading.Event()  # for what it says UNENDED to

    @contextmanager
    def running(self) -> Iterator["HostileBoard"]:
        self._thread.start()
        try:
            yield self
        finally:
            os.close(self._stopped)
            self._thread.join()
            for held in (self._own, self._terminal, self._stop):
                os.close(held)

    def _take(self) -> bytes:
        """The next byte; nothing once it is to stop."""
        readable, _, _ = select.select([self._own, self._stop], [], [])
        return b"" if self._stop in readable else os.read(self._own, 1)

    def _print(self, text: bytes) -> bool:
        """False once it is to stop."""
        while text:
            stopped, _, _ = select.select([self._stop], [self._own], [])
            if stopped:
                return False
            written = os.write(self._own, text[:512])
            self.printed_bytes += written
            text = text[written:]
        return True

    def _serve(self) -> None:
        program = b""
        while byte := self._take():
            if byte == b"\x01":
                program = b""
                self._print(BANNER)
            elif byte == b"\x05":  # asks for raw paste
                self._take()
                self._take()
                self._print(b"R\x00")
            elif byte == b"\x04":
                said = self._says(program.decode())
                program = b""
                self._print(b"OK")
                while said.startswith(ENDLESS) and self._print(said):
                    pass
                self._print(said if said == UNENDED else said + b"\x04\x04>")
                if said == UNENDED:
                    self.is_asked.set()
            elif byte not in b"\r\x03":
                program += byte


def short(said: object) -> str:
    return repr(said)[:30]


def saying(answers: dict[str, object]) -> Says:
    """What answers programs that hold such a text, and nothing to any other."""

    def says(program: str) -> bytes:
        for part, answer in answers.items():
            if part in program:
                return answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return b""

    return says


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


@pytest.mark.parametrize("said", [b"x", b"[", b"f()", b"\xff\xfe", b"open('/etc/passwd')"], ids=short)
def test_a_file_that_is_none(said: bytes) -> None:
    with connected(saying({"os.stat": said, "f.read": said})) as connection, pytest.raises(BoardError):
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


def test_ctrl_c_ends_the_command_while_a_board_is_asked() -> None:
    with HostileBoard(saying({"os.stat": UNENDED})).running() as board:
        command = [sys.executable, "-m", "snyper.cli", "boards", "--port", board.port]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert board.is_asked.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)  # a third of what a board may take for an answer
        assert process.returncode == 130, said
        assert "stopped" in said

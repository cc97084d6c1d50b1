"""Names to addresses, on both runtimes, asked of a name server on this machine."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snyper.firmware.target.dns import _address_in, _query, is_address, resolve

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
ANSWER_FLAGS = b"\x81\x80"
NO_SUCH_NAME = b"\x81\x83"

ON_MICROPYTHON = """
import asyncio, json
from snyper.firmware.target.dns import resolve
try:
    print(json.dumps({{"address": asyncio.run(resolve({host!r}, {server!r}, {port}))}}))
except OSError as error:
    print(json.dumps({{"error": str(error)}}))
"""

Answer = Callable[[bytes], "list[bytes]"]


class NameServer:
    """Answers each question with what `answer` makes of it; none of it, one datagram or several."""

    def __init__(self, answer: Answer) -> None:
        self.questions: list[bytes] = []
        self.askers: list[tuple[str, int]] = []
        self._answer = answer
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((HOST, 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @contextmanager
    def running(self) -> Iterator["NameServer"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._sock.sendto(b"", (HOST, self.port))
            self._thread.join()
            self._sock.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._sock.recvfrom(512)
            if not question:
                return
            self.questions.append(question)
            self.askers.append(asker)
            for answer in self._answer(question):
                self._sock.sendto(answer, asker)


def record(record_type: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    """A resource record; its name is by default a pointer to the question's (RFC 1035, section 4.1.4)."""
    return name + bytes([0, record_type, 0, 1, 0, 0, 0, 60, 0, len(data)]) + data


def answered(*records: bytes, flags: bytes = ANSWER_FLAGS) -> Answer:
    """An answer with these records."""

    def answer(question: bytes) -> list[bytes]:
        counts = bytes([0, 1, 0, len(records), 0, 0, 0, 0])
        return [question[:2] + flags + counts + question[12:] + b"".join(records)]

    return answer


A_RECORD = record(1, bytes([192, 168, 7, 9]))
CNAME = record(5, b"\x05other\xc0\x10")


@pytest.fixture(params=["cpython", "micropython"])
def ask(request: pytest.FixtureRequest) -> Callable[[str, int], str]:
    """Resolves a name at a port of this machine; the address, or `error: ` and why not."""
    if request.param == "cpython":
        import asyncio

        def on_cpython(host: str, port: int) -> str:
            try:
                return asyncio.run(resolve(host, HOST, port))
            except OSError as error:
                return f"error: {error}"

        return on_cpython
    micropython: Path = request.getfixturevalue("micropython")

    def on_micropython(host: str, port: int) -> str:
        source = ON_MICROPYTHON.format(host=host, server=HOST, port=port)
        done = subprocess.run(
            [str(micropython), "-c", source],
            cwd=ROOT / "host",
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        said = json.loads(done.stdout)
        return said["address"] if "address" in said else f"error: {said['error']}"

    return on_micropython


@pytest.mark.parametrize(
    "records",
    [[A_RECORD], [CNAME, A_RECORD], [record(28, bytes(16)), A_RECORD, record(1, bytes(4))]],
    ids=["one", "behind an alias", "among others"],
)
def test_the_first_address_counts(ask: Callable[[str, int], str], records: list[bytes]) -> None:
    with NameServer(answered(*records)).running() as server:
        assert ask("hub.example", server.port) == "192.168.7.9"
        [question] = server.questions
        assert question[2:] == bytes.fromhex(
            "0100000100000000000003687562076578616d706c650000010001"
        )  # recursion desired, one question: A of hub.example


def test_an_address_is_not_asked_for(ask: Callable[[str, int], str]) -> None:
    with NameServer(answered()).running() as server:
        assert ask("10.0.0.7", server.port) == "10.0.0.7"
        assert server.questions == []


def test_a_server_may_write_the_name_in_other_letters(ask: Callable[[str, int], str]) -> None:
    def answer(question: bytes) -> list[bytes]:
        return [answered(A_RECORD)(question)[0].replace(b"hub", b"HuB")]

    with NameServer(answer).running() as server:
        assert ask("hub.example", server.port) == "192.168.7.9"


def test_an_answer_from_elsewhere_is_not_heard(ask: Callable[[str, int], str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        def answer(question: bytes) -> list[bytes]:
            [forged] = answered(record(1, bytes([6, 6, 6, 6])))(question)
            stranger.sendto(forged, server.askers[-1])
            return answered(A_RECORD)(question)

        with NameServer(answer).running() as server:
            assert ask("hub.example", server.port) == "192.168.7.9"


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        (lambda query: answered(A_RECORD)(query)[0], True),
        (lambda query: b"\x00\x00" + answered(A_RECORD)(query)[0][2:], True),
        (lambda query: multicast(query[12:-4]), True),
        (lambda query: multicast(query[12:-4].upper()), True),
        (lambda query: multicast(b"\x05other\x05local\x00"), False),
        (lambda query: multicast(b"\xc0\x0c"), False),
        (lambda query: query[:2] + multicast(query[12:-4])[2:].replace(ANSWER_FLAGS, b"\x00\x00", 1), False),
    ],
    ids=["as to any", "id 0", "no question", "other letters", "another name", "a circle", "a question"],
)
def test_answers_by_multicast(answer: Callable[[bytes], bytes], is_one: bool) -> None:
    query = _query("hub.local")
    assert _address_in(answer(query), query, True) == ("192.168.7.9" if is_one else "")


def multicast(name: bytes) -> bytes:
    """An answer as RFC 6762 has it: no id, no question."""
    return b"\x00\x00" + ANSWER_FLAGS + b"\x00\x00\x00\x01\x00\x00\x00\x00" + name + A_RECORD[2:]


def test_a_lost_question_is_asked_again(ask: Callable[[str, int], str]) -> None:
    lost: list[bytes] = []

    def answer(question: bytes) -> list[bytes]:
        if not lost:
            lost.append(question)
            return []
        return answered(A_RECORD)(question)

    with NameServer(answer).running() as server:
        assert ask("hub.example", server.port) == "192.168.7.9"


@pytest.mark.parametrize(
    "answer",
    [
        answered(flags=NO_SUCH_NAME),
        answered(CNAME),
        lambda question: [question[:2]],
        lambda question: [answered(A_RECORD)(question)[0][:-7]],
        lambda question: [b"\xff\xff" + answered(A_RECORD)(question)[0][2:]],
        lambda question: [b"\x00\x00" + answered(A_RECORD)(question)[0][2:]],
        lambda question: [answered(A_RECORD)(question)[0].replace(b"example", b"exempla")],
        lambda question: [
            answered(A_RECORD)(question)[0].replace(b"\x00\x01\x00\x01", b"\x00\x1c\x00\x01", 1)
        ],
        lambda question: [question + A_RECORD],
        lambda question: [
            question[:2] + ANSWER_FLAGS + b"\x00\x00\x00\x01\x00\x00\x00\x00" + question[12:-4] + A_RECORD[2:]
        ],
        lambda question: [answered(A_RECORD)(question)[0].replace(b"\x03hub", b"\xc0\x0c??")],
        lambda question: [b"\xff" * 300],
        lambda question: [question[:12] + b"\x3f" * 80],
    ],
    ids=[
        "no such name",
        "no address",
        "torn",
        "half a record",
        "another question's",
        "id 0",
        "another name",
        "another type",
        "no response",
        "no question",
        "a name in a circle",
        "noise",
        "no end",
    ],
)
def test_what_is_no_answer_is_an_error_that_names_the_host(
    ask: Callable[[str, int], str], answer: Answer
) -> None:
    with NameServer(answer).running() as server:
        said = ask("hub.example", server.port)
        assert said.startswith("error: ")
        assert "no address for hub.example" in said
        assert len(server.questions) == 3


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_what_is_no_name_is_asked_of_nobody(ask: Callable[[str, int], str], host: str) -> None:
    with NameServer(answered(A_RECORD)).running() as server:
        assert "is no host name" in ask(host, server.port)
        assert server.questions == []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1.2.3.4", True),
        ("255.255.255.255", True),
        ("1.2.3", False),
        ("1.2.3.256", False),
        ("1.2.3.x", False),
        ("hub", False),
    ],
)
def test_what_an_address_looks_like(text: str, is_one: bool) -> None:
    assert is_address(text) == is_one

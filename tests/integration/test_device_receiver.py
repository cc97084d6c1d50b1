"""The receiver of the standard library alone, over raw sockets: hostile requests, slow ones, too many; and as
a class.
"""

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.device import Receiver as Receives
from snyper.system.self_signed import make_certificate
from tests.integration.harness import until
from tests.integration.receiver import DEVICE, Receiver, receiving
from tests.integration.stopwatch import running_s

DATA, FILE = b"/api/receive/data", b"/api/receive/file"
BODY = b'{"data": "over a raw socket"}'
CHUNKED = b"POST " + DATA + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
RECEIVED = b'{"status":"ok","message":"Data received"}'


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    limits = ["head_ms=500", "stall_s=1", "connections=8", "per_address=8", "data_kb=100", "file_mb=1"]
    options = [word for limit in limits for word in ("--limit", limit)]
    with receiving(tmp_path_factory.mktemp("device"), *options, program=DEVICE) as found:
        yield found
        _, said = found.end(signal.SIGTERM)
        assert [line for line in said.splitlines() if not line.startswith("receive: ")] == []


def connect(receiver: Receiver) -> socket.socket:
    host, port = receiver.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 20)


def read_all(peer: socket.socket) -> bytes:
    """Return what comes until the connection ends, however it does."""
    answer = b""
    with suppress(ConnectionError):
        while part := peer.recv(65_536):
            answer += part
    return answer


def ask(receiver: Receiver, request: bytes) -> bytes:
    """Send a request, the last on its connection, and return all that comes back."""
    with connect(receiver) as peer:
        with suppress(ConnectionError):
            peer.sendall(request)
        answer = peer.recv(65_536)
        with suppress(OSError):
            peer.shutdown(socket.SHUT_WR)  # of a refused request the rest is awaited for a while
        return answer + read_all(peer)


def post(body: bytes = BODY, *fields: bytes, path: bytes = DATA) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


LAST = b"Connection: close"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (200, post(BODY, LAST)),
        (200, post(BODY, b"connection:  Keep-Alive , CLOSE")),
        (200, b"\r\n\r\n" + post(BODY, LAST)),
        (200, post(BODY, LAST).replace(b"HTTP/1.1", b"HTTP/1.0")),
        (200, post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0")),
        (200, post(BODY, LAST, path=b"http://device:8001" + DATA + b"?x=1")),
        (200, post(BODY, LAST, path=b"/api/receive%2fdata")),
        (200, post(BODY, LAST, b"Content-Length: %d" % len(BODY))),
        (200, b"GET /ready HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (404, b"GET / HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (404, b"GET /api/uploads/ HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (404, b"GET /\xff\x80%00%zz HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (405, b"GET " + DATA + b" HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (405, b"OPTIONS " + DATA + b" HTTP/1.1\r\n" + LAST + b"\r\n\r\n"),
        (405, post(b"", LAST, path=b"/health")),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"),
        (400, b"GET /health\r\n\r\n"),
        (400, b"GET health HTTP/1.1\r\n\r\n"),
        (400, b"GET http://[ HTTP/1.1\r\n\r\n"),
        (400, b"GET ftp://x/health HTTP/1.1\r\n\r\n"),
        (400, b"GET  /health HTTP/1.1\r\n\r\n"),
        (400, b"G\x00T /health HTTP/1.1\r\n\r\n"),
        (400, b"GET /health HTTP/1.1\r\nno field\r\n\r\n"),
        (400, b"GET /health HTTP/1.1\r\nA : b\r\n\r\n"),
        (400, b"GET /health HTTP/1.1\r\nA: b\r\n folded\r\n\r\n"),
        (400, b"GET /health HTTP/1.1\r\nA: b\x00\r\n\r\n"),
        (400, b"GET /health HTTP/1.1\r\nA: b\nC: d\r\n\r\n"),
        (400, post(BODY, b"Content-Length: 3")),
        (400, post(BODY, b"Transfer-Encoding: chunked")),
        (400, CHUNKED.replace(b"1.1", b"1.0")),
        (400, CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")),
        (400, b"POST " + DATA + b" HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        (400, b"POST " + DATA + b" HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n"),
        (400, b"POST " + DATA + b" HTTP/1.1\r\nContent-Length:\r\n\r\n"),
        (413, b"POST " + DATA + b" HTTP/1.1\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n"),
        (413, b"POST " + DATA + b" HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"),
        (431, b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000),
        (501, CHUNKED.replace(b"chunked", b"gzip, chunked")),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, CHUNKED + b"x\r\n"),
        (400, CHUNKED + b"-1\r\n"),
        (400, CHUNKED + b"2\r\n{}3\r\nabc\r\n0\r\n\r\n"),
        (400, CHUNKED + b"2\n{}\n0\n\n" + b" " * 2_000 + b"\r\n"),
        (400, CHUNKED + b"fffffffffffff\r\n"),
        (400, CHUNKED + b"1;" + b"x" * 3_000_000),
        (400, CHUNKED + b"1\r\n{\r\n0\r\n" + b"A: b\r\n" * 200_000),
        (413, CHUNKED + b"fffffff\r\n" + b"x" * 3_000_000),
    ],
)  # fmt: skip
def test_what_a_request_is_answered(receiver: Receiver, status: int, request_: bytes) -> None:
    answer = ask(receiver, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(content) in head.lower()
    assert b"connection: close" in head.lower()
    assert status == 200 or content.startswith(b'{"detail": "')


def test_a_body_in_chunks(receiver: Receiver) -> None:
    """With all that may be said beside them, a byte at a time."""
    chunks = b"".join(b"%X ;of=one\r\n%c\r\n" % (1, byte) for byte in BODY)
    with connect(receiver) as peer:
        for byte in CHUNKED + chunks + b"000\r\nA: trailer\r\n\r\n":
            peer.sendall(bytes([byte]))
        assert peer.recv(65_536).endswith(RECEIVED)
        peer.sendall(post(BODY, LAST))  # on the same connection
        assert read_all(peer).endswith(RECEIVED)


def test_many_requests_on_one_connection(receiver: Receiver) -> None:
    """All in one packet; a HEAD among them, which has no content behind its head."""
    health = b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = ask(receiver, post() + health + post() + post(BODY, LAST))
    assert answer.count(RECEIVED) == 3
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.count(b"{") == 3


def test_who_waits_to_be_asked_for_a_body(receiver: Receiver) -> None:
    head = post(b"", b"Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: %d" % len(BODY))
    with connect(receiver) as peer:
        peer.sendall(head)
        assert peer.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(BODY)
        assert peer.recv(1_000).endswith(RECEIVED)
    refused = head.replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 200000")
    assert ask(receiver, refused).startswith(b"HTTP/1.1 413 ")


def test_what_is_slow_is_ended(receiver: Receiver) -> None:
    for begin in (b"", b"POST " + DATA, post()):
        with connect(receiver) as peer:
            peer.sendall(begin)
            begun_s = running_s()
            read_all(peer)
            assert running_s() - begun_s < 5
    begin = post().replace(b"Content-Length: %d" % len(BODY), b"Content-Length: 1000")
    assert ask(receiver, begin).startswith(b"HTTP/1.1 408 ")
    with connect(receiver) as peer:  # a byte now and then
        peer.settimeout(0.1)
        peer.sendall(begin)
        answer = b""
        while not answer:
            peer.send(b" ")
            with suppress(TimeoutError):
                answer = peer.recv(100)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_owes_a_request_keeps_nobody_out(receiver: Receiver) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(receiver)) for _ in range(30)]
        for peer in idle[::2]:
            with suppress(ConnectionError):
                peer.sendall(post()[:-5])
        assert ask(receiver, post(BODY, LAST)).endswith(RECEIVED)


def test_who_hangs_up_leaves_nothing(receiver: Receiver) -> None:
    before = receiver.files()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(300_000)
    head = post(b"", b"Content-Type: multipart/form-data; boundary=b", path=FILE)
    for sent in (0, 40, 100, 200_000):
        with connect(receiver) as peer:
            peer.sendall(head.replace(b"Content-Length: 0", b"Content-Length: 500000") + form[:sent])
    deadline_s = time.monotonic() + 20
    while receiver.parts() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert receiver.parts() == []
    assert receiver.files() == before


def test_a_wrong_key_is_not_guessed(tmp_path: Path) -> None:
    certificate, key_file = tmp_path / "certificate.pem", tmp_path / "key"
    certificate.write_bytes(make_certificate())
    key_file.write_text("some words\n")
    trusted = ssl.create_default_context(cafile=str(certificate))
    trusted.check_hostname = False
    options = ("--key-file", str(key_file), "--certificate", str(certificate), "--limit", "guesses=3")
    with receiving(tmp_path / "beagle", *options, program=DEVICE) as receiver:
        assert receiver.url.startswith("https://")
        with httpx.Client(base_url=receiver.url, verify=trusted) as client:
            path = DATA.decode()
            assert client.post(path, json={"data": 1}).status_code == 401
            right = {"Authorization": "Bearer some words"}
            assert client.post(path, json={"data": 1}, headers=right).status_code == 200
            foreign = {**right, "Origin": "http://elsewhere.example"}
            assert client.post(path, json={"data": 1}, headers=foreign).status_code == 403
            wrong = {"Authorization": "Bearer other words"}
            guesses = [client.post(path, json={"data": 1}, headers=wrong).status_code for _ in range(5)]
            assert guesses == [401, 401, 401, 429, 429]
            assert client.get("/health").status_code == 200
            _, log = receiver.end(signal.SIGTERM)  # with a connection that waits for another request
            assert "Error" not in log


# --- as a class


async def test_a_receiver_in_a_program(tmp_path: Path) -> None:
    got: list[Any] = []

    async def on_file(event: dict[str, Any]) -> None:
        got.append(event["filename"])

    def shown(event: dict[str, Any]) -> None:
        got.append(event["path"])

    receiver = Receives(tmp_path, "127.0.0.1:0", on_file, lambda event: got.append(event["data"]))
    receiver.inbox.bus.subscribe("file.received", shown)
    async with receiver, httpx.AsyncClient(base_url=receiver.urls[0]) as client:
        assert (await client.post(DATA.decode(), json={"data": 5})).status_code == 200
        assert (await client.post(FILE.decode(), files={"file": ("a.txt", b"x")})).status_code == 200
        await until(lambda: len(got) == 3, "the handlers")
    assert set(got) == {5, str(tmp_path / "a.txt"), "a.txt"}
    assert (tmp_path / "a.txt").read_bytes() == b"x"


async def test_a_request_under_way_ends_before_its_receiver(tmp_path: Path) -> None:
    """One that ends within the time that it has; what is slower is cut off."""
    async with Receives(tmp_path, "127.0.0.1:0") as receiver:
        port = int(receiver.urls[0].rpartition(":")[2])
        slow, quick, idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in (slow, quick):
            writer.write(post()[:-5])
        async with httpx.AsyncClient(base_url=receiver.urls[0]) as client:  # after which both are under way
            await client.get("/health")
        ending = asyncio.create_task(receiver._server.stop(0.5))
        assert await idle[0].read() == b""
        quick[1].write(post()[-5:])
        answer = await quick[0].read()
        assert answer.endswith(RECEIVED)
        assert b"connection: close" in answer
        await ending
        with suppress(ConnectionError):
            assert await slow[0].read() == b""
        for _, writer in (slow, quick, idle):
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"listen": ":8001"}, "needs a key"),
        ({"listen": "192.168.6.2:8001"}, "needs a key"),
        ({"listen": "127.0.0.1"}, "is not HOST:PORT"),
        ({"listen": ["127.0.0.1:70000"]}, "is not HOST:PORT"),
        ({"listen": ":8001", "key": "k", "is_open": True}, "have one of them"),
        ({"accept": ["jpg"]}, "no type such as"),
        ({"limits": ["file_mb=0"]}, "from 1 to"),
        ({"limits": ["file=1"]}, "there is no limit file"),
        ({"limits": ["file_mb"]}, "NAME=NUMBER"),
        ({"certificate_key": "k.pem"}, "needs its certificate"),
        ({"certificate": "/dev/null"}, "cannot be used for HTTPS"),
    ],
)
def test_what_is_wrong_with_a_receiver(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Receives(**options)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, [("127.0.0.1", 8001)]),
        ("", [("127.0.0.1", 8001)]),
        ("http://127.0.0.1:9001", [("127.0.0.1", 9001)]),
        ("http://localhost", [("localhost", 80)]),
        ("https://[::1]/", [("::1", 443)]),
    ],
)
def test_where_it_listens_is_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str | None, expected: list[tuple[str, int]]
) -> None:
    monkeypatch.delenv("CLIENT_SERVER_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("CLIENT_SERVER_URL", url)
    assert Receives()._addresses == expected


@pytest.mark.parametrize("url", ["192.168.6.2:8001", "http://", "http://x:y", "ftp://x"])
def test_an_environment_that_says_no_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLIENT_SERVER_URL", url)
    with pytest.raises(ValueError, match="CLIENT_SERVER_URL is"):
        Receives()

"""The device's end against servers that know nothing of it, and against what networks and servers do."""

import asyncio
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from snyper.device import (
    BadAnswer,
    ClientPush,
    Delivery,
    FileChanged,
    LocalFileAdapter,
    Outbox,
    Refused,
    RemoteFileAdapter,
    ServerFailed,
    TimedOut,
    Unreachable,
    adapter,
    retrying,
)
from snyper.device.delivery import AWAY
from tests.integration.device_harness import (
    DEADLINE_S,
    HOST,
    Scripted,
    Service,
    existing_server,
    scripted_server,
    serving,
    write,
)
from tests.integration.stopwatch import running_s

SERVICE = Service()
MIB = 1024 * 1024


def certificate_for(address: str) -> bytes:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + built.public_bytes(pem)


@pytest.fixture(scope="module")
def existing() -> Iterator[str]:
    with serving(existing_server(SERVICE)) as port:
        yield f"http://{HOST}:{port}"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of no length between tries, and a service that has done nothing."""
    SERVICE.__init__()  # type: ignore[misc]
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)
    for name in ("SERVICE_SERVER_URL", "CLIENT_SERVER_URL", "SERVICE_MODE", "SNYPER_SERVICE_KEY"):
        monkeypatch.delenv(name, raising=False)


# --- existing servers, unmodified


def test_a_file_comes_back_as_json(existing: str, tmp_path: Path) -> None:
    remote = RemoteFileAdapter(server_url=existing)
    assert remote.process(write(tmp_path / "sensor_data.csv", 1000)) == {"size": 1000}
    assert SERVICE.files == [("sensor_data.csv", 1000, "default")]


def test_a_file_comes_back_as_a_file(existing: str, tmp_path: Path) -> None:
    made = write(tmp_path / "result.bin", 200_000)
    SERVICE.result = lambda path, options: str(made)
    (tmp_path / "results").mkdir()
    found = RemoteFileAdapter(existing, save_to=tmp_path / "results").process(write(tmp_path / "a.jpg", 10))
    assert isinstance(found, str)
    assert Path(found).suffix == ".jpg"
    assert Path(found).read_bytes() == made.read_bytes()
    assert list((tmp_path / "results").iterdir()) == [Path(found)]
    assert Path(found).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "text"), [(None, "default"), ("fast", "fast"), ({"size": 3}, '{"size": 3}'), ("", "")]
)
def test_options_go_as_text(existing: str, tmp_path: Path, options: object, text: str) -> None:
    RemoteFileAdapter(existing).process(write(tmp_path / "a", 1), options)  # type: ignore[arg-type]
    assert SERVICE.files[0][2] == (text or "default")  # FastAPI takes an empty field for one left out


@pytest.mark.parametrize(
    "name", ['a"b.txt', "möwe ö.jpg", "ба.jpg", "a;b=c.txt", "a\\b.txt", "%41.txt", "x" * 200]
)
def test_names_of_files_arrive(existing: str, tmp_path: Path, name: str) -> None:
    RemoteFileAdapter(existing).process(write(tmp_path / name, 1))
    assert SERVICE.files[0][0] in (name, name.replace('"', "%22"), name.replace("\\", ""))


def test_a_name_that_is_no_text_is_sent_as_something_else(existing: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n.txt"))
    RemoteFileAdapter(existing).process(write(path, 1))
    assert SERVICE.files[0][0] == "??%0A.txt"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3 * MIB])
def test_sizes(existing: str, tmp_path: Path, size: int) -> None:
    assert RemoteFileAdapter(existing).process(write(tmp_path / "a", size)) == {"size": size}


def test_data(existing: str) -> None:
    remote = RemoteFileAdapter(existing)
    assert remote.process_data({"temperature": 25.3}) == {"temperature": 25.3}
    assert remote.process_data([1], {"k": 2}) == [1]
    assert SERVICE.data == [({"temperature": 25.3}, {}), ([1], {"k": 2})]
    assert remote.post("/api/process/data", {"data": 5}) == {"result": 5}


async def test_within_a_running_loop(existing: str, tmp_path: Path) -> None:
    remote = RemoteFileAdapter(existing)
    path = write(tmp_path / "a", 5)
    assert await remote.process_async(path) == {"size": 5}
    assert await asyncio.to_thread(remote.process, path) == {"size": 5}
    assert remote.process(path) == {"size": 5}
    assert await remote.process_data_async(7) == 7


async def test_pushes(existing: str, tmp_path: Path) -> None:
    push = ClientPush(client_url=existing + "/")
    path = write(tmp_path / "processed_data.csv", 9)
    received = {"status": "ok", "message": "File received", "path": "/tmp/x"}
    assert await push.push_file(path) == received
    assert push.push_file_sync(path) == received
    assert await push.push_data({"a": 1}) == {"status": "ok", "message": "Data received"}
    assert push.push_data_sync({"a": 2})["message"] == "Data received"
    assert SERVICE.files[0] == ("processed_data.csv", 9, "application/octet-stream")


def test_what_a_server_refuses_is_not_sent_again(existing: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="file") as caught:
        RemoteFileAdapter(existing, field="picture").process(write(tmp_path / "a", 1))
    assert caught.value.status == 422


def test_a_file_that_is_none(existing: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RemoteFileAdapter(existing).process(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        RemoteFileAdapter(existing).process(tmp_path)
    with pytest.raises(ValueError, match="no regular file"):
        RemoteFileAdapter(existing).process("/dev/null")
    assert SERVICE.files == []


# --- memory


def test_a_large_file_goes_in_little_memory(tmp_path: Path) -> None:
    size = 64 * MIB
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)

    def swallow(request: Scripted) -> None:
        if request.command == "OPTIONS":
            request.answer(405)
            return
        left = int(request.headers["Content-Length"])
        while left:
            left -= len(request.rfile.read(min(left, 65536)))
        request.answer(200, b"{}")

    sent: list[int] = []
    with scripted_server(swallow) as server:
        tracemalloc.start()
        RemoteFileAdapter(server.url).process(path, on_sent=lambda done, total: sent.append(done))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * MIB
    assert sent[-1] == size


# --- tries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_under_the_same_key(status: int, tmp_path: Path) -> None:
    bodies = []

    def script(request: Scripted) -> None:
        bodies.append(request.body())
        request.answer(status if len(bodies) < 3 else 200, b'{"detail": "later"}')

    with scripted_server(script) as server:
        assert RemoteFileAdapter(server.url).process(write(tmp_path / "a", 10)) == {"detail": "later"}
    keys = {headers["Idempotency-Key"] for _, _, headers in server.requests}
    assert len(server.requests) == 3
    assert len(keys) == 1
    assert len(set(bodies)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 301, 307])
def test_what_does_not_pass_is_tried_once(status: int) -> None:
    with (
        scripted_server(lambda request: request.answer(status, b'{"detail": "no"}')) as server,
        pytest.raises(Refused, match="no") as caught,
    ):
        RemoteFileAdapter(server.url).process_data(1)
    assert caught.value.status == status
    assert caught.value.detail == "no"
    assert len(server.requests) == 1


def test_a_server_that_sends_on_is_said_to() -> None:
    with (
        scripted_server(lambda request: request.answer(307, b"", Location="https://a/b")) as server,
        pytest.raises(Refused, match="it sends on to https://a/b: give the address of that"),
    ):
        RemoteFileAdapter(server.url).process_data(1)
    assert len(server.requests) == 1


def test_tries_end() -> None:
    with (
        scripted_server(lambda request: request.answer(500, b"oh")) as server,
        pytest.raises(ServerFailed, match="oh"),
    ):
        RemoteFileAdapter(server.url, tries=4).process_data(1)
    assert len(server.requests) == 4


def test_two_pieces_of_work_have_two_keys() -> None:
    with scripted_server(lambda request: request.answer(200, b'{"result": 1}')) as server:
        remote = RemoteFileAdapter(server.url)
        remote.process_data(1)
        remote.process_data(1)
    assert len({headers["Idempotency-Key"] for _, _, headers in server.requests}) == 2


def test_a_server_says_when_to_come_back() -> None:
    """By its own clock, whatever the device's is."""
    headers = {"Retry_After": "Sun, 06 Nov 1994 08:49:38 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    times: list[float] = []

    def script(request: Scripted) -> None:
        times.append(time.monotonic())
        request.body()
        if len(times) > 1:
            request.answer(200, b'{"result": 1}')
            return
        request.send_response_only(503)
        for name, value in {**headers, "Content_Length": "0"}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    with scripted_server(script) as server:
        assert RemoteFileAdapter(server.url).process_data(1) == 1
    assert 1 <= times[1] - times[0] < 5


def test_a_server_that_is_away_for_long_is_not_waited_for() -> None:
    with (
        scripted_server(lambda request: request.answer(503, Retry_After="3600")) as server,
        pytest.raises(ServerFailed) as caught,
    ):
        RemoteFileAdapter(server.url).process_data(1)
    assert len(server.requests) == 1
    with (
        scripted_server(lambda request: request.answer(503, Retry_After="60")) as server,
        pytest.raises(TimedOut),
    ):
        RemoteFileAdapter(server.url, total_s=1).process_data(1)
    assert caught.value.retry_after_s == 3600


@pytest.mark.parametrize("said", ["9" * 400, "99999999999999", "\xb2", "Sun, 06 Nov 9994 08:49:38 GMT"])
def test_a_wait_without_an_end_has_one(said: str, tmp_path: Path) -> None:
    """Who delivers goes on, also after one that is no number though it looks like one."""
    outbox = Outbox(tmp_path / "outbox")
    outbox.add_data(1)
    with scripted_server(lambda request: request.answer(503, Retry_After=said)) as server:
        report = Delivery(outbox, server.url).flush(tries=1)
    assert (report.state, report.left) == (AWAY, 1)
    assert report.retry_after_s in (None, 86_400)


def test_a_text_is_no_file_of_the_device(tmp_path: Path) -> None:
    """Whoever asked removes the file that is the result."""
    mine = write(tmp_path / "mine", 1)
    answer = json.dumps(str(mine)).encode()
    with (
        scripted_server(lambda request: request.answer(200, answer)) as server,
        pytest.raises(BadAnswer, match="may be the path of a file or not"),
    ):
        RemoteFileAdapter(server.url).process(write(tmp_path / "a", 1))


def test_waits_grow_and_differ() -> None:
    waits = [[retrying.delay_s(failures) / 0.001 for _ in range(50)] for failures in (1, 2, 3, 40)]
    assert all(0.5 <= one <= 1 for one in waits[0])
    assert all(2 <= one <= 4 for one in waits[2])
    assert len(set(waits[0])) > 40
    assert max(waits[3]) <= 60_000


def test_nobody_there() -> None:
    with socket.create_server((HOST, 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(Unreachable, match="refused"):
        RemoteFileAdapter(f"http://{HOST}:{port}").process_data(1)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (0, "the connection was lost before any answer"),
        (10, "the answer is no HTTP"),
        (60, "cut off"),
        (-2, "cut off after 4,998 of 5,000 bytes: try again"),
    ],
)
def test_an_answer_that_is_cut_off_is_none(cut: int, said: str, tmp_path: Path) -> None:
    content = os.urandom(5000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n"

    def script(request: Scripted) -> None:
        request.body()
        request.wfile.write((head + content)[:cut])
        request.close_connection = True

    (tmp_path / "results").mkdir()
    with scripted_server(script) as server:
        remote = RemoteFileAdapter(server.url, save_to=tmp_path / "results")
        with pytest.raises(Unreachable, match=said):
            remote.process(write(tmp_path / "a.jpg", 10))
    assert len(server.requests) == 3
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"<html>", "no JSON"), (b"\xff", "no JSON"), (b"[" * 100_000, "no JSON"), (b"", "no JSON")],
)
def test_json_that_is_none(content: bytes, said: str) -> None:
    with (
        scripted_server(lambda request: request.answer(200, content)) as server,
        pytest.raises(BadAnswer, match=said),
    ):
        RemoteFileAdapter(server.url).process_data(1)


@pytest.mark.parametrize("status", [200, 404, 502])
def test_a_server_of_another_kind_is_told_from_its_page(status: int) -> None:
    page = b"<!doctype html><html><head><title>\n My &lt;router&gt;\x1b[2J</title><body>" + b"x" * 100_000
    with (
        scripted_server(
            lambda request: request.answer(status, page, Content_Type="text/html; charset=utf-8")
        ) as server,
        pytest.raises((BadAnswer, Refused, ServerFailed)) as caught,
    ):
        RemoteFileAdapter(server.url, tries=1).process_data(1)
    said = str(caught.value)
    assert "BaseHTTP" in said
    assert " answers with a web page, 'My <router>" in said
    assert "check the address" in said
    assert "\x1b" not in said
    assert len(said) < 200


def test_a_result_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()

    def script(request: Scripted) -> None:
        request.body()
        request.answer(200, b"x" * 100_000, Content_Type="text/plain")

    with scripted_server(script) as server:
        remote = RemoteFileAdapter(server.url, save_to=tmp_path / "results", max_result_bytes=99_999)
        with pytest.raises(BadAnswer, match="more than 99999"):
            remote.process(write(tmp_path / "a", 1))
    assert list((tmp_path / "results").iterdir()) == []


def test_an_attached_json_file_is_a_file(tmp_path: Path) -> None:
    def script(request: Scripted) -> None:
        request.body()
        request.answer(200, b"[1]", Content_Disposition="attachment; filename=processed_a.json")

    with scripted_server(script) as server:
        found = RemoteFileAdapter(server.url, save_to=tmp_path).process(write(tmp_path / "a.csv", 1))
    assert Path(found).read_bytes() == b"[1]"
    assert Path(found).suffix == ".json"


@pytest.mark.parametrize("name", ["../../etc/x.sh", "a\x00.png", "a/b", 'a".\\x'])
def test_a_servers_name_leads_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "results").mkdir()

    def script(request: Scripted) -> None:
        request.body()
        request.answer(200, b"x", Content_Type="image/png", Content_Disposition=f'inline; filename="{name}"')

    with scripted_server(script) as server:
        found = RemoteFileAdapter(server.url, save_to=tmp_path / "results").process(write(tmp_path / "a", 1))
    assert list((tmp_path / "results").iterdir()) == [Path(found)]


def test_a_refusal_before_the_end_of_a_body_is_heard(tmp_path: Path) -> None:
    """Of what is too large on its announced length nothing more is sent than is under way."""
    sent = []

    def script(request: Scripted) -> None:
        if request.command == "OPTIONS":
            request.answer(405)
            return
        request.answer(413, b'{"detail": "too large"}')
        request.close_connection = True

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100 * MIB)
    with scripted_server(script) as server, pytest.raises(Refused, match="too large"):
        RemoteFileAdapter(server.url).process(path, on_sent=lambda done, total: sent.append(done))
    assert max(sent, default=0) < 20 * MIB


def test_informational_answers_are_passed_over(tmp_path: Path) -> None:
    """Also those that come before all of the body is out."""

    def script(request: Scripted) -> None:
        request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 104 Later\r\nLocation: /x\r\n\r\n" * 2)
        request.answer(200, b'{"bytes": %d}' % len(request.body()))

    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(MIB)
    with scripted_server(script) as server:
        for _ in range(5):
            assert RemoteFileAdapter(server.url, tries=1, timeout=5).process(path)["bytes"] > MIB


# --- compression

PLAIN = b"reading,21.5\\n" * 20_000


@pytest.mark.parametrize(
    ("content", "takes", "wants", "is_packed"),
    [
        (PLAIN, "gzip, identity", True, True),
        (PLAIN, "gzip, identity", False, False),
        (PLAIN, "", True, False),
        (os.urandom(300_000), "gzip, identity", True, False),
        (b"short", "gzip, identity", True, False),
    ],
)
def test_what_gains_by_it_is_packed(
    content: bytes, takes: str, wants: bool, is_packed: bool, tmp_path: Path
) -> None:
    bodies = []

    def script(request: Scripted) -> None:
        if request.command == "OPTIONS":
            request.answer(405, b"", Accept_Encoding=takes)
            return
        bodies.append(request.body())
        request.answer(200 if len(bodies) % 2 == 0 else 503, b'{"result": 1}')

    path = tmp_path / "a.csv"
    path.write_bytes(content)
    progress: list[tuple[int, int]] = []
    with scripted_server(script) as server:
        remote = RemoteFileAdapter(server.url, compress=wants)
        remote.process(path, on_sent=lambda *sent: progress.append(sent))
        remote.process_data(content.hex())
    posts = [headers for method, _, headers in server.requests if method == "POST"]
    assert bodies[0] == bodies[1]  # of each try
    if not wants or not is_packed:
        assert "Content-Encoding" not in posts[0]
        assert content in bodies[0]
    else:
        assert [headers["Content-Encoding"] for headers in posts] == ["gzip"] * 4
        assert content in gzip.decompress(bodies[0])
        assert json.loads(gzip.decompress(bodies[2]))["data"] == content.hex()
        assert len(bodies[0]) < 10_000
    assert progress[-1] == (len(content), len(content))


def test_a_packed_answer_is_not_unpacked() -> None:
    content = gzip.compress(b'{"result": 1}')
    with (
        scripted_server(lambda request: request.answer(200, content, Content_Encoding="gzip")) as server,
        pytest.raises(BadAnswer, match="packed"),
    ):
        RemoteFileAdapter(server.url, compress=True).process_data(1)


# --- time


def test_the_whole_has_an_end(tmp_path: Path) -> None:
    """Also where something comes every moment, so that no wait is long."""
    over = threading.Event()

    def script(request: Scripted) -> None:
        request.body()
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n")
        while not over.wait(0.05):
            request.wfile.write(b"x")

    with scripted_server(script) as server:
        begun_s = running_s()
        with pytest.raises(TimedOut, match=r"0\.5 s"):
            RemoteFileAdapter(server.url, total_s=0.5, save_to=tmp_path).process(write(tmp_path / "a", 1))
        over.set()
    assert running_s() - begun_s < 5
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    over = threading.Event()

    def silent(request: Scripted) -> None:
        over.wait(DEADLINE_S)
        request.close_connection = True

    with scripted_server(silent) as server:
        with pytest.raises(Unreachable, match="timed out"):
            RemoteFileAdapter(server.url, timeout=0.2, tries=2).process_data(1)
        over.set()
    assert len(server.requests) == 2


async def test_a_call_that_is_cancelled_hangs_up() -> None:
    arrived, gone = threading.Event(), threading.Event()

    def script(request: Scripted) -> None:
        request.body()
        arrived.set()
        if request.connection.recv(1) == b"":
            gone.set()

    with scripted_server(script) as server:
        task = asyncio.create_task(RemoteFileAdapter(server.url).process_data_async(1))
        assert await asyncio.to_thread(arrived.wait, DEADLINE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, DEADLINE_S)
    assert len(server.requests) == 1


# --- a file that changes


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_file_that_changes_is_never_whole_at_the_server(change: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", 500_000)
    whole = threading.Event()

    def script(request: Scripted) -> None:
        length = int(request.headers["Content-Length"])
        if len(request.rfile.read(length)) == length:
            whole.set()
            request.answer(200)

    def on_sent(sent: int, total: int) -> None:
        if 100_000 < sent < 200_000:
            if change == "grow":
                with path.open("ab") as file:
                    file.write(b"x")
            elif change == "shrink":
                os.truncate(path, 250_000)
            else:
                os.utime(path, (1, 1))

    with scripted_server(script) as server, pytest.raises(FileChanged):
        RemoteFileAdapter(server.url).process(path, on_sent=on_sent)
    assert len(server.requests) <= 1  # which may be lost before it is read
    assert not whole.is_set()


# --- keys, TLS, addresses


def test_a_key_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(lambda request: request.answer(200)) as server:
        RemoteFileAdapter(server.url, key="k1").process_data(1)
        monkeypatch.setenv("SNYPER_SERVICE_KEY", "k2\n")
        RemoteFileAdapter(server.url).process_data(1)
        RemoteFileAdapter(server.url, key="").process_data(1)
        RemoteFileAdapter(server.url, key="some words that nobody guesses").process_data(1)
    assert [headers.get("Authorization") for _, _, headers in server.requests] == [
        *("Bearer k1", "Bearer k2", None, "Bearer some words that nobody guesses")
    ]


def test_a_server_is_known_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(lambda request: request.answer(200, b'{"result": 3}')) as server:
        certificate = tmp_path / "both.pem"
        certificate.write_bytes(certificate_for(HOST))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        with pytest.raises(ssl.SSLCertVerificationError):
            RemoteFileAdapter(url).process_data(1)
        monkeypatch.setenv("SNYPER_CA_FILE", str(certificate))
        assert RemoteFileAdapter(url).process_data(1) == 3


@pytest.mark.parametrize("program", ["snyper.device", "snyper.cli"])
def test_a_command_says_what_is_wrong_with_tls(program: str, tmp_path: Path) -> None:
    def send(url: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", program, "send", "1", "--to", url],
            capture_output=True,
            text=True,
            timeout=60,
        )

    with scripted_server(lambda request: request.answer(200, b'{"result": 3}')) as server:
        url = server.url.replace("http:", "https:")
        plain = send(url)
        certificate = tmp_path / "both.pem"
        certificate.write_bytes(certificate_for(HOST))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        unknown = send(url)
        none = send(server.url)
    assert (none.returncode, "is it https:// and not http://?" in none.stderr) == (3, True), none.stderr
    assert (plain.returncode, "is it http:// and not https://?" in plain.stderr) == (3, True), plain.stderr
    assert (unknown.returncode, "SNYPER_CA_FILE names" in unknown.stderr) == (1, True), unknown.stderr
    assert "_ssl.c" not in plain.stderr + unknown.stderr


def test_a_refusal_under_tls_is_heard(tmp_path: Path) -> None:
    """Where nobody sees an answer before it is read."""
    gone = threading.Event()

    def script(request: Scripted) -> None:
        if request.command == "OPTIONS":
            request.answer(405)
            return
        request.answer(413, b'{"detail": "too large"}')
        gone.wait(DEADLINE_S)
        request.close_connection = True

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20 * MIB)
    with scripted_server(script) as server:
        certificate = tmp_path / "both.pem"
        certificate.write_bytes(certificate_for(HOST))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)

        def on_sent(sent: int, total: int) -> None:
            if sent:  # more is on its way than the server reads: it closes
                gone.set()

        remote = RemoteFileAdapter(server.url.replace("http:", "https:"), ca_file=str(certificate), tries=1)
        with pytest.raises(Refused, match="too large"):
            remote.process(path, on_sent=on_sent)


def test_no_proxy_of_the_environment_is_used(existing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert RemoteFileAdapter(existing).process_data(1) == 1


@pytest.mark.parametrize("url", ["", "x", "ftp://a", "http://", "http://u:p@h", "http://h?x", "http://h:x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|http://|port|Port"):
        RemoteFileAdapter(url)


@pytest.mark.parametrize("path", ["api", "", "/a b", "/ä", "/a\n"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        RemoteFileAdapter("http://127.0.0.1:9").post(path, 1)


@pytest.mark.parametrize("key", [" a", "ключ", "a\nb"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        RemoteFileAdapter("http://127.0.0.1:9", key=key)


def test_a_folder_for_results_that_is_none_is_said_before_the_work(existing: str, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        RemoteFileAdapter(existing, save_to=tmp_path / "none").process(write(tmp_path / "a", 1))
    assert SERVICE.files == []


def test_a_url_may_have_a_path() -> None:
    with scripted_server(lambda request: request.answer(200)) as server:
        RemoteFileAdapter(server.url + "/lab/").process_data(1)
    assert server.requests[0][1] == "/lab/api/process/data"


def test_settings_and_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RemoteFileAdapter().server_url == "http://192.168.6.1:8000"
    assert ClientPush().client_url == "http://192.168.6.2:8001"
    monkeypatch.setenv("SERVICE_SERVER_URL", "http://a:1/")
    monkeypatch.setenv("CLIENT_SERVER_URL", "http://b:2")
    assert RemoteFileAdapter().server_url == "http://a:1"
    assert ClientPush().client_url == "http://b:2"


def test_who_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "a", 4)
    assert adapter(lambda path: {"size": path.stat().st_size}).process(path) == {"size": 4}
    monkeypatch.setenv("SERVICE_MODE", "remote")
    assert isinstance(adapter(len), RemoteFileAdapter)
    monkeypatch.setenv("SERVICE_MODE", "elsewhere")
    with pytest.raises(ValueError, match="SERVICE_MODE"):
        adapter()


# --- the same here


async def test_the_same_here(tmp_path: Path) -> None:
    def process(path: Path, options: str) -> object:
        return {"size": path.stat().st_size, "options": options, "pair": (1, 2)}

    path = write(tmp_path / "a.csv", 4)
    local = LocalFileAdapter(process, lambda data, options: {str(data): options})
    expected = {"size": 4, "options": "default", "pair": [1, 2]}
    assert local.process(str(path)) == expected
    assert await local.process_async(path) == expected
    assert local.process(path, {"a": 1})["options"] == '{"a": 1}'
    assert local.process_data(3, {"b": 1}) == {"3": {"b": 1}}
    assert await local.process_data_async(3) == {"3": {}}
    with pytest.raises(FileNotFoundError):
        local.process(tmp_path / "none")
    with pytest.raises(ValueError, match="local"):
        LocalFileAdapter().process(path)
    saved = LocalFileAdapter(lambda path: b"xyz", save_to=tmp_path).process(path)
    assert Path(saved).read_bytes() == b"xyz"  # noqa: ASYNC240
    assert Path(saved).suffix == ".csv"
    assert LocalFileAdapter(lambda path: path).process(path) == str(path)

"""`snyper serve`: what existing clients send, and what they get."""

import gzip
import hashlib
import itertools
import json
import resource
import select
import socket
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.integration.gateway_harness import Background, Serve
from tests.integration.harness import at_length, linux_only, peak_kb, resident_kb, wait_until

FILE = "/api/process/file"
DATA = "/api/process/data"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    serving = Serve(tmp_path_factory.mktemp("gateway"), "--limit", "stall_s=1")
    yield serving
    assert serving.end() == 0


def upload(name: str = "sensor_data.csv", content: bytes = b"1,2,3\n", field: str = "file") -> Any:
    return {field: (name, content, "application/octet-stream")}


# --- answers


def test_json_is_json_and_a_file_is_a_file(server: Serve) -> None:
    answer = server.post(FILE, files=upload(), data={"options": "describe"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"bytes": 6, "suffix": ".csv", "options": "describe"}
    answer = server.post(FILE, files=upload())  # the options left out
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="processed_sensor_data.csv"'
    assert answer.content == b"1,2,3\n"
    server.until_clean()


def test_a_file_has_the_type_of_the_upload_unless_that_says_json(server: Serve) -> None:
    for sent, expected in {
        "text/csv": "text/csv",
        "text/csv; charset=utf-8": "text/csv; charset=utf-8",
        "application/json": "application/octet-stream",
        "application/json; charset=utf-8": "application/octet-stream",
        "application/vnd.thing+json": "application/octet-stream",
        "no type": "application/octet-stream",
        "text/x\x7f": "application/octet-stream",
    }.items():
        answer = server.post(FILE, files={"file": ("a", b"{}", sent)})
        assert answer.headers["content-type"] == expected, sent
        assert answer.content == b"{}"


def test_a_file_of_json_is_a_file(server: Serve) -> None:
    answer = server.post(FILE, files=upload(), data={"options": "new x.json"})
    assert answer.content == b"{}"
    assert "json" not in answer.headers["content-type"]
    assert server.post(FILE, files=upload(), data={"options": "bytes"}).content == b"bytes"


def test_a_picture(server: Serve) -> None:
    answer = server.post("/api/process/image", files=upload(field="image", content=b"\xff\xd8"))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == b"\xff\xd8"


def test_data(server: Serve) -> None:
    assert server.post(DATA, json={"data": [1], "options": {"a": 1}}).json() == {
        "result": {"data": [1], "options": {"a": 1}}
    }
    assert server.post(DATA, json={"data": None}).json() == {"result": {"data": None, "options": {}}}
    assert server.post("/api/far", json={"readings": [1, 2]}).json() == {"anomalies": [1, 2]}


def test_long_data_is_the_same(server: Serve) -> None:
    """It goes to a worker as it came."""
    data = list(range(100_000))
    answer = server.post(DATA, json={"data": data, "options": {"a": 1}})
    assert answer.json() == {"result": {"data": data, "options": {"a": 1}}}
    for wrong, said in {
        '"data"': (422, "the body is JSON, and no object: send {…}"),
        '{"x": 1}': (422, "field 'data' is missing: send {\"data\": …}"),
        '{"data": NaN}': (400, "the body is no JSON: NaN is none"),
        '{"data": ' + "9" * 5000 + "}": (
            400,
            "the body is no JSON: it has an integer of more than 4,300 digits",
        ),
    }.items():
        for long in ("", " " * 300_000):
            answer = server.post(DATA, content=wrong + long)
            assert (answer.status_code, answer.json()["detail"]) == said
    server.until_clean()


def test_requests_sends_the_same(server: Serve) -> None:
    answer = requests.post(server.url + FILE, files={"file": ("ä.csv", b"1")}, timeout=30)
    assert answer.content == b"1"
    assert answer.headers["content-disposition"].endswith("filename*=UTF-8''processed_%C3%A4.csv")
    assert requests.post(server.url + DATA, json={"data": 1}, timeout=30).json()["result"]["data"] == 1


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (b'filename="a.csv"', "processed_a.csv"),
        (b"filename=a.csv", "processed_a.csv"),
        (b"filename*=utf-8''%C3%A4.csv", "processed_%C3%A4.csv"),  # of requests on Python 3.7
        (b'filename="../../etc/passwd"', "processed_passwd"),
        (b'filename="..\\\\..\\\\x.txt"', "processed_x.txt"),
        (b'filename="a\\"b.csv"', "processed_a_b.csv"),
        (b'filename="a%22b.csv"', "processed_a_b.csv"),
        (b'filename="a%0D%0Ax: y"', "processed_a"),
        (b'filename="\x00"', "processed_"),
        (b'filename=""', "processed_file"),
        (b'filename=".."', "processed_file"),
        (b'filename=" a b "', "processed_a b"),
        (b'filename="' + b"x" * 300 + b'.csv"', "processed_xxx"),
        ('filename="дом.csv"'.encode(), "processed_%D0%B4%D0%BE%D0%BC.csv"),
        (b'filename="\xff\xfe.csv"', "processed_"),
        (b'filename="50%.csv"', "processed_50%25.csv"),
    ],
)
def test_names(server: Serve, disposition: bytes, expected: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; %s\r\n\r\nx\r\n--b--\r\n' % disposition
    answer = server.post(FILE, content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 200, answer.text
    assert answer.content == b"x"
    assert expected in answer.headers["content-disposition"]


# --- refusals


@pytest.mark.parametrize(
    ("path", "request_", "status", "word"),
    [
        (FILE, {"files": upload(field="image")}, 422, "'file'"),
        (FILE, {"data": {"file": "text"}}, 415, "'file'"),
        (FILE, {"files": {"file": (None, "text")}}, 422, "'file'"),
        (FILE, {"files": [*upload().items(), *upload().items()]}, 422, "twice"),
        (FILE, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415, "'file'"),
        (FILE, {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "form"),
        (
            FILE,
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            400,
            "form",
        ),
        ("/api/stt/transcribe", {"files": upload()}, 422, "'audio'"),
        ("/api/stt/transcribe", {"files": upload(field="audio", content=bytes(100_001))}, 413, "100,000"),
        ("/api/stt/transcribe", {"files": upload(field="audio", content=bytes(10**6))}, 413, "limit"),
        (DATA, {"json": {"options": {}}}, 422, "'data'"),
        (DATA, {"json": {"data": 1, "options": "text"}}, 422, "'options'"),
        (DATA, {"json": [1]}, 422, "object"),
        (DATA, {"content": b""}, 400, "JSON"),
        (DATA, {"content": b"{'data': 1}"}, 400, "JSON"),
        (DATA, {"content": b'{"data": NaN}'}, 400, "NaN"),
        (DATA, {"content": b'{"data": 1e999}'}, 400, "too large"),
        (DATA, {"content": b'{"data": "\xff"}'}, 400, "JSON"),
        (DATA, {"content": b'{"data": ' + b"[" * 100_000}, 400, "deep"),
        (DATA, {"content": b"{}", "headers": {"content-encoding": "br"}}, 415, "gzip"),
        (DATA, {"content": b"{}", "headers": {"content-encoding": "gzip"}}, 400, "gzip"),
        (DATA, {"content": gzip.compress(b"{}")[:-1], "headers": {"content-encoding": "gzip"}}, 400, "gzip"),
        (DATA, {"json": {"data": 1}, "headers": {"idempotency-key": '""'}}, 400, "Idempotency-Key"),
        (DATA, {"json": {"data": 1}, "headers": {"idempotency-key": "k" * 256}}, 400, "Idempotency-Key"),
        (DATA, {"json": {"data": 1}, "headers": {"origin": "http://other.example"}}, 403, "site"),
        (DATA, {"json": {"data": 1}, "headers": {"origin": "http://["}}, 403, "site"),
        ("/api/nothing", {"json": {}}, 404, "there is nothing at /api/nothing"),
        ("/upload", {"json": {}}, 404, "at /upload: `snyper gateway --arrays FOLDER` serves it"),
        ("/health", {"json": {}}, 405, "method"),
    ],
)
def test_refusals(server: Serve, path: str, request_: Any, status: int, word: str) -> None:
    calls = server.calls("process_data")
    answer = server.post(path, **request_)
    assert answer.status_code == status, answer.text
    assert word in answer.json()["detail"]
    assert server.calls("process_data") == calls
    server.until_clean()


def test_what_services_do_wrong(server: Serve) -> None:
    raised = server.post(DATA, json={"data": "raise"})
    assert (raised.status_code, raised.json()) == (500, {"detail": "RuntimeError: it is broken"})
    invalid = server.post(DATA, json={"data": "invalid"})
    assert (invalid.status_code, invalid.json()) == (422, {"detail": "another word"})
    assert server.post("/api/slow", json={"data": 1}).status_code == 504
    died = server.post(DATA, json={"data": "die"})
    assert died.status_code == 500
    assert server.post(DATA, json={"data": 1}).status_code == 200


def test_one_of_three_is_killed_and_the_others_arrive(server: Serve) -> None:
    with httpx.Client(timeout=30) as client:
        sent = [Background(client.post, server.url + DATA, json={"data": data}) for data in (1, 2, "die", 3)]
        assert sorted(one.result().status_code for one in sent) == [200, 200, 200, 500]


# --- sizes


def head(path: str, length: int, content_type: str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", *more]
    if length >= 0:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def answer_of(sock: socket.socket) -> tuple[int, bytes]:
    """Read an answer, to the connection's end or to that of its body."""
    answer = b""
    while chunk := sock.recv(65_536):
        answer += chunk
        heads, separator, body = answer.partition(b"\r\n\r\n")
        if separator and len(body) >= int(heads.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            break
    return int(answer.split()[1]), body


def test_what_is_announced_too_large_is_refused_before_it_is_sent(server: Serve) -> None:
    for expect in ((), ("Expect: 100-continue",)):
        with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
            sock.sendall(head(FILE, 2**31, "multipart/form-data; boundary=b", *expect))
            assert answer_of(sock)[0] == 413


def test_requests_ahead_of_their_answers_are_few(server: Serve) -> None:
    request = head("/health", 0, "text/plain").replace(b"POST", b"GET")
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(request * 20)
        received = b""
        while received.count(b'"status":"ok"') < 20:
            received += sock.recv(65_536)
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock, pytest.raises(ConnectionError):
        send_again_and_again(sock, request * 100, 1_000)


def send_again_and_again(sock: socket.socket, content: bytes, count: int) -> None:
    for _ in range(count):
        sock.sendall(content)


def test_who_only_writes_sees_the_refusal_of_a_large_file(server: Serve) -> None:
    answer = requests.post(
        server.url + "/api/stt/transcribe", files={"audio": ("a", bytes(20_000_000))}, timeout=30
    )
    assert answer.status_code == 413


def test_a_body_without_a_length_is_cut_at_the_limit(server: Serve) -> None:
    seen = []
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        chunked = "Transfer-Encoding: chunked"
        sock.sendall(head("/api/stt/transcribe", -1, "multipart/form-data; boundary=b", chunked))
        part = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
        sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sock.setblocking(False)
        block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        while True:
            seen.append(sum(path.stat().st_size for path in server.files()))
            try:
                if sock.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                pass
            try:
                sock.send(block)
            except BlockingIOError:
                continue
        sock.setblocking(True)
        assert answer_of(sock)[0] == 413
    assert max(seen) <= 100_000 + 262_144
    server.until_clean()


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"POST /api/process/data HTTP/1.1\r\nHost: ", b"x" * 1000),
        (b"POST /api/process/data HTTP/1.1\r\n", b"A: b\r\n"),
        (b"POST /", b"x" * 1000),
        (
            head(DATA, -1, "application/json", "Transfer-Encoding: chunked") + b"1\r\n{\r\n0\r\n",
            b"A: b\r\n" * 100,
        ),
        (head(DATA, -1, "application/json", "Transfer-Encoding: chunked") + b"1;", b"x" * 1000),
    ],
    ids=["header", "headers", "path", "trailers", "extension"],
)
def test_what_has_no_end_is_cut_off(server: Serve, begin: bytes, piece: bytes) -> None:
    sent = len(begin)
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(begin)
        with suppress(OSError):  # reset, or a broken pipe
            while sent < 10_000_000:
                sent += sock.send(piece)
    assert sent < 10_000_000


def test_two_requests_in_one_packet(server: Serve) -> None:
    one = head(DATA, 12, "application/json") + b'{"data": 11}'
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(one + one.replace(b"11", b"22"))
        answers = b""
        while answers.count(b'"result"') < 2:
            answers += sock.recv(65_536)
    assert answers.index(b'"data":11') < answers.index(b'"data":22')


def test_gzip(server: Serve) -> None:
    packed = {"content-encoding": "gzip"}
    body = json.dumps({"data": "x" * 1000}).encode()
    assert (
        server.post(DATA, content=gzip.compress(body), headers=packed).json()["result"]["data"] == "x" * 1000
    )
    members = gzip.compress(body[:10]) + gzip.compress(body[10:])
    assert server.post(DATA, content=members, headers=packed).status_code == 200


@pytest.mark.slow
def test_a_gzip_bomb(server: Serve) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(10**6)) for _ in range(400)) + packer.flush()
    before_kb = resident_kb(server.pid)
    answer = server.post(DATA, content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert resident_kb(server.pid) - before_kb < 50_000


def test_a_form_in_pieces_of_one_byte(server: Serve) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--\r\n--b--\r\n'

    def pieces() -> Iterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]

    content_type = {"content-type": "multipart/form-data; boundary=b"}
    assert server.post(FILE, content=pieces(), headers=content_type).content == b"\r\n--"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")
def test_a_disk_that_takes_no_more(server: Serve) -> None:
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    answer = server.post(FILE, files=upload(content=bytes(400_000)))
    assert answer.status_code == 507
    assert answer.headers["retry-after"] == "60"
    server.until_clean()
    assert server.post(FILE, files=upload()).status_code == 200
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    assert server.post(FILE, files=upload(content=bytes(400_000))).status_code == 200


def test_twelve_megabytes(server: Serve) -> None:
    content = bytes(range(256)) * 47_000
    assert server.post(FILE, files=upload(content=content)).content == content


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks for the memory of another process")
def test_a_large_file_takes_no_memory(server: Serve) -> None:
    """Nor its way back."""
    block = bytes(range(256)) * 4000
    count = at_length(500, 40) * 1_000_000 // len(block)
    begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    assert server.post(FILE, files=upload(content=block)).status_code == 200
    before_kb = peak_kb(server.pid)
    content_type = {"content-type": "multipart/form-data; boundary=b"}
    body = itertools.chain([begin], itertools.repeat(block, count), [b"\r\n--b--\r\n"])
    received = hashlib.sha256()
    with httpx.stream("POST", server.url + FILE, content=body, headers=content_type, timeout=300) as answer:
        for piece in answer.iter_bytes():
            received.update(piece)
    expected = hashlib.sha256()
    for _ in range(count):
        expected.update(block)
    assert received.digest() == expected.digest()
    assert peak_kb(server.pid) - before_kb < 4_000
    server.until_clean()


# --- hang-ups


@pytest.mark.parametrize("sent", [0, 1, 40, 100_000])
def test_who_hangs_up_while_sending_leaves_nothing(server: Serve, sent: int) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(400_000)
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(head(FILE, len(body), "multipart/form-data; boundary=b") + body[:sent])
        if sent == 100_000:
            wait_until(lambda: (server.state / "snyper-spool").exists(), "it is read")
    server.until_clean()
    assert server.post(FILE, files=upload()).status_code == 200


def test_a_body_that_stalls_is_given_up(server: Serve) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(head(DATA, 100, "application/json") + b"{")
        assert answer_of(sock)[0] == 408


def test_a_body_that_trickles_is_given_up(server: Serve) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 0.1) as sock:
        sock.sendall(head(DATA, 1000, "application/json") + b"{")
        answer = b""
        while not answer:
            sock.send(b" ")
            with suppress(TimeoutError):
                answer = sock.recv(100)
    assert b" 408 " in answer


@linux_only  # which has more than one address of its own
def test_an_address_has_half_of_the_places_while_its_bodies_come(tmp_path: Path) -> None:
    limits = ("--limit", "places=2", "--limit", "hold_s=1", "--limit", "stall_s=5")
    server = Serve(tmp_path, *limits)
    with server.held("far"):  # what is read has all of them
        both = [Background(server.post, "/api/far", json={"readings": n}) for n in range(2)]
        wait_until(lambda: server.calls("far") == 2, "both are worked on")
    assert [one.result().status_code for one in both] == [200, 200]
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(2)
        ]
        for sock in silent:
            sock.sendall(head(DATA, 100, "application/json"))
        answered, _, _ = select.select(silent, [], [], 30)
        assert [answer_of(sock)[0] for sock in answered] == [503]
        other = HTTPConnection("127.0.0.1", server.port, 30, source_address=("127.0.0.2", 0))
        other.request("POST", DATA, body='{"data": 1}')
        assert other.getresponse().status == 200
        other.close()
    assert server.end() == 0


def test_queued_work_of_who_hung_up_never_starts(server: Serve) -> None:
    before = server.calls("process_data")
    with server.held("far"):
        busy = [Background(server.post, "/api/far", json={"readings": n}) for n in range(2)]
        wait_until(lambda: httpx.get(server.url + "/health").json()["busy"] == 2, "all workers are busy")
        connection = server.connect()
        connection.request("POST", DATA, body='{"data": "hung up"}')
        wait_until(lambda: httpx.get(server.url + "/health").json()["waiting"] == 1, "it waits")
        connection.close()
        wait_until(lambda: httpx.get(server.url + "/health").json()["waiting"] == 0, "it is dropped")
    assert [one.result().status_code for one in busy] == [200, 200]
    assert server.calls("process_data") == before
    server.until_clean()


def test_a_repeat_joins_what_runs(server: Serve) -> None:
    """The document's client gives up after 30 s and sends the same again: nothing is done twice."""
    before = server.calls("process")
    with server.held("process"):
        first = post_and_hang_up(server)
        wait_until(lambda: server.calls("process") == before + 1, "it runs")
        first.close()
        again = Background(server.post, FILE, files=upload("joined.csv"))
        other = Background(server.post, FILE, files=upload("other.csv"))
        wait_until(lambda: server.calls("process") == before + 2, "the other one runs")
    assert again.result().content == other.result().content == b"1,2,3\n"
    assert server.calls("process") == before + 2
    server.until_clean()


def post_and_hang_up(server: Serve) -> HTTPConnection:
    connection = server.connect()
    built = httpx.Request("POST", server.url + FILE, files=upload("joined.csv"))
    connection.request("POST", FILE, body=built.read(), headers=dict(built.headers))
    return connection


@pytest.mark.slow
def test_a_result_that_nobody_took_waits_for_the_repeat(server: Serve) -> None:
    before = server.calls("process_data")
    connection = server.connect()
    with server.held("process_data"):
        connection.request("POST", DATA, body='{"data": "unclaimed"}')
        wait_until(lambda: server.calls("process_data") == before + 1, "it runs")
        connection.close()
        wait_until(lambda: len(list_of_sockets(server)) == 0, "the server knows")
    wait_until(lambda: httpx.get(server.url + "/health").json()["busy"] == 0, "it is done")
    assert server.post(DATA, content='{"data": "unclaimed"}').status_code == 200
    assert server.calls("process_data") == before + 1
    assert server.post(DATA, content='{"data": "unclaimed"}').status_code == 200
    assert server.calls("process_data") == before + 2  # the first answer was taken: this one is new


def list_of_sockets(server: Serve) -> list[str]:
    """The connections that the server has."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    port = f":{server.port:04X}"
    return [line for line in lines if line.split()[1].endswith(port) and line.split()[3] in ("01", "08")]

"""Files and data over HTTP into an inbox: by the document's client, by hostile ones, in pieces."""

import asyncio
import base64
import hashlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests.integration.receiver import DEVICE, SNYPER, Receiver, receiving
from tests.integration.stopwatch import running_s
from tests.unit.test_inbox_names import HOSTILE

FILE, DATA = "/api/receive/file", "/api/receive/data"
CONTENT = bytes(range(256)) * 12_000  # 3 MB
DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"
FORM = "multipart/form-data; boundary=b"
PARTIAL = {"Content-Type": "application/partial-upload"}


@pytest.fixture(scope="module", params=[SNYPER, DEVICE])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    limits = ("--limit", "file_mb=5", "--limit", "data_kb=50")
    with receiving(tmp_path_factory.mktemp("receiver"), *limits, program=request.param) as found:
        yield found
        _, said = found.end(signal.SIGTERM)
        assert [line for line in said.splitlines() if not line.startswith("receive: ")] == []


@pytest.fixture
def client(receiver: Receiver) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=receiver.url, timeout=30) as found:
        yield found
    assert until(lambda: receiver.parts() == []), receiver.parts()


def until(is_so: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    end_s = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


def path_in(answer: Any) -> Path:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert {**body, "path": ""} == {"status": "ok", "message": "File received", "path": ""}
    return Path(body["path"])


def create(client: httpx.Client, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(FILE, headers={"Upload-Complete": "?0", **named})


def append(
    client: httpx.Client, at: str, offset: int, content: bytes, last: str = "?0", **more: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    headers = {**PARTIAL, "Upload-Offset": str(offset), "Upload-Complete": last, **named}
    return client.patch(at, content=content, headers=headers)


# --- plain


async def test_the_documents_client(receiver: Receiver, tmp_path: Path) -> None:
    source = tmp_path / "processed data.csv"
    source.write_bytes(CONTENT)
    async with httpx.AsyncClient(timeout=30.0) as client:
        with source.open("rb") as file:
            files = {"file": (source.name, file, "application/octet-stream")}
            response = await client.post(f"{receiver.url}{FILE}", files=files)
        data = await client.post(f"{receiver.url}{DATA}", json={"data": {"t": 25.3}})
    assert data.json() == {"status": "ok", "message": "Data received"}
    path = path_in(response)
    assert path == receiver.into / "processed data.csv"
    assert receiver.files()[path.name] == CONTENT
    about = {"path": str(path), "filename": source.name, "content_type": "application/octet-stream"}
    assert await asyncio.to_thread(until, lambda: about in receiver.events())
    assert await asyncio.to_thread(until, lambda: {"data": {"t": 25.3}} in receiver.events())


def test_requests_and_a_picture(receiver: Receiver) -> None:
    files = {"file": ("möwe.jpg", CONTENT, "image/jpeg")}
    path = path_in(requests.post(receiver.url + FILE, files=files, timeout=30))
    assert path.name == "möwe.jpg"
    assert until(lambda: any(one.get("content_type") == "image/jpeg" for one in receiver.events()))


def test_health_counts(client: httpx.Client) -> None:
    answer = client.get("/health").json()
    assert answer["status"] == "ok"
    assert set(answer) == {"status", "received", "parts", "part_bytes", "waiting"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name and "\ud800" not in name])
def test_a_hostile_name(client: httpx.Client, receiver: Receiver, name: str) -> None:
    content = name.encode()
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
        + name.replace("\\", "\\\\").replace('"', '\\"').encode()
        + b'"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )  # fmt: skip
    answer = client.post(FILE, content=body, headers={"Content-Type": FORM})
    if set(name) & set("\n\r\0"):  # which a header cannot hold
        assert answer.status_code in (200, 400), answer.text
        return
    path = path_in(answer)
    assert path.parent == receiver.into
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (415, "application/json", b"{}"),
        (415, "text/plain", b"x"),
        (415, "multipart/form-data", b"x"),
        (400, FORM, b""),
        (400, FORM, b"--b"),
        (400, FORM, b"nonsense"),
        (400, FORM, b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx'),
        (422, FORM, b'--b\r\nContent-Disposition: form-data; name="b"; filename="a"\r\n\r\nx\r\n--b--\r\n'),
        (422, FORM, b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'),
    ],
)  # fmt: skip
def test_a_hostile_form(
    client: httpx.Client, receiver: Receiver, status: int, media_type: str, body: bytes
) -> None:
    before = receiver.files()
    answer = client.post(FILE, content=body, headers={"Content-Type": media_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert receiver.files() == before


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"{"),
        (400, b'{"data": NaN}'),
        (400, b'{"data": 1e999}'),
        (400, b"[" * 20_000),
        (400, b'{"data": "\xff"}'),
        (422, b"[]"),
        (422, b"{}"),
        (413, b'{"data": "' + b"x" * 60_000 + b'"}'),
        (200, b'{"data": null}'),
        (200, b'{"data": "\\ud800\\u0000", "more": 1}'),
    ],
)
def test_hostile_data(client: httpx.Client, status: int, body: bytes) -> None:
    answer = client.post(DATA, content=body)
    assert answer.status_code == status, answer.text


def test_what_is_too_large_is_refused_unread(receiver: Receiver) -> None:
    """By its announced length, and one without a length once it is beyond."""
    host, port = receiver.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as peer:
        peer.sendall(
            f"POST {FILE} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 50000000\r\n\r\n".encode()
        )
        assert peer.recv(100).startswith(b"HTTP/1.1 413")

    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield bytes(100_000)

    headers = {"Content-Type": FORM}
    answer = httpx.post(receiver.url + FILE, content=endless(), headers=headers, timeout=30)
    assert answer.status_code == 413
    assert until(lambda: receiver.parts() == [])


def test_one_name_at_once(client: httpx.Client, receiver: Receiver) -> None:
    def send(number: int) -> Path:
        files = {"file": ("Same.txt" if number % 2 else "same.TXT", str(number).encode())}
        return path_in(httpx.post(receiver.url + FILE, files=files, timeout=30))

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(send, range(16)))
    assert len({path.name.casefold() for path in paths}) == 16
    assert [path.read_bytes() for path in paths] == [str(number).encode() for number in range(16)]


# --- again


@pytest.mark.parametrize("key", ['"quoted-1"', "bare-1"])
def test_what_is_sent_again_is_kept_once(client: httpx.Client, receiver: Receiver, key: str) -> None:
    headers = {"Idempotency-Key": key}
    first = path_in(client.post(FILE, files={"file": ("once.txt", key)}, headers=headers))
    assert path_in(client.post(FILE, files={"file": ("once.txt", key)}, headers=headers)) == first
    other = client.post(FILE, files={"file": ("once.txt", "other")}, headers=headers)
    assert other.status_code == 422
    assert list(receiver.files().values()).count(key.encode()) == 1


def test_data_is_kept_once(client: httpx.Client, receiver: Receiver) -> None:
    headers = {"Idempotency-Key": "data-once"}
    for body in ('{"data": {"a": "once", "b": 2}}', '{"data":{"b":2,"a":"once"}}'):
        assert client.post(DATA, content=body, headers=headers).json()["message"] == "Data received"
    assert client.post(DATA, json={"data": 3}, headers=headers).status_code == 422
    client.post(DATA, json={"data": "the end"})
    assert until(lambda: {"data": "the end"} in receiver.events())
    assert receiver.events().count({"data": {"a": "once", "b": 2}}) == 1


# --- in pieces


def test_an_upload_in_pieces(client: httpx.Client, receiver: Receiver) -> None:
    offer = client.options(FILE)
    assert offer.status_code == 204
    assert offer.headers["Accept-Patch"] == "application/partial-upload"
    assert offer.headers["Upload-Limit"] == "max-size=5000000, max-age=86400"
    about = {
        "Upload_Length": str(len(CONTENT)),
        "Content_Type": "image/jpeg",
        "Content_Disposition": "inline; filename=\"m_we.jpg\"; filename*=UTF-8''..%2Fm%C3%B6we%202.jpg",
        "Repr_Digest": DIGEST,
        "Idempotency_Key": '"pieces"',
    }
    created = create(client, **about)
    assert created.status_code == 201
    assert (created.headers["Upload-Offset"], created.headers["Upload-Complete"]) == ("0", "?0")
    at = created.headers["Location"]
    answer = append(client, at, 0, CONTENT[:1_000_000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "1000000")
    wrong = append(client, at, 0, CONTENT[:100])
    assert (wrong.status_code, wrong.headers["Upload-Offset"]) == (409, "1000000")
    asked = client.head(at)
    assert asked.status_code == 204
    assert (asked.headers["Upload-Offset"], asked.headers["Upload-Complete"]) == ("1000000", "?0")
    assert (asked.headers["Upload-Length"], asked.headers["Cache-Control"]) == (str(len(CONTENT)), "no-store")
    again = create(client, **about)
    assert (again.status_code, again.headers["Location"], again.headers["Upload-Offset"]) == (
        201,
        at,
        "1000000",
    )
    assert create(client, **{**about, "Upload_Length": "5"}).status_code == 422
    assert client.get("/health").json()["parts"] == 1
    early = append(client, at, 1_000_000, CONTENT[1_000_000:2_000_000], "?1")
    assert early.status_code == 400
    assert "Upload-Complete" not in early.headers
    last = append(client, at, 1_000_000, CONTENT[1_000_000:], "?1", Repr_Digest=DIGEST)
    path = path_in(last)
    assert last.headers["Upload-Complete"] == "?1"
    assert path.name == "möwe 2.jpg"
    assert path.read_bytes() == CONTENT
    for answer in (create(client, **about), append(client, at, len(CONTENT), b"", "?1")):
        assert path_in(answer) == path
        assert answer.headers["Upload-Complete"] == "?1"
    asked = client.head(at)
    assert (asked.headers["Upload-Offset"], asked.headers["Upload-Complete"]) == (str(len(CONTENT)), "?1")
    assert list(receiver.files()).count("möwe 2.jpg") == 1


def test_an_upload_with_its_creation(client: httpx.Client) -> None:
    headers = {"Upload-Complete": "?1", "Content-Disposition": 'inline; filename="at once.bin"'}
    answer = client.post(FILE, content=CONTENT, headers=headers)
    assert answer.headers["Upload-Complete"] == "?1"
    assert path_in(answer).read_bytes() == CONTENT


def test_uploads_that_are_wrong(client: httpx.Client, receiver: Receiver) -> None:
    before = receiver.files()
    wrong = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
    at = create(client, Upload_Length="3", Repr_Digest=wrong).headers["Location"]
    answer = append(client, at, 0, b"abc", "?1")
    assert answer.status_code == 422
    assert "Upload-Complete" not in answer.headers
    assert client.head(at).status_code == 404
    for answer in (append(client, at, 0, b"abc"), client.delete(at), client.head("/api/uploads/..%2Fx")):
        assert answer.status_code == 404
    too_large = create(client, Upload_Length="50000000")
    assert (too_large.status_code, too_large.headers["Upload-Limit"]) == (
        413,
        "max-size=5000000, max-age=86400",
    )
    assert create(client, Repr_Digest="sha-256=:AAAA:").status_code == 400
    assert create(client, Content_Encoding="gzip").status_code == 415
    at = create(client, Upload_Length="3").headers["Location"]
    assert client.patch(at, content=b"x").status_code == 415
    assert client.patch(at, content=b"x", headers=PARTIAL).status_code == 400
    assert append(client, at, 0, b"abc", Content_Encoding="gzip").status_code == 415
    assert append(client, at, 0, b"abcd").status_code == 400
    assert append(client, at, 0, b"abc", Upload_Length="4").status_code == 400
    assert client.delete(at).status_code == 204
    assert client.head(at).status_code == 404
    assert receiver.files() == before


def test_an_upload_beyond_its_length_is_gone(client: httpx.Client) -> None:
    at = create(client, Upload_Length="3").headers["Location"]
    answer = client.patch(
        at, content=iter([b"abcd"]), headers={**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?0"}
    )
    assert answer.status_code == 400
    assert client.head(at).status_code == 404


def test_a_newcomer_ends_its_stale_predecessor(client: httpx.Client, receiver: Receiver) -> None:
    at = create(client, Upload_Length=str(len(CONTENT))).headers["Location"]
    host, port = receiver.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as stale:
        head = f"PATCH {at} HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\n"
        head += f"Upload-Offset: 0\r\nUpload-Complete: ?1\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        stale.sendall(head.encode() + CONTENT[:500_000])
        part = receiver.into / ".inbox" / "parts" / at.rpartition("/")[2]
        assert until(lambda: part.stat().st_size == 500_000)
        begun_s = running_s()
        assert client.head(at).headers["Upload-Offset"] == "500000"
        assert running_s() - begun_s < 2
        answer = append(client, at, 500_000, CONTENT[500_000:], "?1")
        assert path_in(answer).read_bytes() == CONTENT
        begun_s = running_s()
        assert b" 409 " in stale.recv(1_000)
        while stale.recv(1_000):
            pass
        assert running_s() - begun_s < 2


def test_parts_are_shown(client: httpx.Client, receiver: Receiver) -> None:
    at = create(client, Upload_Length="10", Content_Disposition='inline; filename="half.txt"').headers[
        "Location"
    ]
    append(client, at, 0, b"abcd")
    assert [(one["filename"], one["received"], one["length"]) for one in receiver.listed()] == [
        ("half.txt", 4, 10)
    ]
    client.delete(at)

"""Uploads in pieces to services: what comes of one is what comes of the same file in a form."""

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from snyper.device import RemoteFileAdapter, retrying
from tests.integration.device_harness import relayed, write
from tests.integration.gateway_harness import Serve
from tests.integration.harness import wait_until

MIB = 1 << 20
PATH = "/api/process/file"
PARTIAL = {"Content-Type": "application/partial-upload"}


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running = Serve(tmp_path_factory.mktemp("serve"), "--limit", "hold_s=1")
    yield running
    running.end()


@pytest.fixture(autouse=True)
def _nothing_is_left(serve: Serve) -> Iterator[None]:
    yield
    wait_until(lambda: files_in(serve, "uploads/parts", "spool") == [], "no litter")


def files_in(serve: Serve, *folders: str) -> list[Path]:
    return [path for name in folders for path in (serve.state / name).rglob("*") if path.is_file()]


def created(serve: Serve, key: str, size: int, query: str = "?options=describe+it") -> httpx.Response:
    headers = {"Upload-Complete": "?0", "Upload-Length": str(size), "Idempotency-Key": key}
    headers["Content-Disposition"] = 'inline; filename="a file.wav"'
    return httpx.post(serve.url + PATH + query, headers=headers, timeout=30)


def finished(serve: Serve, at: str, content: bytes) -> httpx.Response:
    headers = {**PARTIAL, "Upload-Offset": "0", "Upload-Complete": "?1"}
    return httpx.patch(serve.url + at, content=content, headers=headers, timeout=30)


def test_an_adapter_over_cuts(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.01)
    before = serve.calls("process")
    path = write(tmp_path / "large.wav", 6 * MIB)
    cuts = sorted(random.Random(1).sample(range(6 * MIB), 5))
    with relayed(serve.port, cuts) as relay:
        result = RemoteFileAdapter(relay.url).process(path, {"describe": 1})
        assert relay.cuts_left == 0
        assert relay.sent - 6 * MIB < MIB
    assert isinstance(result, str)  # the file itself comes back
    assert Path(result).read_bytes() == path.read_bytes()
    assert serve.calls("process") == before + 1
    Path(result).unlink()


def test_an_answer_that_was_lost_comes_again(serve: Serve) -> None:
    before = serve.calls("process")
    at = created(serve, "lost", 3).headers["Location"]
    answer = finished(serve, at, b"abc")
    assert answer.json() == {"bytes": 3, "suffix": ".wav", "options": "describe it"}
    assert answer.headers["Upload-Complete"] == "?1"
    assert httpx.head(serve.url + at).headers["Upload-Complete"] == "?1"
    again = created(serve, "lost", 3)
    assert (again.status_code, again.content) == (200, answer.content)
    assert again.headers["Upload-Complete"] == "?1"
    other = created(serve, "lost", 4)
    assert other.status_code == 422
    same = httpx.post(
        serve.url + PATH,
        headers={"Idempotency-Key": "lost"},
        files={"file": ("a file.wav", b"abc", "application/octet-stream")},
        data={"options": "describe it"},
    )
    assert same.content == answer.content
    assert serve.calls("process") == before + 1


def test_a_refused_one_need_not_be_sent_again(serve: Serve) -> None:
    """While all workers are busy. Its place in the queue is kept."""
    before = serve.calls("process")
    with serve.held("process_data"):
        with httpx.Client(base_url=serve.url, timeout=30) as client:
            busy = [
                client.post("/api/process/data", json={"data": number}, headers={"Prefer": "respond-async"})
                for number in range(2)
            ]
            assert [answer.status_code for answer in busy] == [202, 202]
            at = created(serve, "busy", 3).headers["Location"]
            answer = finished(serve, at, b"abc")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.headers["Upload-Complete"] == "?1"
    again = created(serve, "busy", 3)
    assert again.json()["bytes"] == 3
    assert serve.calls("process") == before + 1


def test_the_limit_is_the_services_own(serve: Serve) -> None:
    offer = httpx.options(serve.url + "/api/stt/transcribe")
    assert "max-size=100000," in offer.headers["Upload-Limit"]
    headers = {"Upload-Complete": "?0", "Upload-Length": "100001"}
    assert httpx.post(serve.url + "/api/stt/transcribe", headers=headers).status_code == 413
    headers["Upload-Length"] = "100000"
    at = httpx.post(serve.url + "/api/stt/transcribe", headers=headers).headers["Location"]
    answer = finished(serve, at, bytes(100_000))
    assert answer.json() == {"text": "100000"}

"""A disk with little room: what comes for services is refused, to be sent again, and leaves nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from snyper.services import Busy, Client, close
from tests.integration.calls_harness import HubProcess
from tests.integration.gateway_harness import Serve

FILE = "/api/process/file"
DATA = "/api/process/data"
RESERVE_MB = 4  # of 12


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@pytest.fixture
def serve(hub: HubProcess, small_disk: Path) -> Iterator[Serve]:
    limit = f"--limit=keep_free_mb={RESERVE_MB}"
    running = Serve(small_disk, limit, "--hub", hub.address, "--name", "laptop")
    yield running
    assert running.end() == 0


def in_pieces(size: int) -> Iterator[bytes]:
    """Make a form with a file of so many bytes."""
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    for _ in range(0, size, 65_536):
        yield bytes(65_536)
    yield b"\r\n--b--\r\n"


def test_so_much_of_the_disk_stays_free(hub: HubProcess, serve: Serve, small_disk: Path) -> None:
    client = Client(hub=hub.address, name="laptop")
    with httpx.Client(base_url=serve.url, timeout=30) as http:
        form = {"content-type": "multipart/form-data; boundary=b"}
        begin = {"upload-complete": "?0", "upload-length": "9000000"}
        refused = [
            http.post(FILE, files={"file": ("a.bin", bytes(9_000_000))}),
            http.post(FILE, content=in_pieces(9_000_000), headers=form),
            http.post(FILE, headers=begin),
            http.post(DATA, content=iter([b'{"data": "', *[b"x" * 65_536] * 160, b'"}'])),
        ]
        for answer in refused:
            assert (answer.status_code, answer.headers["retry-after"]) == (507, "60"), answer.text
            assert "there is no room for" in answer.json()["detail"]
        with pytest.raises(Busy, match="there is no room for 9,000,000 bytes at present") as caught:
            client.process(bytes(9_000_000))
        assert caught.value.retry_after_s == 60
        serve.until_clean()
        assert serve.calls("process") == serve.calls("process_data") == 0
        content = bytes(1_000_000)
        assert http.post(FILE, files={"file": ("a.bin", content)}).content == content
        assert client.process(content) == content
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 3_900_000))
        assert http.post(DATA, json={"data": 1}).status_code == 200  # which needs none
        full = http.post(FILE, files={"file": ("a.bin", b"x")})
        assert (full.status_code, "there is no room for" in full.text) == (507, True)
    close(client)
    serve.until_clean()

"""An inbox over all that ends a process or fills a disk: what was answered is there, once and in order."""

import itertools
import os
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.device import ClientPush
from snyper.device.inbox import uploads as uploads_module
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.limits import Limits, NoRoom
from snyper.device.inbox.uploads import RESERVED_S
from snyper.system.self_signed import make_certificate
from tests.integration.receiver import DEVICE, SNYPER, receiving
from tests.integration.stopwatch import running_s
from tests.integration.test_inbox_http import DATA, FILE, create, until

MIB = 1 << 20


@pytest.mark.parametrize("program", [SNYPER, DEVICE])
def test_a_push_goes_on_where_the_receiver_was_killed(tmp_path: Path, program: str) -> None:
    source = tmp_path / "recording.wav"
    source.write_bytes(os.urandom(12 * MIB))
    sent: list[int] = []
    with receiving(tmp_path / "beagle", program=program) as receiver:
        reached = threading.Event()

        def on_sent(count: int, size: int) -> None:
            sent.append(count)
            if count >= 5 * MIB:
                reached.set()

        push = ClientPush(receiver.url, tries=50)
        pushing = threading.Thread(target=push.push_file_sync, args=(source,), kwargs={"on_sent": on_sent})
        pushing.start()
        assert reached.wait(20)
        receiver.kill()
        receiver.start()
        pushing.join(60)
        assert receiver.files() == {"recording.wav": source.read_bytes()}
    again = [before - after for before, after in itertools.pairwise(sent) if after < before]
    assert sum(again) <= MIB


@pytest.mark.parametrize("program", [SNYPER, DEVICE])
def test_ctrl_c_ends_within_two_seconds(tmp_path: Path, program: str) -> None:
    """With an upload under way and a handler that hangs. What has come is gone on with."""
    handlers = "import time\ndef on_data_received(event):\n    time.sleep(3_600)\n"
    with receiving(tmp_path / "beagle", handlers=handlers, program=program) as receiver:
        with httpx.Client(base_url=receiver.url) as client:
            client.post(DATA, json={"data": 1})
            at = create(client, Upload_Length="1000").headers["Location"]
        for number in (signal.SIGINT, signal.SIGTERM):
            host, port = receiver.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), 10) as peer:
                head = f"PATCH {at} HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\n"
                offset = httpx.head(receiver.url + at).headers["Upload-Offset"]
                head += f"Upload-Offset: {offset}\r\nUpload-Complete: ?0\r\nContent-Length: 500\r\n\r\n"
                peer.sendall(head.encode() + b"x" * 100)
                part = receiver.into / ".inbox" / "parts" / at.rpartition("/")[2]
                size = int(offset) + 100
                assert until(partial(_has, part, size))
                begun_s = running_s()
                _, said = receiver.end(number)
                assert running_s() - begun_s < 2, said
            receiver.start()
        assert httpx.head(receiver.url + at).headers["Upload-Offset"] == "200"


def _has(part: Path, size: int) -> bool:
    return part.stat().st_size == size


def test_a_key_and_https(tmp_path: Path) -> None:
    """What they are is `snyper serve`'s; here that they hold for what receives."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key"
    certificate.write_bytes(make_certificate())
    key.write_text("some words")
    key.chmod(0o600)
    options = ("--certificate", str(certificate), "--key-file", str(key))
    with receiving(tmp_path / "beagle", *options) as receiver:
        assert receiver.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate))
        trusted.check_hostname = False
        with httpx.Client(base_url=receiver.url, verify=trusted) as client:
            for method, path in (
                *(("POST", FILE), ("POST", DATA), ("OPTIONS", FILE)),
                *(("HEAD", "/api/uploads/x"), ("PATCH", "/api/uploads/x"), ("DELETE", "/api/uploads/x")),
            ):
                assert client.request(method, path).status_code == 401
            client.headers["Authorization"] = "Bearer some words"
            assert client.post(DATA, json={"data": 1}).status_code == 200
            assert client.head("/api/uploads/x").status_code == 404
            assert create(client, Upload_Length="1").status_code == 201


@pytest.mark.parametrize("program", [SNYPER, DEVICE])
def test_a_full_disk_keeps_nothing_half(small_disk: Path, program: str) -> None:
    content = bytes(11_500_000)
    with receiving(small_disk / "beagle", "--limit", "keep_free_mb=0", program=program) as receiver:
        with httpx.Client(base_url=receiver.url, timeout=30) as client:
            assert client.post(FILE, files={"file": ("small.txt", b"x" * 1_000_000)}).status_code == 200
            answers = [
                client.post(FILE, files={"file": ("large.bin", content)}),
                create(client, Upload_Length=str(len(content))),
                client.post(FILE, content=iter([content]), headers={"Upload-Complete": "?1"}),
                client.post(
                    FILE,
                    content=form_of(content),
                    headers={"Content-Type": "multipart/form-data; boundary=b"},
                ),
            ]
            for answer in answers:
                assert answer.status_code == 507, answer.text
                assert answer.headers["Retry-After"] == "60"
            assert until(lambda: receiver.parts() == [])
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4_096))
            assert shutil.disk_usage(small_disk).free == 0
            full = client.post(DATA, json={"data": "x" * 60_000}, headers={"Idempotency-Key": "full"})
            assert full.status_code == 507
            assert client.get("/health").status_code == 200
            filler.unlink()
            again = client.post(DATA, json={"data": "x" * 60_000}, headers={"Idempotency-Key": "full"})
            assert again.status_code == 200
            assert client.post(FILE, files={"file": ("small.txt", b"y" * 1_000_000)}).status_code == 200
            assert until(lambda: {"data": "x" * 60_000} in receiver.events())
        assert sorted(receiver.files()) == ["small-2.txt", "small.txt"]


def form_of(content: bytes) -> Iterator[bytes]:
    """Yield a form without an announced length."""
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    yield content
    yield b"\r\n--b--\r\n"


async def test_the_disk_keeps_its_reserve(tmp_path: Path) -> None:
    async with Inbox(tmp_path, Limits(keep_free_bytes=1 << 60)) as inbox:
        with pytest.raises(NoRoom):
            await inbox.uploads.create("/x", None, "a", "a/b", 1, None)
        with pytest.raises(NoRoom):
            await inbox.keep_data(1)


async def test_room_is_reserved_for_what_is_on_its_way(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    limits = Limits(max_file_bytes=free, keep_free_bytes=0)
    async with Inbox(tmp_path, limits) as inbox:
        first = await inbox.uploads.create("/x", None, "a", "a/b", free * 2 // 3, None)
        with pytest.raises(NoRoom):
            await inbox.uploads.create("/x", None, "b", "a/b", free * 2 // 3, None)
        first.touched_s -= RESERVED_S + 1  # its sender has gone
        await inbox.uploads.create("/x", None, "b", "a/b", free * 2 // 3, None)


async def test_what_nobody_goes_on_with_expires(tmp_path: Path) -> None:
    async with Inbox(tmp_path) as inbox:
        old = await inbox.uploads.create("/x", "old", "a", "a/b", 3, None)
        new = await inbox.uploads.create("/x", "new", "b", "a/b", 3, None)
        stray = inbox.new_part()
        stray.write_bytes(b"x")
        for path in (inbox.aside / "old.part", inbox.aside / "new.part"):
            path.write_bytes(b"x")
        old.touched_s -= inbox.limits.max_age_s + 1
        os.utime(inbox.aside / "old.part", (0, 0))
        assert inbox.counts()["parts"] == 4
        assert await inbox.remove_expired() == 2
        assert inbox.counts()["parts"] == 2
        assert not old.path.exists()
    async with Inbox(tmp_path) as inbox:
        assert not stray.exists()
        [left] = inbox.uploads
        assert (left.token, left.filename, left.key) == (new.token, "b", "new")


async def test_a_key_is_its_owners(tmp_path: Path) -> None:
    about = ("/x", "key", "a", "a/b", 3, None)
    async with Inbox(tmp_path) as inbox:
        first, other = [await inbox.uploads.create(*about, owner=owner) for owner in ("ann", "bo")]
        assert first is not other
        assert await inbox.uploads.create(*about, owner="ann") is first
    async with Inbox(tmp_path) as inbox:
        again = await inbox.uploads.create(*about, owner="bo")
        assert (again.token, again.item_key) == (other.token, "key")


async def test_so_many_complete_ones_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "MAX_COMPLETE", 2)
    async with Inbox(tmp_path) as inbox:
        for name in "abcd":
            upload = await inbox.uploads.create("/x", name, name, "a/b", 1, None)
            await inbox.uploads.append(upload, 0, pieces(name.encode()))
            await inbox.uploads.complete(upload)
            await inbox.keep_upload(upload)
        assert [upload.key for upload in inbox.uploads] == ["c", "d"]
        assert await inbox.known("a", None, 1, "a") == tmp_path / "a"
    monkeypatch.setattr(uploads_module, "MAX_COMPLETE", 1)
    async with Inbox(tmp_path) as inbox:
        await inbox.uploads.create("/x", "e", "e", "a/b", 1, None)
        assert [upload.key for upload in inbox.uploads] == ["e"]
    assert names_in(tmp_path) == {".inbox", *"abcd"}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_part_that_has_lost_bytes_begins_anew(tmp_path: Path) -> None:
    async with Inbox(tmp_path) as inbox:
        upload = await inbox.uploads.create("/x", "key", "a", "a/b", None, None)
        await inbox.uploads.append(upload, 0, pieces(b"abc", b"def"))
    upload.path.write_bytes(b"abcdef and what was not synced")
    async with Inbox(tmp_path) as inbox:
        [found] = inbox.uploads
        assert found.offset == 6
        assert found.path.read_bytes() == b"abcdef"
    upload.path.write_bytes(b"abc")
    async with Inbox(tmp_path) as inbox:
        assert list(inbox.uploads) == []


async def pieces(*parts: bytes) -> Any:
    for part in parts:
        yield part

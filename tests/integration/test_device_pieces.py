"""Files in pieces: after a cut only what was under way is sent again, and the file is there once."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from snyper.device import (
    BadAnswer,
    ClientPush,
    FileChanged,
    Refused,
    RemoteFileAdapter,
    ServerFailed,
    Unreachable,
    retrying,
)
from snyper.device.connection import Connection
from snyper.device.sending import send_file
from tests.integration.device_harness import Receiver, Scripted, relayed, scripted_server, write

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write(tmp_path / "large.bin", 3 * MIB + 12345)


def test_a_file_goes_in_pieces(large: Path) -> None:
    receiver = Receiver()
    progress: list[tuple[int, int]] = []
    with scripted_server(receiver) as server:
        answer = ClientPush(server.url).push_file_sync(large, on_sent=lambda *sent: progress.append(sent))
    assert answer == {"status": "ok", "number": 0}
    assert receiver.files == {"large.bin": large.read_bytes()}
    assert [method for method, _, _ in server.requests] == ["OPTIONS", "POST", *["PATCH"] * 4]
    size = large.stat().st_size
    assert progress == sorted(progress)
    assert progress[-1] == (size, size)


def test_what_is_no_larger_than_a_piece_goes_as_a_form(tmp_path: Path) -> None:
    receiver = Receiver()
    with scripted_server(receiver) as server:
        ClientPush(server.url).push_file_sync(write(tmp_path / "a", MIB))
    assert [method for method, _, _ in server.requests] == ["POST"]
    assert "multipart/form-data" in server.requests[0][2]["Content-Type"]


def test_options_and_names_go_along(tmp_path: Path) -> None:
    receiver = Receiver()
    path = write(tmp_path / 'mö"we.jpg', MIB + 1)
    with scripted_server(receiver) as server:
        RemoteFileAdapter(server.url + "/lab").process(path, {"a": "b c"})
    assert server.requests[1][1] == "/lab/api/process/file?options=%7B%22a%22%3A+%22b+c%22%7D"
    disposition = server.requests[1][2]["Content-Disposition"]
    assert disposition == "inline; filename=\"m_%22we.jpg\"; filename*=UTF-8''m%C3%B6%22we.jpg"


def test_cut_at_twenty_random_offsets(tmp_path: Path) -> None:
    path = write(tmp_path / "large.bin", 8 * MIB)
    receiver = Receiver()
    cuts = sorted(random.Random(1).sample(range(8 * MIB), 20))
    with scripted_server(receiver) as server, relayed(server.server_address[1], cuts) as relay:
        ClientPush(relay.url).push_file_sync(path)
    assert relay.cuts_left == 0
    assert [content for _, content in receiver.items] == [path.read_bytes()]
    assert relay.sent - 8 * MIB < MIB  # heads and tails, and all that was sent twice


def lost(method: str, times: int, after: bool) -> Callable[[Receiver], Callable[[Scripted], bool]]:
    """The connection is lost with so many requests, before or after they are served."""

    def faults(receiver: Receiver) -> Callable[[Scripted], bool]:
        left = times

        def fault(request: Scripted) -> bool:
            nonlocal left
            is_last = request.headers.get("Upload-Complete") == "?1" or method != "PATCH"
            if request.command != method or not left or not is_last:
                return False
            left -= 1
            if after:
                answer, request.answer = request.answer, lambda *_, **__: None  # type: ignore[method-assign]
                getattr(receiver, "_" + method.lower())(request)
                request.answer = answer  # type: ignore[method-assign]
            request.close_connection = True
            return True

        return fault

    return faults


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PATCH"])
@pytest.mark.parametrize("after", [False, True])
def test_an_answer_that_is_lost(method: str, after: bool, large: Path) -> None:
    receiver = Receiver()
    receiver.fault = lost(method, 2, after)(receiver)
    with scripted_server(receiver) as server:
        answer = ClientPush(server.url).push_file_sync(large)
    assert answer == {"status": "ok", "number": 0}
    assert [content for _, content in receiver.items] == [large.read_bytes()]


def test_tries_end(large: Path) -> None:
    receiver = Receiver()
    receiver.fault = lost("PATCH", 100, False)(receiver)
    with scripted_server(receiver) as server, pytest.raises(Unreachable):
        ClientPush(server.url).push_file_sync(large)
    assert receiver.items == []


def answered(
    status: int, times: int, method: str = "PATCH", loses_all: bool = False, **headers: str
) -> Callable[[Receiver], Callable[[Scripted], bool]]:
    """So many requests get an answer that the receiver has not given."""

    def faults(receiver: Receiver) -> Callable[[Scripted], bool]:
        left = times

        def fault(request: Scripted) -> bool:
            nonlocal left
            if request.command != method or not left:
                return False
            left -= 1
            request.body()
            if loses_all:
                receiver.uploads.clear()
            request.answer(status, b'{"detail": "so it is"}', **headers)
            return True

        return fault

    return faults


@pytest.mark.parametrize(
    "faults",
    [
        answered(503, 2, Retry_After="0"),
        answered(500, 2),
        answered(409, 2, Upload_Offset="0"),
        answered(404, 2, loses_all=True),
        answered(410, 1, loses_all=True),
        answered(503, 2, "POST"),
        answered(503, 2, "OPTIONS"),
        answered(422, 1, loses_all=True),
    ],
)
def test_what_a_receiver_says_is_done(
    faults: Callable[[Receiver], Callable[[Scripted], bool]], large: Path
) -> None:
    receiver = Receiver()
    receiver.fault = faults(receiver)
    with scripted_server(receiver) as server:
        ClientPush(server.url).push_file_sync(large)
    assert [content for _, content in receiver.items] == [large.read_bytes()]


@pytest.mark.parametrize(
    ("faults", "error", "requests"),
    [
        (answered(413, 9, "POST"), Refused, 2),
        (answered(415, 9, "POST"), Refused, 2),
        (answered(401, 9, "OPTIONS"), Refused, 1),
        (answered(400, 9), Refused, 3),
        (answered(422, 9, loses_all=True), Refused, 5),
        (answered(403, 9, Upload_Complete="?1"), Refused, 3),
        (answered(500, 9, Upload_Complete="?1"), ServerFailed, 7),
        (answered(201, 9, "POST"), BadAnswer, 2),
        (answered(201, 9, "POST", Location="http://elsewhere/x"), BadAnswer, 2),
        (answered(204, 9, Upload_Offset="0"), BadAnswer, 3),
    ],
)
def test_what_a_receiver_refuses_ends(
    faults: Callable[[Receiver], Callable[[Scripted], bool]],
    error: type[Exception],
    requests: int,
    large: Path,
) -> None:
    receiver = Receiver()
    receiver.fault = faults(receiver)
    with scripted_server(receiver) as server, pytest.raises(error):
        ClientPush(server.url).push_file_sync(large)
    assert len(server.requests) <= requests
    assert receiver.items == []


def test_the_limits_of_a_receiver_are_kept(large: Path) -> None:
    receiver = Receiver()
    receiver.limit = "max-size=4000000, max-append-size=1000000, max-age=5;x"
    with scripted_server(receiver) as server:
        ClientPush(server.url).push_file_sync(large)
        lengths = [int(one["Content-Length"]) for method, _, one in server.requests if method == "PATCH"]
        assert max(lengths) == 1_000_000
        receiver.limit = "max-size=3000000"
        del server.requests[:]
        with pytest.raises(Refused, match="3000000"):
            ClientPush(server.url).push_file_sync(large)
    assert [method for method, _, _ in server.requests] == ["OPTIONS"]


def test_an_upload_goes_on_in_another_process(large: Path) -> None:
    """Of which nobody knows but by its key; what was sent before is in the digest."""
    receiver = Receiver()
    left = 2

    def fault(request: Scripted) -> bool:
        nonlocal left
        left -= request.command == "PATCH"
        if left < 0:
            request.close_connection = True
        return left < 0

    receiver.fault = fault
    with scripted_server(receiver) as server:
        with Connection(server.url) as connection, pytest.raises(Unreachable):
            send_file(connection, "/api/receive/file", large, "one-key", tries=1)
        receiver.fault = lambda request: False
        del server.requests[:]
        with Connection(server.url) as connection:
            send_file(connection, "/api/receive/file", large, "one-key", tries=1)
    offsets = [int(one["Upload-Offset"]) for method, _, one in server.requests if method == "PATCH"]
    assert offsets == [2 * MIB, 3 * MIB]
    assert [hashlib.sha256(content).digest() for _, content in receiver.items] == [
        hashlib.sha256(large.read_bytes()).digest()
    ]


def test_a_file_that_changes_between_pieces_is_never_there(large: Path) -> None:
    receiver = Receiver()

    def on_sent(sent: int, total: int) -> None:
        if sent == MIB:
            with large.open("r+b") as file:
                file.write(b"other")

    with scripted_server(receiver) as server, pytest.raises(FileChanged):
        ClientPush(server.url).push_file_sync(large, on_sent=on_sent)
    assert receiver.items == []

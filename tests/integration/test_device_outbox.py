"""The outbox: what is in it arrives, once and in order, whatever happens to either side."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from snyper.device import (
    Delivery,
    FileChanged,
    Item,
    Outbox,
    OutboxFull,
    OutboxLocked,
    Stopped,
    delivery,
    retrying,
)
from snyper.device.__main__ import main
from snyper.device.limits import Limits
from snyper.device.multipart import SentFile
from tests.integration.device_harness import DEADLINE_S, HOST, Receiver, Scripted, scripted_server, write

MIB = 1024 * 1024
HOST_FOLDER = Path(__file__).resolve().parents[2] / "host"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(delivery, "_LOOK_S", 0.01)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def values(receiver: Receiver) -> list[object]:
    return [json.loads(content)["data"] for _, content in receiver.items]


def everything_in(outbox: Outbox) -> set[str]:
    """The files of an outbox but for its locks and its status."""
    found = {str(path.relative_to(outbox.folder)) for path in outbox.folder.rglob("*") if path.is_file()}
    return found - {"adding.lock", "sending.lock", "status.json"}


def test_what_waits_is_sent_in_order(outbox: Outbox, tmp_path: Path) -> None:
    receiver = Receiver()
    outbox.add_data({"n": 1})
    outbox.add_file(write(tmp_path / "möwe.jpg", 10))
    outbox.add_file(write(tmp_path / "large.bin", 2 * MIB))
    outbox.add_data(4)
    shown = [(item.number, item.kind, item.filename, item.size) for item in outbox.waiting()]
    assert shown == [
        *((1, "data", "", 18), (2, "file", "möwe.jpg", 10), (3, "file", "large.bin", 2 * MIB)),
        (4, "data", "", 11),
    ]
    (tmp_path / "large.bin").unlink()  # the outbox has its own
    with scripted_server(receiver) as server:
        report = Delivery(outbox, server.url).flush()
    assert report == (4, 0, 0, "delivering", "", None)
    assert [json.loads(receiver.items[number][1])["data"] for number in (0, 3)] == [{"n": 1}, 4]
    assert len(receiver.items[2][1]) == 2 * MIB
    assert b'filename="m\xc3\xb6we.jpg"' in receiver.items[1][1]
    assert everything_in(outbox) == set()


def test_one_connection_takes_all(outbox: Outbox) -> None:
    peers = set()
    receiver = Receiver()

    def script(request: Scripted) -> None:
        peers.add(request.client_address)
        receiver(request)

    for number in range(20):
        outbox.add_data(number)
    with scripted_server(script) as server:
        assert Delivery(outbox, server.url).flush().sent == 20
    assert len(peers) == 1
    assert values(receiver) == list(range(20))


def test_what_is_refused_goes_aside_and_the_next_proceeds(outbox: Outbox) -> None:
    receiver = Receiver()
    bad = True

    def script(request: Scripted) -> None:
        if bad and b"bad" in (body := request.body()):
            request.answer(422, b'{"detail": "of no use"}')
        elif bad:
            receiver.complete(request, request.headers["Idempotency-Key"], "", body)
        else:
            receiver(request)

    for value in ("a", "bad", "c"):
        outbox.add_data(value)
    told: list[tuple[int, str]] = []
    with scripted_server(script) as server:
        delivered = Delivery(outbox, server.url, on_item=lambda item, why: told.append((item.number, why)))
        assert delivered.flush()[:4] == (2, 1, 0, "delivering")
        assert values(receiver) == ["a", "c"]
        assert told == [(1, ""), (2, "of no use (422)"), (3, "")]
        [failed] = outbox.failed()
        assert failed.reason == "of no use (422)"
        bad = False
        outbox.add_data("d")
        assert outbox.retry("none such") == 0
        assert outbox.retry() == 1
        assert outbox.waiting()[0].reason == ""
        assert Delivery(outbox, server.url).flush().sent == 2
    assert values(receiver) == ["a", "c", "bad", "d"]  # at its old place
    assert everything_in(outbox) == set()


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_has_all_of_it_wait(status: int, outbox: Outbox) -> None:
    receiver = Receiver()

    def fault(request: Scripted) -> bool:
        is_wrong = request.headers["Authorization"] != "Bearer right"
        if is_wrong:
            request.answer(status, b'{"detail": "wrong key"}')
        return is_wrong

    receiver.fault = fault
    outbox.add_data(1)
    outbox.add_data(2)
    with scripted_server(receiver) as server:
        report = Delivery(outbox, server.url, key="wrong").flush()
        assert report[:4] == (0, 0, 2, "paused")
        assert "wrong key" in report.why
        assert outbox.status()["state"] == "paused"
        assert "wrong key" in outbox.status()["why"]
        assert len(server.requests) == 1
        assert Delivery(outbox, server.url, key="right").flush().sent == 2
    assert outbox.status()["state"] == "delivering"
    assert values(receiver) == [1, 2]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_receiver_that_fails_gets_nothing_out_of_order(status: int, outbox: Outbox) -> None:
    outbox.add_data(1)
    outbox.add_data(2)
    with scripted_server(lambda request: request.answer(status, b'{"detail": "busy"}')) as server:
        report = Delivery(outbox, server.url).flush()
    assert report[:4] == (0, 0, 2, "away")
    assert "busy" in outbox.status()["why"]
    assert len({headers["Idempotency-Key"] for _, _, headers in server.requests}) == 1


def test_a_full_outbox_refuses_the_newest(tmp_path: Path) -> None:
    few = Outbox(tmp_path / "few", max_items=2)
    few.add_data(1)
    few.add_data(2)
    with pytest.raises(OutboxFull, match="2 items of 2"):
        few.add_data(3)
    assert [json.loads(item.payload.read_bytes())["data"] for item in few.waiting()] == [1, 2]
    small = Outbox(tmp_path / "small", max_bytes=100)
    small.add_file(write(tmp_path / "a", 60))
    with pytest.raises(OutboxFull, match="60 bytes of 100"):
        small.add_file(write(tmp_path / "b", 41))
    small.add_file(write(tmp_path / "c", 40))
    assert small.discard(small.waiting()[0].id)
    assert not small.discard("none such")
    small.add_file(write(tmp_path / "d", 60))
    assert [item.filename for item in small.waiting()] == ["c", "d"]


def test_a_file_that_changes_is_not_added(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a", 600_000)
    read = SentFile.read

    def read_and_change(file: SentFile, offset: int, size: int) -> bytes:
        content = read(file, offset, size)
        with path.open("r+b") as changed:
            changed.write(b"other")
        return content

    monkeypatch.setattr(SentFile, "read", read_and_change)
    with pytest.raises(FileChanged):
        outbox.add_file(path)
    assert outbox.waiting() == []
    assert everything_in(outbox) == set()


def test_a_linked_file_is_sent_as_it_was(outbox: Outbox, tmp_path: Path) -> None:
    receiver = Receiver()
    path = write(tmp_path / "a", 10)
    item = outbox.add_file(path, link=True)
    assert item.payload.samefile(path)
    with path.open("ab") as file:
        file.write(b"more")
    with scripted_server(receiver) as server:
        assert Delivery(outbox, server.url).flush()[:2] == (0, 1)
    assert "changed" in outbox.failed()[0].reason
    assert path.exists()


_HOLDER = """
import sys
from snyper.device import Outbox
with Outbox(sys.argv[1]).sending():
    print(1, flush=True)
    input()
"""


def test_only_one_process_delivers(outbox: Outbox) -> None:
    outbox.add_data(1)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(outbox.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(OutboxLocked):
            Delivery(outbox, "http://127.0.0.1:9").flush()
        outbox.add_data(2)  # meanwhile anybody may add
        other.kill()
    assert Delivery(outbox, f"http://{HOST}:9").flush().left == 2


def test_what_somebody_damaged_goes_aside(outbox: Outbox) -> None:
    receiver = Receiver()
    items = [outbox.add_data(number) for number in range(4)]
    (items[0].folder / "item.json").write_text("{")
    (items[1].folder / "item.json").write_text('{"kind": "data"}')
    items[2].payload.unlink()
    with scripted_server(receiver) as server:
        assert Delivery(outbox, server.url).flush()[:3] == (1, 3, 0)
    assert values(receiver) == [3]
    assert all(item.reason for item in outbox.failed())


def test_an_outbox_that_is_none_is_empty(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "none")
    assert (outbox.waiting(), outbox.failed(), outbox.status()) == ([], [], {})
    assert not (tmp_path / "none").exists()


# --- a thread that delivers


def test_a_thread_delivers_what_is_added(outbox: Outbox) -> None:
    receiver = Receiver()
    sent = threading.Semaphore(0)
    with scripted_server(receiver) as server:
        delivered = Delivery(outbox, server.url, on_item=lambda item, why: sent.release())
        delivered.run()
        for number in range(3):
            outbox.add_data(number)
            assert sent.acquire(timeout=DEADLINE_S)
        delivered.stop()
    assert values(receiver) == [0, 1, 2]


def test_a_thread_ends_in_the_middle_of_a_file(outbox: Outbox, tmp_path: Path) -> None:
    arrived, gone = threading.Event(), threading.Event()

    def script(request: Scripted) -> None:
        arrived.set()
        gone.wait(DEADLINE_S)

    outbox.add_data(1)
    with scripted_server(script) as server:
        delivered = Delivery(outbox, server.url)
        delivered.run()
        assert arrived.wait(DEADLINE_S)
        delivered.stop()
        gone.set()
    assert len(outbox.waiting()) == 1


class _Hours(Limits):
    """Limits whose waits pass at once, and after an hour of them the receiver is back."""

    def __init__(self, back_after_s: float, back: threading.Event, done: threading.Event) -> None:
        super().__init__()
        self.waited_s = 0.0
        self._back_after_s = back_after_s
        self._back = back
        self._done = done

    def wait(self, seconds: float) -> None:
        """Count it as passed."""
        self.waited_s += seconds
        if self.waited_s > self._back_after_s:
            self._back.set()
        if self._done.is_set():
            raise Stopped("over")


@pytest.mark.slow
def test_an_hour_away_with_a_thousand_waiting(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hour is of the waits, which are those of a minute at most; the clock is set back in the middle."""
    monkeypatch.setattr(retrying, "_FIRST_DELAY_S", 1.0)
    monkeypatch.setattr("snyper.device.outbox.sync_folder", lambda folder: None)  # as fast as a disk may be
    monkeypatch.setattr(os, "fsync", lambda number: None)
    for number in range(1000):
        if number == 500:
            monkeypatch.setattr(time, "time", lambda: 0.0)
        outbox.add_data(number)
    receiver = Receiver()
    back, done = threading.Event(), threading.Event()
    tries = 0

    def fault(request: Scripted) -> bool:
        nonlocal tries
        tries += not back.is_set()
        if not back.is_set():
            request.close_connection = True
        return not back.is_set()

    def on_item(item: Item, reason: str) -> None:
        if item.number == 1000:
            done.set()

    receiver.fault = fault
    with scripted_server(receiver) as server:
        delivered = Delivery(outbox, server.url, on_item=on_item)
        hours = _Hours(3600.0, back, done)
        delivered.run_here(hours)
    assert values(receiver) == list(range(1000))
    assert 60 < tries < 140
    assert hours.waited_s > 3600
    assert outbox.waiting() == []


# --- kill -9

_ADDER = """
import sys
from snyper.device import Outbox
outbox = Outbox(sys.argv[1])
number = int(sys.argv[2])
while True:
    outbox.add_data(number)
    print(number, flush=True)
    number += 1
"""
_SENDER = """
import sys
from snyper.device import Delivery, Outbox
Delivery(Outbox(sys.argv[1]), sys.argv[2]).run_here()
"""


def test_kill_9_of_who_adds_and_who_sends(outbox: Outbox) -> None:
    """At any moment: what was said to be in the outbox arrives, once and in order."""
    receiver = Receiver()
    environment = {**os.environ, "PYTHONPATH": str(HOST_FOLDER)}
    said: list[int] = []
    with scripted_server(receiver) as server:
        for turn in range(6):
            sender = subprocess.Popen(
                [sys.executable, "-c", _SENDER, outbox.folder, server.url], env=environment
            )
            first = said[-1] + 2 if said else 0  # the one after may be in or not
            with subprocess.Popen(
                [sys.executable, "-c", _ADDER, outbox.folder, str(first)],
                stdout=subprocess.PIPE,
                env=environment,
            ) as adder:
                assert adder.stdout is not None
                for _ in range(5 + 3 * turn):
                    said.append(int(adder.stdout.readline()))
                adder.send_signal(signal.SIGKILL)
                said += [int(line) for line in adder.stdout.read().splitlines() if line]
            sender.send_signal(signal.SIGKILL)
            sender.wait(DEADLINE_S)
        Delivery(outbox, server.url).flush()
    arrived = values(receiver)
    assert arrived == sorted(set(arrived))  # type: ignore[type-var]
    assert set(said) <= set(arrived)
    assert len(arrived) <= len(said) + 6
    assert everything_in(outbox) == set()


def test_a_cut_at_each_step_of_the_disk(tmp_path: Path) -> None:
    """Of the folder a copy is taken before each change, as a power cut leaves it: the item is there whole or
    not at all, and is lost at no time.
    """
    receiver = Receiver()
    copies: list[tuple[bool, Path]] = []  # and whether the item was said to be there, and had not arrived
    folder = tmp_path / "outbox"
    is_watched = was_said = False

    def copy(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal is_watched
        is_change = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "open")
        if is_watched and is_change and str(folder) in str(arguments[0]) and folder.exists():
            is_watched = False
            copies.append((was_said and not receiver.items, tmp_path / f"copy-{len(copies)}"))
            shutil.copytree(folder, copies[-1][1])
            is_watched = True

    sys.addaudithook(copy)
    outbox = Outbox(folder)
    with scripted_server(receiver) as server:
        is_watched = True
        outbox.add_data("one")
        was_said = True
        Delivery(outbox, server.url).flush()
        is_watched = False
        assert values(receiver) == ["one"]
        assert len(copies) > 15
        for must_arrive, target in copies:
            server.script = later = Receiver()
            left = Outbox(target)
            Delivery(left, server.url).flush()
            assert len(later.items) >= must_arrive
            assert set(later.items) <= set(receiver.items)
            assert everything_in(left) == set()


# --- its commands


class Done(NamedTuple):
    """The end of a command: its status, and what it has said."""

    status: int
    out: str
    err: str


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Give `python3 -m snyper.device`, with an outbox of its own."""
    monkeypatch.setenv("SNYPER_OUTBOX", str(tmp_path / "outbox"))

    def run(*words: str) -> Done:
        return Done(main(list(words)), *capsys.readouterr())

    return run


def test_the_commands_of_a_device(
    device: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    receiver = Receiver()
    nobody = f"http://{HOST}:9"
    assert device("outbox", "list") == (0, "0 waiting, 0 refused\n", "")
    added = device("outbox", "add", '{"a": 1}').out.strip()
    device("outbox", "add", str(write(tmp_path / "a.jpg", 5)))
    listed = device("outbox", "list").out.splitlines()
    assert listed[0].split() == [added, "18", "data", "waits"]
    assert listed[1].split()[1:] == ["5", "a.jpg", "waits"]
    assert json.loads(device("outbox", "list", "--json").out)["waiting"][0]["id"] == added
    done = device("outbox", "run", "--once", "--to", nobody)
    assert (done.status, "2 waiting" in done.err) == (3, True)
    assert "refused" in device("outbox", "list").out.splitlines()[-1]
    with scripted_server(receiver) as server:
        monkeypatch.setenv("SERVICE_SERVER_URL", server.url)
        done = device("outbox", "run", "--once")
        assert (done.status, done.out.splitlines()[0].split()) == (0, [added, "data", "sent"])
        pushed = device("push", '{"b": 2}', "--to", server.url)
        assert (pushed.status, json.loads(pushed.out)) == (0, {"status": "ok", "number": 2})
        pushed = device("push", str(write(tmp_path / "b.jpg", 5)), "--to", server.url)
        assert pushed.status == 0
        assert device("send", "7", "--to", server.url) == (0, "null\n", "")
    with scripted_server(lambda request: request.answer(400, b'{"detail": "no"}')) as server:
        done = device("send", "7", "--to", server.url)
        assert done == (1, "", "snyper.device: no (400)\n")
    assert device("push", "5", "--to", nobody).status == 3
    assert device("push", "no such file").status == 2
    assert device("send", "5", "--options", "[1]").status == 2
    assert device("outbox", "discard", "x").status == 1


def test_ctrl_c_ends_a_command(tmp_path: Path) -> None:
    arrived, over = threading.Event(), threading.Event()

    def script(request: Scripted) -> None:
        arrived.set()
        over.wait(DEADLINE_S)

    with scripted_server(script) as server:
        command = [sys.executable, "-m", "snyper.device", "push", "5", "--to", server.url]
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(HOST_FOLDER)}, stderr=subprocess.PIPE, text=True
        ) as pushing:
            assert arrived.wait(DEADLINE_S)
            pushing.send_signal(signal.SIGINT)
            _, said = pushing.communicate(timeout=DEADLINE_S)
        over.set()
    assert (pushing.returncode, said) == (130, "snyper.device: stopped\n")

"""An inbox behind a hub: files and data are pushed to a name, and no port is open where they arrive."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from snyper.client import connect
from snyper.client.pushing import push_data, push_file
from snyper.device.inbox.bus import Bus
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.limits import Limits
from snyper.gateway.hub_receiver import HubReceiver, receiving_from
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from tests.integration.harness import HOST, HubUnderTest, free_port, run_snyper, running_hub, snyper, until

CONTENT = bytes(range(256)) * 2_000  # eight chunks


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with running_hub("cpython", tmp_path, max_consoles=2) as found:
        yield found


@asynccontextmanager
async def beagle(
    hub: HubUnderTest, folder: Path, events: list[Any], limits: Limits | None = None
) -> AsyncIterator[tuple[Inbox, HubReceiver]]:
    bus = Bus()

    async def on_event(event: dict[str, Any]) -> None:
        events.append(event)

    bus.subscribe("file.received", on_event)
    bus.subscribe("data.received", on_event)
    async with Inbox(folder, limits, bus) as inbox, receiving_from(hub.address, "beagle", inbox) as receiver:
        await receiver.wait_until_tried()
        yield inbox, receiver


async def test_files_and_data_are_pushed_to_a_name(hub: HubUnderTest, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    events: list[Any] = []
    progress: list[int] = []
    folder = tmp_path / "in"
    async with connect(hub.address) as client, beagle(hub, folder, events) as (inbox, _):
        path = await push_file(
            client, "beagle", source, filename="../möwe 1.jpg", key="k", on_progress=progress.append
        )
        again = await push_file(client, "beagle", source, filename="../möwe 1.jpg", key="k")
        await push_data(client, "beagle", {"deep": [[[[[[[[[["ü"]]]]]]]]]], "long": "x" * 100_000})
        status, *said = await run_snyper(
            "send", "beagle", "receive_data", 'data={"t": 21}', "--hub", hub.address
        )
        assert status == 0, said
        status, _, errors = await run_snyper("send", "beagle", "analyze", "--hub", hub.address)
        hint = f"if beagle is a service, `snyper call --hub {hub.address} beagle analyze` calls its function"
        assert (status, errors.strip()) == (1, hint)
        await until(lambda: len(events) == 3, "the events")
        assert inbox.counts() == {"received": 3, "parts": 0, "part_bytes": 0, "waiting": 0}
    assert path == again == str(folder / "möwe 1.jpg")
    assert (folder / "möwe 1.jpg").read_bytes() == CONTENT
    assert progress == sorted(progress)
    assert progress[-1] == len(CONTENT)
    assert [one.name for one in folder.iterdir() if one.name != ".inbox"] == ["möwe 1.jpg"]
    media_type = "application/octet-stream"
    [file] = [event for event in events if "path" in event]
    assert file == {"path": path, "filename": "../möwe 1.jpg", "content_type": media_type}
    deep, small = [event["data"] for event in events if "data" in event]
    assert deep["deep"] == [[[[[[[[[["ü"]]]]]]]]]]
    assert small == {"t": 21}


async def test_data_under_a_key_is_one_datum(hub: HubUnderTest, tmp_path: Path) -> None:
    events: list[Any] = []
    sent: list[str] = []
    first, same = {"b": 1, "a": {10: "x", 9: "y"}}, {"a": {"9": "y", "10": "x"}, "b": 1}
    async with connect(hub.address) as client, beagle(hub, tmp_path / "in", events):
        send_bytes = client.send_bytes

        async def send(peer: str, name: str, *more: Any, **options: Any) -> None:
            sent.append(name)
            await send_bytes(peer, name, *more, **options)

        client.send_bytes = send  # type: ignore[method-assign]
        for value in (first, same):
            await push_data(client, "beagle", value, key="k")
        assert len(sent) == 1
        with pytest.raises(ProtocolError, match="something else was received under this Idempotency-Key"):
            await push_data(client, "beagle", {"b": 2}, key="k")
        await push_data(client, "beagle", "the last", key="l")
        await until(lambda: len(events) == 2, "the events")
    assert [event["data"] for event in events] == [same, "the last"]


async def test_the_commands(hub: HubUnderTest, tmp_path: Path) -> None:
    """Both ends, with no port open at the one that receives."""
    source = tmp_path / "a song.wav"
    source.write_bytes(CONTENT)
    into = tmp_path / "in"
    to = ("--hub", hub.address, "--to", "beagle")
    options = ("--hub", hub.address, "--name", "beagle", "--into", str(into), "--json")
    async with snyper("receive", *options) as receiver:
        await until(lambda: receiver.out, "its first line")
        assert json.loads(receiver.out.splitlines()[0]) == {"urls": [], "into": str(into)}
        await until(lambda: "beagle at the hub" in receiver.err, "what it says of itself")
        status, said, errors = await run_snyper("push", str(source), *to)
        assert status == 0, errors
        path = str(into / "a song.wav")
        assert json.loads(said) == {"status": "ok", "message": "File received", "path": path}
        status, said, errors = await run_snyper("push", '{"t": 21}', *to)
        assert (status, json.loads(said)) == (0, {"status": "ok", "message": "Data received"}), errors
        await until(lambda: '{"data": {"t": 21}}' in receiver.out.splitlines(), "the datum")
        status, _, errors = await run_snyper("push", str(source), "--hub", hub.address, "--to", "nobody")
        assert (status, errors) == (1, "snyper: no service is nobody: `snyper services` lists them\n")
    assert (into / "a song.wav").read_bytes() == CONTENT
    status, _, errors = await run_snyper("push", "[1]", *to, "--timeout", "0.5")
    assert (status, errors) == (3, f"snyper: beagle is away from the hub at {hub.address}\n")


async def test_the_receiver_says_when_the_hub_is_there(tmp_path: Path) -> None:
    port = free_port()
    options = ("--hub", f"{HOST}:{port}", "--name", "beagle", "--into", str(tmp_path / "in"))
    async with snyper("receive", *options) as receiver:
        await until(lambda: "is not there (nothing listens there)" in receiver.err, "the loss")
        async with running_hub("cpython", tmp_path, port=port):
            await until(lambda: f"the hub at {HOST}:{port} is there" in receiver.err, "the hub")
        assert receiver.err.count("is not there") in (1, 2)


async def test_a_push_outlives_the_receiver(hub: HubUnderTest, tmp_path: Path) -> None:
    """It ends in the middle of a file, and again before it has said that it kept it."""
    source = tmp_path / "source"
    source.write_bytes(CONTENT * 10)
    folder, events = tmp_path / "in", list[Any]()
    half = asyncio.Event()
    async with connect(hub.address, reconnect=True) as client:
        async with beagle(hub, folder, events):
            pushing = asyncio.create_task(
                push_file(client, "beagle", source, key="k", on_progress=lambda count: half.set())
            )
            await asyncio.wait_for(half.wait(), 10)
        assert not pushing.done()
        async with beagle(hub, folder, events):
            path = await asyncio.wait_for(pushing, 20)
        async with beagle(hub, folder, events):
            assert await push_file(client, "beagle", source, key="k") == path
            await until(lambda: len(events) == 1, "the event")
    assert path == str(folder / "source")
    assert (folder / "source").read_bytes() == CONTENT * 10
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("word", "data", "code"),
    [
        ("receive_file", {}, ErrorCode.BAD_MESSAGE),
        ("receive_file", {"sha256": "../../etc/passwd"}, ErrorCode.BAD_MESSAGE),
        ("receive_file", {"sha256": "0" * 64, "key": 1}, ErrorCode.BAD_MESSAGE),
        ("receive_file", {"sha256": "0" * 64, "key": ""}, ErrorCode.BAD_MESSAGE),
        ("receive_data", {"sha256": ["0"] * 64}, ErrorCode.BAD_MESSAGE),
    ],
)
async def test_nonsense_is_refused(
    hub: HubUnderTest, tmp_path: Path, word: str, data: dict[str, object], code: str
) -> None:
    async with connect(hub.address) as client, beagle(hub, tmp_path / "in", []):
        with pytest.raises(ProtocolError) as refused:
            await client.ask("beagle", word, data)
        assert refused.value.code == code


async def test_a_file_that_nobody_would_be_told_of_is_refused(hub: HubUnderTest, tmp_path: Path) -> None:
    async with connect(hub.address) as client, beagle(hub, tmp_path / "in", []) as (inbox, _):
        with pytest.raises(ProtocolError, match="receive_file"):
            await client.send_bytes("beagle", "song.wav", CONTENT)
        assert inbox.counts()["parts"] == 0


async def test_what_is_refused_leaves_nothing(hub: HubUnderTest, tmp_path: Path) -> None:
    source = tmp_path / "source.exe"
    source.write_bytes(CONTENT)
    limits = Limits(suffixes=(".jpg",), max_data_bytes=100)
    async with connect(hub.address) as client, beagle(hub, tmp_path / "in", [], limits) as (inbox, _):
        with pytest.raises(ProtocolError, match="not taken"):
            await push_file(client, "beagle", source)
        with pytest.raises(ProtocolError, match="at most 100 bytes"):
            await push_data(client, "beagle", "x" * 200)
        content = b"[NaN]"
        digest = hashlib.sha256(content).hexdigest()
        await client.send_bytes("beagle", digest, content)
        with pytest.raises(ProtocolError, match="NaN"):
            await client.ask("beagle", "receive_data", {"sha256": digest})
        assert inbox.counts() == {"received": 0, "parts": 0, "part_bytes": 0, "waiting": 0}
        assert not list(inbox.new_part().parent.iterdir())

"""Handlers of what is received: in order, each event once, whatever one of them does."""

import asyncio
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from snyper.device.inbox.bus import MAX_ABANDONED, Bus
from snyper.device.inbox.handlers import subscribe_handlers
from snyper.device.inbox.inbox import Inbox
from snyper.device.inbox.limits import Limits, NoRoom
from snyper.device.inbox.store import DATA_RECEIVED, FILE_RECEIVED, InUseError
from snyper.device.loading import load_file
from tests.integration.harness import until


async def idle(inbox: Inbox) -> None:
    await until(lambda: inbox.counts()["waiting"] == 0, "the handlers")


async def test_events_come_in_order_to_every_handler(tmp_path: Path) -> None:
    first, second = list[Any](), list[Any]()
    bus = Bus()

    async def coroutine(event: dict[str, Any]) -> None:
        first.append(event["data"])

    def plain(event: dict[str, Any]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        second.append(event["data"])

    bus.subscribe(DATA_RECEIVED, coroutine)
    bus.subscribe(DATA_RECEIVED, plain)
    with pytest.raises(ValueError, match="the name"):
        bus.subscribe(DATA_RECEIVED, plain)
    async with Inbox(tmp_path, bus=bus) as inbox:
        await asyncio.gather(*(inbox.keep_data(number) for number in range(50)))
        await bus.publish("of.nobody", {})
        await idle(inbox)
    assert first == second == list(range(50))


async def test_a_handler_that_fails_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hanging = threading.Event()
    got = list[Any]()
    bus = Bus(limit_s=0.05)

    def raises(event: dict[str, Any]) -> None:
        raise RuntimeError(f"no {event['data']}")

    async def exits(event: dict[str, Any]) -> None:
        raise TimeoutError("its own")

    def leaves(event: dict[str, Any]) -> None:
        sys.exit(3)

    async def cancels(event: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    def cancels_in_a_thread(event: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    def hangs(event: dict[str, Any]) -> None:
        hanging.wait()

    async def sleeps(event: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def works(event: dict[str, Any]) -> None:
        got.append(event["data"])

    for handler in (raises, exits, leaves, cancels, cancels_in_a_thread, hangs, sleeps, works):
        bus.subscribe(DATA_RECEIVED, handler)
    async with Inbox(tmp_path, bus=bus) as inbox:
        for number in range(3):
            await inbox.keep_data(number)
        await idle(inbox)
    hanging.set()
    assert got == [0, 1, 2]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    for name, what in (
        ("raises", "raised with"),
        ("exits", "raised with"),
        ("leaves", "raised with"),
        ("cancels", "was cancelled with"),
        ("cancels_in_a_thread", "raised with"),
        ("hangs", "has not finished within 0.05 s"),
        ("sleeps", "has not finished within 0.05 s"),
    ):
        assert sum(name in line and what in line for line in said) == 3, (name, said)


async def test_a_handler_that_always_hangs_loses_no_event(tmp_path: Path) -> None:
    goes_on, begun = threading.Event(), list[Any]()

    def hangs(event: dict[str, Any]) -> None:
        begun.append(event["data"])
        goes_on.wait()

    bus = Bus(limit_s=0.01)
    bus.subscribe(DATA_RECEIVED, hangs)
    async with Inbox(tmp_path, bus=bus) as inbox:
        for number in range(12):
            await inbox.keep_data(number)
        await until(lambda: inbox.counts()["waiting"] == 12 - MAX_ABANDONED, "its threads")
        assert begun == list(range(MAX_ABANDONED))
        goes_on.set()
        await idle(inbox)
    assert begun == list(range(12))


async def test_an_event_that_was_not_finished_comes_again(tmp_path: Path) -> None:
    begun, got = asyncio.Event(), list[Any]()

    async def on_data(event: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    bus = Bus()
    bus.subscribe(DATA_RECEIVED, on_data)
    async with Inbox(tmp_path, bus=bus) as inbox:
        for number in range(3):
            await inbox.keep_data(number, f"key {number}")
        await begun.wait()
    async with Inbox(tmp_path) as inbox:  # without the handler they wait for it
        assert inbox.counts()["waiting"] == 3

    async def again(event: dict[str, Any]) -> None:
        got.append(event["data"])

    again.__name__ = "on_data"
    bus = Bus()
    bus.subscribe(DATA_RECEIVED, again)
    async with Inbox(tmp_path, bus=bus) as inbox:
        await inbox.keep_data(2, "key 2")
        await inbox.keep_data(3, "key 3")
        await idle(inbox)
    assert got == [0, 1, 2, 3]


async def test_what_is_finished_does_not_come_again(tmp_path: Path) -> None:
    """Though the inbox is closed as soon as its handler has returned."""
    got = list[Any]()
    for number in range(20):
        done = asyncio.Event()

        async def on_data(event: dict[str, Any], done: asyncio.Event = done) -> None:
            got.append(event["data"])
            done.set()

        bus = Bus()
        bus.subscribe(DATA_RECEIVED, on_data)
        async with Inbox(tmp_path, bus=bus) as inbox:
            await inbox.keep_data(number)
            await done.wait()
    assert got == list(range(20))


async def test_too_much_that_waits_is_refused(tmp_path: Path) -> None:
    bus, goes_on = Bus(), asyncio.Event()

    async def slow(event: dict[str, Any]) -> None:
        await goes_on.wait()

    bus.subscribe(DATA_RECEIVED, slow)
    async with Inbox(tmp_path, Limits(max_waiting=2), bus) as inbox:
        await inbox.keep_data(1)
        await inbox.keep_data(2)
        with pytest.raises(NoRoom, match="behind"):
            await inbox.keep_data(3)
        with pytest.raises(NoRoom):
            await inbox.check("a.txt", "text/plain", 1)
        goes_on.set()
        await idle(inbox)
        await inbox.keep_data(3)


async def test_a_persons_file_of_handlers(tmp_path: Path) -> None:
    file = tmp_path / "my_handlers.py"
    file.write_text(
        "got = []\n"
        "async def on_file_received(event):\n    got.append((event['path'], event['filename']))\n"
        "def on_data_received(event):\n    got.append(event['data'])\n"
    )
    module, bus = load_file(file), Bus()
    assert subscribe_handlers(bus, module) == ["on_file_received", "on_data_received"]
    assert bus.names(FILE_RECEIVED) == ["file.received on_file_received"]
    async with Inbox(tmp_path / "in", bus=bus) as inbox:
        part = inbox.new_part()
        part.write_bytes(b"x")
        path = await inbox.keep_file(part, "a/b.txt", "text/plain")
        await inbox.keep_data({"n": 1})
        await idle(inbox)
    assert sorted(module.got, key=str) == [(str(path), "a/b.txt"), {"n": 1}]
    with pytest.raises(ValueError, match="on_file_received, on_data_received"):
        subscribe_handlers(bus, sys.modules[__name__])


async def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    async with Inbox(tmp_path):
        with pytest.raises(InUseError, match="another process"):
            await Inbox(tmp_path).__aenter__()
    async with Inbox(tmp_path):
        pass

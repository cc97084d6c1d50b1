"""Where the dashboard's history is: in the hub's journal if that lies here, else in an archive of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from snyper.client import Event
from snyper.dashboard.feed import HubFeed
from snyper.dashboard.model import Model
from snyper.dashboard.store import Store
from snyper.firmware.master.server import Hub
from snyper.history.reader import History
from snyper.hub.journaled_events import JournaledEvents
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    HubUnderTest,
    free_port,
    peer_of,
    registration,
    scripted_target,
    until,
)


@asynccontextmanager
async def hub_at(port: int, journal: Path | None) -> AsyncIterator[Hub]:
    log = JournaledEvents(100, journal) if journal is not None else None
    hub = Hub(HOST, port, 4, 4, events=log)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.shut_down()
        if log is not None:
            await log.close()


@asynccontextmanager
async def dashboard(port: int, journal: Path | None, archive: Path) -> AsyncIterator[HubFeed]:
    """The dashboard's own process but for its pages."""
    store = Store(journal, archive, is_hub_here=True)
    feed = HubFeed(Model(f"{HOST}:{port}"), store)
    following = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        store.close()


def kept(path: Path, kind: str = "journal") -> list[object]:
    """What the events of that kind in a file say."""
    if not path.exists():
        return []
    with History(path) as history:
        return [event.data["message"] for event in history.events([kind])]


async def told(feed: HubFeed, hub: Hub, message: str) -> None:
    """Has the hub say something, once the dashboard follows it, and waits until that has come."""
    heard: list[object] = []
    stop = feed.model.listen(lambda event: heard.append(event and event.data.get("message")))
    await until(
        lambda: feed.connection is not None and feed.connection.log_id, "the dashboard should subscribe"
    )
    hub.router.events.add("journal", "", {"state": "ok", "message": message})
    await until(lambda: message in heard, "the dashboard should hear of it")
    stop()


async def test_the_journal_of_a_hub_here_is_read_and_nothing_is_kept(tmp_path: Path) -> None:
    journal, archive, port = tmp_path / "journal", tmp_path / "archive", free_port()
    async with hub_at(port, journal) as hub, dashboard(port, journal, archive) as feed:
        await told(feed, hub, "one")
        assert feed.store.path == journal
        assert kept(journal) == ["one"]
        assert "journal" in feed.model.history
    assert not archive.exists()


@pytest.mark.parametrize("how", ["no journal", "its journal is elsewhere", "another's journal lies here"])
async def test_of_any_other_hub_an_archive_is_kept(how: str, tmp_path: Path) -> None:
    journal, archive, port = tmp_path / "journal", tmp_path / "archive", free_port()
    if how.startswith("another"):
        async with hub_at(free_port(), journal):
            pass
    writes = None if how == "no journal" else tmp_path / "elsewhere"
    async with hub_at(port, writes) as hub, dashboard(port, journal, archive) as feed:
        await told(feed, hub, "one")
        assert feed.store.path == archive
        feed.store.flush(5.0)
        assert kept(archive) == ["one"]
        assert kept(journal) == []


async def test_a_hub_that_comes_back_otherwise_is_kept_otherwise(tmp_path: Path) -> None:
    """Each event is in one of the two, and what happened meanwhile is in the archive once it is known."""
    journal, archive, port = tmp_path / "journal", tmp_path / "archive", free_port()
    async with dashboard(port, journal, archive) as feed:
        async with hub_at(port, journal) as hub:
            await told(feed, hub, "one")
        async with hub_at(port, None) as hub:
            hub.router.events.add("journal", "", {"state": "ok", "message": "two"})
            await told(feed, hub, "three")
        async with hub_at(port, journal) as hub:
            await told(feed, hub, "four")
            assert feed.store.path == journal
        feed.store.flush(5.0)
    assert kept(journal) == ["one", "four"]
    assert kept(archive) == ["two", "three"]


async def test_before_a_hub_was_seen_the_history_is_that_of_this_computer(tmp_path: Path) -> None:
    journal, archive = tmp_path / "journal", tmp_path / "archive"
    assert Store(journal, archive, is_hub_here=True).path == archive  # there is neither
    async with hub_at(free_port(), journal):
        pass
    assert Store(journal, archive, is_hub_here=True).path == journal
    assert Store(journal, archive).path == archive


def test_an_archive_is_its_owners_and_outlives_a_wrong_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive.sqlite3"
    day_ms = 86_400_000
    now_ms = time.time_ns() // 1_000_000
    for days in (0, 400, 400, 0):
        monkeypatch.setattr(time, "time_ns", lambda days=days: (now_ms + days * day_ms) * 1_000_000)
        store = Store(None, archive)
        after, _ = store.follow("of a hub board", 0)
        store.record("of a hub board", Event(after + 1, "journal", "", {"message": str(after)}), 0)
        store.flush(DEADLINE_S)
        assert archive.stat().st_mode & 0o077 == 0
        store.close()
    assert kept(archive) == ["0", "1", "2", "3"]


async def test_a_service_is_kept_and_is_no_target(tmp_path: Path) -> None:
    archive, port = tmp_path / "archive", free_port()
    async with hub_at(port, None) as hub, dashboard(port, None, archive) as feed:
        heard: list[str] = []
        feed.model.listen(lambda event: heard.append(event.event if event else "polled"))
        await told(feed, hub, "one")
        async with scripted_target(HubUnderTest(port, hub=hub), "target_1"), peer_of(port) as service:
            await service.send(registration("lab1", role="service", firmware="Powermeter"))
            await until(lambda: "service_here" in heard, "the dashboard should hear of it")
            await service.close()
            await until(lambda: "service_lost" in heard, "the dashboard should hear of it")
            heard.clear()
            await until(lambda: "polled" in heard, "the dashboard should ask for its targets")
            assert feed.model.overview().names == ["target_1"]
    with History(archive) as history:
        told_of = [
            (event.event, event.target_id) for event in history.events(["service_here", "service_lost"])
        ]
        assert told_of == [("service_here", "lab1"), ("service_lost", "lab1")]
        assert {outage.target_id for outage in history.outages()} <= {"target_1"}
        assert {target.target_id for target in history.targets()} <= {"target_1"}

"""What the dashboard reads of cameras, without a browser: a real gateway."""

import asyncio
from pathlib import Path

from snyper.dashboard.camera_feed import CameraFeed
from snyper.system import steady
from tests.integration.cameras_harness import DETECTION, CameraGateway
from tests.integration.harness import DEADLINE_S, WallClock, until


async def test_it_ends_with_its_gateway(tmp_path: Path) -> None:
    """As both do by one Ctrl-C."""
    gateway = await asyncio.to_thread(CameraGateway, tmp_path)
    feed = CameraFeed(gateway.url)
    feed.record_viewer()

    def is_heard() -> bool:
        feed.refresh()
        return bool(feed.statistics.get("connected_clients"))

    await until(is_heard, "it should hear what comes")
    await asyncio.to_thread(gateway.end)
    await asyncio.wait_for(feed.close(), DEADLINE_S)


async def test_a_camera_is_as_old_as_it_is_while_clocks_differ(tmp_path: Path) -> None:
    """As those of two computers do, and one that is set."""
    clock = WallClock(tmp_path / "faketime")
    gateway = await asyncio.to_thread(CameraGateway, tmp_path, **clock.variables)
    began_s = steady.now_s()
    assert (await asyncio.to_thread(gateway.post, "/api/detection", DETECTION)).status_code == 200
    feed = CameraFeed(gateway.url)
    feed.record_viewer()
    for jump in ("-7h", "+5h"):
        clock.set(jump)
        at_s = feed.now_s()

        def is_read(at_s: float = at_s) -> bool:
            feed.refresh()
            return feed.is_read and abs(feed.now_s() - at_s) > 3_600

        await until(is_read, "it should be read with the clock as it is now")
        assert began_s <= feed.cameras["camera_001"]["seen_s"] <= steady.now_s()
    await feed.close()
    await asyncio.to_thread(gateway.end)

"""What the dashboard reads of cameras, without a browser: a real gateway."""

import asyncio
from pathlib import Path

from snyper.dashboard.camera_feed import CameraFeed
from tests.integration.cameras_harness import CameraGateway
from tests.integration.harness import DEADLINE_S, until


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

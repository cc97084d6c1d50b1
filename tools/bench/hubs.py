"""A hub inside a measurement."""

import asyncio

from snyper.firmware.master.server import Hub

REGISTER_TIMEOUT_S = 60


async def until_connected(hub: Hub, count: int) -> None:
    """Return when `count` targets are connected. Raises TimeoutError after REGISTER_TIMEOUT_S."""
    all_here = asyncio.Event()

    def on_event(seq: int, event: str, target_id: str, data: dict[str, object]) -> None:
        if len(hub.router.registry.connected()) >= count:
            all_here.set()

    stop_listening = hub.router.events.listen(on_event)
    try:
        async with asyncio.timeout(REGISTER_TIMEOUT_S):
            await all_here.wait()
    finally:
        stop_listening()

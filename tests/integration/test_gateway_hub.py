"""`snyper gateway`: a hub's state over HTTP, on several addresses, over its absence."""

import asyncio
from pathlib import Path

import httpx

from tests.integration.harness import DEADLINE_S, HOST, free_port, running_hub, snyper, virtual_target


async def test_a_gateway_tells_how_its_hub_is(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--hub", f"{HOST}:{port}", "--listen", f"{HOST}:0", "--listen", f"{HOST}:0", "--json")
    async with snyper("gateway", *arguments, SNYPER_KEY="") as command, httpx.AsyncClient() as client:
        urls = (await command.says_json())["urls"]
        assert len(set(urls)) == 2
        for url in urls:
            health = await client.get(f"{url}/health")
            assert (health.status_code, health.json()["status"]) == (200, "ok")
            assert health.json()["hub"]["state"] != "connected"
            ready = await client.get(f"{url}/ready")
            assert (ready.status_code, ready.json()) == (503, {"detail": "there is no hub"})
        async with (
            running_hub("cpython", tmp_path, port=port) as hub,
            virtual_target("cpython", tmp_path, hub.address),
        ):
            found: dict[str, object] = {}
            async with asyncio.timeout(DEADLINE_S):
                while found.get("targets") != ["target_1"]:
                    found = (await client.get(f"{urls[0]}/ready")).json()
            assert found == {"status": "ok", "targets": ["target_1"], "services": []}
            assert (await client.get(f"{urls[1]}/health")).json()["hub"]["state"] == "connected"
        assert await command.interrupt() == 0

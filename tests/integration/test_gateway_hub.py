"""`snyper gateway`: a hub's state over HTTP, on several addresses, over its absence."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.device.inbox.inbox import Inbox
from snyper.firmware.master.registry import Registry
from snyper.gateway.hub_receiver import receiving_from
from tests.integration.harness import DEADLINE_S, HOST, free_port, running_hub, snyper, until, virtual_target


async def test_however_many_ask_who_is_there_the_hub_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    entries = Registry.entries

    def counted(self: Registry) -> Any:
        nonlocal asked
        asked += 1
        return entries(self)

    monkeypatch.setattr(Registry, "entries", counted)
    async with running_hub("cpython", tmp_path) as hub:
        arguments = ("--hub", hub.address, "--listen", f"{HOST}:0", "--json")
        async with snyper("gateway", *arguments, SNYPER_KEY="") as command, httpx.AsyncClient() as client:
            [url] = (await command.says_json())["urls"]

            async def is_ready() -> bool:
                return (await client.get(f"{url}/ready")).status_code == 200

            await until(is_ready, "it should find its hub")
            asked, began_s = 0, time.monotonic()
            answers = await asyncio.gather(*(client.get(f"{url}/ready") for _ in range(100)))
            assert {answer.status_code for answer in answers} == {200}
            assert asked <= 2 + (time.monotonic() - began_s)
            assert await command.interrupt() == 0


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
            Inbox(tmp_path / "inbox") as inbox,
            receiving_from(hub.address, "beagle", inbox),
        ):
            found: dict[str, object] = {}
            async with asyncio.timeout(DEADLINE_S):
                while not (found.get("targets") and found.get("services")):
                    found = (await client.get(f"{urls[0]}/ready")).json()
            assert found == {"status": "ok", "targets": ["target_1"], "services": ["beagle"]}
            assert (await client.get(f"{urls[1]}/health")).json()["hub"]["state"] == "connected"
            beagle = f"{urls[0]}/devices/beagle"
            upload = {"file": ("a.csv", b"1,2", "text/csv")}
            for _ in range(2):  # with a key it is kept once
                pushed = await client.post(
                    f"{beagle}/api/receive/file", files=upload, headers={"idempotency-key": "k"}
                )
                assert pushed.json()["message"] == "File received"
            assert [path.read_bytes() for path in (tmp_path / "inbox").glob("a*.csv")] == [b"1,2"]
            pushed = await client.post(f"{beagle}/api/receive/data", json={"data": [1]})
            assert pushed.json() == {"status": "ok", "message": "Data received"}
            nobody = await client.post(f"{urls[0]}/devices/nobody/api/receive/file", files=upload)
            assert (nobody.status_code, nobody.headers["retry-after"]) == (503, "1")  # who may come yet
            assert nobody.json()["detail"].startswith("no service is nobody: ")
            missing = await client.post(f"{beagle}/api/receive/data", json={})
            assert (missing.status_code, "'data'" in missing.text) == (422, True)
        assert await command.interrupt() == 0

"""Rules of cameras at work: a real hub, a real gateway, detections over HTTP and silence over Socket.IO."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.cameras.intake import detection_of
from snyper.cameras.presence import MAX_SPOKEN_FOR
from snyper.cameras.rules import read_rules
from snyper.cameras.service import opened
from snyper.client import CeaseFire, HubClient, ReconnectingClient, connect
from snyper.gateway.camera_rules import CameraRules
from snyper.shared.runtime import end_task
from tests.integration.calls_harness import HubProcess
from tests.integration.cameras_harness import DETECTION, CameraGateway, connected, without
from tests.integration.harness import DEADLINE_S, at_length, run_snyper, until

LATE = at_length(1_000, 50)

RULES = """
[[rule]]
when = {class = "person", camera = "lane", min_confidence = 0.6, for_frames = 3}
then = "cease_fire"

[[rule]]
name = "the lane cannot be seen"
when = {silent = "lane"}
then = "cease_fire"
"""


def person(age_s: float = 0.0) -> dict[str, Any]:
    stamp = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    things = [{"class": "person", "confidence": 0.9}]
    body = without(DETECTION, "annotated_image", "cropped_plates")
    return {**body, "camera_id": "lane", "timestamp": stamp, "vehicle_detections": things}


@asynccontextmanager
async def ruled(tmp_path: Path) -> AsyncIterator[tuple[CameraGateway, HubClient]]:
    """Run a hub and a gateway with the rules for the block; give the gateway and a console."""
    async with ruled_by(tmp_path) as (gateway, hub), connect(hub.address) as console:
        yield gateway, console


@asynccontextmanager
async def ruled_by(tmp_path: Path) -> AsyncIterator[tuple[CameraGateway, HubProcess]]:
    """Run a hub and a gateway with the rules for the block."""
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    with HubProcess() as hub:
        gateway = await asyncio.to_thread(CameraGateway, tmp_path, "--hub", hub.address, "--rules", str(file))
        try:
            yield gateway, hub
        finally:
            assert await asyncio.to_thread(gateway.end) == 0


async def held(console: HubClient) -> str | None:
    """Return why a cease fire holds, None while none does."""
    state = await console.cease_fire_state()
    assert state is not None
    return state.why if state.held else None


async def until_held(console: HubClient) -> str:
    why: str | None = None

    async def is_held() -> bool:
        nonlocal why
        why = await held(console)
        return why is not None

    await until(is_held, "a cease fire should hold")
    assert why is not None
    return why


@pytest.mark.slow
@pytest.mark.long
async def test_what_is_seen_now_has_the_range_cease_fire_and_what_is_late_does_not(tmp_path: Path) -> None:
    async with ruled(tmp_path) as (gateway, console), httpx.AsyncClient(timeout=DEADLINE_S) as http:
        for _ in range(LATE):
            answer = await http.post(f"{gateway.url}/api/detection", json=person(age_s=60))
            assert answer.json()["warnings"] == ["rule not applied: late"]
        assert await held(console) is None
        for _ in range(3):
            answer = await http.post(f"{gateway.url}/api/detection", json=person())
            assert "warnings" not in answer.json()
        assert await until_held(console) == "person at lane"
        await console.release(by="a person")
        assert await held(console) is None
        assert (await http.post(f"{gateway.url}/api/detection", json=person())).status_code == 200
        assert await until_held(console) == "person at lane"  # who is still there is seen again

        async def is_all_told() -> bool:
            return sum(int(one["times"]) for one in await fired(http, gateway.url)) >= LATE + 2

        await until(is_all_told, "what the rules did should be told")
        results: Counter[str] = Counter()
        for one in await fired(http, gateway.url):
            assert (one["rule"], one["camera_id"], one["then"]) == ("person at lane", "lane", "cease_fire")
            assert one["detection_id"]
            results[one["result"]] += one["times"]
        assert results == {"rule not applied: late": LATE, "the range ceases fire": 2}
    late = [record for record in await asyncio.to_thread(kept, tmp_path) if record]
    assert len(late) == LATE


async def fired(http: httpx.AsyncClient, url: str) -> list[dict[str, Any]]:
    """Return what rules did, once what they are is checked."""
    answer = (await http.get(f"{url}/api/rules")).json()
    assert [one["name"] for one in answer["rules"]] == ["person at lane", "the lane cannot be seen"]
    found: list[dict[str, Any]] = answer["fired"]
    return found


def kept(tmp_path: Path) -> list[list[str]]:
    """Return the warnings of the first records, by a gateway of its own."""
    with CameraGateway(tmp_path) as gateway:
        found = gateway.get("/api/records?limit=1000&after=0").json()["records"]
        return [record.get("warnings", []) for record in found]


async def test_a_camera_that_is_gone_has_the_range_cease_fire(tmp_path: Path) -> None:
    async with ruled(tmp_path) as (gateway, console):
        await asyncio.to_thread(come_and_go, gateway)
        assert await until_held(console) == "the lane cannot be seen"


def come_and_go(gateway: CameraGateway) -> None:
    with connected(gateway.url) as (client, events):
        client.emit("camera_register", {"camera_id": " lane", "checkpoint_id": "range"})
        events.wait("camera_register")


@pytest.mark.slow
async def test_who_is_silent_still_has_it_called_again_after_every_release(tmp_path: Path) -> None:
    async with ruled(tmp_path) as (gateway, console), httpx.AsyncClient(timeout=DEADLINE_S) as http:
        await console.cease_fire(why="a visitor", by="a person")
        await asyncio.to_thread(come_and_go, gateway)
        await until(lambda: fired(http, gateway.url), "the rule should have fired")
        assert await held(console) == "a visitor"
        for _ in range(2):
            await console.release(by="a person")
            assert await until_held(console) == "the lane cannot be seen"
        results: Counter[str] = Counter()
        async with asyncio.timeout(DEADLINE_S):
            while results["the range ceases fire"] < 2:
                results = Counter()
                for one in await fired(http, gateway.url):
                    results[one["result"]] += one["times"]
        assert results == {"the range held fire already": 1, "the range ceases fire": 2}


async def test_one_of_thousands_that_fall_silent_at_once_is_not_overlooked(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with (
            opened(tmp_path / "cameras") as cameras,
            connect(hub.address, reconnect=True) as client,
            connect(hub.address) as console,
        ):
            watching = asyncio.create_task(CameraRules(read_rules(RULES), cameras, client).watch())
            await asyncio.sleep(0)  # until it listens
            for connection in range(2):
                for number in range(MAX_SPOKEN_FOR):
                    name = "lane" if connection == number == 0 else f"{connection}/{number}"
                    cameras.connect(connection, name, "range")
                await asyncio.sleep(0)
            for connection in range(2):
                cameras.disconnect(connection)
            assert await until_held(console) == "the lane cannot be seen"
            await end_task(watching)


class SlowClient(ReconnectingClient):
    """A client that hears late of the cease fire that it has asked for."""

    def __init__(self, hub: str) -> None:
        super().__init__(hub)
        self.hears = asyncio.Event()

    async def cease_fire(self, *about: Any, **more: Any) -> CeaseFire:
        state = await super().cease_fire(*about, **more)
        await self.hears.wait()
        return state


async def test_who_is_seen_after_a_release_is_not_taken_for_who_was_seen_before(tmp_path: Path) -> None:
    with HubProcess() as hub:
        client = SlowClient(hub.address)
        async with opened(tmp_path / "cameras") as cameras, client, connect(hub.address) as console:
            rules = CameraRules(read_rules(RULES), cameras, client)
            for _ in range(3):
                rules.judge(detection_of(person()))
            assert await until_held(console) == "person at lane"
            await console.release(by="a person")
            for _ in range(50):
                rules.judge(detection_of(person()))
            client.hears.set()
            assert await until_held(console) == "person at lane"


@pytest.mark.slow
@pytest.mark.long
async def test_a_hub_that_was_away_hears_of_who_is_silent_still(tmp_path: Path) -> None:
    async with ruled_by(tmp_path) as (gateway, hub):
        await asyncio.to_thread(hub.kill)
        await asyncio.to_thread(come_and_go, gateway)
        said = "the rule 'the lane cannot be seen' cannot have the range cease fire"
        await until(lambda: said in gateway.said(), "the gateway should say so")
        await asyncio.to_thread(hub.start)
        async with connect(hub.address) as console:
            assert await until_held(console) == "the lane cannot be seen"


async def test_the_gateway_says_which_rule_it_was(tmp_path: Path) -> None:
    async with ruled(tmp_path) as (gateway, console), httpx.AsyncClient(timeout=DEADLINE_S) as http:
        unread = {**person(), "vehicle_detections": [{"class": "person", "confidence": 10}]}
        [warning] = (await http.post(f"{gateway.url}/api/detection", json=unread)).json()["warnings"]
        assert warning == "rules do not see all of vehicle_detections: a confidence is no number from 0 to 1"
        for _ in range(3):
            await http.post(f"{gateway.url}/api/detection", json=person())
        await until_held(console)
        await until(
            lambda: "the rule 'person at lane' has the range cease fire" in gateway.said(),
            "the gateway should say so",
        )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RULES.replace("for_frames", "frames"), "rule 1 has 'frames'"),
        ("import os", "it is no TOML"),
        (RULES + RULES, "rules 1 and 3 are both called 'person at lane'"),
        (None, "No such file"),
    ],
)
async def test_rules_that_cannot_be_read_stop_the_start(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "rules.toml"
    if text is not None:
        file.write_text(text)
    cameras = ("--cameras", str(tmp_path / "cameras"), "--hub", "127.0.0.1:1", "--listen", "127.0.0.1:0")
    status, _, err = await run_snyper("gateway", *cameras, "--rules", str(file))
    assert (status, says in err) == (2, True), err


async def test_rules_need_cameras_and_a_hub(tmp_path: Path) -> None:
    status, _, err = await run_snyper("gateway", "--rules", "rules.toml")
    assert (status, "of --cameras FOLDER" in err) == (2, True)
    status, _, err = await run_snyper("gateway", "--cameras", str(tmp_path), "--rules", "rules.toml")
    assert (status, "--hub HOST:PORT" in err) == (2, True)

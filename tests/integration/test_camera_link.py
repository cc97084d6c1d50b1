"""`snyper.Camera` through a real hub, and the gateway's side of it."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from snyper.cameras.camera import MAX_BATCH, Camera, Delivery
from snyper.cameras.feed import Feed
from snyper.cameras.grants import Grant, Grants
from snyper.cameras.intake import health_of
from snyper.cameras.records import Accepted, CameraSettings, Detection, RecordQuery
from snyper.cameras.service import Cameras, opened
from snyper.cameras.silence import Expectation
from snyper.client import key_store
from snyper.client.key_store import new_key
from snyper.gateway.app import Gateway
from snyper.gateway.camera_link import cameras_at_hub
from snyper.gateway.limits import LIMITS
from snyper.services.async_client import AsyncClient
from snyper.services.carrying import ClientEnd
from snyper.shared.keys import Rights
from snyper.shared.socket_protocol import SocketMessage
from snyper.system.limits import complete_limits
from tests.integration.calls_harness import HubProcess
from tests.integration.harness import DEADLINE_S, until


def jpeg(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


@asynccontextmanager
async def taking(
    folder: Path, hub: HubProcess, expectations: Mapping[str, Expectation] | None = None, **options: Any
) -> AsyncIterator[Cameras]:
    gateway = Gateway(complete_limits(LIMITS, ()), {})
    async with (
        opened(folder, expectations=expectations) as cameras,
        cameras_at_hub(gateway, cameras, hub.address, **options),
    ):
        yield cameras


def camera_of(hub: HubProcess, folder: Path, camera_id: str = "lane", **options: Any) -> Camera:
    return Camera(camera_id, "gate", hub=hub.address, outbox=folder / "outbox", **options)


async def plates(cameras: Cameras) -> list[str]:
    page = await cameras.records(RecordQuery(limit=1_000, after=0))
    return [record.ocr_results[0] for record in page.records]


async def test_what_a_camera_tells_is_kept(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path) as camera:
            told = await camera.detection(
                ocr_results=["กข 1234"],
                vehicles_count=1,
                annotated_image=jpeg(),
                cropped_plates=[jpeg(1), jpeg(2)],
                vehicle_detections=[{"bbox": [1, 2, 3, 4], "class": "car"}],
            )
            await camera.health("camera", "healthy", "it works", {"cpu_usage": 45.2})
            async with asyncio.timeout(20):
                await camera.flush()
            page = await cameras.records(RecordQuery())
            [record] = page.records
            assert (record.detection_id, record.camera_id, record.checkpoint_id) == (told, "lane", "gate")
            assert (record.ocr_results, record.vehicles_count) == (("กข 1234",), 1)
            assert record.details["vehicle_detections"] == [{"bbox": [1, 2, 3, 4], "class": "car"}]
            assert record.picture is not None
            path = cameras.picture(record.picture.name)
            assert path is not None
            assert path.read_bytes() == jpeg()
            assert len(record.cropped_plates) == 2
            [state] = await cameras.cameras()
            assert (state.health_status, state.detection_count) == ("healthy", 1)
            assert state.registered_s is not None
            assert (await camera.counts())[:3] == (0, 0, 2)
            assert camera.delivery == Delivery(True, "")


async def test_what_is_new_goes_before_what_waits(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with camera_of(hub, tmp_path) as camera:
            for number in range(200):
                await camera.detection(ocr_results=[f"old {number}"])
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path) as camera:
            for number in range(3):
                await camera.detection(ocr_results=[f"new {number}"])
            async with asyncio.timeout(60):
                await camera.flush()
            kept = await plates(cameras)
    assert len(kept) == 203
    assert [one for one in kept if one.startswith("old")] == [f"old {number}" for number in range(200)]
    new = [kept.index(f"new {number}") for number in range(3)]
    assert new == sorted(new)
    assert new[-1] < 200 - MAX_BATCH  # what was told already is before them, and what was under way


async def test_a_health_check_that_is_told_again_counts_once(tmp_path: Path) -> None:
    """Also where the gateway was killed before its answer came."""
    body = {"camera_id": "lane", "checkpoint_id": "gate", "timestamp": "x"}
    body |= {"component": "camera", "status": "healthy"}
    for _ in range(2):
        async with opened(tmp_path / "cameras") as cameras:
            for _ in range(2):
                for number in range(MAX_BATCH):
                    health = health_of({**body, "health_id": f"h{number}", "status": f"at {number}"})
                    assert (await cameras.health(health)).id == f"h{number}"
            assert (await cameras.health(health)).is_known
            assert (await cameras.statistics()).total_health_checks == MAX_BATCH
    async with opened(tmp_path / "cameras") as cameras:
        for number in range(100):
            await cameras.health(health_of({**body, "health_id": f"more {number}"}))
        for _ in range(2):
            await cameras.health(health_of(body))  # of a sender that gives no id
        assert (await cameras.statistics()).total_health_checks == MAX_BATCH + 102


async def changes(feed: Feed, *expected: str) -> None:
    """Wait for just these states of the cameras, in this order, without what else is told."""
    found: list[str] = []
    async with asyncio.timeout(20):
        while found != list(expected):
            event = await anext(feed)
            if event.kind == "status":
                assert event.data["checkpoint_id"] == "gate"
                found.append(f"{event.data['camera_id']} {event.data['status']}")
                assert found == list(expected)[: len(found)]


async def test_a_camera_is_there_until_its_socket_closes(tmp_path: Path) -> None:
    """It is in the list before it has anything to tell."""
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras:
            feed = cameras.listen()
            async with camera_of(hub, tmp_path):
                await changes(feed, "lane online")
                [state] = await cameras.cameras()
                assert state.is_active
                assert state.registered_s is not None
                assert (await cameras.statistics()).active_cameras == 1
            async with asyncio.timeout(3):  # it does not wait for the silence
                await changes(feed, "lane offline")
            [state] = await cameras.cameras()
            assert not state.is_active
            assert (await cameras.statistics()).active_cameras == 0


async def test_a_camera_with_grace(tmp_path: Path) -> None:
    """Who is back within it was never gone."""
    with HubProcess() as hub:
        grace = {"lane": Expectation(grace_s=3.0)}
        async with taking(tmp_path / "cameras", hub, grace) as cameras:
            feed = cameras.listen()
            async with camera_of(hub, tmp_path):
                await changes(feed, "lane online")
            [state] = await cameras.cameras()
            assert state.is_active
            async with camera_of(hub, tmp_path):
                await changes(feed, "lane online")  # as it registers
            await changes(feed, "lane offline")


async def test_a_camera_that_is_asleep_and_wakes(tmp_path: Path) -> None:
    """Its sleep is told in place of its silence, and its silence once the sleep is over."""
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras:
            feed = cameras.listen()
            async with camera_of(hub, tmp_path):
                await changes(feed, "lane online")
                wakes_s = round(time.time()) + 3.0
                assert await cameras.change_settings("lane", CameraSettings(asleep_until_s=wakes_s))
            await changes(feed, "lane asleep")
            [state] = await cameras.cameras()
            assert (state.is_active, state.asleep_until_s) == (False, wakes_s)
            await changes(feed, "lane offline")
            assert time.time() >= wakes_s
            [state] = await cameras.cameras()
            assert (state.is_active, state.asleep_until_s) == (False, None)


async def test_a_camera_whose_device_came_again_is_there(tmp_path: Path) -> None:
    """The end of one connection, which may be known late, takes nothing from another."""
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras:
            feed = cameras.listen()
            async with camera_of(hub, tmp_path / "1", name="old"):
                await changes(feed, "lane online")
                async with camera_of(hub, tmp_path / "2"):
                    await changes(feed, "lane online")  # as it registers
                async with camera_of(hub, tmp_path / "3", "mark"):
                    await changes(feed, "mark online")
                await changes(feed, "mark offline")  # and nothing of the lane
            await changes(feed, "lane offline")


async def test_what_is_refused_is_set_aside(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path) as camera:
            await camera.detection(ocr_results=["A"])
            await camera.health("x" * 1_000, "healthy")  # no name of a component
            await camera.detection(ocr_results=["B"])
            async with asyncio.timeout(20):
                await camera.flush()
            assert await plates(cameras) == ["A", "B"]
            [aside] = await camera.set_aside()
            assert "component has to be a text" in aside.reason
            assert (await camera.counts())[:3] == (0, 1, 2)


async def test_a_fault_of_the_server_holds_up_that_one_thing(tmp_path: Path) -> None:
    is_faulty = True

    def judge(detection: Detection) -> tuple[Detection, Callable[[Accepted], None]]:
        if is_faulty and detection.ocr_results == ("B",):
            raise RuntimeError("a fault")
        return detection, lambda accepted: None

    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path) as camera:
            cameras.judge = judge
            for plate in "ABC":
                await camera.detection(ocr_results=[plate])

            async def are_told() -> bool:
                return (await camera.counts()).sent == 2

            await until(are_told, "the others should be told")
            assert await plates(cameras) == ["A", "C"]
            is_faulty = False
            async with asyncio.timeout(20):
                await camera.flush()
            assert await plates(cameras) == ["A", "C", "B"]
            assert await camera.set_aside() == []


async def test_a_key_speaks_for_its_cameras_alone(tmp_path: Path) -> None:
    keys = {name: new_key(name) for name in ("cameras", "lane", "other", "fleet")}
    with key_store.changing() as store:
        for name, key in keys.items():
            store.add(key, Rights.FLEET if name == "fleet" else Rights.DEVICE)

    def camera(number: int, camera_id: str, whose: str, name: str) -> Camera:
        key = keys[whose].to_text()
        return Camera(camera_id, "gate", hub=hub.address, outbox=tmp_path / str(number), key=key, name=name)

    with HubProcess() as hub:
        async with taking(
            tmp_path / "cameras", hub, grants=Grants({"other": Grant({"send": ("yard",)})})
        ) as cameras:
            allowed: list[tuple[str, str, str]] = [
                ("lane", "lane", "lane"),
                ("lane/left", "lane", "lane"),
                ("yard", "other", "other"),
                ("anything", "fleet", "anything"),
            ]
            for number, (camera_id, whose, name) in enumerate(allowed):
                async with camera(number, camera_id, whose, name) as one:
                    await one.detection(ocr_results=[camera_id])
                    async with asyncio.timeout(20):
                        await one.flush()
            assert await plates(cameras) == ["lane", "lane/left", "yard", "anything"]
            for number, (camera_id, whose, name, why) in enumerate(
                [
                    ("lane", "other", "other", "the key other does not speak for the camera lane"),
                    ("lane2", "lane", "lane", "the key lane does not speak for the camera lane2"),
                    ("lane", "other", "lane", "is for the target or service other alone"),
                ]
            ):
                async with camera(10 + number, camera_id, whose, name) as one:
                    await one.detection(ocr_results=["stolen"])
                    await until(lambda one=one, why=why: why in one.delivery.why, why)  # type: ignore[misc]
                    assert (await one.counts()).waiting == 1  # until somebody sees to its key
            assert len(await plates(cameras)) == 4


async def test_nobody_says_himself_what_he_has_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_key("other")
    with key_store.changing() as store:
        store.add(other, Rights.DEVICE)
        store.add(new_key("fleet"), Rights.FLEET)

    def begin(end: ClientEnd) -> SocketMessage:
        return end._request({"begin": True, "proven": ["lane", "lane"]})

    monkeypatch.setattr(ClientEnd, "begin", begin)
    with HubProcess() as hub:
        camera = camera_of(hub, tmp_path, key=other.to_text(), name="other")
        async with taking(tmp_path / "cameras", hub) as cameras, camera:
            await camera.detection(ocr_results=["forged"])
            why = "the key other does not speak for the camera lane"
            await until(lambda: camera.delivery.why == why, why)
            assert await cameras.cameras() == []
    key_store.default_path().unlink()
    with HubProcess() as hub:  # without keys all may speak for all
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path, "yard") as camera:
            await camera.detection(ocr_results=["A"])
            async with asyncio.timeout(20):
                await camera.flush()
            assert sorted(await plates(cameras)) == ["A", "forged"]


async def test_a_key_that_is_revoked_and_given_back(tmp_path: Path) -> None:
    """What is told to who has no key is the same for a wrong one: so the device's side says what may be."""
    lane = new_key("lane")
    with key_store.changing() as store:
        store.add(lane, Rights.DEVICE)
        store.add(new_key("fleet"), Rights.FLEET)
    with HubProcess() as hub:
        async with (
            taking(tmp_path / "cameras", hub) as cameras,
            camera_of(hub, tmp_path, key=lane.to_text()) as camera,
        ):
            await camera.detection(ocr_results=["before"])
            async with asyncio.timeout(20):
                await camera.flush()
            with key_store.changing() as store:
                store.revoke("lane")
            await until(lambda: "and not revoked?" in camera.delivery.why, "it should say what may be")
            assert "the key here is lane" in camera.delivery.why
            await camera.detection(ocr_results=["while it had none"])
            with key_store.changing() as store:
                store.add(lane, Rights.DEVICE)
            async with asyncio.timeout(DEADLINE_S):
                await camera.flush()
            assert await plates(cameras) == ["before", "while it had none"]


async def test_what_an_outbox_has_of_another_camera_blocks_nobody(tmp_path: Path) -> None:
    lane = new_key("lane")
    with key_store.changing() as store:
        store.add(lane, Rights.DEVICE)
        store.add(new_key("fleet"), Rights.FLEET)
    with HubProcess() as hub:
        key = lane.to_text()
        async with camera_of(hub, tmp_path, "yard", key=key, name="lane") as camera:
            await camera.detection(ocr_results=["of the yard"])
        async with taking(tmp_path / "cameras", hub), camera_of(hub, tmp_path, key=key) as camera:
            await camera.detection(ocr_results=["of the lane"])
            async with asyncio.timeout(20):
                await camera.flush()
            [aside] = await camera.set_aside()
            assert aside.reason == "the key lane does not speak for the camera yard"
            assert (await camera.counts())[:3] == (0, 1, 1)


HOSTILE: list[object] = [
    *(None, 5, "text", [], {}, [1, 2, 3], ["id", "detection", {}, []], ["id", "detection", None, []]),
    *(["id", "other", {"camera_id": "lane"}, []], [{}, [], {}, {}], ["id", "health", {"camera_id": []}, 5]),
    ["id", "detection", {"camera_id": "lane", "checkpoint_id": "g", "timestamp": "x"}, [["camera_id", b"x"]]],
    ["id", "detection", {"camera_id": "a\0b", "checkpoint_id": "g", "timestamp": "x"}, []],
    ["id", "detection", {"camera_id": "../..", "checkpoint_id": "g", "timestamp": "x", "x": b"y"}, []],
]


async def test_what_no_camera_of_ours_tells(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with (
            taking(tmp_path / "cameras", hub) as cameras,
            AsyncClient(hub=hub.address, name="cameras") as client,
        ):
            outcomes = await client.tell(HOSTILE)
            assert [one["outcome"] for one in outcomes] == ["refused"] * len(HOSTILE)
            assert all(one["why"] for one in outcomes)
            many: list[object] = [[[]] * 17, "text", {}, None]
            for wrong in many:
                with pytest.raises(ValueError, match="at most 16"):
                    await client.tell(wrong)
            abouts: list[object] = [None, 5, {}, {"camera_id": "x" * 129, "checkpoint_id": "gate"}]
            for about in abouts:
                with pytest.raises(ValueError, match=r"camera_id|body"):
                    await client.register(about)
            checkpoints: list[object] = [None, {}, "x" * 129]
            for checkpoint in checkpoints:
                with pytest.raises(ValueError, match="checkpoint_id"):
                    await client.beat("lane", checkpoint)
            assert await cameras.cameras() == []
            async with camera_of(hub, tmp_path) as camera:
                await camera.detection(ocr_results=["A"])
                async with asyncio.timeout(20):
                    await camera.flush()
            assert await plates(cameras) == ["A"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"camera_id": ""}, "id of a camera"),
        ({"camera_id": "a\nb"}, "id of a camera"),
        ({"checkpoint_id": "x" * 129}, "id of a checkpoint"),
        ({"hub": "nowhere:x"}, "nowhere:x"),
        ({"name": "a b"}, "is no name"),
        ({"key": "a:b"}, "key"),
        ({"max_outbox_bytes": 1_000}, "at least"),
    ],
)
async def test_what_makes_no_camera(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    given = {
        "camera_id": "lane",
        "checkpoint_id": "gate",
        "hub": "127.0.0.1:1",
        "outbox": tmp_path / "outbox",
    }
    with pytest.raises(ValueError, match=why):
        async with Camera(**{**given, **options}):
            pass


async def test_what_cannot_be_told(tmp_path: Path) -> None:
    """It is said at once, and nothing of it is in the outbox."""
    async with Camera("lane", "gate", hub="127.0.0.1:1", outbox=tmp_path / "outbox") as camera:
        deep: list[object] = []
        for _ in range(31):
            deep = [deep]
        theirs = ({"more": b"bytes"}, {"more": float("nan")}, {"more": "x" * 300_000}, {"more": deep})
        ours = ({"detection_id": "1"}, {"camera_id": "yard"}, {"timestamp": "2026-12-01T10:00:00Z"})
        for wrong in (*theirs, *ours):
            with pytest.raises((TypeError, ValueError)):
                await camera.detection(**wrong)
        with pytest.raises(ValueError, match="bytes of pictures"):
            await camera.detection(annotated_image=bytes(17 << 20))
        with pytest.raises(TypeError):
            await camera.detection(annotated_image="text")  # type: ignore[arg-type]
        for no_picture in ({"annotated_image": 5}, {"cropped_plates": b"abc"}, {"ocr_results": "ABC1234"}):
            with pytest.raises(TypeError):
                await camera.detection(**no_picture)
        with pytest.raises(ValueError, match="one picture: annotated_image or original_image"):
            await camera.detection(annotated_image=b"a", original_image=b"b")
        with pytest.raises(TypeError, match="captured_at is a datetime, not str"):
            await camera.detection(captured_at="2026")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="details is a mapping, not str"):
            await camera.health("camera", "healthy", details="x")  # type: ignore[arg-type]
        assert (await camera.counts()).waiting == 0


async def test_the_stamp_by_the_hub(tmp_path: Path) -> None:
    with HubProcess() as hub:
        async with taking(tmp_path / "cameras", hub) as cameras, camera_of(hub, tmp_path) as camera:
            await until(lambda: camera._clock.is_set, "it should know the time")
            await camera.detection(ocr_results=["A"])
            async with asyncio.timeout(20):
                await camera.flush()
            [record] = (await cameras.records(RecordQuery())).records
            stamp = record.details["captured_by_hub"]
            assert abs(record.received_s - stamp["at_s"]) < stamp["within_s"] + 2
            assert stamp["within_s"] < 1

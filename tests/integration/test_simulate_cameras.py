"""`snyper simulate-cameras`: its words, its usage, its pictures."""

import io
import json
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="no SQLAlchemy here: pip install 'snyper[cameras]'")

from PIL import Image

from snyper.cameras.simulated import HEIGHT, WIDTH, Road
from tests.integration.harness import HOST, free_port, run_snyper, snyper, until


async def test_it_says_what_is_there_and_ends_with_ctrl_c() -> None:
    address = f"{HOST}:{free_port()}"
    arguments = ("-n", "2", "--interval", "0.1", "--hub", address, "--json")
    async with snyper("simulate-cameras", *arguments, SNYPER_KEY="") as command:
        assert await command.says_json() == {"hub": address, "cameras": ["camera_001", "camera_002"]}
        await command.says(f"2 cameras for the hub at {address}; Ctrl-C ends this")
        await until(lambda: command.out.count("\n") > 2, "it should say what it detects")
        told = json.loads(command.out.splitlines()[1])
        assert told["camera_id"] in ("camera_001", "camera_002")
        assert len(told["plate"]) == 7
        await command.says(f"the service `cameras` at {address} is not there")
        assert await command.interrupt() == 0


@pytest.mark.parametrize(
    "arguments", [("-n", "0"), ("--interval", "0"), ("--count", "0"), ("--hub", "a:b"), ("extra",)]
)
async def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    status, said, complained = await run_snyper("simulate-cameras", *arguments, SNYPER_KEY="")
    assert (status, said) == (2, "")
    assert "Traceback" not in complained


async def test_a_checkpoint_that_is_none() -> None:
    status, _, complained = await run_snyper("simulate-cameras", "--checkpoint", "", SNYPER_KEY="")
    assert status == 1
    assert "the id of a checkpoint is a text" in complained
    assert "Traceback" not in complained


@pytest.mark.parametrize("grant", ["lane", "lane=", "=yard", "a b=yard"])
async def test_a_grant_that_is_none(grant: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "cameras")
    status, _, complained = await run_snyper("gateway", "--cameras", folder, "--grant", grant)
    assert status == 2
    assert f"--grant is NAME=CAMERA, a key of the hub and a camera, not {grant}" in complained
    status, _, complained = await run_snyper("gateway", "--grant", "lane=yard")
    assert (status, "--grant and --rules are of --cameras FOLDER" in complained) == (2, True)


def test_the_same_seed_has_the_same_cars() -> None:
    roads = [Road(7), Road(7), Road(8)]
    seen = []
    for road in roads:
        plates = []
        for _ in range(60):
            road.step()
            plates.append(road.plate)
        assert len(set(plates)) > 3  # cars go by
        seen.append(plates)
    assert seen[0] == seen[1] != seen[2]


def test_what_it_draws_is_where_it_says() -> None:
    road = Road(0)
    for _ in range(3):
        road.step()
    seen = road.detection()
    image = Image.open(io.BytesIO(seen["annotated_image"]))
    assert image.size == (WIDTH, HEIGHT)
    left, top, right, bottom = seen["plate_detections"][0]["bbox"]
    plate = image.crop((left + 2, top + 2, right - 2, bottom - 2)).convert("L")
    light = sum(plate.histogram()[200:])
    assert light > plate.width * plate.height / 2  # a white plate, with letters on it
    [cropped] = seen["cropped_plates"]
    assert Image.open(io.BytesIO(cropped)).size == (right - left, bottom - top)

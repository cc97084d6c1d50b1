"""The example `examples/camera`, and the camera of docs/cameras.md, as a newcomer runs them."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="no OpenCV here: pip install 'snyper[opencv]'")

import cv2
import numpy
from PIL import Image

from tests.integration.calls_harness import HubProcess
from tests.integration.cameras_harness import CameraGateway
from tests.integration.harness import ROOT, wait_until

MOTION = ROOT / "examples" / "camera" / "motion.py"
PAGE = (ROOT / "docs" / "cameras.md").read_text(encoding="utf-8")


@pytest.fixture
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, hub: HubProcess) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path / "gateway", "--hub", hub.address) as running:
        yield running


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1"}


def draw(folder: Path, number: int, x: int | None) -> None:
    """Draw a road, with something light at `x` on it."""
    frame = numpy.full((240, 320, 3), 90, numpy.uint8)
    if x is not None:
        frame[100:160, x : x + 60] = 230
    cv2.imwrite(str(folder / f"{number:03}.png"), frame)


def test_what_moves_is_told(hub: HubProcess, gateway: CameraGateway, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "005-broken.png").write_text("no picture")
    for number in range(20):
        draw(pictures, number, None)
    for number in range(20, 24):
        draw(pictures, number, 40 * (number - 20))
    done = subprocess.run(
        [sys.executable, MOTION, pictures, "--hub", hub.address, "--pause", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    skipped = f"{pictures / '005-broken.png'} is no picture, and is skipped\n"
    assert (done.returncode, done.stderr) == (0, skipped)
    assert done.stdout == "4 told\n"
    records = gateway.records()
    assert len(records) == 4
    newest = records[0]
    assert newest["camera_id"] == "lane"
    boxes = [one["bbox"] for one in newest["vehicle_detections"]]
    assert any(x1 <= 125 and x2 >= 175 and y1 <= 105 and y2 >= 155 for x1, y1, x2, y2 in boxes), boxes
    assert newest["original_image"] is not None
    image = Image.open(io.BytesIO(gateway.get(newest["original_image"]).content))
    assert image.size == (320, 240)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nowhere.mp4",), "there is no picture from nowhere.mp4"),
        (("empty",), "there is no picture in empty: it takes .jpeg, .jpg, .png"),
        (("empty", "--camera", ""), "the id of a camera is a text of 1 to 128 characters that can be seen"),
    ],
)
def test_what_cannot_be_watched(arguments: tuple[str, ...], why: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    done = subprocess.run(
        [sys.executable, str(MOTION), *arguments, "--hub", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"motion.py: {why}"
    assert "Traceback" not in done.stderr


def test_ctrl_c(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    draw(pictures, 0, None)
    command = [sys.executable, str(MOTION), "pictures", "--hub", "127.0.0.1:1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
    ) as waiting:  # for a hub that is not there
        wait_until((tmp_path / "lane.outbox-wal").exists, "it has begun")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 0
        assert waiting.stdout is not None
        assert waiting.stdout.read() == "stopped\n"


def test_the_camera_of_the_page(hub: HubProcess, gateway: CameraGateway, tmp_path: Path) -> None:
    section = PAGE.split("\n## A camera on the link\n")[1].split("\n## ")[0]
    [program] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    for name in ("car.jpg", "plate.jpg"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    (tmp_path / "camera.py").write_text(program.replace("127.0.0.1:8081", hub.address))
    subprocess.run(
        [sys.executable, "camera.py"], cwd=tmp_path, timeout=60, check=True, env=environment(tmp_path)
    )
    [record] = gateway.records()
    assert record["ocr_results"] == ["ABC1234"]
    assert len(record["cropped_plates"]) == 1
    assert gateway.statistics()["total_health_checks"] == 1

"""The services of `examples/offload`: what they answer, and what they say of what they cannot work with."""

import io
import json
import math
import random
import re
import shutil
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.offload import services
from snyper.services import InvalidInput
from tests.integration.harness import ROOT
from tools.loopback import free_port

FOLDER = ROOT / "examples/offload"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def wav(samples: list[int], rate: int = 8000, width: int = 2) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return stream.getvalue()


def test_files_are_summed_up(tmp_path: Path) -> None:
    table = "\ufefftime,volts,note\n1,2.5,a\n2,nan,b\n3,-1,\n4\n5,1.5,c,more\n"
    assert services.process(written(tmp_path / "a.CSV", table.encode()), "default") == {
        "rows": 5,
        "columns": {
            "time": {"count": 5, "min": 1, "mean": 3, "max": 5},
            "volts": {"count": 3, "min": -1, "mean": 1, "max": 2.5},
        },
    }
    assert services.process(written(tmp_path / "b.csv", b""), "") == {"rows": 0, "columns": {}}
    sine = [round(16384 * math.sin(2 * math.pi * at / 80)) for at in range(8000)]
    quiet = written(tmp_path / "upload", wav(sine))
    assert services.process(quiet, "default") == {
        "seconds": 1.0,
        "channels": 1,
        "rate": 8000,
        "peak": 0.5,
        "rms": 0.3536,
    }
    louder = services.process(quiet, "normalise")
    assert isinstance(louder, Path)
    assert services.process(louder, "default") == {
        "seconds": 1.0,
        "channels": 1,
        "rate": 8000,
        "peak": 1.0,
        "rms": 0.7071,
    }
    assert services.process(written(tmp_path / "none.wav", wav([])), "normalise")
    found = services.process(written(tmp_path / "c.bin", b"abc"), "default")
    assert isinstance(found, dict)
    assert (found["bytes"], found["sha256"][:8]) == (3, "ba7816bf")


@pytest.mark.parametrize(
    "content", [b"RIFF\0\0\0\0WAVE", wav([1])[:30], wav([1, 2], width=1), b"RIFF" + b"\xff" * 4 + b"WAVEfmt "]
)
def test_what_is_no_wav_is_said(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidInput, match="WAV"):
        services.process(written(tmp_path / "a", content), "default")


def picture(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return stream.getvalue()


def test_pictures_are_made_to_fit(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a camera that was held upright
    for content, options, size in (
        (picture((1000, 500)), "default", (640, 320)),
        (picture((100, 50), "GIF", "P"), "default", (100, 50)),
        (picture((1000, 500), "PNG", "RGBA"), "320x240", (320, 160)),
        (picture((4000, 2000), "JPEG", exif=turned.tobytes()), "default", (320, 640)),
        (picture((300, 300), "PNG", "I;16"), "30x40", (30, 30)),
    ):
        resized = services.resize(written(tmp_path / "a picture", content), options)
        with Image.open(resized) as found:
            assert (found.format, found.size) == ("JPEG", size)


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (lambda: b"no picture", "default", "this is no picture: those are JPEG, PNG"),
        (
            lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "default",
            "this is no picture: those are JPEG, PNG",
        ),
        (lambda: picture((20_000, 20_000), mode="1"), "default", "a picture has at most 50,000,000 pixels"),
        (lambda: picture((10_000, 6_000), mode="1"), "default", "a picture has at most 50,000,000 pixels"),
        (lambda: picture((1, 65_536), mode="1"), "default", "a picture has at most 65,535 pixels to a side"),
        (lambda: picture((500, 500), "JPEG")[:700], "default", "the picture is damaged"),
        (lambda: picture((500, 500))[:200], "default", "the picture is damaged"),
        (lambda: picture((9, 9)), "0x9", "options are such as 320x240"),
        (lambda: picture((9, 9)), "9x99999999999", "options are such as 320x240"),
        (lambda: picture((9, 9)), "large", "options are such as 320x240"),
    ],
)
def test_what_is_no_picture_is_said(
    tmp_path: Path, content: Callable[[], bytes], options: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match="^" + said):
        services.resize(written(tmp_path / "a", content()), options)


def test_data_of_the_air() -> None:
    assert services.process_data({"temperature": 25.3, "humidity": 60.2}, {}) == {
        "dew_point": 17.0,
        "water": 14.1,
    }
    assert services.process_data({"temperature": 0, "humidity": 100}, {"digits": 2})["dew_point"] == 0
    for data, options in (
        (None, {}),
        ([25.3, 60.2], {}),
        ({"temperature": 25.3}, {}),
        ({"temperature": True, "humidity": 60}, {}),
        ({"temperature": 10**400, "humidity": 60}, {}),
        ({"temperature": 25, "humidity": 0}, {}),
        ({"temperature": 25, "humidity": 60}, {"digits": "3"}),
    ):
        with pytest.raises(InvalidInput):
            services.process_data(data, options)


def test_wild_readings_are_found() -> None:
    rng = random.Random(1)
    readings: list[float | None] = [20 + rng.gauss(0, 0.1) for _ in range(1000)]
    readings[7], readings[500], readings[900] = 35.0, None, -5
    found = services.analyze(readings)
    assert {7, 900} <= {one["index"] for one in found}
    assert len(found) < 6
    assert services.analyze({"a": [1, 1, 1, 9, 1], "b": []}) == {
        "a": [{"index": 3, "value": 9.0, "score": 3.99}],
        "b": [],
    }
    assert services.analyze([5, 5, None]) == services.analyze([None]) == []
    for wrong in (None, 3, [1, "2"], [[1]], {"a": 1}, [True], [10**400], [math.nan]):
        with pytest.raises(InvalidInput):
            services.analyze(wrong)


def test_the_model_knows_its_flowers() -> None:
    assert services.infer([5.1, 3.5, 1.4, 0.2])["name"] == "setosa"
    assert [one["name"] for one in services.infer([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]])] == [
        "setosa",
        "virginica",
    ]
    wrong: Any
    for wrong in (None, [], [1, 2, 3], ["a", "b", "c", "d"], [[1, 2, 3, 4], 5], [1, 2, 3, math.inf], {}):
        with pytest.raises(InvalidInput):
            services.infer(wrong)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_lines_of_its_readme(tmp_path: Path) -> None:
    """Run what a newcomer types, but for the port."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (FOLDER / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == 2
    start = blocks[0].splitlines()[1]
    assert start.startswith("snyper serve services.py ")
    port = free_port()
    written(tmp_path / "readings.csv", b"volts\n1\n3\n")
    written(tmp_path / "photo.jpg", picture((1000, 500), "JPEG"))
    command = [sys.executable, "-m", "snyper.cli", *start.replace(":8000", f":{port}").split()[1:]]
    with subprocess.Popen(command, cwd=FOLDER, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert any("Ctrl-C stops it" in line for line in server.stderr)
            script = blocks[1].replace(":8000", f":{port}").replace("curl ", "curl -sS ")
            done = [
                subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True)
                for line in script.splitlines()
            ]
        finally:
            server.terminate()
            server.communicate()
    assert [one.stderr for one in done] == [b""] * 5
    file, image, data, sensors, model = (one.stdout for one in done)
    assert json.loads(file)["columns"]["volts"]["mean"] == 2
    assert image == b""
    with Image.open(tmp_path / "small.jpg") as small:
        assert small.size == (640, 320)
    assert json.loads(data) == {"result": {"dew_point": 17.0, "water": 14.1}}
    assert json.loads(sensors)["anomalies"][0]["index"] == 3
    assert json.loads(model) == {"prediction": {"name": "setosa", "share": 0.985}}

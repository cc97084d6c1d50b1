"""`snyper cameras`, on a folder that a gateway has left."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from snyper.cameras.intake import detection_of
from snyper.cameras.service import opened
from tests.integration.camera_bodies import NAMES, jpeg


async def keep_two(folder: Path) -> None:
    """Keep two records."""
    async with opened(folder) as cameras:
        for plate in ("ABC 1234", "XYZ 99"):
            await cameras.detect(
                detection_of({**NAMES, "ocr_results": [plate], "annotated_image": jpeg(plate)})
            )


def snyper(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "snyper.cli", "cameras", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_folder_is_looked_after(tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    asyncio.run(keep_two(folder))
    assert snyper("check", str(folder)).returncode == 0
    [first, _] = sorted((folder / "pictures").rglob("*.jpg"))
    first.rename(first.with_name("0" * 64 + ".jpg"))
    found = snyper("check", str(folder), "--json")
    assert found.returncode == 1
    assert [len(json.loads(found.stdout)[name]) for name in ("orphans", "missing")] == [1, 1]
    repaired = snyper("check", str(folder), "--repair")
    assert (repaired.returncode, len(repaired.stdout.splitlines())) == (0, 2)
    assert snyper("check", str(folder)).returncode == 0
    erased = snyper("forget", str(folder), "--plate", "abc-1234", "--json")
    assert (erased.returncode, json.loads(erased.stdout)) == (0, {"erased": 1})
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"ABC 1234" not in content
    assert b"XYZ 99" in content
    nothing = snyper("check", str(tmp_path))
    assert (nothing.returncode, "has no cameras.db" in nothing.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["cameras"]


async def test_a_folder_that_is_served_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "cameras"):
        found = await asyncio.to_thread(snyper, "check", str(tmp_path / "cameras"))
    assert found.returncode == 1
    assert "another process serves the cameras" in found.stderr

"""A process that stores arrays is killed at each of its steps: each is whole or not there, and once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.crashing_disk import STRIDE
from tests.integration.harness import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc for what is synced")
@pytest.mark.parametrize("options", [["--power"], ["--no-links"]])
@pytest.mark.long
def test_the_end_at_every_step(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "tests.integration.array_crashes", str(tmp_path / "arrays"), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 30 // STRIDE

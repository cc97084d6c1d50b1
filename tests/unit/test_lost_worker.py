"""A process of the suite that dies costs the test that it was in, and no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.harness import at_length

ROOT = Path(__file__).parents[2]

# The last tests of the queue, when the other process is at its end already, and ones in the middle.
SUITE = """
import os, time
import pytest

@pytest.mark.parametrize("number", range(12))
def test_one(number):
    if number in {lost}:
        os._exit(3)
    time.sleep({takes_s})
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("lost", at_length([(5,), (11,), (0, 1), (10, 11)], [(10, 11)]))
def test_the_others_run_once_each_and_the_run_ends(tmp_path: Path, lost: tuple[int, ...]) -> None:
    (tmp_path / "test_some.py").write_text(SUITE.format(lost=lost, takes_s=0.01))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-q", "-n", "2", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{len(lost)} failed, {12 - len(lost)} passed" in done.stdout, done.stdout

"""A few of the cases of `make faults`, as somebody runs them."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.integration.harness import linux_only, needs_micropython

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@linux_only
@needs_micropython
async def test_some_cases_hold() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.faults", "--case", "6", "--case", "7"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 0, text
    assert text.count(" holds\n") == 8, text
    assert "FAILS" not in text

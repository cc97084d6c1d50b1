"""Commands of `snyper` that another one starts: `play` and `demo` do."""

from pathlib import Path

import pytest

from snyper.cli import processes
from tests.integration.harness import HOST, linux_only

pytestmark = linux_only

HUB = ("hub", "--listen", f"{HOST}:0", "--no-journal")


async def test_what_lies_in_the_current_folder_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("snyper", "rich", "json"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError(__file__)\n")
    monkeypatch.chdir(tmp_path)
    async with processes.running(*HUB) as hub:
        assert hub.said["listen"].startswith(f"{HOST}:")


async def test_one_that_is_not_ready_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_TIMEOUT_S", 0.001)
    with pytest.raises(OSError, match=r"`snyper hub` was not ready within 0\.001 s; it said last: nothing"):
        async with processes.running(*HUB):
            pass

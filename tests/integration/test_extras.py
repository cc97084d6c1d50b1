"""What a command says whose extra is not installed: at once, and before it starts anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.harness import HOST, ROOT, free_port, left_in

INSTALL = "pip install 'snyper"


@pytest.mark.parametrize(
    ("arguments", "modules", "extra"),
    [
        (("play", "--no-open"), "nicegui", "dashboard"),
        (("dashboard", "--no-open"), "nicegui", "dashboard"),
        (("receive", "--listen", f"{HOST}:{free_port()}"), "uvicorn", "gateway"),
        (("serve", "services.py"), "uvicorn", "gateway"),
        (("gateway",), "uvicorn", "gateway"),
        (("gateway", "--arrays", "arrays"), "numpy", "arrays"),
        (("arrays", "list"), "numpy", "arrays"),
        (("gateway", "--demo-signal"), "numpy", "arrays"),
        (("gateway", "--cameras", "cameras"), "sqlalchemy uvicorn", "cameras"),
        (("simulate-signal",), "numpy", "arrays"),
        (("simulate-cameras",), "sqlalchemy", "cameras"),
        (("arrays", "record", "lab1/signal"), "numpy", "arrays"),
        (("recordings", "list"), "numpy", "arrays"),
        (("recordings", "export", ".", "recording.zarr"), "zarr", "zarr"),
        (("plot", "lab1/count"), "numpy", "arrays"),
        (("plot", "lab1/count", "--png", "plot.png"), "matplotlib", "plot"),
        (("trace", "target_1", "--png", "trace.png", "--hub", f"{HOST}:{free_port()}"), "matplotlib", "plot"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_an_extra_that_is_missing(
    arguments: tuple[str, ...], modules: str, extra: str, tmp_path: Path
) -> None:
    """The first of `modules` is named: its extra brings the others."""
    missing = modules.split()
    without = f"import sys; sys.modules.update(dict.fromkeys({missing!r}))"
    program = f"{without}; from snyper.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    assert result.returncode == 1
    [line] = (result.stdout + result.stderr).splitlines()
    assert line.endswith(
        f" needs {missing[0]}, which is not installed: {sys.executable} -m {INSTALL}[{extra}]'"
    )
    assert left_in(tmp_path) == []

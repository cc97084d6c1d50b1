"""The example `examples/powermeter`, as a newcomer runs it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snyper.services.client import Client
from snyper.services.locks import lock
from tests.integration.harness import ROOT, linux_only, wait_until
from tools.loopback import free_port

FOLDER = ROOT / "examples/powermeter"
_ESCAPES = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


@contextlib.contextmanager
def serving(port: int, secret: str = "") -> Iterator[None]:
    """Run server.py until it says how it is reached, and to the end of the block."""
    command = [sys.executable, "-u", "server.py", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=FOLDER, env=_env(secret), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = iter(server.stdout)
            assert any(line.startswith("Auxiliary calls") for line in said)
            yield
        finally:
            server.kill()


def _env(secret: str) -> dict[str, str]:
    return {**os.environ, **({"SNYPER_SECRET": secret} if secret else {})}


@pytest.mark.parametrize("secret", ["", "a secret of some length"])
def test_the_client_measures_in_each_range(secret: str) -> None:
    port = free_port()
    with serving(port, secret):
        done = subprocess.run(
            [sys.executable, "client.py", "--port", str(port)],
            cwd=FOLDER,
            env=_env(secret),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "QO100 /dev/ttyACM0"
    assert [line.partition(",")[0] for line in lines[1:6]] == [f"range {number}" for number in range(1, 6)]
    assert lines[6:] == ["range 9: range 9 is not 1 to 5"]


class Terminal:
    """A terminal with a command on it."""

    def __init__(self, *command: str) -> None:
        import pty

        near, far = pty.openpty()
        self.process = subprocess.Popen(command, cwd=FOLDER, stdin=far, stdout=far, stderr=far)
        os.close(far)
        self._said = ""
        self._reader = threading.Thread(target=self._read, args=(near,))
        self._reader.start()

    def _read(self, near: int) -> None:
        with contextlib.suppress(OSError):  # the last process on it has ended
            while data := os.read(near, 65_536):
                self._said += data.decode(errors="replace")
        os.close(near)

    def shows(self, text: str) -> None:
        """Wait until a text is shown that was not before this call."""
        seen = len(self._said)
        wait_until(lambda: text in _ESCAPES.sub("", self._said[seen:]), f"it should show {text!r}")

    def end(self) -> int:
        """Press Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(30)
        self._reader.join(30)
        assert "Traceback" not in self._said, self._said
        return status


@linux_only
def test_the_readout_shows_what_is_and_survives_a_restart() -> None:
    port = free_port()
    terminal = Terminal(sys.executable, "readout.py", "--port", str(port), "--every", "0.05")
    try:
        terminal.shows("the server is away")
        with serving(port), Client(address="localhost", port=port) as pm:
            terminal.shows("QO100 /dev/ttyACM0")
            terminal.shows(" mV")
            terminal.shows("range 1, to 0.1 V")
            terminal.shows("nobody has a lease")
            pm.set_range(5)
            terminal.shows("range 5, to 5.0 V")
            terminal.shows("2.")
            with lock(pm, why="cooldown"):
                terminal.shows(": cooldown")
        terminal.shows("the server is away")
        with serving(port):
            terminal.shows("range 1, to 0.1 V")
            terminal.shows("nobody has a lease")
        assert terminal.end() == 0
    finally:
        terminal.process.kill()


NOTEBOOK = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], 4)
for cell in notebook.cells:
    cell.source = cell.source.replace('address="localhost"', f'address="localhost", port={sys.argv[2]}')
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(nbformat.writes(notebook))
"""


@pytest.mark.slow
def test_the_notebook_runs_to_its_end(tmp_path: Path) -> None:
    port = free_port()
    with serving(port):
        done = subprocess.run(
            [sys.executable, "-c", NOTEBOOK, "powermeter.ipynb", str(port)],
            cwd=FOLDER,
            env={**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_PLATFORM_DIRS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    cells = {cell["id"]: cell for cell in json.loads(done.stdout)["cells"]}

    def shown(id: str) -> str:
        """Return what a cell shows as text."""
        outputs = cells[id]["outputs"]
        texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
        return "".join("".join(text) for text in texts)

    assert shown("connect") == "'QO100 /dev/ttyACM0'"
    assert 0.03 < float(shown("voltage")) < 0.06
    assert "Measure the photodiode's voltage" in shown("help")
    assert shown("range") == "3"
    [refused] = cells["refused"]["outputs"]
    assert (refused["ename"], refused["evalue"]) == ("ValueError", "range 9 is not 1 to 5")
    assert shown("watch") == "40"
    assert shown("lease") == "noise in each range\n"
    assert [list(output["data"]) for output in cells["plot"]["outputs"]] == [["image/png", "text/plain"]]


def test_what_the_folder_has_is_said_in_its_readme() -> None:
    readme = (FOLDER / "README.md").read_text()
    programs = {path.name for path in Path(FOLDER).glob("*.py")} | {
        path.name for path in FOLDER.glob("*.ipynb")
    }
    assert {name for name in programs if name not in readme} == set()

"""`snyper receive`, and that of a device, as processes, and what they have received."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tests.integration.device_harness import DEADLINE_S, copied_device, python_3_7

SNYPER, DEVICE = "snyper receive", "snyper.device receive"

HANDLERS = """
import json, os

def write(event):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(json.dumps(event) + "\\n")

async def on_file_received(event):
    write(event)

def on_data_received(event):
    write(event)
"""


class Receiver:
    """A receiver below `folder`, whose handlers write down what they get; it may be started again."""

    def __init__(self, folder: Path, *options: str, handlers: str = HANDLERS, program: str = SNYPER) -> None:
        self.folder = folder
        self.into = folder / "received"
        self._options = options
        self._events = folder / "events"
        self._handlers = folder / "handlers.py"
        self._handlers.write_text(handlers)
        self.url = ""
        self._begin = [sys.executable, "-m", "snyper.cli", "receive"]
        self._at: Path | None = None
        if program == DEVICE:
            self._begin = [python_3_7() or sys.executable, "-W", "error", "-m", "snyper.device", "receive"]
            self._at = copied_device(folder / "board")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, at its old port if it had one."""
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        command = [*self._begin, "--json", "--listen", listen, "--into", str(self.into)]
        command += ["--handlers", str(self._handlers), *self._options]
        environment = {**os.environ, "EVENTS": str(self._events)}
        environment.pop("SNYPER_SERVICE_KEY", None)
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self._at,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "urls" in said:  # else an event of the process before this one
                [self.url] = said["urls"]
                return
        raise AssertionError(self.process.communicate(timeout=DEADLINE_S))

    def listed(self) -> Any:
        """Return what its command `--list` says is only partly here."""
        command = [*self._begin, "--list", "--into", str(self.into), "--json"]
        listed = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=DEADLINE_S, cwd=self._at
        )
        return json.loads(listed.stdout)

    def end(self, number: int) -> tuple[str, str]:
        """End it by a signal; return what it has said."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        said = self.process.communicate(timeout=DEADLINE_S)
        self.process = None
        return said

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.end(signal.SIGKILL)

    def events(self) -> list[dict[str, Any]]:
        """Return what the handlers have got, in order."""
        if not self._events.exists():
            return []
        return [cast("dict[str, Any]", json.loads(line)) for line in self._events.read_text().splitlines()]

    def files(self) -> dict[str, bytes]:
        """Return the files that are there whole."""
        return {path.name: path.read_bytes() for path in self.into.iterdir() if path.name != ".inbox"}

    def parts(self) -> list[str]:
        """Return what is not whole."""
        own = self.into / ".inbox"
        return [path.name for folder in ("parts", "aside") for path in (own / folder).iterdir()]


@contextlib.contextmanager
def receiving(
    folder: Path, *options: str, handlers: str = HANDLERS, program: str = SNYPER
) -> Iterator[Receiver]:
    """Run a receiver for the block."""
    folder.mkdir(exist_ok=True)
    receiver = Receiver(folder, *options, handlers=handlers, program=program)
    receiver.start()
    try:
        yield receiver
    finally:
        if receiver.process is not None:
            receiver.kill()

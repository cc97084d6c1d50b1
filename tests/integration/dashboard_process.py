"""A command of `snyper` as a process of its own, for tests of the dashboard."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from tests.integration.harness import DEADLINE_S, ROOT


class Process:
    """A `snyper` command with --json: `said` is its first line."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self._words: IO[bytes] = (directory / f"{arguments[0]}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snyper.cli", *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "PYTHONPATH": str(ROOT), **environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.said: dict[str, Any] = json.loads(line) if line else {}
        if not line:
            self.end(signal.SIGKILL)
            raise AssertionError((directory / f"{arguments[0]}.log").read_text())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._words.close()
        return status

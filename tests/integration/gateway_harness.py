"""`snyper serve` as a process, with services that tests can hold and count."""

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from tests.integration.dashboard_process import Process
from tests.integration.harness import wait_until

SERVICES = '''
import os
import signal
import time
from pathlib import Path

from snyper.services import InvalidInput, data_service, file_service, image_service, progress

HERE = Path(__file__).parent


def count(name):
    """Note a call, and wait while there is a file that holds it."""
    with (HERE / "calls").open("a") as file:
        file.write(name + "\\n")
    while (HERE / ("hold_" + name)).exists():
        time.sleep(0.005)


@file_service
def process(path: Path, options: str):
    count("process")
    match options.partition(" "):
        case "describe", _, _:
            return {"bytes": path.stat().st_size, "suffix": path.suffix, "options": options}
        case "new", _, name:
            path.with_name(name).write_text("{}")
            return path.with_name(name)
        case "bytes", _, _:
            return b"bytes"
    return path


@file_service("/api/stt/transcribe", field="audio", max_bytes=100_000)
def transcribe(path: Path):
    count("transcribe")
    return {"text": str(path.stat().st_size)}


@image_service
def picture(path: Path):
    return path


@data_service
def process_data(data, options: dict):
    count("process_data")
    if data == "raise":
        raise RuntimeError("it is broken")
    if data == "invalid":
        raise InvalidInput("another word")
    if data == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"data": data, "options": options}


@data_service("/api/slow", limit_s=0.5)
def slow(data):
    time.sleep(60)


@data_service("/api/far", takes="readings", gives="anomalies")
def far(readings):
    progress(0.25)
    count("far")
    return readings
'''


class Serve:
    """A server of SERVICES in `directory`, which is its home too, with 2 workers."""

    def __init__(self, directory: Path, *arguments: str, scheme: str = "http", **environment: str) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "services.py").write_text(SERVICES)
        self.state = directory / "state"
        self.process = Process(
            directory,
            *("serve", "services.py", "--listen", "127.0.0.1:0", "--workers", "2"),
            *("--state", str(self.state), *arguments),
            **environment,
        )
        self.url: str = self.process.said["urls"][0]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def calls(self, name: str) -> int:
        """Count the calls of a service."""
        try:
            return (self.directory / "calls").read_text().splitlines().count(name)
        except FileNotFoundError:
            return 0

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep calls of a service from ending, for the block."""
        hold = self.directory / f"hold_{name}"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def files(self) -> list[Path]:
        """List the files that lie where requests have theirs."""
        walked = os.walk(self.state / "snyper-spool")  # which takes no offence at what goes meanwhile
        return [Path(folder, name) for folder, _, names in walked for name in names]

    def until_clean(self) -> None:
        wait_until(lambda: not self.files(), "nothing is left of a request")

    def post(self, path: str, **request: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=30, **request)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        return self.process.end(number)

    def __enter__(self) -> "Serve":
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if the test has not ended it."""
        if self.process.process.poll() is None:
            self.end(signal.SIGKILL)


class Background(Thread):
    """A request in a thread: `result` waits for what came of it."""

    def __init__(self, work: Callable[..., httpx.Response], *arguments: Any, **named: Any) -> None:
        super().__init__(daemon=True)
        self._work = partial(work, *arguments, **named)
        self._response: httpx.Response | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._response = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> httpx.Response:
        self.join(60)
        if self._error is not None:
            raise self._error
        assert self._response is not None
        return self._response

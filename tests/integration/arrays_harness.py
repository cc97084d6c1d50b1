"""`snyper gateway --arrays` as a process, without a hub, and what is sent to it."""

import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy

from tests.integration.dashboard_process import Process
from tests.integration.harness import HOST, free_port

_running: list["Arrays"] = []


@contextmanager
def ended_gateways() -> Iterator[None]:
    """End what the block has started, and has not ended because it failed."""
    before = len(_running)
    try:
        yield
    finally:
        for one in _running[before:]:
            if one.process.process.poll() is None:
                one.process.end(signal.SIGKILL)
        del _running[before:]


class Arrays:
    """A gateway that stores arrays in a folder of `directory`, which is its home too."""

    def __init__(self, directory: Path, *arguments: str, port: int = 0, **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.folder = directory / "arrays"
        self.process = Process(
            directory,
            *("gateway", "--hub", f"{HOST}:{free_port()}", "--listen", f"{HOST}:{port}"),
            *("--arrays", str(self.folder), *arguments),
            **environment,
        )
        _running.append(self)
        self.url: str = self.process.said["urls"][0]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=30, **request)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def upload(self, content: bytes, name: str = "array.npy", **request: Any) -> httpx.Response:
        return self.request("POST", "/upload", files={"file": (name, content)}, **request)

    def store(self, array: Any, name: str = "array.npy") -> int:
        """Upload an array; return its index."""
        answer = self.upload(saved(array), name)
        assert answer.status_code == 200, answer.text
        index: int = answer.json()["index"]
        return index

    def loaded(self, path: str) -> Any:
        """Get an array as `.npy`."""
        answer = self.get(path, headers={"accept": "application/x-npy"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-npy")
        return numpy.load(io.BytesIO(answer.content), allow_pickle=False)

    def rebuilt(self, path: str) -> Any:
        """Get an array as JSON, and make an array of it as existing clients do."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        data = answer.json()
        array = numpy.array(data["data"], dtype=data["dtype"])
        assert list(array.shape) == data["shape"] or 0 in data["shape"]
        return array.reshape(data["shape"])

    def parts(self) -> list[Path]:
        """List the files that are not complete."""
        return list((self.folder / ".arrays" / "parts").iterdir())

    def end(self) -> int:
        return self.process.end()


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    """Return a `.npy` file with this array, as numpy writes it."""
    file = io.BytesIO()
    numpy.lib.format.write_array(file, numpy.asanyarray(array), version=version)
    return file.getvalue()

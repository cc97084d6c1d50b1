"""Servers for the device's end: the widespread one of FastAPI, one that says what a test has it say, and a
relay that cuts.
"""

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, Form, UploadFile
from fastapi.responses import FileResponse, JSONResponse

DEADLINE_S = 60.0
HOST = "127.0.0.1"
_DEVICE = Path(__file__).resolve().parents[2] / "host" / "snyper" / "device"


@cache
def python_3_7() -> str | None:
    """Find an interpreter of that version on this computer."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    here = pyenv.glob("versions/3.7.*/bin/python3.7") if os.access(pyenv, os.X_OK) else ()
    named = [shutil.which("python3.7"), *map(str, here)]
    for name in filter(None, named):
        asked = subprocess.run([name, "-c", "import ssl"], capture_output=True, check=False)
        if asked.returncode == 0:
            return name
    return None


def copied_device(board: Path) -> Path:
    """Make a folder with what a device has of ours, and nothing else; return it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_DEVICE, board / "snyper" / "device", ignore=ignored)
    return board


class Service:
    """The service behind `existing_server`: counts its calls, and does what a test has it do."""

    def __init__(self) -> None:
        self.files: list[tuple[str | None, int, str]] = []
        self.data: list[tuple[Any, Any]] = []
        self.result: Callable[[str, str], Any] = lambda path, options: {"size": os.path.getsize(path)}  # noqa: PTH202


def existing_server(service: Service) -> FastAPI:
    """Return a server as people have it: their service within `async def`, FastAPI's own answers."""
    app = FastAPI()

    @app.post("/api/process/file")
    async def process_file(
        file: Annotated[UploadFile, File()], options: Annotated[str, Form()] = "default"
    ) -> Any:
        suffix = os.path.splitext(file.filename)[1] if file.filename else ""  # noqa: PTH122
        fd, temp_path = tempfile.mkstemp(suffix=suffix)
        os.close(fd)
        try:
            with open(temp_path, "wb") as f:  # noqa: ASYNC230, PTH123
                content = await file.read()
                f.write(content)
            service.files.append((file.filename, len(content), options))
            result = service.result(temp_path, options)
            if isinstance(result, dict):
                return JSONResponse(content=result)
            return FileResponse(result, media_type=file.content_type, filename=f"processed_{file.filename}")
        finally:
            if os.path.exists(temp_path):  # noqa: ASYNC240, PTH110
                os.remove(temp_path)  # noqa: PTH107

    @app.post("/api/process/data")
    async def process_data(request: dict[str, Any]) -> Any:
        input_data = request.get("data")
        options = request.get("options", {})
        service.data.append((input_data, options))
        return JSONResponse(content={"result": input_data})

    @app.post("/api/analyze/sensors")
    async def analyze_sensors(data: dict[str, Any]) -> Any:
        return JSONResponse(content={"anomalies": [max(data["readings"])]})

    @app.post("/api/receive/file")
    async def receive_file(file: Annotated[UploadFile, File()]) -> Any:
        content = await file.read()
        service.files.append((file.filename, len(content), file.content_type or ""))
        return JSONResponse(content={"status": "ok", "message": "File received", "path": "/tmp/x"})

    @app.post("/api/receive/data")
    async def receive_data(request: dict[str, Any]) -> Any:
        service.data.append((request.get("data"), None))
        return JSONResponse(content={"status": "ok", "message": "Data received"})

    return app


@contextlib.contextmanager
def serving(app: Any, port: int = 0, **options: Any) -> Iterator[int]:
    """Serve an application by uvicorn in a thread; give its port."""
    listener = socket.create_server((HOST, port))
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
        assert not thread.is_alive()


Script = Callable[["Scripted"], None]


class Scripted(BaseHTTPRequestHandler):
    """A request to `scripted_server`, whose body is read when it is asked for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_ScriptedServer"

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """Answer with JSON, or what `Content_Type` says."""
        self.send_response(status)
        all_headers = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
        for name, value in all_headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """Read the body. Raises ConnectionError where the sender was gone before its end."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError(f"{len(body)} of {size} bytes came")
        return body

    def handle_any(self) -> None:
        """Have the test handle the request."""
        with self.server.lock:
            self.server.requests.append((self.command, self.path, dict(self.headers)))
        try:
            self.server.script(self)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_HEAD = do_OPTIONS = do_DELETE = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _ScriptedServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script: Script) -> None:
        super().__init__((HOST, 0), Scripted)
        self.script = script
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.url = f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were lost, which tests do."""


@contextlib.contextmanager
def scripted_server(script: Script) -> Iterator[_ScriptedServer]:
    """Serve each request as `script` does."""
    server = _ScriptedServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE_S)


class Relay:
    """A relay to a port on this computer. It counts what it passes on, and cuts the connection that passes
    the next of its `cuts`, each a count of bytes.
    """

    def __init__(self, port: int, cuts: list[int]) -> None:
        self.sent = 0
        self._cuts = sorted(cuts)
        self._port = port
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def cuts_left(self) -> int:
        """How many cuts are still to come."""
        return len(self._cuts)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._port))
                for run, ends in ((self._up, (client, server)), (self._down, (server, client))):
                    thread = threading.Thread(target=run, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := client.recv(16384):
                with self._lock:
                    is_cut = bool(self._cuts) and self.sent + len(block) >= self._cuts[0]
                    if is_cut:
                        block = block[: self._cuts.pop(0) - self.sent]
                    self.sent += len(block)
                server.sendall(block)
                if is_cut:
                    break
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := server.recv(16384):
                client.sendall(block)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextlib.contextmanager
def relayed(port: int, cuts: list[int]) -> Iterator[Relay]:
    """Give a relay to that port."""
    relay = Relay(port, cuts)
    try:
        yield relay
    finally:
        relay.close()


def write(path: Path, size: int) -> Path:
    """Write a file of random bytes."""
    path.write_bytes(os.urandom(size))
    return path


class Receiver:
    """A receiver in memory, of files in pieces too, that keeps the ids of what it has; `fault` goes first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}  # by name
        self.items: list[tuple[str, bytes]] = []  # ids and content, in the order in which they came
        self.uploads: dict[str, bytearray] = {}  # what is there, by key
        self.done: dict[str, bytes] = {}  # answers, by key
        self.named: dict[str, tuple[str, int]] = {}
        self.limit = "max-size=1000000000"
        self.fault: Callable[[Scripted], bool] = lambda request: False
        self._lock = threading.Lock()
        self._busy: dict[str, threading.RLock] = defaultdict(threading.RLock)

    def __call__(self, request: Scripted) -> None:
        """Serve a request."""
        if not self.fault(request):
            getattr(self, "_" + request.command.lower())(request)

    def complete(self, request: Scripted, key: str, name: str, content: bytes) -> None:
        """Take something whole, once, and answer."""
        with self._lock:
            if key not in self.done:
                self.done[key] = b'{"status": "ok", "number": %d}' % len(self.items)
                self.items.append((key, content))
                self.files[name] = content
        request.answer(200, self.done[key], Upload_Complete="?1")

    def _options(self, request: Scripted) -> None:
        request.answer(204, b"", Accept_Patch="application/partial-upload", Upload_Limit=self.limit)

    def _post(self, request: Scripted) -> None:
        body = request.body()
        key = request.headers["Idempotency-Key"].strip('"')
        if request.headers.get("Upload-Complete") is None:
            self.complete(request, key, request.path, body)
        elif key in self.done:
            request.answer(200, self.done[key], Upload_Complete="?1")
        else:
            name = request.headers["Content-Disposition"].split("filename*=UTF-8''")[1]
            self.named[key] = (name, int(request.headers["Upload-Length"]))
            self._answer(request, 201, key, Location=f"/parts/{key}")

    def _head(self, request: Scripted) -> None:
        key = request.path.rpartition("/")[2]
        with self._busy[key]:
            if key in self.done:
                request.answer(204, b"", Upload_Complete="?1")
            else:
                self._answer(request, 204, key)

    def _patch(self, request: Scripted) -> None:
        key = request.path.rpartition("/")[2]
        part = self.uploads[key]
        with self._busy[key]:
            self._append(request, key, part)

    def _append(self, request: Scripted, key: str, part: bytearray) -> None:
        if int(request.headers["Upload-Offset"]) != len(part):
            request.body()
            self._answer(request, 409, key)
            return
        left = int(request.headers["Content-Length"])
        while left:
            block = request.rfile.read1(min(left, 4096))
            if not block:
                raise ConnectionResetError
            part += block
            left -= len(block)
        if request.headers["Upload-Complete"] == "?0":
            self._answer(request, 204, key)
            return
        digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
        if request.headers["Repr-Digest"] != f"sha-256=:{digest}:":
            del self.uploads[key]
            request.answer(422, b'{"detail": "damaged"}')
            return
        name, length = self.named[key]
        assert len(part) == length
        self.complete(request, key, name, bytes(part))

    def _answer(self, request: Scripted, status: int, key: str, **headers: str) -> None:
        offset = str(len(self.uploads.setdefault(key, bytearray())))
        request.answer(status, b"", Upload_Offset=offset, Upload_Complete="?0", **headers)

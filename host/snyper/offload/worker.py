"""A worker's process: imports the services, then does one piece of work after the other.

`python -m snyper.offload.worker FILE`. Its stdin and stdout are the pool's: a line of JSON for each piece of
work, lines of JSON back. What a service prints goes to stderr.
"""

import faulthandler
import inspect
import io
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from snyper.device.loading import explain, message_of
from snyper.offload.bodies import NoJson, taken_from
from snyper.offload.context import set_on_progress
from snyper.offload.declarations import Kind, Service
from snyper.offload.loading import Loaded, ServicesError, load_services
from snyper.offload.results import as_result
from snyper.offload.work import InvalidInput, Raised
from snyper.system.text import harmless, one_line

_PROGRESS_EVERY_S = 0.05
_END_WITHIN_S = 0.5  # after the pool's end, where no guard kills the workers
_LONG_LINE = 8192  # is printed as far as it goes
_FOLDERS = ("TMPDIR", "TEMP", "TMP")  # where programs look for the folder of temporary files


class _Pipe:
    """The way to the pool. Any thread of a service may say how far it is."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, word: str, value: object = None, body: bytes = b"") -> None:
        line = json.dumps({"is": word, "value": value, "bytes": len(body)}).encode() + b"\n"
        with self._lock:
            self._stream.write(line + body)
            self._stream.flush()

    def close_in_child(self) -> None:
        """Let go of it in a process that was forked: the pool waits for the end of all who have it."""
        set_on_progress(None)
        os.close(self._stream.fileno())


class _Progress:
    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._said = 0.0
        self._next_s = 0.0

    def __call__(self, share: float) -> None:
        now_s = time.monotonic()
        if share != self._said and (share == 1.0 or now_s >= self._next_s):
            self._said = share
            self._next_s = now_s + _PROGRESS_EVERY_S
            self._pipe.say("progress", share)


class _Named(io.RawIOBase):
    """Stderr, on which each line begins with the name of the service that prints it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._begun = b""
        self._lock = threading.Lock()
        self.name = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()  # for programs that a service starts, and tracebacks of a crash

    def write(self, data: Any) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + bytes(data)).split(b"\n")
            if len(self._begun) >= _LONG_LINE:
                lines, self._begun = [*lines, self._begun], b""
            self._print(lines)
        return len(data)

    def end_line(self) -> None:
        """Print what a service left without the end of its line."""
        with self._lock:
            if self._begun:
                self._print([self._begun])
                self._begun = b""

    def _print(self, lines: list[bytes]) -> None:
        # Names of strangers' files may be in it.
        shown = (f"{self.name}: {harmless(line.decode(errors='replace'))}\n" for line in lines)
        with suppress(OSError):  # who reads it may have left, the disk be full: no reason for work to fail
            _write_all(self._stream, "".join(shown).encode(errors="replace"))


def _write_all(stream: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[stream.write(left) or 0 :]


def main() -> None:
    """Run the process."""
    works, pipe, prints = _take_streams()
    path = Path(sys.argv[1])
    prints.name = path.name
    try:
        services = load_services(path)
    except ServicesError as error:
        pipe.say("failed", str(error))
        return
    pipe.say("ready", [asdict(loaded.service) for loaded in services.values()])
    for line in works:
        request = json.loads(line)
        if request is None:
            pipe.say("pong")
            continue
        prints.name = request["service"]
        _work(services, request, pipe)
        prints.end_line()


def _work(services: Mapping[str, Loaded], request: Mapping[str, Any], pipe: _Pipe) -> None:
    pipe.say("started")
    folder = Path(request["folder"])
    set_on_progress(_Progress(pipe))
    before = _use_folder(folder)
    try:
        loaded = services.get(request["service"])
        if loaded is None:
            raise Raised(f"there is no service {request['service']} any more")
        result = as_result(loaded.service, _call(loaded, request), folder)
    except NoJson as error:
        pipe.say("malformed", one_line(message_of(error)))
    except InvalidInput as error:
        pipe.say("rejected", one_line(message_of(error)))
    except Raised as error:
        pipe.say("error", one_line(error.detail))
    except BaseException as error:
        traceback.print_exc()
        pipe.say("error", one_line(explain(error)))
    else:
        if isinstance(result, bytes):
            pipe.say("json", None, result)
        else:
            pipe.say("file", str(result))
    finally:
        set_on_progress(None)
        _restore_folder(before)


def _call(loaded: Loaded, request: Mapping[str, Any]) -> object:
    taken, options = _taken(loaded.service, request)
    result = loaded.function(taken, **({"options": options} if loaded.service.takes_options else {}))
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result


def _taken(service: Service, request: Mapping[str, Any]) -> tuple[object, object]:
    """Return what a service takes, and its options. Raises InvalidInput."""
    if service.kind is not Kind.DATA:
        return Path(request["input"]), request["options"]
    if request["input"] is None:
        return request["value"], request["options"]
    return taken_from(service, Path(request["input"]).read_bytes())


def _use_folder(folder: Path) -> dict[str, str | None]:
    """Have temporary files made in the folder of the work, which goes when it is over."""
    before = {name: os.environ.get(name) for name in _FOLDERS}
    os.environ.update(dict.fromkeys(_FOLDERS, str(folder)))
    tempfile.tempdir = str(folder)
    return before


def _restore_folder(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None


def _take_streams() -> tuple[Iterator[bytes], _Pipe, _Named]:
    """Take stdin and stdout for the pool, and leave the services nothing to read, and stderr to print to."""
    try:
        os.fstat(2)
    except OSError:  # the server was started without one
        os.set_inheritable(os.open(os.devnull, os.O_WRONLY), True)  # which is 2: 0 and 1 are there
    source = os.fdopen(os.dup(0), "rb")
    pipe = _Pipe(os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    prints = _Named(os.fdopen(os.dup(2), "wb", buffering=0))
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(prints), "utf-8", "backslashreplace", write_through=True, line_buffering=True
    )
    faulthandler.enable()
    _outlive_signals()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=pipe.close_in_child)
        return iter(source), pipe, prints
    return _read_in_thread(source), pipe, prints


def _outlive_signals() -> None:
    """Leave the end of this process to the pool.

    Whoever ends all processes of a service at once would take from the pool what it still finishes. Not by
    SIG_IGN, which programs that a service starts would have as well.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGIO"):  # which may come of the lease that results.py has on a file for an instant
        numbers.append(signal.SIGIO)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    if not hasattr(os, "register_at_fork"):
        return

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def obey_signals() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        unblock()

    # One that comes to a child before it obeys waits until it does: a pool ends its processes once.
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=obey_signals)


def _read_in_thread(source: BinaryIO) -> Iterator[bytes]:
    """Read where no guard ends this process with the pool's: its stdin says when."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            lines.put(line)
        lines.put(b"")
        time.sleep(_END_WITHIN_S)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return iter(lines.get, b"")


if __name__ == "__main__":
    main()

"""Services that do what services do at their worst, for the tests of the pool."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import snyper
from snyper.services import InvalidInput, data_service, file_service, image_service


class _Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@data_service(idempotent=True)
def echo(data: Any, options: Any) -> Any:
    """Return what was sent."""
    return {"data": data, "options": options}


@data_service("/api/give")
def give(data: str) -> Any:
    """Return something, by its name."""
    import numpy as np

    loop: list[Any] = []
    loop.append(loop)
    results: dict[str, Callable[[], Any]] = {
        "set": lambda: {1, 2},
        "nan": lambda: [1.0, float("nan")],
        "loop": lambda: loop,
        "large": lambda: "x" * (65 * 2**20),
        "numpy": lambda: {"mean": np.float32(0.5), "count": np.int64(3), "all": np.arange(3)},
        "text": lambda: "Grüße \ud800",
        "nothing": lambda: None,
        "path": lambda: Path("x"),
        "temporary": lambda: [tempfile.gettempdir(), os.environ["TMPDIR"]],
        "pid": os.getpid,
        "threads": lambda: os.environ["OMP_NUM_THREADS"],
        "stdin": sys.stdin.read,
    }
    return results[data]()


@data_service("/api/fail")
def fail(data: str) -> NoReturn:
    """Raise something, by its name."""
    errors: dict[str, Callable[[], BaseException]] = {
        "plain": lambda: ValueError("two\nlines\x1b[31m"),
        "silent": _Silent,
        "long": lambda: ValueError("x" * 10_000),
        "exit": lambda: SystemExit(3),
        "interrupt": KeyboardInterrupt,
        "empty": KeyError,
        "invalid": lambda: InvalidInput("three numbers\nplease"),
    }
    error = errors[data]()
    raise error


@data_service("/api/die")
def die(data: str) -> None:
    """End the process, in a way that has a name."""
    ways: dict[str, Callable[[], object]] = {
        "exit": lambda: os._exit(3),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "segfault": lambda: ctypes.string_at(0),
        "abort": os.abort,
        "close": lambda: os.closerange(0, 100),
        "fork": _leave_child,
        "signals": _signal_itself,
    }
    ways[data]()


def _signal_itself() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGIO):
        os.kill(os.getpid(), number)


def _leave_child() -> None:
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(4)


@data_service("/api/hang", limit_s=0.5)
def hang(data: Any) -> None:
    """Never return, and note the processes that do not either."""
    _hang(data)


@data_service("/api/tell-and-hang", limit_s=2.0)
def tell_and_hang(data: Any) -> None:
    """Do the same once it is told that this has begun."""
    snyper.progress(0.5)
    _hang(data)


@data_service("/api/wait", takes="folder")
def wait(folder: Any) -> None:
    """Do the same without a limit that anybody would wait for."""
    _hang(folder)


def _hang(folder: str) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    fork.start()
    pids = Path(folder, "pids.new")
    pids.write_text(f"{os.getpid()} {child.pid} {fork.pid}")
    pids.rename(Path(folder, "pids"))
    ctypes.PyDLL(None).sleep(1000)  # which keeps the interpreter lock


@data_service("/api/wait-for", takes="path")
def wait_for(path: str) -> str:
    """Wait until there is a file."""
    snyper.progress(0.5)
    while not Path(path).exists():
        time.sleep(0.005)
    return path


@data_service("/api/wait-again", takes="path", idempotent=True)
def wait_again(path: str) -> str:
    """Do the same, which may be done again."""
    return wait_for(path)


@data_service("/api/print")
def print_much(data: int) -> int:
    """Print megabytes, with and without ends of lines."""
    for _ in range(data // 2):
        print("\n".join(["x" * 99] * 10_000))
        print("y" * 1_000_000, end="")
    with contextlib.suppress(OSError):
        os.write(1, b"from C\n")
    subprocess.run(["echo", "from a program"], check=False, stdout=sys.stdout)
    print("\x1b[2Jno screen is cleared", file=sys.stderr)
    return data


@data_service("/api/progress", takes="shares")
def tell(shares: list[float]) -> bool:
    """Tell how far it is, from another thread too."""
    for share in shares:
        time.sleep(0.06)
        snyper.progress(share)
    thread = threading.Thread(target=snyper.progress, args=(1.0,))
    thread.start()
    thread.join()
    return True


@data_service("/api/await")
async def later(data: int) -> int:
    """Return twice what was sent, as a coroutine."""
    return 2 * data


@data_service("/api/pool")
def in_pool(data: list[int]) -> list[int]:
    """Work in processes of its own, which its ends leave nothing of."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, data)


@data_service("/api/forks")
def fork_and_end(data: int) -> list[int]:
    """Fork so many processes, end each at once, and return how they ended."""
    ended = []
    for _ in range(data):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return ended


@file_service(field="audio", idempotent=True)
def process(path: Path, options: str) -> Any:
    """Return a file, or something like one, as the options say."""
    folder = path.parent
    made = folder / "made.wav"
    outside = Path(path.read_text()) if options.startswith("outside") else path
    if options == "input":
        return path
    if options == "bytes":
        return b"some bytes"
    if options == "json":
        return [options]
    if options == "mkstemp":
        number, name = tempfile.mkstemp(suffix=".png")
        os.write(number, b"temporary")
        os.close(number)
        return Path(name)
    if options == "name":
        return str(path)
    if options == "folder":
        return folder
    if options == "missing":
        made.write_bytes(b"x")
        made.unlink()
        return made
    if options == "outside":
        return outside
    if options == "outside link":
        made.symlink_to(outside)
        return made
    if options == "outside climbed":
        return folder / os.path.relpath(outside, folder)
    if options == "inside link":
        made.symlink_to(path)
        return made
    if options == "fifo":
        os.mkfifo(made)
        return made
    if options == "device":
        return Path("/dev/zero")
    if options == "written":
        made.write_bytes(b"done")
        subprocess.Popen(f"exec 3>>{made}; echo > {folder}/open; sleep 0.3; echo changed >&3", shell=True)
        while not (folder / "open").exists():
            time.sleep(0.005)
        return made
    raise ValueError(options)


@image_service
def turn(path: Path) -> bytes:
    """Return the picture turned."""
    return path.read_bytes()[::-1]

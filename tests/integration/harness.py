"""What the tests of the running system share: hubs and targets of both runtimes, and peers that misbehave.

Everything here is an asynchronous context manager or belongs to one, so that nothing outlives its test.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from snyper.boards import board as boards, simulator
from snyper.boards.board import WIFI, Board, BoardProcess
from snyper.boards.micropython import MicropythonNotFoundError, find_micropython
from snyper.boards.surroundings import SAMPLING_NS
from snyper.firmware.master.access import set_limits
from snyper.firmware.master.config import LIMITS as BOARD_LIMITS
from snyper.firmware.master.crosstalk import CROSSTALK_MS
from snyper.firmware.master.server import Access, Hub
from snyper.firmware.target.config import read
from snyper.hub.limits import LIMITS
from tests.integration.stopwatch import running_s
from tools.loopback import HOST as HOST, free_port as free_port

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0  # of whatever a test waits for; a loaded machine, not the product, needs that long
KNOWN_LOST_S = 2.0  # the promise: a vanished peer is known within this
SLACK_S = 1.0  # what a busy machine may add to it

SERVO = 16
UP_NS = 1_500_000  # 90 degrees
DOWN_NS = 500_000  # 0 degrees
TRAVEL_MS = 150
STRIKE_MS = 200  # longer than a piezo is deaf after arming, shorter than a target needs to rise again

Message = dict[str, Any]
T = TypeVar("T")


def at_length(full: T, part: T) -> T:
    """Return the number that `make long` has, elsewhere the part of it that the suite has. Whatever asks is
    marked `long`.
    """
    return full if os.environ.get("SNYPER_LONG") else part


CUT_STRIDE = at_length(1, 29)  # of the steps at which the power goes


def _has_micropython() -> bool:
    try:
        find_micropython()
    except MicropythonNotFoundError:
        return False
    return True


class WallClock:
    """A time of day that is set, for processes which begin with `variables`. `told` is a file for that."""

    def __init__(self, told: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        if library is None:
            pytest.skip("there is no libfaketime here: apt install libfaketime")
        self._told = told
        self.set("+0")
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(told),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, jump: str) -> None:
        """Set it so far off from now on, such as `-7h`."""
        self._told.write_text(jump)


needs_micropython = pytest.mark.skipif(not _has_micropython(), reason="no MicroPython here")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
MICROPYTHON = pytest.param("micropython", marks=needs_micropython)
each_engine = pytest.mark.parametrize("engine", ["cpython", MICROPYTHON])
each_body = pytest.mark.parametrize("body", ["cpython", MICROPYTHON])


async def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once `condition` holds; fail after `deadline_s`. What it returns may have to be awaited."""
    began_s = running_s()
    while not (await found if isawaitable(found := condition()) else found):
        assert running_s() - began_s < deadline_s, f"{what}, and did not within {deadline_s} s"
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Do as `until` does where there is no loop."""
    began_s = running_s()
    while not condition():
        assert running_s() - began_s < DEADLINE_S, f"{what}, and did not within {DEADLINE_S} s"
        time.sleep(0.005)


def wait_for_log(board: Board, text: str) -> None:
    wait_until(lambda: text in board.log, f"{text!r} should be in the log")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def open_files(pid: int) -> list[str]:
    """Return what a process has open: paths, and names such as socket:[1234]."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed meanwhile
            found.append(str(descriptor.readlink()))
    return found


def has_open(pid: int, path: str) -> bool:
    """Tell whether a process has opened that file."""
    return path in open_files(pid)


def resident_kb(pid: int) -> int:
    return _status_kb(pid, "VmRSS")


def peak_kb(pid: int) -> int:
    """Return the most that a process has had in memory so far."""
    return _status_kb(pid, "VmHWM")


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name}")


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; one that has ended and waits for its parent does not."""
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def left_in(directory: Path) -> list[str]:
    """List what a command that was given `directory` for its temporary files has left there."""
    return [entry.name for entry in directory.iterdir() if entry.name.startswith("snyper")]


def processes_with(text: str) -> list[int]:
    """List the processes whose command line or environment contains `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if text.encode() in known and is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


def parent_of(pid: int) -> int:
    """Return the process that started `pid`; 0 when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


# --- hubs


class HubUnderTest:
    """A running hub: `board` is its process on MicroPython, `hub` the object on CPython, else None."""

    def __init__(self, port: int, board: BoardProcess | None = None, hub: Hub | None = None) -> None:
        self.port = port
        self.board = board
        self.hub = hub

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


@asynccontextmanager
async def running_hub(
    engine: str,
    directory: Path,
    max_targets: int = 4,
    max_consoles: int = 1,
    port: int | None = None,
    main: str | None = None,
    crosstalk_ms: int = CROSSTALK_MS,
    keys: Sequence[str] = (),
    is_open: bool = False,
    limits: Mapping[str, int] | None = None,
) -> AsyncIterator[HubUnderTest]:
    """Run a hub of that engine, whose first key is the fleet's. `main` is the text of a main.py to flash
    instead, on MicroPython.
    """
    if engine == "cpython":
        hub = Hub(
            *(HOST, port or 0, max_targets, max_consoles, "\n".join(keys)),
            crosstalk_ms=crosstalk_ms,
        )
        defaults = {name: field.default for name, field in LIMITS.items() if name in BOARD_LIMITS}
        del defaults["max_events"]
        set_limits(hub, {**defaults, **(limits or {})})
        if is_open:
            hub.access = Access.OPEN
        await hub.start()
        try:
            yield HubUnderTest(hub.port, hub=hub)
        finally:
            await asyncio.wait_for(hub.shut_down(), DEADLINE_S)
        return
    port = port or free_port()
    config = {
        "listen": f"{HOST}:{port}",
        "max_targets": max_targets,
        "max_consoles": max_consoles,
        "crosstalk_ms": crosstalk_ms,
        "key": keys[0].removesuffix(" fleet") if keys else "",
        "keys": list(keys[1:]),
        "open": is_open,
        "limits": {"strangers_per_s": 64} if limits is None else dict(limits),  # a board's own: 4
    }
    source = None
    if main is not None:
        source = directory / "hub_main.py"
        source.write_text(main)
    # More connections than a Pico W has are for a board that is none.
    identity = {"platform": "unix"} if max_targets + max_consoles > 5 else None
    board = BoardProcess(directory / "hub", "master", config, main=source, identity=identity)
    try:
        await start_hub(board)
        yield HubUnderTest(port, board=board)
        assert "Traceback" not in board.log, board.log
    finally:
        board.kill()


async def start_hub(board: BoardProcess) -> None:
    """Give a hub board power and wait until it listens."""
    times_up = board.times_up
    board.start()
    await until(lambda: board.times_up > times_up or not board.is_on, "the hub should listen")
    assert board.is_on, f"the hub ended with {board.returncode}:\n{board.log}"


# --- targets


class VirtualTarget:
    """The real firmware on virtual hardware, of either runtime, from outside."""

    def start(self) -> None:
        raise NotImplementedError

    async def kill(self) -> None:
        raise NotImplementedError

    def duty_ns(self) -> int:
        """Return what the servo is told: near UP_NS or DOWN_NS."""
        raise NotImplementedError

    def strike(self, peak: int, duration_ms: int = STRIKE_MS) -> None:
        raise NotImplementedError

    def is_armed(self) -> bool:
        raise NotImplementedError

    def samples(self) -> int:
        """Return how often its piezo was read, as far as it has said."""
        raise NotImplementedError


class ProcessTarget(VirtualTarget):
    """On MicroPython, in a process."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.board = BoardProcess(directory, "target", config, name=config["target_id"])

    def start(self) -> None:
        self.board.start()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self.board.kill()

    def duty_ns(self) -> int:
        return int(self.board.outputs()["pwm"].get(str(SERVO), {"duty_ns": 0})["duty_ns"])

    def strike(self, peak: int, duration_ms: int = STRIKE_MS) -> None:
        self.board.strike(peak, duration_ms)

    def is_armed(self) -> bool:
        return self.board.is_sampling()

    def samples(self) -> int:
        return int(self.board.outputs()["adc"].get("26", {"samples": 0})["samples"])

    def signal(self, number: signal.Signals) -> None:
        if self.board.pid is not None:
            os.kill(self.board.pid, number)


def _ignore_status(status: str, **fields: object) -> None:
    """Drop the status of a target that nobody reads."""


class SessionTarget(VirtualTarget):
    """On CPython, in this process."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._machine = simulator.import_virtual_hardware()
        self._config = read(dict(config), "rp2")
        self._board = self._machine.VirtualBoard(
            boards.unique_id(config["target_id"]), air={"networks": self._config["wifi"]["networks"]}
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        from snyper.firmware.board.hardware import light
        from snyper.firmware.board.led import Led
        from snyper.firmware.target.session import TargetSession

        self._machine.use(self._board)
        session = TargetSession(self._config, Led(light("LED")), _ignore_status, on_flash=False)
        self._task = asyncio.create_task(session.run())

    async def kill(self) -> None:
        # Until it is done: test_recovery.py looks whether once is enough.
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1.0)

    def duty_ns(self) -> int:
        return int(self._board.outputs()["pwm"].get(str(SERVO), {"duty_ns": 0})["duty_ns"])

    def strike(self, peak: int, duration_ms: int = STRIKE_MS) -> None:
        self._board.strike(peak, duration_ms)

    def is_armed(self) -> bool:
        at_ns = self._board.outputs()["adc"].get("26", {"at_ns": 0})["at_ns"]
        return bool(time.time_ns() - at_ns < SAMPLING_NS)

    def samples(self) -> int:
        return int(self._board.outputs()["adc"].get("26", {"samples": 0})["samples"])


@asynccontextmanager
async def virtual_target(
    body: str, directory: Path, hub: str | list[str], target_id: str = "target_1", **config: Any
) -> AsyncIterator[VirtualTarget]:
    """Run a target of that runtime with power on. `config` is added to its config.json."""
    complete_config = {
        "target_id": target_id,
        "hub": [hub] if isinstance(hub, str) else hub,
        "wifi": WIFI,
        "servo": {"travel_ms": TRAVEL_MS},
        **config,
    }
    target: VirtualTarget
    if body == "cpython":
        target = SessionTarget(complete_config)
    else:  # compiling takes seconds on a busy computer: peers that answered nothing would be given up
        target = await asyncio.to_thread(ProcessTarget, directory / target_id, complete_config)
    target.start()
    try:
        yield target
    finally:
        await target.kill()


# --- scripted peers


class Peer:
    """One TCP connection that says what the test says. It reads in the background, answers the hub's
    heartbeat (a `ping` whose id is a number), and what `answers` maps: a request's type to the reply's type
    and status. With `reads` false nothing is ever read.
    """

    def __init__(self, sock: socket.socket, reads: bool) -> None:
        self.answers: dict[str, tuple[str, str]] = {}
        self.answers_heartbeat = True
        self.heartbeats = 0  # of the hub so far
        self.received: list[Message] = []
        self.ended = ""  # "eof" or "reset" once the connection has ended
        self._taken = 0
        self._sock = sock
        self.ids = 0  # of its requests so far
        self._reader = asyncio.create_task(self._read()) if reads else None

    async def send(self, *what: Message | bytes) -> None:
        """Send messages and raw bytes, all in one piece."""
        data = b"".join(
            part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n" for part in what
        )
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def request(self, message_type: str, target_id: str | None = None, **data: Any) -> str:
        """Send a request with a new id, which it returns."""
        self.ids += 1
        message: Message = {"type": message_type, "id": f"r{self.ids}"}
        if target_id is not None:
            message["target_id"] = target_id
        if data:
            message["data"] = data
        await self.send(message)
        return f"r{self.ids}"

    async def next(self, deadline_s: float = DEADLINE_S) -> Message:
        """Return the next message that is no heartbeat. Fails when the connection ends first."""
        await until(
            lambda: self._taken < len(self.received) or self.ended, "a message should come", deadline_s
        )
        assert self._taken < len(self.received), f"the connection ended ({self.ended}) without it"
        self._taken += 1
        return self.received[self._taken - 1]

    async def expect(self, message_type: str, **fields: Any) -> Message:
        """Return the next message, which has this type and these fields."""
        message = await self.next()
        assert {name: message.get(name) for name in ("type", *fields)} == {"type": message_type, **fields}, (
            message
        )
        return message

    async def expect_error(self, code: str, **fields: Any) -> Message:
        message = await self.expect("error", **fields)
        assert message["data"]["code"] == code, message
        return message

    async def answer_to(self, id: "str | int", deadline_s: float = DEADLINE_S) -> list[Message]:
        """Collect the messages with this id up to the one that is no stream; others are left out."""
        found = []
        while True:
            message = await self.next(deadline_s)
            if message.get("id") == id:
                found.append(message)
                if message["type"] not in ("result", "target", "event", "item"):
                    return found

    async def ask(self, message_type: str, target_id: str | None = None, **data: Any) -> Message:
        """Send a request, and return the reply."""
        return (await self.answer_to(await self.request(message_type, target_id, **data)))[-1]

    async def event(self, event: str, target_id: str, deadline_s: float = DEADLINE_S) -> Message:
        """Return the next event of this name and target; whatever comes before it is left out."""
        began_s = running_s()
        while True:
            message = await self.next(max(0.0, began_s + deadline_s - running_s()))
            if message["type"] == "event" and message.get("target_id") == target_id:
                data: Message = message["data"]
                if data["event"] == event:
                    return data

    async def end(self, deadline_s: float = DEADLINE_S) -> str:
        """Wait for the end of the connection, and return how it ends: "eof" or "reset"."""
        await until(lambda: self.ended, "the connection should end", deadline_s)
        return self.ended

    def half_close(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    async def close(self, reset: bool = False) -> None:
        """Hang up; with `reset` rudely, as a process that dies with unread data does."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        try:
            while piece := await loop.sock_recv(self._sock, 65536):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    await self._take(json.loads(line))
            self.ended = "eof"
        except OSError:
            self.ended = "reset"

    async def _take(self, message: Message) -> None:
        if message["type"] == "ping" and type(message["id"]) is int:
            self.heartbeats += 1
            if self.answers_heartbeat:
                await self.send({"type": "pong", "id": message["id"], "status": "alive"})
            return
        self.received.append(message)
        if message["type"] in self.answers:
            type_, status = self.answers[message["type"]]
            await self.send({"type": type_, "id": message["id"], "status": status})


OBEDIENT = {
    "ping": ("pong", "alive"),
    "stand_up": ("standing", "standing"),
    "lay_down": ("down", "down"),
    "activate": ("activated", "activated"),
}


@asynccontextmanager
async def peer_of(
    hub: HubUnderTest | int, reads: bool = True, receive_buffer: int | None = None
) -> AsyncIterator[Peer]:
    """Connect to the hub, or to a port, without registering."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (HOST, hub if isinstance(hub, int) else hub.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    peer = Peer(sock, reads)
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def console_of(hub: HubUnderTest, subscribed: bool = False) -> AsyncIterator[Peer]:
    """Connect and register a console; `subscribed` to events, where that is wanted."""
    async with peer_of(hub) as peer:
        assert (await peer.ask("register", role="console"))["status"] == "registered"
        if subscribed:
            assert (await peer.ask("subscribe"))["status"] == "ok"
        yield peer


async def until_connected(console: Peer, names: set[str]) -> None:
    """Wait until just these targets are connected."""

    async def are_there() -> bool:
        *targets, _ = await console.answer_to(await console.request("list_targets"))
        return {target["target_id"] for target in targets if target["data"]["connected"]} == names

    await until(are_there, f"{names} should be connected")


async def slowest_answer(console: Peer, work: "asyncio.Task[None]") -> float:
    """Ask the target `good` again and again while `work` goes on; return the longest time in seconds."""
    slowest_s = 0.0
    while not work.done():
        began = running_s()
        assert (await console.ask("ping", "good"))["status"] == "alive"
        slowest_s = max(slowest_s, running_s() - began)
    return slowest_s


@asynccontextmanager
async def scripted_target(
    hub: HubUnderTest, target_id: str, answers: dict[str, tuple[str, str]] = OBEDIENT, **data: Any
) -> AsyncIterator[Peer]:
    """Connect and register a target that answers what `answers` says, and the heartbeat."""
    async with peer_of(hub) as peer:
        peer.answers = answers
        await peer.send(registration(target_id, **data))
        await peer.expect("registered", id=0, target_id=target_id)
        yield peer


def registration(target_id: str, **data: Any) -> Message:
    return {"type": "register", "id": 0, "target_id": target_id, "data": data}


class ScriptedHub:
    """The hub's side as the test wants it: it accepts targets and hands each over as a Peer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._peers: list[Peer] = []
        self.port: int = sock.getsockname()[1]

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def accept(self) -> Peer:
        """Return the next connection, which has said nothing yet."""
        sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self._sock), DEADLINE_S)
        self._peers.append(Peer(sock, True))
        return self._peers[-1]

    async def register(self, **data: Any) -> tuple[Peer, Message]:
        """Accept the next connection and its registration, and return both."""
        peer = await self.accept()
        message = await peer.expect("register")
        await peer.send(
            {
                "type": "registered",
                "id": message["id"],
                "status": "registered",
                "data": {"protocol": 1, "heartbeat_ms": 600, **data},
            }
        )
        return peer, message

    async def close(self) -> None:
        """Hang up and stop listening. May be called again."""
        for peer in self._peers:
            await peer.close()
        self._sock.close()


@asynccontextmanager
async def scripted_hub(port: int = 0) -> AsyncIterator[ScriptedHub]:
    sock = socket.create_server((HOST, port))
    sock.setblocking(False)
    hub = ScriptedHub(sock)
    try:
        yield hub
    finally:
        await hub.close()


# --- hubs and commands in processes of their own


class Command:
    """A `snyper` command in a process of its own, with what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.out = ""
        self.err = ""
        self._readers = [
            asyncio.create_task(self._read_out()),
            asyncio.create_task(self._read_err()),
        ]

    async def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Return the exit status, once it has ended and all it said has been read."""
        async with asyncio.timeout(deadline_s):
            await asyncio.gather(*self._readers)
            return await self.process.wait()

    async def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send Ctrl-C, or another signal, and return the exit status."""
        self.process.send_signal(number)
        return await self.wait()

    async def says(self, text: str) -> None:
        await until(
            lambda: text in self.out + self.err or self.process.returncode is not None,
            f"it should say {text!r}, not {self.out!r} {self.err!r}",
        )
        assert text in self.out + self.err, f"it said {self.out!r} {self.err!r}"

    async def says_json(self) -> Message:
        """Wait for the first line of JSON; return what it says."""
        await until(
            lambda: "\n" in self.out or self.process.returncode is not None,
            "it should say a line",
        )
        assert self.out, f"it said {self.err!r}"
        said: Message = json.loads(self.out.partition("\n")[0])
        return said

    async def listens(self) -> str:
        """Wait until `snyper hub --json` listens; return its address."""
        status = await self.says_json()
        assert status["status"] == "listening", status
        return str(status["listen"])

    async def end(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
        await asyncio.gather(*self._readers)
        await self.process.wait()

    async def _read_out(self) -> None:
        assert self.process.stdout is not None
        while piece := await self.process.stdout.read(65536):
            self.out += piece.decode()

    async def _read_err(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65536):
            self.err += piece.decode()


@asynccontextmanager
async def snyper(*arguments: str, **environment: str) -> AsyncIterator[Command]:
    """Run `snyper` with these arguments, and with `environment` added to this one's."""
    variables = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    variables.pop("SNYPER_HUB", None)
    if arguments[:1] == ("hub",) and "--journal" not in arguments:
        arguments = (*arguments, "--no-journal")  # not into the one of whoever runs the tests
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**variables, **environment},
        cwd=ROOT,
    )
    command = Command(process)
    try:
        yield command
    finally:
        await command.end()


async def run_snyper(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Return the exit status, stdout and stderr of a `snyper` that ends by itself."""
    async with snyper(*arguments, **environment) as command:
        status = await command.wait(60.0)
        return status, command.out, command.err


class MortalHub:
    """A hub in a process of its own, which can be killed and started again on the same port. On CPython it
    may keep a journal.
    """

    def __init__(self, engine: str, directory: Path, stack: AsyncExitStack, has_journal: bool) -> None:
        self.under_test = HubUnderTest(free_port())
        self._engine = engine
        self._directory = directory
        self._stack = stack
        self._journal = ("--journal", str(directory / "journal.sqlite3")) if has_journal else ()

    async def start(self) -> None:
        if self._engine == "cpython":
            command = await self._stack.enter_async_context(
                snyper("hub", "--listen", self.under_test.address, "--json", *self._journal)
            )
            await command.listens()
            self._command = command
        elif self.under_test.board is not None:
            await start_hub(self.under_test.board)
        else:
            self.under_test = await self._stack.enter_async_context(
                running_hub("micropython", self._directory, port=self.under_test.port)
            )

    @property
    def pid(self) -> int:
        """Return its process."""
        if self._engine == "cpython":
            return self._command.pid
        assert self.under_test.board is not None
        assert self.under_test.board.pid is not None
        return self.under_test.board.pid

    async def kill(self) -> None:
        """Kill it (SIGKILL)."""
        if self._engine == "cpython":
            await self._command.end()
        else:
            assert self.under_test.board is not None
            self.under_test.board.kill()


@asynccontextmanager
async def mortal_hub(engine: str, directory: Path, has_journal: bool = False) -> AsyncIterator[MortalHub]:
    async with AsyncExitStack() as stack:
        hub = MortalHub(engine, directory, stack, has_journal)
        await hub.start()
        yield hub

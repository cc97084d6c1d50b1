"""Connections of attackers, from any address of this computer; and what the kernel knows of them."""

import asyncio
import fcntl
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.loopback import HOST

Message = dict[str, Any]

LIMIT_S = 20.0  # of whatever an attacker waits for

_SIOCOUTQ = 0x5411  # bytes sent and not acknowledged: tcp(7)


async def dial(port: int, source: str = HOST, receive_buffer: int | None = None) -> socket.socket:
    """Connect to `port` of this computer from the address `source`, of 127.0.0.0/8. Raises OSError."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source != HOST:
            sock.bind((source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().sock_connect(sock, (HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


def stranger_address(number: int) -> str:
    """Return an address of its own for a stranger; there are 60,000."""
    return f"127.{1 + number // 62_500 % 100}.{number // 250 % 250}.{2 + number % 250}"


def reset(sock: socket.socket) -> None:
    """End a connection with RST."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def until_closed(sock: socket.socket, limit_s: float) -> float:
    """Read until the other side closes; return after how many seconds. Raises TimeoutError."""
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(limit_s):
        with suppress(OSError):
            while await loop.sock_recv(sock, 65_536):
                pass
    return time.monotonic() - began


def unread_bytes(sock: socket.socket) -> int:
    """Return how many of the bytes sent the other process, of this computer, has not read yet."""
    with suppress(OSError):
        outgoing = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQ, b"\0" * 4))[0]
        ends = kernel_end(sock.getpeername(), sock.getsockname())
        return int(outgoing) + (ends.to_read if ends is not None else 0)
    return 0


@dataclass(frozen=True)
class KernelEnd:
    """The bytes that the kernel holds for one end of an established connection."""

    to_send: int
    to_read: int


def kernel_end(local: tuple[str, int], remote: tuple[str, int]) -> KernelEnd | None:
    """Return what the kernel holds for the end of a connection that has `local`; None where its process has
    closed it.
    """
    ends = f" {_hex(local)} {_hex(remote)} 01 "
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if ends in line:
            to_send, _, to_read = line.split()[4].partition(":")
            return KernelEnd(int(to_send, 16), int(to_read, 16))
    return None


def _hex(address: tuple[str, int]) -> str:
    return f"{struct.unpack('=I', socket.inet_aton(address[0]))[0]:08X}:{address[1]:04X}"


class Peer:
    """A peer that says and hears lines of JSON, and answers the other side's heartbeat."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._ids = 0

    async def send(self, *messages: Message | bytes) -> None:
        """Send messages, and bytes as they are, in one piece. Raises OSError."""
        lines = (line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in messages)
        self.writer.write(b"".join(lines))
        await self.writer.drain()

    async def next(self, limit_s: float = LIMIT_S) -> Message:
        """Return the next message that is no heartbeat. Raises EOFError at the end, TimeoutError."""
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    line = await self.reader.readline()
                except OSError as error:
                    raise EOFError(str(error)) from error
                if not line:
                    raise EOFError("the other side has hung up")
                message: Message = json.loads(line[line.index(b"{") :])  # behind a seal, if it has one
                if message["type"] != "ping" or type(message["id"]) is not int:
                    return message
                await self.send({"type": "pong", "id": message["id"], "status": "alive"})

    async def request(self, message_type: str, target_id: str = "", **data: object) -> str:
        """Send a request with a new id, which is returned."""
        self._ids += 1
        message: Message = {"type": message_type, "id": f"r{self._ids}", "data": data}
        if target_id:
            message["target_id"] = target_id
        await self.send(message)
        return f"r{self._ids}"

    async def ask(self, message_type: str, target_id: str = "", **data: object) -> Message:
        """Send a request; return the reply, and drop what comes before it. Raises EOFError, TimeoutError."""
        asked = await self.request(message_type, target_id, **data)
        while True:
            message = await self.next()
            if message.get("id") == asked and message["type"] not in ("result", "target", "game", "event"):
                return message

    async def event(self, kind: str, target_id: str, limit_s: float = LIMIT_S) -> Message:
        """Return the next event of that kind and target; what comes before it is dropped. Raises EOFError,
        TimeoutError.
        """
        async with asyncio.timeout(limit_s):
            while True:
                message = await self.next(limit_s)
                if message["type"] == "event" and message.get("target_id") == target_id:
                    data: Message = message["data"]
                    if data["event"] == kind:
                        return data

    async def expect(self, message_type: str, limit_s: float = LIMIT_S) -> Message:
        """Return the next message of that type; what comes before it is dropped. Raises EOFError,
        TimeoutError.
        """
        async with asyncio.timeout(limit_s):
            while (message := await self.next(limit_s))["type"] != message_type:
                pass
            return message

    def reset(self) -> None:
        """End the connection with RST."""
        self.writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()


@asynccontextmanager
async def peer_of(port: int, source: str = HOST) -> AsyncIterator[Peer]:
    """Connect to `port`, without registering. Raises OSError."""
    sock = await dial(port, source)
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def console_of(port: int, subscribed: bool = False, **data: object) -> AsyncIterator[Peer]:
    """Connect and register a console, as soon as it has a place. Raises OSError, TimeoutError."""
    async with AsyncExitStack() as stack, asyncio.timeout(None) as timeout:
        timeout.reschedule(asyncio.get_running_loop().time() + LIMIT_S)
        while True:
            with suppress(RuntimeError, EOFError):
                async with AsyncExitStack() as connection:
                    peer = await connection.enter_async_context(peer_of(port))
                    await _register(peer, "", role="console", **data)
                    await stack.enter_async_context(connection.pop_all())
                    break
            await asyncio.sleep(0.05)
        timeout.reschedule(None)
        if subscribed:
            await peer.ask("subscribe")
        yield peer


@asynccontextmanager
async def target_of(port: int, target_id: str, source: str = HOST, **data: object) -> AsyncIterator[Peer]:
    """Connect and register a target that does nothing by itself. Raises OSError, and RuntimeError when it is
    refused.
    """
    async with peer_of(port, source) as peer:
        await _register(peer, target_id, **data)
        yield peer


async def _register(peer: Peer, target_id: str, **data: object) -> None:
    reply = await peer.ask("register", target_id, **data)
    if reply["type"] != "registered":
        raise RuntimeError(f"it is refused: {reply}")


# --- processes


def reset_peak(pid: int) -> int:
    """Forget the most memory that a process has held; return what it holds now, in KiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return status_kb(pid, "VmRSS")


def peak_kb(pid: int) -> int:
    """Return the most memory that a process has held since `reset_peak`, in KiB."""
    return status_kb(pid, "VmHWM")


def status_kb(pid: int, name: str) -> int:
    """Return a number of KiB that Linux tells of a process. Raises OSError."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"no {name} of {pid}")

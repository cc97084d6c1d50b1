"""Lines without an end, slow ones, and lines in pieces."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

from tools.faults.case import Case, Figure, Scale, all_of, at_most
from tools.faults.ranges import ENGINES, KEY, AttackedHub, attacked_hub, need_micropython, until
from tools.faults.wire import console_of, dial, peak_kb, reset, reset_peak, unread_bytes, until_closed
from tools.loopback import HOST, free_port
from tools.watched_board import sample, watched_board

MEGABYTE = 1_000_000
REGISTER = b'{"type":"register","id":1,"data":{"role":"console"}}\n'
_PIECE = b"x" * 65_536
_READ_BYTES = 1 << 20  # what is read of it at most: the limit, and what was on its way


async def without_end(scale: Scale) -> AsyncIterator[Figure]:
    size = 100 * MEGABYTE
    for engine in ENGINES:
        async with attacked_hub(engine, scale.place(engine)) as hub:
            for who, first in (("a stranger", b""), ("a console", REGISTER)):
                await _flood(hub.port, b"", 100)  # what the first of its kind loads
                before_kb = reset_peak(hub.pid)
                taken, took_s = await _flood(hub.port, first, size)
                growth_kb = peak_kb(hub.pid) - before_kb
                yield at_most(f"{engine}, {who}: read of it", taken, _READ_BYTES, "B")
                yield at_most(f"{engine}, {who}: closed after", took_s, 2.0, "s")
                yield at_most(f"{engine}, {who}: resident memory", growth_kb, 1_024, "KiB more")
            async with console_of(hub.port) as console:
                assert (await console.ask("ping"))["status"] == "alive"
    need_micropython()
    port = free_port()
    config = {"listen": f"{HOST}:{port}"}
    board, _, _ = await watched_board(scale.directory / "watched", "master", config, {}, 1)
    try:
        board.start()
        await until(lambda: board.times_up, "the hub board should listen")
        await _flood(port, REGISTER, 100)
        quiet = (await sample(board, is_quiet=True)).free
        flood = asyncio.create_task(_flood(port, REGISTER, size))
        least = quiet
        while not flood.done():
            least = min(least, (await sample(board, is_quiet=False)).free)
        await flood
        yield at_most("a hub board's heap meanwhile", (quiet - least) / 1024, 8, "KiB more")
    finally:
        board.kill()


async def _flood(port: int, first: bytes, size: int) -> tuple[int, float]:
    """Send `first` and then so many bytes without a newline, as far as they are taken; return how many were
    read, and after how many seconds the connection was closed.
    """
    sock = await dial(port)
    loop = asyncio.get_running_loop()
    sent = taken = 0
    began = time.monotonic()
    try:
        await loop.sock_sendall(sock, first)
        looked = 0.0
        while sent < size and time.monotonic() - began < 30:
            try:
                sent += sock.send(_PIECE[: size - sent])
            except BlockingIOError:
                await asyncio.sleep(0.002)
                if not await _is_open(sock):
                    break
            except OSError:
                break
            if time.monotonic() - looked > 0.02:
                looked = time.monotonic()
                unread = unread_bytes(sock)
                if unread:
                    taken = max(taken, sent - unread)
                await asyncio.sleep(0)
        if size > 1_000 and sent == size:
            taken = size
        if size > 1_000:
            await until_closed(sock, 30)
    finally:
        reset(sock)
    return taken, time.monotonic() - began


async def _is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(65_536, socket.MSG_DONTWAIT) != b"" or True
    except BlockingIOError:
        return True
    except OSError:
        return False


async def byte_a_second(scale: Scale) -> AsyncIterator[Figure]:
    for engine in ENGINES:
        async with attacked_hub(engine, scale.place(engine), KEY) as hub:
            asked = {"role": "console", "key": "fleet", "nonce": "0" * 32}
            line = json.dumps({"type": "register", "id": 1, "data": asked}).encode() + b"\n"
            took_s = await asyncio.gather(*(_drip(hub, first) for first in (b"", line)))
            for what, seconds in zip(("from the start", "after the challenge"), took_s, strict=True):
                yield at_most(f"{engine}, {what}: closed after", seconds, 6.5, "s")


async def _drip(hub: AttackedHub, first: bytes) -> float:
    """Send `first` at once and then a byte a second; return after how many seconds the hub hung up."""
    sock = await dial(hub.port)
    loop = asyncio.get_running_loop()
    ended = asyncio.create_task(until_closed(sock, 40))
    try:
        await loop.sock_sendall(sock, first)
        for byte in b'{"type":"register","id":2}' * 2:
            if ended.done():
                break
            try:
                await loop.sock_sendall(sock, bytes((byte,)))
            except OSError:
                break
            await asyncio.wait((ended,), timeout=1)
        return await ended
    finally:
        ended.cancel()
        sock.close()


async def one_byte_at_a_time(scale: Scale) -> AsyncIterator[Figure]:
    count = scale.pick(1_000, 10_000)
    for engine in ENGINES:
        async with attacked_hub(engine, scale.place(engine)) as hub:
            answered = await asyncio.to_thread(_send_bytewise, hub.port, count)
            yield all_of(f"{engine}: answered, once and in order", answered, count)


def _send_bytewise(port: int, count: int) -> int:
    """Send so many requests a byte each time, eight under way; return how many were answered, each once."""
    with socket.create_connection((HOST, port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = sock.makefile("rb")
        sock.sendall(REGISTER)
        assert json.loads(lines.readline())["type"] == "registered"
        answered = sent = 0
        while answered < count:
            while sent < count and sent - answered < 8:
                for byte in _ping(sent):
                    sock.send(bytes((byte,)))
                sent += 1
            reply = json.loads(lines.readline() or b"{}")
            if reply.get("type") == "ping":
                sock.sendall(
                    json.dumps({"type": "pong", "id": reply["id"], "status": "alive"}).encode() + b"\n"
                )
            elif (reply.get("type"), reply.get("id")) == ("pong", f"é{answered}"):
                answered += 1
            else:
                break
        return answered


def _ping(number: int) -> bytes:
    return f'{{"type":"ping","id":"é{number}"}}\r\n'.encode()


CASES = (
    Case(
        2,
        "100 MB without a newline",
        "A stranger and a console send 100 MB in one line.",
        "The hub reads no more than a line's limit and what was on its way, hangs up, and needs no memory.",
        without_end,
    ),
    Case(
        3,
        "a byte a second",
        "Somebody connects and sends its first line a byte a second, or after a challenge the second one.",
        "The hub hangs up after 5 s, and the second that it leaves to read why.",
        byte_a_second,
    ),
    Case(
        6,
        "one byte at a time",
        "A console sends its requests in packets of one byte.",
        "Each is answered once, in order.",
        one_byte_at_a_time,
    ),
)

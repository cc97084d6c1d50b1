"""A server and its clients whose network goes without a word, and comes back. For test_calls_gone.py.

It has a network of its own (`unshare -rn`), whose loopback it takes down. The clients are a process of their
own, which says over a pipe what it sees. With the keepalive: seconds before the first probe, between two, how
many, and until what is unacknowledged counts as lost. Prints one JSON object.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from snyper.services import sockets
from snyper.services.async_client import AsyncClient
from snyper.services.client import Client, caller_of
from snyper.services.context import deadline
from snyper.services.locks import lock
from snyper.services.remote_exceptions import CallError
from snyper.services.server import Server
from snyper.services.watches import watch
from tests.integration.stopwatch import Stopwatch

HOST, PORT = "127.0.0.1", 4440
LEASE_S = 3.0
_IFF_UP = 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914  # netdevice(7)


def set_network(is_up: bool) -> None:
    """Take the loopback of this network up, or down: then nothing arrives, and nobody is told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s16x", b"lo")))
        flags = flags | _IFF_UP if is_up else flags & ~_IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def shorten_keepalive(idle_s: str, interval_s: str, count: str, unacknowledged_s: str) -> None:
    names = {"TCP_KEEPIDLE": idle_s, "TCP_KEEPINTVL": interval_s, "TCP_KEEPCNT": count}
    sockets._KEEPALIVE = {name: int(value) for name, value in names.items()}
    sockets._UNACKNOWLEDGED = {"linux": (socket.TCP_USER_TIMEOUT, int(unacknowledged_s) * 1_000)}


class Bath:
    def __init__(self) -> None:
        self.ends = threading.Event()
        self.begun = 0

    def cool(self) -> str:
        self.begun += 1
        self.ends.wait(60)
        return "cold"


class Lamp:
    range = 1

    @property
    def level(self) -> int:
        return 1

    def step(self) -> str:
        return "stepped"


# --- the clients


def say(what: str, value: object = None) -> None:
    sys.stdout.write(json.dumps({"what": what, "value": value}) + "\n")
    sys.stdout.flush()


def run_clients() -> None:
    logging.getLogger("snyper").setLevel(logging.CRITICAL)
    ready = threading.Barrier(7)
    gone = threading.Event()

    def in_thread(work: Callable[[Client], None]) -> None:  # type: ignore[valid-type]
        threading.Thread(target=work, args=(Client(address=HOST, port=PORT),), daemon=True).start()

    def notice(what: str, connection: Any) -> None:
        """Say when a connection is given up."""

        def wait_for_end() -> None:
            while not connection.is_closed:
                time.sleep(0.01)
            say(what)

        threading.Thread(target=wait_for_end, daemon=True).start()

    def call(c: Any) -> None:
        c.lamp_step()
        notice("a call under way", caller_of(c)._connection)
        ready.wait()
        say("answer", c.bath_cool())

    def wait(c: Any) -> None:
        c.lamp_step()
        time.sleep(0.2)  # behind the other
        ready.wait()
        say("answer", c.bath_cool())

    def hold(c: Any) -> None:
        with lock(c, "other_", lease=LEASE_S):
            ready.wait()
            gone.wait()
            time.sleep(60)

    def idle(c: Any) -> None:
        c.lamp_step()
        connection = caller_of(c)._connection
        assert connection is not None
        ready.wait()
        gone.wait()
        connection._core.received_us -= 60_000_000  # it has been idle for a minute
        call_within("an idle client", c, 3.0)

    def busy(c: Any) -> None:
        c.lamp_step()
        notice("a call that is sent", caller_of(c)._connection)
        ready.wait()
        gone.wait()
        call_within("a busy client", c, 60.0)

    def watch_level(c: Any) -> None:
        levels = watch(c, "lamp_level")
        next(levels)
        notice("a watch", caller_of(c)._connection)
        ready.wait()
        next(levels)

    def call_within(what: str, c: Any, limit_s: float) -> None:
        with Stopwatch() as took:
            try:
                with deadline(limit_s):
                    found = c.lamp_step()
            except CallError as error:
                found = type(error).__name__
        say(what, [found, took.seconds])

    async def call_async() -> None:
        c = AsyncClient(address=HOST, port=PORT)
        await c.call("lamp_step")
        notice("a call under way over asyncio", c._snyper._connection)
        ready.wait()
        say("answer", await c.call("bath_cool"))

    for work in (call, wait, hold, idle, busy, watch_level):
        in_thread(work)
    threading.Thread(target=lambda: asyncio.run(call_async()), daemon=True).start()
    for line in sys.stdin:
        if line == "gone\n":
            gone.set()


# --- the server, and what happens


def main(keepalive: list[str]) -> None:
    set_network(True)
    shorten_keepalive(*keepalive)
    bath, said = Bath(), []
    server = Server((bath, "bath_"), (Lamp(), "lamp_"), (Lamp(), "other_"), address=HOST, port=PORT)
    sys.stdout, stdout = sys.stderr, sys.stdout
    server.run(threaded=True)
    desk = server._desk
    clock = Stopwatch()
    with (
        clock,
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.vanishing", "clients", *keepalive],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as clients,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(clients.kill)  # whatever goes wrong: else its end is waited for
        assert clients.stdin is not None
        lines = clients.stdout
        assert lines is not None

        def listen() -> None:
            for line in lines:
                said.append({"at_s": clock.seconds, **json.loads(line)})

        threading.Thread(target=listen, daemon=True).start()
        until(lambda: len(desk.running(0)) == 3 and desk.leases.given)
        gone_s = clock.seconds
        set_network(False)
        clients.stdin.write("gone\n")
        clients.stdin.flush()
        [lease] = desk.leases.given.values()
        lease_ends_s = clock.seconds + lease.until_s - time.monotonic()
        until(lambda: not desk.leases.given)
        early_s, late_s = lease.until_s - time.monotonic(), clock.seconds - lease_ends_s
        until(lambda: len(desk.running(0)) == 1)
        forgotten_s = clock.seconds
        bath.ends.set()
        until(lambda: not desk.running(0))
        begun = bath.begun
        noticed = ("a call under way", "a call under way over asyncio", "a call that is sent", "a watch")
        until(lambda: {"an idle client", *noticed} <= {row["what"] for row in said})
        set_network(True)
        until(lambda: [row["value"] for row in said].count("cold") == 3)
    found = {row["what"]: row["at_s"] - gone_s for row in said if row["what"] in noticed}
    values = {row["what"]: row["value"] for row in said}
    stdout.write(
        json.dumps(
            {
                "noticed_s": found,
                "idle": values["an idle client"],
                "lease_early_s": early_s,
                "lease_late_s": late_s,
                "forgotten_s": forgotten_s - gone_s,
                "begun": begun,
                "begun_at_the_end": bath.begun,
            }
        )
    )
    stdout.flush()


def until(condition: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 40
    while not condition():
        if time.monotonic() > ends_s:
            raise TimeoutError
        time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1] == "clients":
        shorten_keepalive(*sys.argv[2:])
        run_clients()
    else:
        main(sys.argv[1:])

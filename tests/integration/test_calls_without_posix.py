"""Calls where nothing is that Windows lacks: a server and clients in processes from which that is taken.

It is not Windows: sockets still behave as they do here. What is held is that nothing of POSIX alone is used.
"""

import contextlib
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from snyper.services import entrance
from snyper.services.client import Client
from snyper.services.sockets import listen
from tests.integration.calls_harness import HOST, Powermeter, served, two_clients
from tests.integration.harness import ROOT, at_length
from tools.loopback import free_port

# What Python's own library and others' have loaded keeps what it needs to run here.
WITHOUT_POSIX = """
import asyncio, contextlib, getpass, hashlib, inspect, json, logging, os, pathlib, pydoc, random, select
import selectors, signal, socket, ssl, subprocess, sys, tempfile, threading, types, typing, warnings, zoneinfo
import cryptography.x509, numpy, rich.console, rich.table, typer.main, typer.rich_utils
for name in ("poll", "epoll", "kqueue", "devpoll"):
    if hasattr(select, name):
        delattr(select, name)
selectors.DefaultSelector = selectors.SelectSelector
for module in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "posix", "uvloop"):
    sys.modules[module] = None
for name in (
    "chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getuid",
    "kill", "killpg", "mkfifo", "nice", "openpty", "pipe2", "posix_spawn", "pread", "pwrite", "readv",
    "register_at_fork", "sched_getaffinity", "sendfile", "setsid", "statvfs", "uname", "wait4", "writev",
    "O_CLOEXEC", "O_DIRECTORY", "O_NONBLOCK",
):
    if hasattr(os, name):
        delattr(os, name)
for name in (
    "AF_NETLINK", "SO_REUSEPORT", "SO_BINDTODEVICE", "MSG_DONTWAIT", "MSG_NOSIGNAL",
    "TCP_CORK", "TCP_QUICKACK", "TCP_USER_TIMEOUT", "sethostname",
):
    if hasattr(socket, name):
        delattr(socket, name)
for name in (
    "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2",
    "alarm", "pause", "pthread_kill", "pthread_sigmask", "set_wakeup_fd", "setitimer", "siginterrupt",
    "sigwait",
):
    if hasattr(signal, name):
        delattr(signal, name)

def lacking(self):
    raise AttributeError("Windows has none")

for name in ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg", "sendfile"):
    setattr(socket.socket, name, property(lacking))
socket.SO_EXCLUSIVEADDRUSE = socket.SO_OOBINLINE  # one that there is here
socket.SO_RCVTIMEO = 0x1006
sys.platform = "win32"
sys.modules["msvcrt"] = msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_LOCK, msvcrt.LK_NBLCK, msvcrt.locking = 1, 2, lambda number, how, count: None
"""

SERVER = """
import numpy
from snyper import AsyncServer, Server

class Powermeter:
    def __init__(self):
        self.value = 1
    @property
    def range(self):
        return self.value
    @range.setter
    def range(self, value):
        self.value = value
    def read_voltage(self, samples=1):
        return samples / 4

def same(value):
    return value

def count(end):
    yield from range(end)

async def later(value):
    await asyncio.sleep(0.01)
    return value

async def serve():
    await AsyncServer(*items, address=None, port=port, secret=secret).run()

port, secret = int(sys.argv[1]), sys.argv[2] or None
items = Powermeter(), same, count, later
if sys.argv[3] == "async":
    asyncio.run(serve())
else:
    Server(*items, address=None, port=port, secret=secret).run()
"""

CLIENT = """
import numpy
import snyper

port, secret = int(sys.argv[1]), sys.argv[2] or None
pm = snyper.Client(port=port, secret=secret)
assert pm.read_voltage(samples=20) == 5.0
pm.set_range(3)
with snyper.lock(pm, why="cooldown"):
    assert pm.get_range() == 3
array = numpy.arange(3_000_000)
assert (pm.same(array) == array).all()
assert list(pm.count(100)) == list(range(100))
assert pm.later(4) == 4
with snyper.watch(pm, "range") as values:
    assert next(values) == 3
    pm.set_range(4)
    assert next(values) == 4
with snyper.deadline(30):
    threads = [threading.Thread(target=pm.same, args=(array,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
try:
    pm.range_of_motion()
except snyper.CallError as error:
    assert "not registered" in str(error)
pm.close()

async def main():
    pm = snyper.AsyncClient(port=port, secret=secret)
    assert await asyncio.gather(*[pm.read_voltage(samples=n) for n in range(4)]) == [0, 0.25, 0.5, 0.75]
    assert (await pm.same(array) == array).all()
    assert [value async for value in await pm.count(100)] == list(range(100))
    await pm.close()

asyncio.run(main())
print("done")
"""


COMMAND = """
sys.argv[0] = "snyper"
from snyper.cli.main import main
main()
"""


@contextlib.contextmanager
def running(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-u", "-X", "dev", "-c", WITHOUT_POSIX + program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kind", ["threads", "async"])
@pytest.mark.parametrize("secret", at_length([None, "a secret of some length"], [None]))
def test_a_server_and_its_clients(secret: str | None, kind: str) -> None:
    port = str(free_port())
    with (
        running(SERVER, port, secret or "", kind) as server,
        running(CLIENT, port, secret or "") as client,
    ):
        said, _ = client.communicate(timeout=60)
        assert said.endswith("done\n"), said
        server.kill()
        said, _ = server.communicate(timeout=60)
        assert "Traceback" not in said


def test_the_command() -> None:
    with served(Powermeter()) as server:
        address = f"{HOST}:{server.port}"
        with running(COMMAND, "call", address, "read_voltage", "samples=20") as command:
            assert command.communicate(timeout=60)[0] == "5.0\n"
        with running(COMMAND, "stubs", address) as command:
            assert "def read_voltage" in command.communicate(timeout=60)[0]


def test_nobody_else_gets_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows SO_REUSEADDR lets a second server have it; the option against that is another's here."""
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_OOBINLINE, raising=False)
    for listener in listen(HOST, 0):
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        listener.close()
    monkeypatch.undo()
    [listener] = listen(HOST, 0)
    with pytest.raises(OSError, match=r"cannot listen on .*: Address already in use"):
        listen(HOST, listener.getsockname()[1])
    listener.close()


def test_a_server_whose_address_nobody_knows_says_which() -> None:
    with pytest.raises(OSError, match=r"cannot listen on lab\.invalid:4440: "):
        listen("lab.invalid", 4440)


def test_clients_wait_where_the_system_takes_no_more_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """`select` of Windows takes 512 at once, and raises for one more."""
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    monkeypatch.setattr(entrance, "MAX_SELECTED", 12)
    with served(Powermeter()) as server, two_clients(server) as (one, other):
        assert one.get_identity() == "PM-1"
        strangers = [socket.create_connection((HOST, server.port)) for _ in range(30)]
        assert one.get_identity() == "PM-1"
        for stranger in strangers:
            stranger.close()
        assert other.get_identity() == "PM-1"
        assert server._engine is not None
        taken = [socket.socketpair() for _ in range(30)]  # as those that come through a hub
        for _, far in taken:
            server._engine.post(partial(server._entrance.take, far, "a hub"))
        assert one.get_identity() == other.get_identity() == "PM-1"
        for near, _ in taken:
            near.close()


def test_a_server_without_an_address_is_reached_at_both_of_loopback() -> None:
    """Windows takes 2 s to refuse a connection: a client that dials localhost must not wait for that."""
    with served(Powermeter(), address=None) as server:
        for address in ("localhost", *{where[4][0] for where in socket.getaddrinfo("localhost", 0)}):
            with Client(address=str(address), port=server.port, timeout=30) as c:
                assert c.get_identity() == "PM-1"


def test_an_address_that_this_computer_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As IPv6 of localhost is on many a computer: where there is another, that one serves."""
    missing = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))  # RFC 3849
    found = socket.getaddrinfo(HOST, 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing, *found])
    with served(Powermeter(), address="lab") as server, two_clients(server) as (one, _):
        monkeypatch.undo()
        assert one.get_identity() == "PM-1"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing])
    with pytest.raises(OSError, match="cannot listen on lab:0: "):
        listen("lab", 0)

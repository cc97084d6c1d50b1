"""Generators of another process, over real sockets: as they come, as far as they are taken, never twice."""

import functools
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

from snyper.services.client import Client, running
from snyper.services.context import deadline
from snyper.services.remote_exceptions import StreamLost
from snyper.services.window import MAX_BYTES, MAX_ITEMS
from tests.integration.calls_harness import (
    CUT_STEP,
    HOST,
    INTERRUPTED,
    CuttingRelay,
    Scanner,
    each_secret,
    interrupt,
    needs_fork,
    program,
    served,
)


def test_items_come_as_they_are_made() -> None:
    scanner = Scanner()
    with served(scanner) as server:
        c: Any = Client(Scanner, address=HOST, port=server.port)
        stream = c.scan(3, waits=True)
        for at in range(3):
            scanner.step.release()
            assert next(stream) == at
            assert scanner.made == at + 1
        with pytest.raises(StopIteration) as end:
            next(stream)
        assert end.value.value == 3  # what it has returned
        assert list(stream) == []
        with pytest.raises(TypeError, match="counts"):
            c.scan(counts=3)
        c.close()
    assert scanner.ends == ["the end"]


@pytest.mark.parametrize(("size", "most"), [(0, MAX_ITEMS), (300_000, MAX_BYTES // 300_000 + 1)])
def test_a_slow_reader_has_the_generator_wait(size: int, most: int) -> None:
    scanner = Scanner()
    with served(scanner) as server, Client(address=HOST, port=server.port) as c:
        stream = c.scan(200, size)
        for taken in range(1, 101):
            item = next(stream)
            if size:
                assert item[0] == item[-1] == taken - 1
            assert scanner.made <= taken + most
        while scanner.made < 100 + most // 2:
            time.sleep(0.001)
        assert len(list(stream)) == 100
    assert scanner.made == 200


@pytest.mark.slow
@pytest.mark.parametrize("how", ["close", "with", "del"])
def test_who_leaves_early_ends_the_generator(how: str) -> None:
    scanner = Scanner()
    with served(scanner) as server, Client(address=HOST, port=server.port) as c:
        stream = c.scan()
        assert next(stream) == 0
        if how == "close":
            stream.close()
            assert list(stream) == []
        elif how == "with":
            with stream:
                pass
        else:
            del stream
            gc.collect()
        assert c.position() <= 1 + MAX_ITEMS  # the device is free
        assert scanner.ends == ["GeneratorExit, cancelled"]


def test_another_thread_may_close_it() -> None:
    go_on = threading.Event()

    def wait() -> Iterator[int]:
        yield 1
        go_on.wait(30)

    with served(wait) as server, Client(address=HOST, port=server.port) as c:
        stream = c.wait()
        assert next(stream) == 1
        threading.Timer(0.05, stream.close).start()
        assert list(stream) == []
        go_on.set()


def test_the_instance_is_busy_until_it_ends() -> None:
    scanner = Scanner()
    with (
        served(scanner, urgent="fail") as server,
        Client(address=HOST, port=server.port) as one,
        Client(address=HOST, port=server.port) as other,
    ):
        stream = one.scan(100)
        assert next(stream) == 0
        positions: list[int] = []
        waiting = threading.Thread(target=lambda: positions.append(other.position()))
        waiting.start()
        while [row["state"] for row in running(other)] != ["running", "waiting"]:
            time.sleep(0.001)
        # While it streams its own client can do other things.
        with pytest.raises(ValueError, match="lamp"):
            list(one.fail())
        assert running(one)[0]["name"] == "scan"
        assert list(stream) == list(range(1, 100))
        waiting.join(30)
        assert positions == [100]


def test_an_exception_arrives_behind_the_items() -> None:
    with served(Scanner()) as server, Client(address=HOST, port=server.port) as c:
        for stream, kind in ((c.fail(), ValueError), (c.untold(), TypeError)):
            assert next(stream) == 1
            with pytest.raises(kind) as raised:
                next(stream)
            assert raised.value.remote  # type: ignore[attr-defined]
            assert list(stream) == []


def test_several_at_once_in_several_threads() -> None:
    scanners = [Scanner() for _ in range(4)]
    with (
        served(*((scanner, f"s{at}_") for at, scanner in enumerate(scanners))) as server,
        Client(address=HOST, port=server.port) as c,
    ):
        got: dict[int, list[object]] = {}

        def read(at: int) -> None:
            got[at] = list(c.call(f"s{at}_scan", 500))

        readers = [threading.Thread(target=read, args=(at,)) for at in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        assert got == {at: list(range(500)) for at in range(4)}


def read_all(begin: Callable[[], Iterator[object]], got: list[object]) -> StreamLost | None:
    """Read a stream to its end; return how it was lost."""
    try:
        for item in begin():
            got.append(item)
    except StreamLost as error:
        return error
    return None


@pytest.mark.long
@each_secret
@pytest.mark.parametrize("from_server", [False, True])
def test_one_that_is_cut_after_any_byte_says_so_and_is_not_run_again(
    secret: str | None, from_server: bool
) -> None:
    scanner = Scanner()
    count = 40  # more than are sent before the client has to say that it takes them
    with served(scanner, secret=secret) as server:
        relay = CuttingRelay(server.port)
        relay.has_cut = True
        after, lost = 0, 0
        while relay.has_cut:
            relay.has_cut = False
            relay.cut = (from_server, after)
            got: list[object] = []
            with Client(address=HOST, port=relay.port, secret=secret) as c:
                error = read_all(functools.partial(c.scan, count, label=after), got)
            assert got == list(range(count if error is None else error.after))
            lost += error is not None
            assert scanner.begun.count(after) == 1 or (error is not None and after not in scanner.begun)
            after += 23 if secret is None else 3 * CUT_STEP
        relay.close()
    assert lost > 5 or not from_server


def test_a_client_that_is_killed_ends_the_generator() -> None:
    program = f"""
import sys, time
from snyper import Client
stream = Client(address={HOST!r}, port=int(sys.argv[1])).scan()
print(next(stream), flush=True)
time.sleep(60)
"""
    scanner = Scanner()
    with (
        served(scanner) as server,
        subprocess.Popen(
            [sys.executable, "-c", program, str(server.port)], stdout=subprocess.PIPE, text=True
        ) as client,
    ):
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "0\n"
        finally:
            client.kill()
        assert scanner.ended.wait(30)
        assert scanner.ends == ["GeneratorExit, cancelled"]


def test_a_server_that_stops_is_a_loss() -> None:
    scanner = Scanner()
    with served(scanner) as server:
        c = Client(address=HOST, port=server.port)
        stream = c.scan()
        assert next(stream) == 0
    got: list[object] = [0]
    lost = read_all(lambda: stream, got)
    assert lost is not None
    assert got == list(range(lost.after))
    assert scanner.ended.wait(30)  # and its generator does not go on for nobody


def test_a_deadline_is_that_of_each_item() -> None:
    scanner = Scanner()
    with served(scanner) as server, Client(address=HOST, port=server.port) as c:
        stream = c.scan(waits=True)
        scanner.step.release()
        assert next(stream) == 0
        with deadline(0.05), pytest.raises(StreamLost, match="after 1 item"):
            next(stream)
        while not running(c)[0]["cancelled"]:
            time.sleep(0.001)
        scanner.step.release()
        assert scanner.ended.wait(30)
        assert c.position() == 2


def test_what_was_never_read_ends_too() -> None:
    scanner = Scanner()
    with served(scanner) as server, Client(address=HOST, port=server.port) as c:
        c.scan().close()
        assert c.position() <= MAX_ITEMS + 1
        for _ in range(20):
            c.scan()
        assert c.position() <= 21 * (MAX_ITEMS + 1)


def test_a_false_count_ends_the_connection() -> None:
    scanner = Scanner()
    with served(scanner) as server, Client(address=HOST, port=server.port) as c:
        stream = c.scan()
        assert next(stream) == 0
        stream._tell(1_000)
        assert read_all(lambda: stream, []) is not None
        assert c.position() <= 2 * MAX_ITEMS


@each_secret
def test_large_arguments_go_while_large_answers_come(secret: str | None) -> None:
    """Nobody reads while he sends, and both would wait for ever."""
    size = 8 << 20
    scanner = Scanner()

    def echo(array: Any) -> Any:
        return array

    with (
        served(scanner, echo, urgent="echo", secret=secret) as server,
        Client(address=HOST, port=server.port, secret=secret) as c,
    ):
        sent = numpy.arange(size, dtype="u1")
        right: list[bool] = []

        def call() -> None:
            for _ in range(3):
                right.append(numpy.array_equal(c.echo(sent), sent))

        callers = [threading.Thread(target=call, daemon=True) for _ in range(3)]
        stream = c.scan(12, size)
        for caller in callers:
            caller.start()
        assert [item[-1] for item in stream] == list(range(12))
        for caller in callers:
            caller.join(60)
        assert right == [True] * 9


@needs_fork
def test_after_a_fork_it_is_the_parent_s() -> None:
    text = """
stream = c.scan()
assert next(stream) == 0
child = os.fork()
if not child:
    try:
        next(stream)
    except snyper.StreamLost as error:
        assert error.after == 1
        assert list(stream) == []
        stream.close()
        assert next(c.other_scan(5)) == 0
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert [next(stream) for _ in range(100)] == list(range(1, 101))
"""
    with served(Scanner(), (Scanner(), "other_")) as server, program(text, server):
        pass


def test_ctrl_c_ends_the_wait_and_the_next_item_is_right() -> None:
    text = (
        INTERRUPTED
        + """
stream = c.scan(waits=True)
print(next(stream))
for _ in range(3):
    with interrupted():
        next(stream)
print(next(stream))
"""
    )
    scanner = Scanner()
    with served(scanner) as server, program(text, server) as process:
        assert process.stdout is not None
        scanner.step.release()
        assert process.stdout.readline() == "0\n"
        interrupt(process, 3)
        scanner.step.release()
        assert process.stdout.readline() == "1\n"

"""Watching a property of another process, over real sockets."""

import gc
import threading
import time
from typing import Any

import pytest

from snyper.services.client import Client, running
from snyper.services.context import deadline
from snyper.services.locks import lock
from snyper.services.remote_exceptions import CallError, Locked, NotServed, Refused, StreamLost
from snyper.services.server import Server
from snyper.services.watches import watch
from tests.integration.calls_harness import (
    HOST,
    INTERRUPTED,
    CuttingRelay,
    Powermeter,
    Scanner,
    Sensor,
    hello,
    interrupt,
    needs_fork,
    program,
    served,
    two_clients,
)
from tools.loopback import free_port


def test_the_value_now_and_each_that_anybody_sets() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        values = watch(one, "range")
        assert next(values) == 1
        other.range = 3
        assert next(values) == 3
        one.range = 3  # which is no change
        with pytest.raises(ValueError, match="range 9"):
            other.range = 9
        one.range = 4
        assert next(values) == 4
        assert values.missed == 0
        for value in (5, 1, 2):
            other.range = value
            assert next(values) == value
        values.close()
        assert list(values) == []
        other.range = 5
        assert running(one) == []


def test_a_slow_one_gets_the_newest_and_a_count() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        values, fast = watch(one, "range"), watch(other, "range")
        assert next(values) == next(fast) == 1
        for at in range(20):
            other.range = 2 + at % 2
            assert next(fast) == 2 + at % 2
        other.range = 5
        got, missed = 0, 0
        while got != 5:
            got = next(values)
            missed += values.missed
        assert missed >= 17  # of 21: what was under way could come in between
        del values
        gc.collect()
        assert other.range == 5


def test_all_who_watch_in_one_period_cost_one_reading() -> None:
    sensor = Sensor()
    with served(sensor) as server, two_clients(server) as (one, other):
        watching = [watch(client, "level", every=0.05) for client in (one, other) for _ in range(5)]
        seen: list[set[int]] = [set() for _ in watching]
        while not set.intersection(*seen):  # each reading has another value
            for values, mine in zip(watching, seen, strict=True):
                mine.add(next(values))
            assert max(map(len, seen)) < 100
        for values in watching:
            values.close()
        assert server._engine is not None
        while server._watches.watched or server._engine._timers:  # nobody watches, and nobody reads
            time.sleep(0.001)


def test_a_method_can_be_watched_in_a_period_only() -> None:
    sensor = Sensor()
    with served(sensor, hello) as server, two_clients(server) as (one, _):
        with watch(one, "measure", every=0.02) as values:
            assert [next(values) for _ in range(3)] == [0.5, 1.0, 1.5]
        with watch(one, "hello", every=0.02) as values:
            assert next(values) == "Hello world!"
        with pytest.raises(Refused, match="no property"):
            watch(one, "measure")
        with pytest.raises(NotServed, match="lvel"):
            watch(one, "lvel")
        for every in (0.0, -1.0, 1e9, float("nan")):
            with pytest.raises(ValueError, match="every"):
                watch(one, "level", every=every)


def test_what_reading_raises_ends_it() -> None:
    sensor = Sensor()
    with served(sensor) as server, two_clients(server) as (one, _):
        values = watch(one, "level", every=0.02)
        assert next(values) == 1
        sensor.fails = True
        with pytest.raises(TimeoutError, match="does not answer") as raised:
            for _ in values:
                pass
        assert raised.value.remote  # type: ignore[attr-defined]
        assert list(values) == []
        values = watch(one, "level")
        with pytest.raises(TimeoutError):
            next(values)


def test_a_device_that_is_leased_is_not_read_for_others() -> None:
    sensor = Sensor()
    with served(sensor) as server, two_clients(server) as (one, other):
        values = watch(other, "level", every=0.02)
        assert next(values) == 1
        with lock(one):
            with pytest.raises(Locked):
                watch(other, "level")
            reads = sensor.reads
            time.sleep(0.1)
            assert sensor.reads == reads
            with watch(one, "level", every=0.02) as own:
                assert next(own) >= reads
                assert next(own) > reads
        assert next(values) > reads
    with (
        served(Powermeter(), open_reads=True) as server,
        two_clients(server, Powermeter) as (one, other),
        lock(one),
    ):
        changes = watch(other, "range")
        assert next(changes) == 1
        one.range = 3
        assert next(changes) == 3


def test_the_holder_s_changes_are_seen() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        changes = watch(other, "range")
        assert next(changes) == 1
        with lock(one):
            one.range = 3
            assert next(changes) == 3


def test_a_property_that_is_set_with_urgency() -> None:
    with served(Powermeter(), urgent="set_range") as server, two_clients(server, Powermeter) as (one, other):
        changes = watch(other, "range")
        assert next(changes) == 1
        one.range = 3
        assert next(changes) == 3


def test_it_goes_on_where_the_connection_breaks_after_any_byte() -> None:
    with served(Powermeter()) as server, Client(address=HOST, port=server.port) as other:
        relay = CuttingRelay(server.port)
        relay.has_cut = True
        after = 0
        while relay.has_cut:
            relay.has_cut = False
            for from_server in (False, True):
                relay.cut = (from_server, after)
                other.set_range(1)
                c = Client(address=HOST, port=relay.port)
                values = watch(c, "range")
                other.set_range(2)
                while next(values) != 2:
                    pass
                values.close()
                c.close()
            after += 11
        relay.close()


def test_it_goes_on_with_a_server_that_was_started_anew() -> None:
    port = free_port()
    c = Client(address=HOST, port=port)
    with served(Powermeter(), port=port):
        values = watch(c, "range")
        assert next(values) == 1
    pm = Powermeter()
    pm.range = 4
    with served(pm, port=port):
        assert next(values) == 4
        values.close()
    c.close()


def test_a_deadline_ends_the_wait() -> None:
    with served(Powermeter()) as server, two_clients(server) as (one, _):
        values = watch(one, "range")
        assert next(values) == 1
        with deadline(0.05), pytest.raises(StreamLost, match="after 1 item"):
            next(values)


def test_a_timeout_is_of_calls_and_not_of_changes() -> None:
    with served(Powermeter()) as server, Client(address=HOST, port=server.port) as other:
        c: Any = Client(address=HOST, port=server.port, timeout=0.2)
        values = watch(c, "range")
        assert next(values) == 1
        setter = threading.Timer(0.5, other.set_range, (2,))
        setter.start()
        assert next(values) == 2
        setter.join(30)
        c.close()


def test_what_is_served_no_more_is_watched_no_more() -> None:
    sensor = Sensor()
    server = Server(sensor, hello, address=HOST, port=0)
    server.run(threaded=True)
    with Client(address=HOST, port=server.port) as c:
        values = watch(c, "level", every=0.02)
        assert next(values) == 1
        server.unregister(sensor)
        with pytest.raises(CallError, match="not registered"):
            for _ in values:
                pass
    server.close()


def test_several_at_once_in_several_threads() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        seen: list[list[int]] = [[] for _ in range(6)]
        has_one = threading.Barrier(len(seen) + 1)

        def follow(mine: list[int]) -> None:
            with watch(one, "range") as values:
                mine.append(next(values))
                has_one.wait(30)
                while mine[-1] != 5:
                    mine.append(next(values))

        followers = [threading.Thread(target=follow, args=(mine,)) for mine in seen]
        for follower in followers:
            follower.start()
        has_one.wait(30)
        for value in (2, 3, 4, 5):
            other.range = value
            assert one.range == value  # over the same connection
        for follower in followers:
            follower.join(30)
            assert not follower.is_alive()
        for mine in seen:
            assert mine == sorted(set(mine))
            assert (mine[0], mine[-1]) == (1, 5)


def test_another_thread_may_close_it() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, _):
        values = watch(one, "range")
        assert next(values) == 1
        threading.Timer(0.05, values.close).start()
        assert list(values) == []


def test_what_sets_or_streams_is_not_watched() -> None:
    with served(Powermeter(), Scanner().scan) as server, two_clients(server) as (one, _):
        with pytest.raises(Refused, match="set_range sets a property: watch 'range'"):
            watch(one, "set_range", every=0.02)
        with pytest.raises(Refused, match="scan has many values of its own"):
            watch(one, "scan", every=0.02)


@needs_fork
def test_after_a_fork_it_begins_anew_there() -> None:
    text = """
values = snyper.watch(c, "range")
assert next(values) == 1
child = os.fork()
if not child:
    assert next(values) == 1
    c.set_range(2)
    assert next(values) == 2
    values.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert next(values) == 2
c.set_range(3)
assert next(values) == 3
"""
    with served(Powermeter()) as server, program(text, server):
        pass


def test_ctrl_c_ends_the_wait_and_the_next_value_is_right() -> None:
    text = (
        INTERRUPTED
        + """
values = snyper.watch(c, "range")
print(next(values))
for _ in range(3):
    with interrupted():
        next(values)
print(next(values))
"""
    )
    with (
        served(Powermeter()) as server,
        Client(address=HOST, port=server.port) as other,
        program(text, server) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        interrupt(process, 3)
        other.set_range(2)
        assert process.stdout.readline() == "2\n"

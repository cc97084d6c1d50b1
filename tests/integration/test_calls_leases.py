"""Leases: an instance for one client alone, over real sockets; a holder that is killed."""

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from snyper.services import locks
from snyper.services.client import Client, running
from snyper.services.client_session import ClientSession
from snyper.services.context import deadline
from snyper.services.locks import break_lock, leases, lock
from snyper.services.remote_exceptions import CallError, LeaseLost, Locked
from snyper.services.server import Server
from tests.integration.calls_harness import (
    HOST,
    Bath,
    CuttingRelay,
    Powermeter,
    cooling,
    hello,
    needs_fork,
    program,
    served,
    two_clients,
)
from tests.integration.harness import wait_until
from tests.integration.stopwatch import Stopwatch
from tools.loopback import free_port


def test_others_are_told_at_once_and_the_holder_goes_on_from_all_its_threads() -> None:
    with served(Powermeter(), hello) as server, two_clients(server, Powermeter) as (one, other):
        with lock(one, why="cooldown"):
            with (
                Stopwatch() as took,
                pytest.raises(Locked, match=r"locked by .* until .*: cooldown") as locked,
            ):
                other.read_voltage()
            assert took.seconds < 5  # and not after the lease
            assert locked.value.why == "cooldown"
            assert HOST in locked.value.holder
            assert 0 < (locked.value.until - locked.value.since).total_seconds() <= 61
            with pytest.raises(Locked):
                other.range = 2
            with pytest.raises(Locked):
                _ = other.range
            with pytest.raises(Locked), lock(other):
                pass
            with pytest.raises(Locked):  # it has all instances to itself
                other.call("hello")
            [row] = leases(other)
            assert (row["who"], row["why"]) == (locked.value.holder, "cooldown")
            one.range = 3
            read: list[float] = []
            threads = [threading.Thread(target=lambda: read.append(one.read_voltage(4))) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert read == [1.0] * 4
        assert leases(other) == []
        assert other.range == 3


def test_reads_stay_open_where_the_server_says_so() -> None:
    with (
        served(Powermeter(), open_reads=True) as server,
        two_clients(server, Powermeter) as (one, other),
        lock(one),
    ):
        one.range = 3
        assert other.range == 3
        with pytest.raises(Locked):
            other.range = 2
        with pytest.raises(Locked):
            other.read_voltage()
    with (
        served(Powermeter(), open_reads=["read_voltage"]) as server,
        two_clients(server, Powermeter) as (one, other),
        lock(one),
    ):
        assert other.read_voltage(4) == 1.0
        with pytest.raises(Locked):
            _ = other.range


def test_a_name_of_open_reads_that_is_not_served_is_an_error() -> None:
    with pytest.raises(ValueError, match="open_reads: nothing is served as read"):
        Server(Powermeter(), address=HOST, port=0, open_reads=["read"]).run(threaded=True)


def test_what_is_urgent_is_everybodys() -> None:
    bath = Bath()
    with served(bath, urgent="abort") as server, two_clients(server) as (one, other), lock(one):
        assert other.abort() == "aborted"


def test_one_of_several_is_named_by_its_prefix_or_a_member() -> None:
    pump, signal = (Powermeter, "pump_"), (Powermeter, "signal_")
    with (
        served((Powermeter(), "pump_"), (Powermeter(), "signal_")) as server,
        two_clients(server, pump, signal) as (both, other),
    ):
        for name in ("pump_", "pump_read_voltage", "Pump_range", "get_pump_range"):
            with lock(both, name):
                assert other.signal_range == 1
                with pytest.raises(Locked):
                    _ = other.pump_range
        with lock(both):
            for name in ("pump_", "signal_"):
                with pytest.raises(Locked), lock(other, name):
                    pass
        only: Any = Client(pump, address=HOST, port=server.port)
        with lock(only):  # what its classes show
            assert leases(other)[0]["names"] == ["pump_"]
            assert other.signal_range == 1
        only.close()
        with pytest.raises(CallError, match="pomp_"), lock(both, "pomp_"):
            pass


def test_what_runs_goes_on_and_what_waits_of_others_is_told() -> None:
    bath = Bath()
    with (
        served(bath, urgent="temperature") as server,
        two_clients(server) as (one, other),
        cooling(server, bath) as outcome,
    ):
        raised: list[BaseException] = []

        def wait() -> None:
            try:
                other.cool()
            except CallError as error:
                raised.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(running(one)) < 2:
            time.sleep(0.001)
        with lock(one):
            waiting.join(30)
            assert [type(error) for error in raised] == [Locked]
            bath.ends.set()
            assert one.cool() == "cold"
            assert bath.cooled == 2  # after the one that ran
    assert outcome == ["cold"]


def test_a_lease_is_renewed_while_the_block_runs() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        with lock(one, lease=0.5):
            ends_s = time.monotonic() + 1.6
            while time.monotonic() < ends_s:  # thrice its time, in which this thread does nothing for it
                with pytest.raises(Locked):
                    _ = other.range
                time.sleep(0.05)
        assert other.range == 1


HOLDER = f"""
import sys, time
import snyper
pm = snyper.Client(address={HOST!r}, port=int(sys.argv[1]))
with snyper.lock(pm, lease=2, why="a scan"):
    print("locked", flush=True)
    time.sleep(60)
"""


def is_free(client: Any) -> bool:
    try:
        client.get_range()
    except Locked:
        return False
    return True


def test_after_the_death_of_its_holder_it_ends_by_itself() -> None:
    with (
        served(Powermeter()) as server,
        Client(address=HOST, port=server.port) as other,
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(server.port)], stdout=subprocess.PIPE, text=True
        ) as holder,
    ):
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            while leases(other)[0]["until"] == leases(other)[0]["until"]:
                time.sleep(0.01)  # it renews
        finally:
            holder.kill()
        holder.wait(30)
        ends_at_s = leases(other)[0]["until"].timestamp()
        left_s = ends_at_s - time.time()
        with Stopwatch() as took:
            while not is_free(other):
                time.sleep(0.01)
        assert time.time() > ends_at_s - 0.05
    assert took.seconds < left_s + 1.0


def test_a_holder_whose_lease_was_broken_learns_by_whom() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        assert break_lock(other) == []
        broken: list[str] = []

        def block() -> None:
            with lock(one):
                one.range = 2
                broken.extend(break_lock(other, why="fire"))
                other.range = 5
                with pytest.raises(LeaseLost):  # not once more as if nothing were
                    one.range = 3
                with pytest.raises(LeaseLost):
                    _ = one.range

        with pytest.raises(LeaseLost, match="broke it: fire") as lost:
            block()
        assert broken == [lost.value.by]
        assert one.range == 5

        def failing_block() -> None:
            with lock(one):
                break_lock(other)
                raise KeyError("of the block")

        with pytest.raises(KeyError) as kept:
            failing_block()
        assert "the lease is lost" in kept.value.__notes__[0]


def test_a_holder_of_a_server_that_was_started_anew_learns_of_it() -> None:
    port = free_port()
    pm: Any = Client(address=HOST, port=port)
    held = lock(pm)
    with served(Powermeter(), port=port):
        held.__enter__()
        pm.set_range(2)
    with served(Powermeter(), port=port):
        with pytest.raises(LeaseLost, match="started anew"):
            pm.set_range(3)
        with pytest.raises(LeaseLost, match="started anew"):
            held.__exit__(None, None, None)
        assert pm.get_range() == 1
    pm.close()


def test_a_lease_outlives_a_connection_and_is_taken_and_given_back_once() -> None:
    with served(Powermeter()) as server, Client(address=HOST, port=server.port) as other:
        relay = CuttingRelay(server.port)
        relay.has_cut = True
        after = 0
        while relay.has_cut:
            relay.has_cut = False
            for from_server in (False, True):
                relay.cut = (from_server, after)
                with Client(address=HOST, port=relay.port) as c:
                    with lock(c):
                        c.set_range(2)
                        assert len(leases(other)) == 1
                    assert leases(other) == []
            after += 7
        relay.close()


def test_a_server_that_has_gone_ends_the_block_all_the_same() -> None:
    with served(Powermeter()) as server:
        pm: Any = Client(address=HOST, port=server.port)
        held = lock(pm)
        held.__enter__()
    with Stopwatch() as took:
        held.__exit__(None, None, None)  # it was held to the end of the block
    assert took.seconds < 10
    with served(Powermeter()) as server:
        pm = Client(address=HOST, port=server.port)
        held = lock(pm, lease=0.5)
        held.__enter__()
    time.sleep(0.6)
    with pytest.raises(LeaseLost, match="not renewed"):
        held.__exit__(None, None, None)


def test_a_deadline_around_the_block_does_not_keep_it_from_being_given_back() -> None:
    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        with deadline(0.1), lock(one):
            time.sleep(0.2)
        assert leases(other) == []


def test_one_that_is_interrupted_while_it_is_asked_for_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    result, interrupts = ClientSession.result, [KeyboardInterrupt()]

    def interrupted(session: ClientSession, reply: Any, name: str) -> object:
        if interrupts:  # once the server has granted it
            raise interrupts.pop()
        return result(session, reply, name)

    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        with monkeypatch.context() as patch:
            patch.setattr(ClientSession, "result", interrupted)
            with pytest.raises(KeyboardInterrupt):
                lock(one).__enter__()
            ends_s = time.monotonic() + 30
            while leases(other):
                assert time.monotonic() < ends_s
        assert other.range == 1


@needs_fork
def test_after_a_fork_it_is_the_parent_s() -> None:
    text = """
held = snyper.lock(c)
held.__enter__()
child = os.fork()
if not child:
    try:
        c.set_range(2)
    except snyper.Locked:
        held.__exit__(None, None, None)
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
c.set_range(3)
assert len(snyper.leases(c)) == 1
held.__exit__(None, None, None)
assert snyper.leases(c) == []
"""
    with served(Powermeter()) as server, program(text, server):
        pass


def test_a_lease_has_a_time_that_makes_sense() -> None:
    with Client(address=HOST, port=1) as c:
        for lease in (0.1, 1e6, -1.0, float("nan")):
            with pytest.raises(ValueError, match="lease"):
                lock(c, lease=lease)
    with pytest.raises(TypeError, match="no client"):
        lock(Powermeter())


def test_ctrl_c_as_the_renewals_begin_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    start = locks._start

    def interrupted(*args: Any) -> None:
        start(*args)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with served(Powermeter()) as server, two_clients(server, Powermeter) as (one, other):
        monkeypatch.setattr(locks, "_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock(one, lease=60).__enter__()
        wait_until(lambda: not leases(other), "it is given back")
        assert other.read_voltage() is not None

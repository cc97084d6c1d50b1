"""Which calls overlap and which do not: `concurrent` and `uses`, over real sockets."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from snyper.services.client import Client, running
from snyper.services.context import deadline
from snyper.services.engine import TAKEOVER_S
from snyper.services.locks import lock
from snyper.services.remote_exceptions import Locked, OutcomeUnknown, RemoteError
from snyper.services.server import Server
from snyper.services.watches import watch
from tests.integration.calls_harness import HOST, Bath, Powermeter, cooling, hello, served, two_clients
from tools.loopback import free_port


class Counted:
    """A device that knows how many are inside of it at a time."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.overlaps: set[frozenset[str]] = set()
        self.together = threading.Barrier(2)

    def _visit(self, name: str) -> None:
        for other in self.inside:
            self.overlaps.add(frozenset((name, other)))
        self.inside.append(name)
        time.sleep(4 * TAKEOVER_S)  # so long that the server goes on beside it
        self.inside.remove(name)

    def meet(self) -> str:
        """Return once two are inside."""
        self.together.wait(30)
        return "met"

    def status(self) -> None:
        self._visit("status")

    @property
    def level(self) -> int:
        self._visit("level")
        return 3

    @level.setter
    def level(self, value: int) -> None:
        self._visit("set_level")

    def step(self) -> None:
        self._visit("step")


def at_once(server: Server, *calls: Callable[[Any], object]) -> list[object]:
    """Make each call from a client and a thread of its own; return what they return."""
    outcomes: list[object] = [None] * len(calls)

    def call(at: int) -> None:
        with Client(address=HOST, port=server.port) as c:
            outcomes[at] = calls[at](c)

    threads = [threading.Thread(target=call, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.parametrize("concurrent", ["meet", ("counted_meet",), "all of it"])
def test_what_is_concurrent_overlaps(concurrent: object) -> None:
    device = Counted()
    options = {"concurrent": [device] if concurrent == "all of it" else concurrent}
    with served((device, "counted_"), **options) as server:
        assert at_once(server, *[lambda c: c.counted_meet()] * 2) == ["met", "met"]


@pytest.mark.parametrize("concurrent", [("status", "level"), ("status", "set_level")])
def test_all_else_of_the_instance_does_not(concurrent: tuple[str, str]) -> None:
    device = Counted()

    def many(call: Callable[[Any], object]) -> Callable[[Any], object]:
        return lambda c: [call(c) for _ in range(4)]

    with (
        served(device, hello, concurrent=concurrent) as server,
        Client(address=HOST, port=server.port) as watching,
        watch(watching, "level"),
    ):
        at_once(
            server,
            *[many(lambda c: c.status()), many(lambda c: c.get_level())] * 3,
            *[many(lambda c: c.step()), many(lambda c: c.set_level(1))] * 3,
        )
    assert device.overlaps
    assert all(pair <= set(concurrent) for pair in device.overlaps)


def test_what_is_concurrent_respects_leases() -> None:
    bath = Bath()
    with served(bath, concurrent="temperature") as server, two_clients(server) as (one, other), lock(one):
        assert one.temperature() == 4.2
        with pytest.raises(Locked):
            other.temperature()


def test_a_function_has_what_it_uses_to_itself_and_nothing_else() -> None:
    bath, pm = Bath(), Powermeter()
    with served(bath, pm) as server, two_clients(server) as (c, other):
        server.register(lambda: "all", "uses_all")
        server.register(lambda: "pm", "uses_pm", uses=(pm,))
        server.register(lambda: "bath", "uses_bath", uses=[bath, pm, bath])
        server.register(lambda: "none", "uses_none", uses=())
        with cooling(server, bath):
            assert c.uses_pm() == "pm"
            assert c.uses_none() == "none"
            for name in ("uses_bath", "uses_all"):
                with deadline(0.05), pytest.raises(OutcomeUnknown):
                    c.call(name)
        assert c.uses_bath() == "bath"
        with lock(other, "uses_pm"):
            for name in ("uses_pm", "read_voltage", "uses_bath", "uses_all"):
                with pytest.raises(Locked):
                    c.call(name)
            assert c.uses_none() == "none"
            assert c.temperature() == 4.2
        with lock(other), pytest.raises(Locked):
            c.uses_none()


def test_no_function_runs_twice_at_a_time_unless_it_is_concurrent() -> None:
    device = Counted()
    server = Server(address=HOST, port=0, concurrent="both")
    with ExitStack() as stack:
        server.register(lambda: device.step(), "alone", uses=())
        server.register(lambda: device.meet(), "both", uses=())
        server.run(threaded=True)
        stack.callback(server.close)
        at_once(server, *[lambda c: [c.alone() for _ in range(4)]] * 3)
        assert device.overlaps == set()
        assert at_once(server, *[lambda c: c.both()] * 2) == ["met", "met"]


def test_a_function_goes_on_with_an_instance_that_is_served_no_more() -> None:
    bath = Bath()
    with served(bath) as server, Client(address=HOST, port=server.port) as c:
        server.register(lambda: bath.cooled, "cooled", uses=(bath,))
        with cooling(server, bath):
            server.unregister(bath)
            with deadline(0.05), pytest.raises(OutcomeUnknown):
                c.cooled()
        assert c.cooled() == 1
        bath.ends.clear()
        bath.began.clear()
        server.register(bath)
        with cooling(server, bath), deadline(0.05), pytest.raises(OutcomeUnknown):
            c.cooled()


@pytest.mark.parametrize(
    ("concurrent", "kind", "says"),
    [
        ("statsu", ValueError, "concurrent: nothing is served as statsu"),
        ((Powermeter(),), ValueError, "concurrent: Powermeter is no name, and no instance that is served"),
        ((hello,), ValueError, "concurrent: function is no name"),
        (Powermeter(), TypeError, "names and instances in a tuple or a list"),
    ],
)
def test_what_cannot_be_concurrent(concurrent: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        Server(hello, Bath(), port=0, concurrent=concurrent).run(threaded=True)


@pytest.mark.parametrize(
    ("item", "uses", "kind", "says"),
    [
        (hello, (Powermeter(),), ValueError, "the function hello uses a Powermeter that is not served"),
        (hello, "bath_", TypeError, "uses takes instances in a tuple or a list"),
        (hello, ("bath_",), TypeError, "uses takes instances in a tuple or a list"),
        (hello, Powermeter(), TypeError, "uses takes instances in a tuple or a list"),
        (Powermeter(), (), TypeError, "has its own instance to itself"),
        (Powermeter().read_voltage, (), TypeError, "has its own instance to itself"),
    ],
)
def test_what_cannot_be_used(item: Any, uses: Any, kind: type[Exception], says: str) -> None:
    server = Server(Bath(), port=0)
    with pytest.raises(kind, match=says):
        server.register(item, uses=uses)
    assert "hello" not in server._surface.calls()


def test_a_method_may_call_another_object_while_a_function_waits_for_both() -> None:
    port = free_port()
    asked = threading.Event()

    class Caller:
        def call_on(self) -> str:
            assert asked.wait(30)
            with Client(address=HOST, port=port) as c:
                answer: str = c.identify()
                return answer

    class Called:
        def identify(self) -> str:
            return "it is me"

    with (
        served(Caller(), Called(), hello, port=port) as server,
        Client(address=HOST, port=port) as c,
        Client(address=HOST, port=port) as other,
    ):
        outcomes: list[object] = []
        threads = [
            threading.Thread(target=lambda: outcomes.append(c.call_on())),
            threading.Thread(target=lambda: outcomes.append(other.hello())),
        ]
        with Client(address=HOST, port=server.port) as watching:
            for count, thread in enumerate(threads, 1):
                thread.start()
                while len(running(watching)) < count:
                    pass
            asked.set()
        for thread in threads:
            thread.join(30)
        assert sorted(map(str, outcomes)) == ["Hello world!", "it is me"]


def test_two_methods_that_call_each_other_s_object_are_told() -> None:
    port = free_port()
    both_run = threading.Barrier(2)

    class Half:
        def __init__(self, other: str) -> None:
            self._other = other

        def enter(self) -> str:
            both_run.wait(30)
            with Client(address=HOST, port=port) as c:
                c.call(f"{self._other}rest")
            return "done"

        def rest(self) -> None:
            pass

    def enter(name: str) -> Callable[[Any], object]:
        def call(c: Any) -> object:
            try:
                return c.call(f"{name}enter")
            except RemoteError as error:
                return error.type_name

        return call

    with served((Half("b_"), "a_"), (Half("a_"), "b_"), port=port) as server:
        outcomes = at_once(server, enter("a_"), enter("b_"))
    assert sorted(map(str, outcomes)) == ["WouldDeadlock", "done"]


@pytest.mark.parametrize("closes", [False, True])
def test_what_waits_behind_a_call_that_is_given_up_goes_on(closes: bool) -> None:
    bath, pm = Bath(), Powermeter()
    read: list[float] = []
    with (
        served(bath, pm, hello) as server,
        two_clients(server) as (c, watching),
        cooling(server, bath),
        socket.create_connection((HOST, server.port)) as other,
    ):
        other.sendall(
            b'{"type":"register","id":0,"data":{"role":"console","protocol":1,"session":"s","who":"other"}}\n'
            b'{"type":"call","id":1,"data":{"name":"hello","arguments":[[],{}]}}\n'
        )
        reader = threading.Thread(target=lambda: read.append(c.read_voltage(4)))
        while len(running(watching)) < 2:
            pass
        reader.start()
        while len(running(watching)) < 3:
            pass
        if closes:
            other.close()
        else:
            other.sendall(b'{"type":"cancel","id":"cancel","data":{"call":1}}\n')
        reader.join(30)
        assert read == [1.0]


def test_a_watch_never_ends_with_a_value_that_was_read_before_it_was_set() -> None:
    class Slow:
        """Its level is read by two at a time; the first reading ends last."""

        def __init__(self) -> None:
            self.now = 1
            self.is_reading, self.may_end = threading.Event(), threading.Event()
            self.is_slow = False

        @property
        def level(self) -> int:
            level = self.now
            if self.is_slow:
                self.is_slow = False
                self.is_reading.set()
                assert self.may_end.wait(30)
            return level

        @level.setter
        def level(self, value: int) -> None:
            self.now = value

    slow = Slow()
    with (
        served(slow, concurrent=(slow,)) as server,
        two_clients(server) as (c, other),
        watch(c, "level") as levels,
    ):
        assert next(levels) == 1
        slow.is_slow = True
        reader = threading.Thread(target=other.get_level)
        reader.start()
        assert slow.is_reading.wait(30)
        c.set_level(2)
        assert next(levels) == 2
        slow.may_end.set()
        reader.join(30)
        c.set_level(3)
        assert next(levels) == 3
        assert levels.missed == 0


def test_a_method_that_calls_its_own_object_is_told_that_though_it_is_leased() -> None:
    port = free_port()

    class Device:
        def enter(self) -> None:
            with Client(address=HOST, port=port) as c:
                c.rest()

        def rest(self) -> None:
            pass

    with (
        served(Device(), port=port),
        Client(address=HOST, port=port) as c,
        lock(c),
        pytest.raises(RemoteError, match="WouldDeadlock"),
    ):
        c.enter()

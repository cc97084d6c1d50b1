"""Functions and objects of another process, over real sockets."""

import contextlib
import inspect
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.caller import _Closing
from snyper.services.client import Client, caller_of, close, closing, running
from snyper.services.context import deadline
from snyper.services.desk import MAX_UNSEEN
from snyper.services.hint import hint
from snyper.services.locks import break_lock, lock
from snyper.services.remote_exceptions import CallError, OutcomeUnknown, Refused, RemoteError, Unreachable
from snyper.services.server import Server
from snyper.services.watches import watch
from tests.integration.calls_harness import (
    CUT_STEP,
    HOST,
    Bath,
    CuttingRelay,
    Powermeter,
    cooling,
    each_secret,
    hello,
    hello2,
    needs_fork,
    program,
    served,
)
from tests.integration.harness import wait_until
from tools.loopback import free_port


@pytest.mark.parametrize("secret", [None, "waktu"])
def test_functions_as_the_document_has_them(secret: str | None) -> None:
    with (
        served(hello, (hello2, "hello_world"), secret=secret) as server,
        Client(address=HOST, port=server.port, secret=secret) as c,
    ):
        assert c.hello() == "Hello world!"
        assert c.hello("darkness my old friend") == "Hello darkness my old friend!"
        assert c.hello(name=24601) == "Hello 24601!"
        assert c.hello_world() == "Nothing to see!"
        assert c.call("hello", "pluto") == c.call("hello", name="pluto") == "Hello pluto!"


@pytest.mark.parametrize("secret", [None, "waktu"])
def test_an_object_as_the_document_has_it(secret: str | None) -> None:
    with served(Powermeter(), secret=secret) as server:
        pm: Any = Client(Powermeter, address=HOST, port=server.port, secret=secret)
        assert pm.identity == "PM-1"
        pm.range = 3
        assert pm.range == 3
        assert pm.read_voltage(samples=20) == 5.0
        with pytest.raises(ValueError, match="range 7 is not 1 to 5"):
            pm.range = 7
        with pytest.raises(TypeError, match="sample"):
            pm.read_voltage(sample=20)
        pm.close()


def test_a_client_is_closed_by_what_type_checkers_see() -> None:
    with served(Powermeter()) as server:
        with closing(Client(Powermeter, address=HOST, port=server.port)) as pm:
            assert pm.identity == "PM-1"
            close(pm)
            assert pm.identity == "PM-1"  # it connects again
        assert caller_of(pm)._connection is None
    for wrong in (server, Powermeter()):
        with pytest.raises(TypeError, match="is no client"):
            close(wrong)
        with pytest.raises(TypeError, match="is no client"), closing(wrong):
            pass
    with pytest.raises(TypeError, match="async with"), closing(AsyncClient()):
        pass


@pytest.mark.parametrize(
    ("use", "kind", "why"),
    [
        (lambda c: c.help(c.hello), TypeError, "the name of a command"),
        (lambda c: lock(c, lease="x"), TypeError, "a lease is a number of seconds"),  # type: ignore[call-overload]
        (lambda c: lock(c, lease=float("nan")), ValueError, "a lease is a number of seconds above 0"),
        (lambda c: lock(c, why=3), TypeError, "texts, not 3"),  # type: ignore[call-overload]
        (lambda c: lock(c, 3), TypeError, "texts, not 3"),  # type: ignore[call-overload]
        (lambda c: lock(c, why=201 * "x"), ValueError, "at most 200 characters, not 201"),
        (lambda c: break_lock(c, why=3), TypeError, "texts, not 3"),  # type: ignore[call-overload]
        (lambda c: watch(c, 3), TypeError, "has a name, not 3"),  # type: ignore[call-overload]
        (lambda c: watch(c, "hello", every="1"), TypeError, "every is a number of seconds"),  # type: ignore[call-overload]
        (lambda c: Client(hub="127.0.0.1:8081", name="lab 1"), ValueError, "'lab 1' is no name"),
    ],
)
def test_what_is_given_wrong_is_said_before_anybody_is_asked(
    use: Callable[[Any], object], kind: type[Exception], why: str
) -> None:
    with Client(address=HOST, port=free_port()) as c, pytest.raises(kind, match=why):
        use(c)
    assert caller_of(c)._connection is None


def test_a_server_that_was_closed_says_so() -> None:
    server = Server(hello, address=HOST, port=0)
    server.run(threaded=True)
    with pytest.raises(RuntimeError, match="it runs already"):
        server.run(threaded=True)
    server.close()
    with pytest.raises(RuntimeError, match="it was closed: make another"):
        server.run(threaded=True)


def test_a_call_that_never_had_the_connection_blames_no_server() -> None:
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        c.hello()
        caller, other = caller_of(c), _Closing()
        wait_until(lambda: not caller._is_watched, "nobody reads for it")
        assert caller._take_turn(other, None)
        with pytest.raises(Unreachable, match=r"not sent to .*: other calls") as caught, deadline(0.05):
            c.hello()
        assert "firewall" not in str(caught.value)
        other.is_over = True
        assert c.hello() == "Hello world!"


def test_a_server_serves_while_its_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(hello, address=HOST, port=0) as server, Client(address=HOST, port=server.port) as c:
        assert c.hello() == "Hello world!"
        port = server.port
    assert capsys.readouterr().out == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, port))


def test_a_server_that_cannot_listen_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    pair = socket.socketpair

    def socketpair(*args: Any) -> tuple[socket.socket, socket.socket]:
        opened.extend(both := pair(*args))
        return both

    with socket.create_server((HOST, 0)) as taken:
        monkeypatch.setattr(socket, "socketpair", socketpair)
        server = Server(hello, address=HOST, port=taken.getsockname()[1])
        with pytest.raises(OSError, match="cannot listen"):
            server.run(threaded=True)
        assert opened
        assert all(sock.fileno() == -1 for sock in opened)
    server.run(threaded=True)  # the same server, once the port is free
    server.close()


def test_the_hint_says_an_address_as_it_is_written() -> None:
    for host, written in (("", "0.0.0.0:4440"), ("lab1", "lab1:4440"), ("::1", "[::1]:4440")):
        assert hint((host, 4440), None, None, ["hello"], []).startswith(f"Address: {written} [no secret]\n")


def test_help_of_a_client_has_its_keywords() -> None:
    keywords = ["address", "port", "secret", "timeout", "hub", "name", "key"]
    for made in (Client, AsyncClient, type(Client(Powermeter))):
        assert list(inspect.signature(made).parameters) == ["classes", *keywords]


def test_two_of_a_class_have_prefixes() -> None:
    with served((Powermeter("A"), "pump_"), (Powermeter("B"), "signal_")) as server:
        pm: Any = Client((Powermeter, "pump_"), (Powermeter, "signal_"), address=HOST, port=server.port)
        assert (pm.pump_identity, pm.signal_identity) == ("A", "B")
        pm.pump_range = 3
        assert (pm.pump_range, pm.signal_range) == (3, 1)
        assert pm.get_signal_identity() == "B"
        pm.set_signal_range(2)
        assert pm.signal_range == 2
        pm.close()


def test_a_client_without_the_class_reaches_its_properties() -> None:
    with served(Powermeter()) as server, Client(address=HOST, port=server.port) as pm:
        assert pm.get_identity() == "PM-1"
        pm.set_range(3)
        assert pm.get_range() == 3


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        served(hello, (hello2, "hello_world")) as server,
        Client(address=HOST, port=server.port) as c,
    ):
        capsys.readouterr()
        c.help()
        assert capsys.readouterr().out.strip() == (
            "Available calls: ['hello', 'hello_world']\nAvailable properties: []"
        )
        c.help("hello_world")
        assert "Hide from the user." in capsys.readouterr().out


def test_a_wrong_secret_is_refused_and_others_go_on() -> None:
    with (
        served(hello, secret="waktu") as server,
        Client(address=HOST, port=server.port, secret="waktu") as right,
    ):
        assert right.hello() == "Hello world!"
        for secret in ("Waktu", None):
            with Client(address=HOST, port=server.port, secret=secret) as wrong, pytest.raises(Refused):
                wrong.hello()
        assert right.hello() == "Hello world!"
    with (
        served(hello) as server,
        Client(address=HOST, port=server.port, secret="waktu") as c,
        pytest.raises(Refused, match="secret"),
    ):
        c.hello()


def test_guessing_at_the_server_is_slow_and_keeps_no_other_address_out() -> None:
    with served(hello, secret="waktu") as server:
        said = []
        began_s = time.monotonic()
        for number in range(30):
            with (
                Client(address=HOST, port=server.port, secret=f"guess {number}") as wrong,
                pytest.raises(Refused) as refused,
            ):
                wrong.hello()
            said.append("too many wrong secrets" in str(refused.value))
        assert said[:5] == [False] * 5
        at_most = 10 + (time.monotonic() - began_s) + 1  # at once, and one in each second
        assert said.count(False) <= at_most
        assert at_most > 30 or said.count(True)
        with (
            socket.create_connection((HOST, server.port), source_address=("127.0.0.2", 0)) as other,
            contextlib.suppress(OSError),
        ):
            other.sendall(b"\n")  # it is heard, and told what is wrong with that
            assert b"wants a secret" in other.recv(4_096)


def test_a_call_waits_for_a_server_that_is_late() -> None:
    port = free_port()
    answers: list[object] = []
    with Client(address=HOST, port=port) as c:
        caller = threading.Thread(target=lambda: answers.append(c.hello()))
        caller.start()
        with served(hello, port=port):
            caller.join(30)
    assert answers == ["Hello world!"]


def test_a_limit_ends_the_wait_for_a_server() -> None:
    with Client(address=HOST, port=free_port(), timeout=0.1) as c, pytest.raises(Unreachable):
        c.hello()


def test_a_limit_ends_it_too_for_a_thread_that_waits_behind_another() -> None:
    raised: list[BaseException] = []
    with Client(address=HOST, port=free_port(), timeout=0.2) as c:
        callers = [threading.Thread(target=lambda: raised.append(error_of(c.hello))) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
    assert [type(error) for error in raised] == [Unreachable] * 4  # nothing was sent


def test_an_idle_client_goes_on_with_a_server_that_was_started_anew() -> None:
    port = free_port()
    with Client(address=HOST, port=port) as c:
        for _ in range(3):
            with served(hello, port=port):
                assert c.hello() == "Hello world!"


def test_a_call_that_was_under_way_at_a_restart_is_unknown() -> None:
    port = free_port()
    began, ends = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        ends.wait(30)

    raised: list[BaseException] = []

    def call() -> None:
        try:
            c.hang()
        except CallError as error:
            raised.append(error)

    with Client(address=HOST, port=port) as c:
        caller = threading.Thread(target=call)
        with served(hang, port=port):
            caller.start()
            assert began.wait(30)
        with served(hang, port=port):
            caller.join(30)
        ends.set()
    assert [type(error) for error in raised] == [OutcomeUnknown]


def test_a_call_whose_server_is_gone_at_its_deadline_is_unknown() -> None:
    bath = Bath()
    server = Server(bath, address=HOST, port=0)
    server.run(threaded=True)
    with Client(address=HOST, port=server.port) as c:

        def call() -> None:
            with deadline(1.0):
                c.cool()

        raised: list[BaseException] = []
        caller = threading.Thread(target=lambda: raised.append(error_of(call)))
        caller.start()
        assert bath.began.wait(30)
        server.close()
        caller.join(30)
    bath.ends.set()
    assert [type(error) for error in raised] == [OutcomeUnknown]


def error_of(call: Callable[[], object]) -> CallError:
    with pytest.raises(CallError) as raised:
        call()
    return raised.value


def test_a_long_call_holds_up_no_other_instance() -> None:
    began, ends = threading.Event(), threading.Event()

    class Slow:
        def wait(self) -> str:
            began.set()
            ends.wait(30)
            return "done"

    pm = Powermeter()
    with served((Slow(), "slow_"), (pm, "pm_")) as server:
        answers: list[object] = []
        with Client(address=HOST, port=server.port) as one, Client(address=HOST, port=server.port) as other:
            caller = threading.Thread(target=lambda: answers.append(one.slow_wait()))
            caller.start()
            assert began.wait(30)
            for _ in range(3):
                assert other.pm_read_voltage(8) == 2.0
            assert not answers
            ends.set()
            caller.join(30)
        assert answers == ["done"]


def test_calls_to_one_instance_never_overlap() -> None:
    class Counter:
        def __init__(self) -> None:
            self.inside = 0
            self.most = 0
            self.calls = 0

        def step(self) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.007)  # longer than the thread that reads is left with it
            self.calls += 1
            self.inside -= 1

    counter = Counter()
    with served(counter) as server:

        def call() -> None:
            with Client(address=HOST, port=server.port) as c:
                for _ in range(5):
                    c.step()

        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
    assert (counter.most, counter.calls) == (1, 40)


@pytest.mark.long
@each_secret
@pytest.mark.parametrize("from_server", [False, True])
def test_a_call_cut_after_any_byte_is_carried_out_once(secret: str | None, from_server: bool) -> None:
    done: list[int] = []
    with served(done.append, secret=secret) as server:
        relay = CuttingRelay(server.port)
        after = 0
        relay.has_cut = True
        while relay.has_cut:  # until it says all that there is in fewer bytes
            relay.has_cut = False
            relay.cut = (from_server, after)
            with Client(address=HOST, port=relay.port, secret=secret) as c:
                c.append(after)
            after += 1 if secret is None else CUT_STEP
        relay.close()
        assert len(done) > (30 if secret is None else 5)
        assert done == sorted(set(done))


def test_what_is_urgent_waits_for_nothing() -> None:
    bath = Bath()
    with served(bath, urgent=("abort", "temperature")) as server:
        with cooling(server, bath) as outcome, Client(address=HOST, port=server.port) as c:
            assert c.temperature() == 4.2
            [row] = running(c)
            assert (row["name"], row["state"], row["cancelled"]) == ("cool", "running", False)
            assert HOST in row["who"]
            assert c.abort() == "aborted"
        assert outcome == ["cold"]


def test_the_name_of_a_property_means_its_reading() -> None:
    class Cooler(Bath):
        @property
        def level(self) -> int:
            return 3

        @level.setter
        def level(self, value: int) -> None:
            pass

    bath = Cooler()
    with (
        served((bath, "bath_"), urgent="level") as server,
        Client(address=HOST, port=server.port) as c,
        Client(address=HOST, port=server.port) as other,
    ):
        caller = threading.Thread(target=other.bath_cool)
        caller.start()
        assert bath.began.wait(30)
        assert c.get_bath_level() == 3
        with deadline(0.05), pytest.raises(OutcomeUnknown):
            c.set_bath_level(4)
        bath.ends.set()
        caller.join(30)


def test_an_urgent_name_that_is_not_served_is_an_error() -> None:
    with pytest.raises(ValueError, match="stop"):
        Server(Bath(), address=HOST, port=0, urgent=["stop"]).run(threaded=True)


@pytest.mark.parametrize("limit", [deadline, lambda seconds: Client(timeout=seconds)])
def test_a_limit_is_a_positive_number_of_seconds(limit: Callable[[Any], Any]) -> None:
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="seconds above 0"):
            limit(wrong).__enter__()
    with pytest.raises(TypeError, match="a number of seconds, not '5'"):
        limit("5").__enter__()


def test_a_client_says_of_what_server_it_is() -> None:
    assert repr(Client(Powermeter, address="lab", port=4441)) == "<Client of lab:4441>"
    assert repr(Client(hub="127.0.0.1:8081", name="lab1")) == "<Client of lab1 through 127.0.0.1:8081>"


@pytest.mark.parametrize("end", [Client, Server])
def test_what_is_no_address_port_or_secret_is_said_at_once(end: Any) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"port": 70_000}, ValueError, "0 to 65535"),  # which would be 4464
        ({"port": "4440"}, TypeError, "integer"),
        ({"address": "192.168.1.10:4440"}, ValueError, "port="),
        ({"address": "[::1]:4440"}, ValueError, "port="),
        ({"address": "http://lab"}, ValueError, "host alone"),
        ({"address": 3}, TypeError, "text"),
        ({"secret": b"waktu"}, TypeError, "text, not bytes"),
        ({"secret": ""}, ValueError, "empty secret"),
        ({"secret": "wak\ud800tu"}, ValueError, "UTF-8"),
    ]
    for options, error, why in wrong:
        with pytest.raises(error, match=why) as caught:
            end(**options)
        assert "tu" not in repr(caught.value)


def test_what_is_too_long_to_be_asked_is_an_error_of_calls() -> None:
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        for ask in (c.help, c.call, lambda text: watch(c, text), lambda text: lock(c, text).__enter__()):
            with pytest.raises(CallError, match="at most"):
                ask("x" * 5_000)


def test_a_deadline_frees_the_caller_and_the_function_can_ask() -> None:
    bath = Bath()
    with served(bath, urgent="temperature") as server:
        with Client(address=HOST, port=server.port) as c:
            assert c.temperature() == 4.2
            with deadline(0.05), pytest.raises(OutcomeUnknown, match="deadline"):
                c.cool()
            assert c.temperature() == 4.2  # the next call is right
            [row] = running(c)
            assert (row["name"], row["cancelled"]) == ("cool", True)
            bath.ends.set()
            assert c.cool() == "cold"
            assert bath.was_cancelled is False
        assert bath.cooled == 2


def test_a_call_that_waits_and_is_given_up_is_never_begun() -> None:
    bath = Bath()
    with served(bath) as server:
        with cooling(server, bath), Client(address=HOST, port=server.port, timeout=0.5) as c:
            for _ in range(3):
                with pytest.raises(OutcomeUnknown):
                    c.cool()
            assert len(running(c)) == 1
        with Client(address=HOST, port=server.port) as c:
            assert c.temperature() == 4.2
    assert bath.cooled == 1


def test_a_method_that_calls_its_own_object_is_told_so() -> None:
    class Recursive:
        def outer(self) -> str:
            with Client(address=HOST, port=server.port) as c:
                return str(c.inner())

        def inner(self) -> str:
            return "inner"

    with served(Recursive()) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(RemoteError, match="would wait for ever"):
            c.outer()
        assert c.inner() == "inner"


def test_an_exception_arrives_as_what_it_is() -> None:
    class OutOfRangeError(Exception):
        pass

    def fail(how: str) -> None:
        match how:
            case "own":
                raise OutOfRangeError("too far")
            case "device":
                raise ConnectionError("the cable is out")
            case "key":
                raise KeyError("range")
            case "exit":
                raise SystemExit(3)

    with served(fail) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(RemoteError, match="OutOfRangeError: too far"):
            c.fail("own")
        with pytest.raises(ConnectionError, match="the cable is out") as device:
            c.fail("device")
        assert device.value.remote  # type: ignore[attr-defined]
        with pytest.raises(KeyError) as key:
            c.fail("key")
        assert str(key.value) == "'range'"
        with pytest.raises(RemoteError, match="SystemExit"):
            c.fail("exit")
        with pytest.raises(TypeError, match="unexpected keyword argument 'what'"):
            c.fail(what="own")
        with pytest.raises(CallError, match="not registered"):
            c.fall("own")


def test_a_traceback_is_for_who_holds_a_key() -> None:
    def fail() -> None:
        raise ValueError("the lamp is off")

    with pytest.raises(ValueError, match="secret="):
        Server(fail, tracebacks=True)
    for told in (False, True):
        with (
            served(fail, secret="a long enough secret", tracebacks=told) as server,
            Client(address=HOST, port=server.port, secret="a long enough secret") as c,
        ):
            with pytest.raises(ValueError, match="the lamp is off") as caught:
                c.fail()
            notes = "".join(caught.value.__notes__)
            assert ("Traceback" in notes) == ('raise ValueError("the lamp is off")' in notes) == told


def test_arrays_go_both_ways() -> None:
    numpy = pytest.importorskip("numpy")
    sent = numpy.arange(300_000, dtype=">f4").reshape(300, 1_000)

    def double(array: Any, scale: float = 2.0) -> Any:
        return {"doubled": array * scale, "shape": array.shape}

    for secret in (None, "a secret of some length"):
        with (
            served(double, secret=secret) as server,
            Client(address=HOST, port=server.port, secret=secret) as c,
        ):
            got = c.double(sent, scale=2.0)
            assert numpy.array_equal(got["doubled"], sent * 2.0)
            assert got["shape"] == (300, 1_000)


def test_a_value_that_does_not_travel_says_where_and_nothing_is_sent() -> None:
    called: list[object] = []
    with served(called.append) as server, Client(address=HOST, port=server.port) as c:
        with pytest.raises(TypeError, match="does not travel"):
            c.append({"x": object()})
        assert called == []
        c.append(1)
        assert called == [1]


def test_strangers_cost_nobody_anything() -> None:
    secret = "a secret of some length"
    with served(hello, secret=secret) as server, Client(address=HOST, port=server.port, secret=secret) as c:
        assert c.hello() == "Hello world!"
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x04\x95", b"\x16\x03\x01\x00\x05hello"):
            # It may hang up at any of these.
            with socket.create_connection((HOST, server.port)) as stranger, contextlib.suppress(OSError):
                stranger.sendall(said)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4_096):
                    pass
            assert c.hello() == "Hello world!"


def test_a_server_without_descriptors_takes_clients_again_when_there_are_some() -> None:
    program = f"""
import resource, sys
from snyper import Server
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
def hello(): return "Hello"
Server(hello, address={HOST!r}, port=int(sys.argv[1])).run()
"""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", program, str(port)], stdout=subprocess.DEVNULL) as process:
        try:
            with Client(address=HOST, port=port) as c:
                assert c.hello() == "Hello"
                strangers = [socket.create_connection((HOST, port)) for _ in range(60)]
                assert c.hello() == "Hello"
                for stranger in strangers:
                    stranger.close()
                with Client(address=HOST, port=port) as another:
                    assert another.hello() == "Hello"
        finally:
            process.kill()


def test_a_port_scan_costs_nobody_anything() -> None:
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        for _ in range(200):
            with socket.create_connection((HOST, server.port)) as scan:
                scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # an RST
        assert c.hello() == "Hello world!"


def test_a_pickle_is_bytes() -> None:
    bomb = b"cos\nsystem\n(S'exit 1'\ntR."
    with served(hello) as server, Client(address=HOST, port=server.port) as c:
        assert c.hello(bomb) == f"Hello {bomb!r}!"


def test_one_client_in_several_threads() -> None:
    def echo(value: int) -> int:
        if value % 10 == 0:
            time.sleep(0.03)  # longer than a thread keeps the connection
        return value

    wrong: list[object] = []
    with served(echo) as server, Client(address=HOST, port=server.port) as c:

        def call(first: int) -> None:
            for value in range(first, first + 50):
                if c.echo(value) != value:
                    wrong.append(value)

        callers = [threading.Thread(target=call, args=(1_000 * number,)) for number in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
            assert not caller.is_alive()
    assert wrong == []


def test_a_thread_that_calls_without_a_pause_lets_others_call() -> None:
    ends = threading.Event()
    counts: list[int] = []
    with served(hello) as server, Client(address=HOST, port=server.port) as c:

        def call() -> None:
            counts.append(0)
            while not ends.is_set():
                c.hello()
                counts[0] += 1

        caller = threading.Thread(target=call)
        caller.start()
        while not counts or not counts[0]:
            time.sleep(0.001)
        before = counts[0]
        for _ in range(100):
            c.hello()
        between = counts[0] - before
        ends.set()
        caller.join(30)
    assert between < 1_000  # some hundred, since they take turns


def test_a_call_takes_as_long_as_it_takes_whatever_else_its_client_calls() -> None:
    bath = Bath()
    with served(bath, urgent=("temperature", "abort")) as server, Client(address=HOST, port=server.port) as c:
        outcome: list[object] = []
        caller = threading.Thread(target=lambda: outcome.append(c.cool()))
        caller.start()
        assert bath.began.wait(30)
        for _ in range(MAX_UNSEEN + 1):
            assert c.temperature() == 4.2
        [session] = server._desk.sessions.values()
        assert len(session.answers) < 100  # of those that it has
        assert c.abort() == "aborted"
        caller.join(30)
        assert outcome == ["cold"]


def test_another_thread_of_a_client_can_abort_its_call() -> None:
    bath = Bath()
    with served(bath, urgent="abort") as server, Client(address=HOST, port=server.port) as c:
        outcome: list[object] = []
        caller = threading.Thread(target=lambda: outcome.append(c.cool()))
        caller.start()
        assert bath.began.wait(30)
        assert c.abort() == "aborted"
        caller.join(30)
        assert outcome == ["cold"]


def test_closing_in_another_thread_loses_no_call() -> None:
    bath = Bath()
    with served(bath) as server, Client(address=HOST, port=server.port) as c:
        outcome: list[object] = []
        caller = threading.Thread(target=lambda: outcome.append(c.cool()))
        caller.start()
        assert bath.began.wait(30)
        c.close()
        bath.ends.set()
        caller.join(30)
        assert outcome == ["cold"]
        assert bath.cooled == 1


@needs_fork
def test_a_client_that_is_used_after_a_fork_connects_anew() -> None:
    text = """
assert c.count() == 1
child = os.fork()
if not child:
    assert c.count() == 2
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert c.count() == 3
"""
    calls: list[None] = []

    def count() -> int:
        calls.append(None)
        return len(calls)

    with served(count) as server, program(text, server):
        pass


def test_a_client_outlives_ctrl_c_at_any_step_of_a_call() -> None:
    text = """
import random, signal
is_armed = False
def interrupt(*_):
    if is_armed:
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
for round in range(400):
    try:
        is_armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3))
        while True:
            assert c.echo(round) == round
    except KeyboardInterrupt:
        is_armed = False
    with snyper.deadline(10):
        assert c.echo(-round) == -round
"""

    def echo(value: int) -> int:
        return value

    with served(echo) as server, program(text, server):
        pass


def test_ctrl_c_ends_a_blocked_call_and_the_next_is_right() -> None:
    program = f"""
import sys
from snyper import Client
c = Client(address={HOST!r}, port=int(sys.argv[1]))
for _ in range(2):
    try:
        c.cool()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print(c.temperature(), flush=True)
"""
    bath = Bath()
    with served(bath, urgent="temperature") as server, Client(address=HOST, port=server.port) as observer:
        with subprocess.Popen(
            [sys.executable, "-c", program, str(server.port)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for count in (1, 2):
                    while len(running(observer)) < count:
                        time.sleep(0.001)
                    process.send_signal(signal.SIGINT)
                    assert process.stdout.readline() == "interrupted\n"
                assert process.stdout.readline() == "4.2\n"
                assert process.wait(30) == 0
            finally:
                process.kill()
        [row] = running(observer)
        assert (row["name"], row["cancelled"]) == ("cool", True)
        bath.ends.set()
        while running(observer):
            time.sleep(0.001)
    assert bath.cooled == 1  # what waited was never begun


@each_secret
def test_a_program_that_ctrl_c_ends_has_given_its_call_up(secret: str | None) -> None:
    # Its thread that raises keeps the interpreter until it waits for something, as where a computer is busy.
    text = f"""
import os, signal, sys, threading, time
from snyper import Client
from snyper.services.client import caller_of
c = Client(address={HOST!r}, port=int(sys.argv[1]), secret={secret!r})
def press():
    while not caller_of(c)._is_watched:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
sys.setswitchinterval(100)
try:
    c.cool()
except KeyboardInterrupt:
    os._exit(0)
"""
    bath = Bath()
    with served(bath, secret=secret) as server:
        ended = subprocess.run([sys.executable, "-c", text, str(server.port)], timeout=30)
        assert ended.returncode == 0
        with Client(address=HOST, port=server.port, secret=secret) as observer, deadline(10):
            while not running(observer)[0]["cancelled"]:
                time.sleep(0.001)
        bath.ends.set()


def test_a_class_that_differs_is_said_once_and_the_server_decides() -> None:
    class Newer:
        def read(self, samples: int = 1, *, fast: bool = False) -> tuple[int, bool]:
            return samples, fast

    class Older:
        def read(self, samples: int = 1) -> tuple[int, bool]:
            raise NotImplementedError

        def gone(self) -> None:
            pass

    with served(Newer()) as server:
        old: Any = Client(Older, address=HOST, port=server.port)
        with pytest.warns(UserWarning, match=r"read\(.*gone is not served") as warned:
            assert old.read(3) == (3, False)
        assert len(warned) == 1
        assert old.read(3, fast=True) == (3, True)
        old.close()


def test_a_typing_error_is_not_silent() -> None:
    with served(Powermeter()) as server:
        pm: Any = Client(Powermeter, address=HOST, port=server.port)
        with pytest.raises(AttributeError):
            pm.rnage = 3
        with pytest.raises(CallError, match="Did you mean 'read_voltage'"):
            pm.read_volt()
        pm.close()
    bare: Any = Client(address=HOST, port=server.port)
    with pytest.raises(AttributeError):
        bare.range = 3


def test_answers_to_what_comes_together_wait_for_no_long_call() -> None:
    bath = Bath()
    with served(bath, urgent=("temperature", "abort", "cool")) as server:
        lines = [
            f'{{"type":"call","id":{id},"data":{{"name":"{name}","seen":0,"arguments":[[],{{}}]}}}}\n'
            for id, name in enumerate(("temperature", "temperature", "cool", "temperature"), 1)
        ]
        with socket.create_connection((HOST, server.port)) as sock, sock.makefile("rb") as replies:
            register = b'{"type":"register","id":0,"data":{"role":"console","protocol":1,"session":"s"}}\n'
            sock.sendall(register)
            assert b"registered" in replies.readline()
            sock.sendall("".join(lines).encode())
            assert sorted(json.loads(replies.readline())["id"] for _ in range(3)) == [1, 2, 4]
            bath.ends.set()
            assert json.loads(replies.readline())["id"] == 3

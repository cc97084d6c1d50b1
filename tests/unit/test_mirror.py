"""Classes as a client shows them: which calls are made, and that nothing else makes any."""

import contextlib
import copy
import dataclasses
import functools
import inspect
import pydoc
from collections.abc import Callable
from pprint import pformat
from typing import Any

import jedi  # type: ignore[import-untyped]
import numpy as np
import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter
from IPython.core.formatters import DisplayFormatter
from IPython.core.oinspect import Inspector
from rich.pretty import pretty_repr

from snyper.services.client import BaseClient
from snyper.services.client_face import ClientFace, Options
from snyper.services.mirror import mirror
from snyper.services.naming import RESERVED
from tests.integration.harness import at_length


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have completions keep what they parse apart from those of other processes: one reads what another is
    about to write.
    """
    jedi.settings.cache_directory = str(tmp_path_factory.mktemp("jedi"))


class Base:
    """A client that writes down its calls."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self._error: Exception | None = None

    def call(self, command: str, /, *args: object, **kwargs: object) -> object:
        self._calls.append((command, args, kwargs))
        if self._error is not None:
            raise self._error
        return f"result of {command}"

    def help(self, name: str | None = None) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return functools.partial(self.call, name)


class AsyncBase(Base):
    async def call(self, command: str, /, *args: object, **kwargs: object) -> object:
        return super().call(command, *args, **kwargs)


class Real(BaseClient):
    """The client itself, which writes down its calls and makes none."""

    def __init__(self) -> None:
        super().__init__(address="127.0.0.1", port=1)
        self._calls: list[object] = []

    def call(self, command: str, /, *args: object, **kwargs: object) -> object:
        self._calls.append((command, args, kwargs))
        return None


class Powermeter:
    """A power meter of the laboratory."""

    UNITS = "V"
    ranges = (1, 2, 3)

    class Mode:
        FAST = 1

    @property
    def identity(self) -> str:
        """Name the device."""
        return "QO100"

    @property
    def range(self) -> int:
        return 3

    @range.setter
    def range(self, value: int) -> None: ...

    def _set_power(self, value: float) -> None: ...

    target = property(None, _set_power)

    def read_voltage(self, samples: int = 20, *, unit: str = "V") -> float:
        """Measure the voltage."""
        return samples / 10

    @staticmethod
    def convert(value: float, /) -> float:
        return value

    @classmethod
    def create(cls, port: str, **options: object) -> str:
        return port

    def every_keyword(self, **kwargs: object) -> None: ...

    def _private(self) -> None: ...


class Laser:
    """A laser."""

    UNITS = "W"

    def fire(self) -> None: ...


def client(*items: Any, base: type = Base, is_async: bool = False) -> Any:
    return mirror(base, items, is_async)()


def test_a_method_is_a_call_with_the_arguments_as_they_were_given() -> None:
    pm = client(Powermeter)
    assert pm.read_voltage() == "result of read_voltage"
    pm.read_voltage(20)
    pm.read_voltage(samples=5, unit="mV")
    pm.convert(3)
    pm.create("COM3", speed=9600)
    pm.every_keyword(command=1, name=2, args=3, kwargs=4)
    assert pm._calls == [
        ("read_voltage", (), {}),
        ("read_voltage", (20,), {}),
        ("read_voltage", (), {"samples": 5, "unit": "mV"}),
        ("convert", (3,), {}),
        ("create", ("COM3",), {"speed": 9600}),
        ("every_keyword", (), {"command": 1, "name": 2, "args": 3, "kwargs": 4}),
    ]


def test_a_property_is_read_and_set_by_calls() -> None:
    pm = client(Powermeter)
    assert (pm.identity, pm.range) == ("result of get_identity", "result of get_range")
    pm.range = 3
    pm.target = 4.5
    assert pm._calls[2:] == [("set_range", (3,), {}), ("set_target", (4.5,), {})]


def test_prefixes_and_several_classes() -> None:
    pm = client((Powermeter, "pump_"), (Powermeter, "signal_"), Laser)
    assert pm.pump_identity == "result of get_pump_identity"
    pm.signal_range = 3
    pm.pump_read_voltage(samples=20)
    pm.fire()
    pm.get_signal_identity()  # a direct call
    assert [name for name, _args, _kwargs in pm._calls] == [
        *("get_pump_identity", "set_signal_range", "pump_read_voltage", "fire", "get_signal_identity")
    ]
    assert (pm.pump_UNITS, pm.UNITS) == ("V", "W")


@pytest.mark.parametrize(
    "call",
    [
        lambda pm: pm.read_voltage(1, 2),
        lambda pm: pm.read_voltage(smaples=2),
        lambda pm: pm.read_voltage(1, samples=2),
        lambda pm: pm.read_voltage(self=2),
        lambda pm: pm.convert(),
        lambda pm: pm.convert(1, 2),
        lambda pm: pm.convert(value=1),
        lambda pm: pm.create(),
        lambda pm: pm.create(1, 2),
        lambda pm: pm.every_keyword(1),
    ],
)
@pytest.mark.parametrize("prefix", ["", "pump_"])
def test_wrong_arguments_are_refused_in_pythons_words_before_anything_is_sent(
    call: Callable[[Any], object], prefix: str
) -> None:
    class Prefixed:
        def __init__(self, of: object) -> None:
            self._of = of

        def __getattr__(self, name: str) -> object:
            return getattr(self._of, prefix + name)

    pm = client((Powermeter, prefix))
    with pytest.raises(TypeError) as home:
        call(Powermeter())
    with pytest.raises(TypeError) as caught:
        call(Prefixed(pm))
    assert str(caught.value) == str(home.value)
    assert pm._calls == []


def test_what_cannot_be_set_is_said_as_at_home() -> None:
    pm = client(Powermeter)
    with pytest.raises(AttributeError, match="property 'identity' of 'Base' object has no setter"):
        pm.identity = 3
    with pytest.raises(AttributeError, match="property 'target' of 'Base' object has no getter"):
        _ = pm.target
    with pytest.raises(AttributeError, match="property 'range' of 'Base' object has no deleter"):
        del pm.range
    assert pm._calls == []


@pytest.mark.parametrize("name", ["rnage", "read_voltage", "UNITS", "call"])
def test_a_name_that_is_no_property_cannot_be_set(name: str) -> None:
    pm = client(Powermeter)
    with pytest.raises(AttributeError, match=rf"has a property '{name}' to set.*call set_{name}\(3\)"):
        setattr(pm, name, 3)
    pm._of_its_own = 3
    assert pm._of_its_own == 3
    with pytest.raises(AttributeError, match=r"call set_range\(3\)"):
        client().range = 3


def test_an_attribute_error_of_the_device_arrives_and_does_not_call_again() -> None:
    pm = client(Powermeter)
    pm._error = AttributeError("of the device")
    with pytest.raises(AttributeError, match="of the device") as caught:
        _ = pm.identity
    assert caught.value is pm._error
    assert [name for name, _args, _kwargs in pm._calls] == ["get_identity"]
    assert callable(pm.get_identity)  # which is found as ever after that


def test_a_base_that_looks_no_further_stays_so() -> None:
    class Plain:
        def call(self, command: str, /, *args: object, **kwargs: object) -> object:
            return command

    pm = mirror(Plain, [Powermeter])()
    with pytest.raises(AttributeError, match="'Plain' object has no attribute 'nothing'"):
        _ = pm.nothing


async def test_asynchronous_methods_and_getters_are_awaited_and_assignments_refused() -> None:
    pm = client(Powermeter, base=AsyncBase, is_async=True)
    assert await pm.read_voltage(samples=3) == "result of read_voltage"
    assert await pm.identity == "result of get_identity"
    with pytest.raises(AttributeError, match=r"await client\.set_range\(3\)"):
        pm.range = 3
    with pytest.raises(AttributeError, match="has no setter"):
        pm.identity = 3
    await pm.set_range(3)
    with pytest.raises(TypeError, match=r"Powermeter\.read_voltage\(\) got an unexpected keyword"):
        pm.read_voltage(smaples=3)
    assert [name for name, _args, _kwargs in pm._calls] == ["read_voltage", "get_identity", "set_range"]


def test_constants_and_classes_within_are_shown_as_they_are() -> None:
    pm = client(Powermeter)
    assert (pm.UNITS, pm.ranges, pm.Mode) == ("V", (1, 2, 3), Powermeter.Mode)


def test_data_of_instances_is_no_call() -> None:
    @dataclasses.dataclass
    class Point:
        x: int = 3
        is_on: bool = False

        def move(self) -> None: ...

    class Stage:
        __slots__ = ("height",)
        speed: float
        home: "nowhere"  # type: ignore[name-defined]  # noqa: F821

        @property
        def level(self) -> int:
            return 3

    pm = client(Point, (Stage, "z_"))
    for name in ("x", "is_on", "z_height", "z_speed", "z_home"):
        with pytest.raises(AttributeError, match=f"{name} is data of an instance"):
            getattr(pm, name)
    pm.move()
    assert pm.z_level == "result of get_z_level"
    pm.speed()  # what another class serves
    assert [name for name, _, _ in pm._calls] == ["move", "get_z_level", "speed"]


def test_a_constant_hides_nothing_and_does_not_learn_of_it() -> None:
    class Constant:
        told: list[type] = []  # noqa: RUF012

        def __set_name__(self, owner: type, name: str) -> None:
            self.told.append(owner)

    class Other:
        fire = 1
        help = "words"
        constant = Constant()

    pm = client(Other, Laser)
    pm.fire()
    assert pm._calls == [("fire", (), {})]
    assert pm.help() is None
    assert isinstance(pm.constant, Constant)
    assert Constant.told == [Other]


def test_a_client_has_no_public_name_that_is_not_reserved() -> None:
    assert {name for name in dir(BaseClient) if not name.startswith("_")} == RESERVED


def test_a_type_checker_knows_all_options() -> None:
    parameters = inspect.signature(ClientFace.__init__).parameters.values()
    options = {one.name: one.annotation for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert Options.__annotations__ == options


class Scpi:
    """A descriptor that asks the device, and says so where it is looked at."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise AssertionError("the device was asked")

    def __set__(self, instance: object, value: object) -> None: ...


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        raise AssertionError(f"the metaclass was asked for {name}")


class Odd(metaclass=Meta):
    """All that a class may have."""

    __slots__ = ("level",)
    current = Scpi()
    doubled = functools.partialmethod(lambda self, factor, value: factor * value, 2)
    sleep = abs
    static = functools.partial(max, 3)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    @functools.cached_property
    def calibration(self) -> float:
        raise AssertionError("it was run")

    @functools.lru_cache  # noqa: B019
    def cached(self, value: int) -> int:
        return value

    async def wait(self, seconds: float) -> None: ...

    def get_power(self) -> int:
        return 1

    power = property(get_power)


def test_odd_members_of_a_class_are_calls_too() -> None:
    odd = client(Odd)
    _ = (odd.current, odd.calibration, odd.power)
    odd.current = 3
    for call in (odd.doubled, odd.sleep, odd.static, odd.cached, odd.wait):
        call(4)
    odd.get_power()
    assert [name for name, _args, _kwargs in odd._calls] == [
        *("get_current", "get_calibration", "get_power", "set_current"),
        *("doubled", "sleep", "static", "cached", "wait", "get_power"),
    ]
    del odd._calls[:]
    for call in (odd.doubled, odd.sleep, odd.cached, odd.wait):
        with pytest.raises(TypeError):
            call(4, 5, 6)
    for name in ("power", "calibration", "level"):
        with pytest.raises(AttributeError):
            setattr(odd, name, 3)
    assert odd._calls == []


def test_the_servers_signature_decides_where_the_class_is_known_to_differ() -> None:
    pm = client(Powermeter)
    pm._skewed = frozenset(("read_voltage", "convert"))
    pm.read_voltage(average=3)
    pm.convert(1, 2)
    with pytest.raises(TypeError):
        pm.create()
    assert pm._calls == [("read_voltage", (), {"average": 3}), ("convert", (1, 2), {})]


class Closing:
    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([Powermeter, Powermeter], "Powermeter.read_voltage and Powermeter.read_voltage would both be"),
        ([Closing], r"Closing.close cannot be 'close': a client's own close\(\)"),
    ],
)
def test_names_that_clash_are_refused(items: list[type], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mirror(Base, items)


@pytest.mark.parametrize("item", ["192.168.1.10", Powermeter(), (Powermeter, 3), (Powermeter,)])
def test_what_is_no_class_is_refused(item: Any) -> None:
    with pytest.raises(TypeError, match="is no class, nor a class with a prefix"):
        mirror(Base, [item])


def test_it_is_described_as_the_class_is() -> None:
    pm, home = client(Powermeter), Powermeter()
    for name in ("read_voltage", "create", "every_keyword"):
        assert inspect.signature(getattr(pm, name)) == inspect.signature(getattr(home, name))
        assert inspect.getdoc(getattr(pm, name)) == inspect.getdoc(getattr(home, name))
    assert inspect.signature(pm.convert) == inspect.signature(home.convert)
    assert str(inspect.signature(type(pm).read_voltage)) == str(inspect.signature(Powermeter.read_voltage))
    assert inspect.getdoc(pm) == "A power meter of the laboratory."
    assert inspect.getdoc(type(pm).identity) == "Name the device."
    assert (pm.read_voltage.__name__, pm.read_voltage.__qualname__) == (
        "read_voltage",
        "Powermeter.read_voltage",
    )
    assert inspect.getsource(pm.read_voltage) == inspect.getsource(home.read_voltage)
    public = {name for name in dir(pm) if not name.startswith("_")}
    assert public == {name for name in dir(home) if not name.startswith("_")} | {"call", "help", "close"}


# --- what looks at a client without wanting anything of the instrument


def completions(pm: Any, text: str) -> set[str]:
    completer = IPCompleter(namespace={"pm": pm})  # type: ignore[no-untyped-call]
    with provisionalcompleter():
        return {one.text for one in completer.completions(text, len(text))}


def deep_copy(pm: Any) -> None:
    with contextlib.suppress(TypeError):  # a connection cannot be copied
        copy.deepcopy(pm)


PROBES: dict[str, Callable[[Any], object]] = {
    "dir": dir,
    "repr": repr,
    "str": str,
    "hash": hash,
    "copy": copy.copy,
    "deep copy": deep_copy,
    "pprint": pformat,
    "rich": pretty_repr,
    "array": np.asarray,
    "help": lambda pm: pydoc.render_doc(pm),
    "signature": lambda pm: inspect.signature(pm.read_voltage),
    "doc": lambda pm: (inspect.getdoc(pm), pm.read_voltage.__doc__),
    "static": lambda pm: [inspect.getattr_static(pm, name) for name in dir(pm)],
    "wrapped": lambda pm: inspect.unwrap(pm, stop=lambda _: False),
    "callable": callable,
    "predicates": lambda pm: [
        test(pm) for test in (inspect.isawaitable, inspect.iscoroutine, inspect.ismethod, inspect.isclass)
    ],
    "display": lambda pm: DisplayFormatter().format(pm),  # type: ignore[no-untyped-call]
    "older IPython": lambda pm: [getattr(pm, name, list)() for name in ("getdoc", "trait_names")],
    "canaries": lambda pm: [
        hasattr(pm, name)
        for name in ("_repr_html_", "_ipython_display_", "_ipython_canary_method_should_not_exist_")
    ],
    "question mark": lambda pm: Inspector(theme_name="nocolor").info(pm, "pm", detail_level=1),
    "question mark of a method": lambda pm: Inspector(theme_name="nocolor").info(
        pm.read_voltage, "pm.read_voltage", detail_level=1
    ),
    "completion": lambda pm: completions(pm, "pm."),
    "completion of a property": lambda pm: completions(pm, "pm.identity."),
    "completion of a call": lambda pm: completions(pm, "pm.read_voltage("),
    "completion of a result": lambda pm: completions(pm, "pm.read_voltage()."),
}


@pytest.mark.long
@pytest.mark.parametrize("base", at_length([Base, Real], [Real]))
@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize(
    "items",
    at_length(
        [(), (Powermeter,), ((Powermeter, "pump_"), Powermeter)],
        [((Powermeter, "pump_"), Powermeter)],
    ),
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_only_looks_makes_no_call(probe: str, items: tuple[Any, ...], base: type) -> None:
    pm = client(*items, base=base)
    PROBES[probe](pm)
    assert pm._calls == []


def test_completion_knows_the_type_of_a_property_without_reading_it() -> None:
    pm = client(Powermeter)
    assert "startswith" in completions(pm, "pm.identity.")
    assert pm._calls == []


def test_completion_knows_methods_properties_and_the_arguments_of_a_method() -> None:
    pm = client(Powermeter)
    assert {"read_voltage", "identity", "range"} <= completions(pm, "pm.")
    assert "samples=" in completions(pm, "pm.read_voltage(")
    assert pm._calls == []

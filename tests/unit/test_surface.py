"""What a server serves: names, kinds, signatures, documentation; and what it refuses."""

import ast
import functools
import inspect
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from snyper.services.remote_exceptions import NotServed
from snyper.services.surface import FUNCTION, GETTER, METHOD, SETTER, Surface


class Device:
    """Its own methods are served where `public` is, and each thing that runs is counted."""

    UNITS = "V"

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.gain = 3

    def __getattr__(self, name: str) -> Any:
        self.ran.append(name)
        raise AttributeError(name)

    @property
    def identity(self) -> str:
        """Name the device."""
        self.ran.append("identity")
        return "QO100"

    @property
    def range(self) -> int:
        self.ran.append("range")
        return 3

    @range.setter
    def range(self, value: int) -> None:
        self.ran.append(f"range={value}")

    @functools.cached_property
    def calibration(self) -> float:
        self.ran.append("calibration")
        return 1.5

    @property
    def broken(self) -> int:
        raise OSError("no device")

    def read_voltage(self, samples: int = 20, *, unit: str = "V") -> float:
        """Measure the voltage.

        The mean of so many samples.
        """
        self.ran.append("read_voltage")
        return samples / 10

    @staticmethod
    def convert(value: float) -> float:
        return value * 2

    @classmethod
    def create(cls, port: str) -> str:
        return f"{cls.__name__} at {port}"

    def _private(self) -> None: ...

    def __secret(self) -> None: ...


class Powermeter(Device):
    def read_voltage(self, samples: int = 20, *, unit: str = "V") -> float:
        return super().read_voltage(samples) + 1

    async def wait(self) -> int:
        return 5

    def stream(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def watch(self) -> AsyncIterator[int]:
        yield 1


def hello(name: str = "world") -> str:
    """Greet."""
    return f"Hello {name}!"


def served(*items: object) -> Surface:
    surface = Surface()
    for item in items:
        surface.add(*item) if isinstance(item, tuple) else surface.add(item)
    return surface


def test_a_function_has_its_own_name_or_one_that_is_given() -> None:
    surface = served(hello, (lambda: 3, "three"), (functools.partial(hello, "you"), "greet_you"))
    assert surface.calls() == ["hello", "three", "greet_you"]
    assert surface.properties() == []
    found = surface.find("hello")
    assert (found.kind, found.owner, found.doc) == (FUNCTION, None, "Greet.")
    assert found.invoke(name="pluto") == "Hello pluto!"
    assert surface.find("three").invoke() == 3
    assert surface.find("greet_you").invoke() == "Hello you!"
    assert surface.find("greet_you").doc == "Greet."


def test_an_instance_has_its_methods_and_properties() -> None:
    device = Powermeter()
    surface = served(device)
    assert surface.calls() == ["read_voltage", "convert", "create", "wait", "stream", "watch"]
    assert surface.properties() == ["identity", "range", "calibration", "broken"]
    kinds = {
        name: surface.find(name).kind for name in ("get_identity", "get_range", "set_range", "read_voltage")
    }
    assert kinds == {"get_identity": GETTER, "get_range": GETTER, "set_range": SETTER, "read_voltage": METHOD}
    assert {surface.find(name).owner for name in kinds} == {device}
    for name in ("set_identity", "set_calibration", "gain", "get_gain", "_private", "__init__", "units"):
        with pytest.raises(NotServed):
            surface.find(name)
    assert device.ran == []


def test_what_is_called_runs_in_the_instance() -> None:
    device = Powermeter()
    surface = served(device)
    assert surface.find("read_voltage").invoke(samples=30) == 4
    assert surface.find("get_identity").invoke() == "QO100"
    assert surface.find("set_range").invoke(7) is None
    assert surface.find("set_range").invoke(value=8) is None
    assert surface.find("convert").invoke(2) == 4
    assert surface.find("create").invoke("COM3") == "Powermeter at COM3"
    assert surface.find("get_calibration").invoke() == surface.find("get_calibration").invoke() == 1.5
    assert device.ran == ["read_voltage", "identity", "range=7", "range=8", "calibration"]
    with pytest.raises(OSError, match="no device"):
        surface.find("get_broken").invoke()


def test_a_prefix_stands_before_the_name_of_a_property_too() -> None:
    surface = served((Device(), "pump_"), (Device(), "signal_"))
    assert surface.calls()[0] == "pump_read_voltage"
    assert surface.properties()[:2] == ["pump_identity", "pump_range"]
    assert surface.find("set_signal_range").owner is not surface.find("set_pump_range").owner


def test_names_are_found_in_any_case_and_as_python_reads_them() -> None:
    surface = served((hello, "Read_µm"))
    assert surface.find("READ_\u00b5M") is surface.find("read_\u03bcm")


@pytest.mark.parametrize(
    ("items", "names"),
    [
        ([hello, (hello, "HELLO")], ["function hello", "hello"]),
        ([Device(), Device()], ["Device.read_voltage", "Device.read_voltage"]),
        ([Device(), (hello, "Get_Range")], ["the function hello", "the property Device.range"]),
        ([Device(), (hello, "range")], ["the function hello", "the property Device.range"]),
        ([(Device(), "a_"), (hello, "A_Convert")], ["the function hello", "Device.convert"]),
    ],
)
def test_two_names_that_are_one_are_refused_with_both(items: list[Any], names: list[str]) -> None:
    surface = served(*items[:-1])
    before = surface.describe()
    item = items[-1]
    with pytest.raises(ValueError, match="would both be") as caught:
        surface.add(*item) if isinstance(item, tuple) else surface.add(item)
    assert all(name in str(caught.value) for name in [*names, "prefix", "pump_"])
    assert surface.describe() == before


class Closing:
    def read(self) -> int:
        return 1

    def close(self) -> None: ...


@pytest.mark.parametrize("item", [Closing(), (hello, "Call"), (hello, "HELP"), (hello, "close")])
def test_a_reserved_name_is_refused_with_what_to_do(item: Any) -> None:
    surface = Surface()
    with pytest.raises(ValueError, match=r"a client's own (call|help|close)\(\).*prefix"):
        surface.add(*item) if isinstance(item, tuple) else surface.add(item)
    assert surface.describe() == []


def test_with_a_prefix_no_name_is_reserved() -> None:
    assert served((Closing(), "pump_")).calls() == ["pump_read", "pump_close"]


@pytest.mark.parametrize("name", ["_hello", "two words", "class", "𝐢𝐟", "3d", "a.b"])
def test_a_name_that_nobody_can_write_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Surface().add(hello, name)


@pytest.mark.parametrize("item", [lambda: 3, functools.partial(hello)])
def test_what_has_no_name_needs_one(item: object) -> None:
    with pytest.raises(ValueError, match=r'no name of its own: give it one, \(f, "name"\)'):
        Surface().add(item)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Device, r"Device is a class: give an instance of it, such as Device\(\)"),
        (math, "a module cannot be served: give functions of it, math.FUNCTION"),
        (3, "an int cannot be served"),
        ("localhost", "a str cannot be served"),
        ((hello, "hello"), "a tuple cannot be served"),
        (None, "a NoneType cannot be served"),
        (object(), "an object cannot be served"),
    ],
)
def test_what_is_neither_function_nor_instance_is_refused(item: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Surface().add(item)


def test_a_name_is_text() -> None:
    with pytest.raises(TypeError, match="a name is text, not 3"):
        Surface().add(hello, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "local"),
    [
        ("hello", (1, 2), {}, lambda: hello(1, 2)),  # type: ignore[call-arg, arg-type]
        ("hello", (), {"nam": 1}, lambda: hello(nam=1)),  # type: ignore[call-arg]
        ("read_voltage", (1, 2), {}, lambda: Device().read_voltage(1, 2)),  # type: ignore[call-arg, arg-type]
        ("read_voltage", (), {"smaples": 2}, lambda: Device().read_voltage(smaples=2)),  # type: ignore[call-arg]
        ("convert", (), {}, lambda: Device().convert()),  # type: ignore[call-arg]
        ("create", (), {"port": 1, "x": 2}, lambda: Device.create(port=1, x=2)),  # type: ignore[call-arg, arg-type]
    ],
)
def test_wrong_arguments_are_refused_in_pythons_words(
    name: str, args: tuple[int, ...], kwargs: dict[str, int], local: Callable[[], object]
) -> None:
    device = Device()
    with pytest.raises(TypeError) as home:
        local()
    with pytest.raises(TypeError) as caught:
        served(hello, device).find(name).invoke(*args, **kwargs)
    assert str(caught.value) == str(home.value)
    assert device.ran == []


def test_a_getter_and_a_setter_say_which_they_are() -> None:
    surface = served(Device())
    with pytest.raises(
        TypeError, match=r"Device\.get_range\(\) takes 0 positional arguments but 1 was given"
    ):
        surface.find("get_range").invoke(1)
    with pytest.raises(
        TypeError, match=r"Device\.set_range\(\) missing 1 required positional argument: 'value'"
    ):
        surface.find("set_range").invoke()


def test_signatures_are_those_of_the_class_without_the_instance() -> None:
    device = Powermeter()
    surface = served(device, hello)
    for name in ("read_voltage", "convert", "create", "wait", "stream"):
        assert surface.find(name).signature == inspect.signature(getattr(device, name)), name
    assert surface.find("hello").signature == inspect.signature(hello)
    assert str(surface.find("get_range").signature) == "() -> int"
    assert str(surface.find("set_range").signature) == "(value: int) -> None"


def test_what_is_asynchronous_or_generates_is_marked() -> None:
    surface = served(Powermeter())
    marks = {
        name: (surface.find(name).is_async, surface.find(name).is_generator)
        for name in ("wait", "stream", "watch", "convert", "get_range")
    }
    assert marks == {
        "wait": (True, False),
        "stream": (False, True),
        "watch": (True, True),
        "convert": (False, False),
        "get_range": (False, False),
    }


def test_help_is_what_the_document_says() -> None:
    def hello2() -> str:
        """Hide from the user."""
        return "Nothing to see!"

    surface = served((hello, "hello"), (hello2, "hello_world"))
    assert surface.help_text() == "Available calls: ['hello', 'hello_world']\nAvailable properties: []"
    assert surface.help_text("hello_world") == "Hide from the user."
    assert surface.help_text("x") == "Command 'x' is not registered."
    with_device = served(Powermeter())
    assert with_device.help_text("read_voltage") == "Measure the voltage.\n\nThe mean of so many samples."
    assert with_device.help_text("IDENTITY") == with_device.help_text("get_identity") == "Name the device."
    assert with_device.help_text("convert") == "Command 'convert' has no docstring."


def test_what_is_not_served_says_what_is() -> None:
    surface = served(Device())
    for name, words in (
        ("read_volts", "Command 'read_volts' is not registered. Did you mean 'read_voltage'?"),
        ("range", "Command 'range' is not registered. It is a property: get_range() and set_range()."),
        ("zzz", "Command 'zzz' is not registered."),
    ):
        with pytest.raises(NotServed) as caught:
            surface.find(name)
        assert str(caught.value) == words


def test_what_is_removed_is_no_longer_served() -> None:
    pump, signal = Device(), Device()
    surface = served(hello, (pump, "pump_"), (signal, "signal_"), (pump.read_voltage, "read"))
    surface.remove("HELLO")
    surface.remove(pump)
    surface.remove(pump.read_voltage)
    assert surface.calls() == ["signal_read_voltage", "signal_convert", "signal_create"]
    surface.remove("signal_convert")
    surface.remove("signal_range")
    assert surface.calls() == ["signal_read_voltage", "signal_create"]
    assert surface.properties() == ["signal_identity", "signal_calibration", "signal_broken"]
    surface.remove("signal_")
    assert surface.describe() == []
    for gone in ("hello", pump, hello, "signal_", ""):
        with pytest.raises(ValueError, match="is not registered"):
            surface.remove(gone)
    surface.add(hello)
    assert surface.calls() == ["hello"]


def test_a_bound_method_belongs_to_its_instance() -> None:
    device = Device()
    found = served(device.read_voltage).find("read_voltage")
    assert (found.kind, found.owner, found.invoke(10)) == (METHOD, device, 1)
    assert served(Device.create).find("create").owner is None
    assert served(math.sin).find("sin").owner is None


def test_description_is_json_with_signatures_that_parse() -> None:
    described = served(hello, (Powermeter(), "pm_")).describe()
    assert json.loads(json.dumps(described)) == described
    by_name = {one["name"]: one for one in described}
    assert by_name["hello"] == {
        "name": "hello",
        "kind": "function",
        "signature": "(name: str = 'world') -> str",
        "doc": "Greet.",
        "class": "",
        "prefix": "",
        "property": "",
        "async": False,
        "generator": False,
    }
    assert by_name["set_pm_range"] | {"doc": ""} == {
        "name": "set_pm_range",
        "kind": "setter",
        "signature": "(value: int) -> None",
        "doc": "",
        "class": "Powermeter",
        "prefix": "pm_",
        "property": "pm_range",
        "async": False,
        "generator": False,
    }
    for one in described:
        ast.parse(f"def f{one['signature']}: ...")


# --- classes as laboratories have them


class Scpi:
    """A descriptor that asks the device."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __get__(self, instance: Any, owner: type) -> Any:
        return instance.ask(self.word)

    def __set__(self, instance: Any, value: object) -> None:
        instance.ask(f"{self.word} {value}")


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def with_channel(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, value: int) -> Any:
        return function(self, 1, value)

    return wrapper


class Odd:
    """All that a class may have."""

    __slots__ = ("asked", "level")

    current = Scpi("CURR")
    doubled = functools.partialmethod(lambda self, factor, value: factor * value, 2)
    sleep = math.sin

    class Mode:
        FAST = 1

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.level = 0

    def ask(self, word: str) -> str:
        self.asked.append(word)
        return word

    def get_power(self, average: int = 1) -> int:
        """Read the power."""
        return average

    def set_power(self, watts: float) -> None:
        self.asked.append(f"power {watts}")

    power = property(get_power, set_power)
    write_only = property(None, set_power)

    @logged
    def logged(self, value: int) -> int:
        return value

    @with_channel
    def channel(self, channel: int, value: int) -> tuple[int, int]:
        return channel, value

    @functools.lru_cache  # noqa: B019
    def cached(self, value: int) -> int:
        return value

    @functools.singledispatchmethod
    def dispatched(self, value: object) -> str:
        return "object"

    @dispatched.register
    def _(self, value: int) -> str:
        return "int"


def test_odd_members_of_a_class() -> None:
    odd = Odd()
    surface = served(odd)
    signatures = {one["name"]: one["signature"] for one in surface.describe()}
    assert signatures == {
        "doubled": "(value)",
        "sleep": "(x, /)",
        "ask": "(word: str) -> str",
        "get_power": "(average: int = 1) -> int",
        "set_power": "(watts: float) -> None",
        "logged": "(value: int) -> int",
        "channel": "(value: int) -> tuple[int, int]",
        "cached": "(value: int) -> int",
        "dispatched": "(value: object) -> str",
        "get_current": "()",
        "set_current": "(value) -> None",
        "set_write_only": "(value: float) -> None",
    }
    assert surface.properties() == ["power", "current", "write_only"]
    assert odd.asked == []
    calls = {"doubled": 3, "sleep": 0, "logged": 4, "channel": 5, "cached": 6, "dispatched": 7}
    results = {name: surface.find(name).invoke(value) for name, value in calls.items()}
    assert results == {
        "doubled": 6,
        "sleep": 0,
        "logged": 4,
        "channel": (1, 5),
        "cached": 6,
        "dispatched": "int",
    }
    assert surface.find("get_power").kind == GETTER
    assert surface.find("get_power").invoke(average=4) == 4
    surface.find("set_write_only").invoke(2)
    assert surface.find("get_current").invoke() == "CURR"
    assert odd.asked == ["power 2", "CURR"]


@dataclass
class Settings:
    gain: float = 1.0
    OFFSET: ClassVar[int] = 3

    def total(self) -> float:
        return self.gain + self.OFFSET


class Counted(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)

    def made_by_the_metaclass(cls) -> None: ...


class Measured(metaclass=Counted):
    def read(self) -> int:
        return 1


def test_data_and_metaclasses_are_not_served() -> None:
    assert [one["name"] for one in served(Settings()).describe()] == ["total"]
    assert [one["name"] for one in served(Measured()).describe()] == ["read"]


class Measurement:
    """Measure once."""

    asked = 0

    def __call__(self, count: int) -> int:
        return count

    def __getattr__(self, name: str) -> Any:
        type(self).asked += 1
        raise AttributeError(name)


def test_an_instance_that_is_only_called_is_a_function() -> None:
    surface = served((Measurement(), "measure"), (functools.partial(Measurement(), 3), "three"))
    found = surface.find("measure")
    assert (found.kind, found.doc, str(found.signature)) == (FUNCTION, "Measure once.", "(count: int) -> int")
    assert (found.invoke(2), surface.find("three").invoke()) == (2, 3)
    with pytest.raises(ValueError, match="a Measurement has no name of its own"):
        surface.add(Measurement())
    assert Measurement.asked == 0


def test_a_builtin_without_a_signature_is_served() -> None:
    surface = served(max, print, math.hypot)
    assert surface.find("max").signature is None
    assert surface.describe()[0]["signature"] is None
    assert surface.find("max").invoke(1, 2) == 2


def test_one_command_under_two_names_is_refused_where_it_is_two() -> None:
    class Two:
        def get_power(self) -> int:
            return 1

        @property
        def power(self) -> int:
            return 2

    with pytest.raises(
        ValueError, match=r"the property Two\.power and Two\.get_power would both be 'get_power'"
    ):
        Surface().add(Two())

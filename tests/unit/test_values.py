"""Values there and back, through real JSON; what only looks like one, and what is none."""

import collections
import enum
import json
import math
import re
import subprocess
import sys
import time as time_module
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays_of

from snyper.services import values
from snyper.services.values import MAX_DEPTH, MAX_ZONES, Buffer, decode, encode
from snyper.shared.socket_protocol import MAX_INTEGER

# --- what there is to send

NUMBERS = st.integers() | st.integers(-(1 << 20_000), 1 << 20_000) | st.floats() | st.complex_numbers()
TEXTS = (
    st.text(max_size=12)
    | st.text(st.characters(), max_size=6)
    | st.sampled_from(["$", "\ud800", "\ud83c\udfaf"])
)
# CPython 3.11 takes those below a second for none.
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: timedelta(seconds=seconds))
ZONES = (
    st.none()
    | OFFSETS.map(timezone)
    | st.timezones(no_cache=False)
    | st.sampled_from([UTC, zoneinfo.ZoneInfo("UTC")])
)
TIMES = (
    st.datetimes(timezones=ZONES)
    | st.builds(datetime.replace, st.datetimes(timezones=ZONES), fold=st.integers(0, 1))
    | st.dates()
    | st.times(timezones=ZONES)
    | st.timedeltas()
)
SCALARS = arrays_of.scalar_dtypes().flatmap(arrays_of.from_dtype)
KEYS = (
    st.none()
    | st.booleans()
    | NUMBERS
    | TEXTS
    | st.binary(max_size=8)
    | TIMES
    | st.decimals(allow_nan=False)
    | st.uuids()
    | SCALARS
)
DTYPES = (
    arrays_of.scalar_dtypes()
    | arrays_of.array_dtypes(max_size=3)
    | arrays_of.nested_dtypes(max_itemsize=64)
    | st.sampled_from(["<f16", ">f16", "<c32", ">U3", "S0", "V5", "m8", "M8[25s]"]).map(numpy.dtype)
    | st.just(numpy.dtype("i1,f8,U2", align=True))
)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays of all types and shapes, of which some have gaps, go backwards, or are in Fortran's order."""
    dtype = untitled(draw(DTYPES))
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    size = dtype.itemsize * math.prod(shape)
    if not dtype.itemsize:
        shape = (0, *shape)
    raw = bytearray(size) if has_texts(dtype) else bytearray(draw(st.binary(min_size=size, max_size=size)))
    array = numpy.ndarray(shape, dtype, raw)
    changes: list[Callable[[Any], Any]] = [
        lambda array: array,
        numpy.asfortranarray,
        lambda array: array.T,
        lambda array: array[::-1] if array.ndim else array,
    ]
    return draw(st.sampled_from(changes))(array)


def untitled(dtype: Any) -> Any:
    """Leave out the second names that fields may have, which do not travel."""
    if dtype.subdtype is not None:
        return numpy.dtype((untitled(dtype.base), dtype.shape))
    if dtype.names is None:
        return dtype
    fields = [dtype.fields[name][:2] for name in dtype.names]
    spec = {
        "names": dtype.names,
        "formats": [untitled(field) for field, _ in fields],
        "offsets": [offset for _, offset in fields],
        "itemsize": dtype.itemsize,
    }
    return numpy.dtype(spec)  # type: ignore[call-overload]


def has_texts(dtype: Any) -> bool:
    if dtype.names is not None:
        return any(has_texts(dtype.fields[name][0]) for name in dtype.names)
    return dtype.kind == "U" or (dtype.subdtype is not None and has_texts(dtype.base))


LEAVES = KEYS | st.binary(max_size=8).map(bytearray) | st.decimals() | arrays()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    )


HASHABLE = st.recursive(
    KEYS, lambda inner: st.lists(inner, max_size=2).map(tuple) | st.frozensets(inner), max_leaves=3
)
VALUES = st.recursive(LEAVES, containers, max_leaves=8)


def travelled(value: object, make: Callable[[Buffer], Buffer] = bytearray) -> Any:
    """Send a value through JSON, as UTF-8 and without NaN, and its bytes through buffers of their own."""
    buffers: list[Buffer] = []
    line = json.dumps(encode(value, buffers), allow_nan=False, ensure_ascii=False).encode()
    return decode(json.loads(line), [make(buffer) for buffer in buffers])


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same to the last bit, their types and their order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(any(same(item, another) for another in other) for item in one)
    if isinstance(one, numpy.ndarray):
        is_alike = one.dtype == other.dtype and one.shape == other.shape
        return bool(is_alike) and one.tobytes("A") == other.tobytes("A")
    if isinstance(one, numpy.generic):
        return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or repr(one) == repr(other)
    if isinstance(one, complex):
        return same([one.real, one.imag], [other.real, other.imag])
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, datetime | time):
        fields = (str(one), one.fold, one.utcoffset(), getattr(one.tzinfo, "key", None))
        return fields == (str(other), other.fold, other.utcoffset(), getattr(other.tzinfo, "key", None))
    return bool(one == other)


@settings(max_examples=300)
@given(VALUES)
def test_every_value_arrives_as_it_was(value: Any) -> None:
    assert same(travelled(value), value)


@given(VALUES)
def test_what_is_encoded_stays_as_it_was(value: Any) -> None:
    first: list[Buffer] = []
    second: list[Buffer] = []
    assert repr(encode(value, first)) == repr(encode(value, second))
    assert list(map(bytes, first)) == list(map(bytes, second))


# --- one by one


class Range(enum.IntEnum):
    LOW = 3


class Colour(enum.StrEnum):
    RED = "red"


class Mode(enum.Enum):
    CW = 1


class Point(NamedTuple):
    x: int
    y: int


class Kelvin(float):
    pass


class Settings(dict[str, int]):
    pass


@dataclass
class Reading:
    volts: float


class Powermeter:
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Range.LOW, 3),
        (Colour.RED, "red"),
        (Point(1, 2), (1, 2)),
        (Kelvin(4.2), 4.2),
        (Kelvin("inf"), math.inf),
        (Settings(a=1), {"a": 1}),
        ({Range.LOW: Range.LOW, Colour.RED: [Range.LOW]}, {3: 3, "red": [3]}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (PurePosixPath("/dev/ttyACM0"), "/dev/ttyACM0"),
        (PureWindowsPath("C:\\data"), "C:\\data"),
        (Path("data") / "run1", str(Path("data") / "run1")),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(b"abcd").cast("H"), b"abcd"),
        (memoryview(b""), b""),
    ],
)
def test_a_subclass_travels_as_its_base_kind(value: object, expected: object) -> None:
    assert same(travelled(value), expected)


@pytest.mark.parametrize(
    "value",
    [
        {"$": 1},
        {"$": ["int", "ff"]},
        {"$": ["bytes", 0]},
        {"$": {"$": {"$": None}}},
        {"$": [], "a": 1},
        {"a": {"$": ["tuple"]}},
        {1: {"$": "x"}, "$": 2},
    ],
)
def test_a_dict_that_looks_like_a_tag_arrives_as_it_was(value: object) -> None:
    assert same(travelled(value), value)


@pytest.mark.parametrize(
    "value",
    [
        {"samples": 20},
        [1, 2.5, "\u4e2d", None, True, [{"a": []}]],
        {},
        [],
        {"a": {"b": [MAX_INTEGER, -MAX_INTEGER]}},
    ],
)
def test_what_is_plain_is_not_copied(value: object) -> None:
    buffers: list[Buffer] = []
    assert encode(value, buffers) is value
    assert buffers == []


def test_plain_json_is_not_copied_on_its_way_back() -> None:
    for value in ({"samples": 20}, [1.5] * 1000, [], {}):
        assert decode(value, ()) is value


def test_integers_up_to_what_every_reader_holds_are_plain() -> None:
    assert encode(MAX_INTEGER, []) == MAX_INTEGER
    assert encode(MAX_INTEGER + 1, []) == {"$": ["int", "20000000000000"]}
    assert encode(-MAX_INTEGER - 1, []) == {"$": ["int", "-20000000000000"]}


def test_several_nans_stay_several_keys() -> None:
    there = {float("nan"): 1, float("nan"): 2}
    assert sorted(travelled(there).values()) == [1, 2]
    assert len(travelled({float("nan"), float("nan")})) == 2


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2025, 10, 26, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime(2025, 3, 30, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),  # which no clock shows
        datetime.max.replace(tzinfo=zoneinfo.ZoneInfo("Asia/Singapore")),
        datetime.min.replace(tzinfo=zoneinfo.ZoneInfo("America/New_York")),
    ],
)
def test_a_time_in_a_zone_keeps_the_zone_and_the_side_of_the_change(moment: datetime) -> None:
    assert same(travelled(moment), moment)


class Berlin(tzinfo):
    """A zone of another package than Python's own."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else timedelta(hours=1 if moment.month < 4 else 2)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "CET"


def test_a_zone_of_another_package_leaves_its_offset() -> None:
    moment = datetime(2025, 7, 25, 15, tzinfo=Berlin())
    assert same(travelled(moment), datetime(2025, 7, 25, 15, tzinfo=timezone(timedelta(hours=2))))
    assert same(travelled(time(15, tzinfo=Berlin())), time(15))


def test_a_zone_that_is_not_known_here_leaves_its_offset() -> None:
    told = decode({"$": ["datetime", "2025-07-25T15:05:38.900000+08:00", "Moon/Tranquility", 0]}, ())
    assert same(told, datetime(2025, 7, 25, 15, 5, 38, 900_000, timezone(timedelta(hours=8))))


def test_where_a_zones_clocks_differ_the_instant_counts() -> None:
    told = decode({"$": ["datetime", "2025-07-25T15:00:00+09:00", "Asia/Singapore", 0]}, ())
    assert same(told, datetime(2025, 7, 25, 14, tzinfo=zoneinfo.ZoneInfo("Asia/Singapore")))


# --- what docs/protocol.md shows

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n### Values\n")[1].split("\n### ")[0]
ROWS = re.findall(r"^\| `(.*?)` \| `(.*?)` \|", SECTION, re.MULTILINE)
NAMES = {
    **{kind.__name__: kind for kind in (date, datetime, time, timedelta, Decimal)},
    "UTC": UTC,
    "UUID": uuid.UUID,
    "ZoneInfo": zoneinfo.ZoneInfo,
    "numpy": numpy,
}


@pytest.mark.parametrize(("code", "line"), ROWS)
def test_the_page_shows_what_goes_over_the_wire(code: str, line: str) -> None:
    value = eval(code, NAMES)
    buffers: list[Buffer] = []
    assert json.dumps(encode(value, buffers), ensure_ascii=False) == line
    assert same(decode(json.loads(line), [bytearray(buffer) for buffer in buffers]), value)


def test_the_page_shows_every_kind() -> None:
    shown = {kind for _, line in ROWS for kind in re.findall(r'{"\$": \["(\w+)"', line)}
    assert shown == set(values._DECODERS)


# --- what does not travel


class Pending:
    def __await__(self) -> Iterator[object]:
        return iter([self])


class Never(datetime):
    """A date that is none, as pandas has one."""

    __hash__ = datetime.__hash__

    def __ne__(self, other: object) -> bool:
        return True


class Table:
    def __iter__(self) -> Iterator[object]:
        return iter([self])


@pytest.mark.parametrize(
    ("value", "place", "advice"),
    [
        (Powermeter(), "value", "a Powermeter does not travel: send what is in it, as numbers"),
        ([1, {"x": Powermeter()}], 'value[1]["x"]', "a Powermeter"),
        ({1: (Powermeter(),)}, "value[1][0]", "a Powermeter"),
        ({Powermeter(): 1}, "a key of value", "a Powermeter"),
        ([{Mode.CW}], "an item of value[0]", "a Mode does not travel: send its `value` or its `name`"),
        (Reading(1.0), "value", "a Reading does not travel: send `dataclasses.asdict(…)` of it"),
        (Never(1, 1, 1), "value", "a Never does not travel"),
        (Table(), "value", "a Table does not travel: send what is in it"),
        (range(3), "value", "a range does not travel: send `list(…)` of it"),
        ((x for x in "a"), "value", "a generator does not travel: send `list(…)` of it"),
        (collections.deque(), "value", "a deque does not travel: send `list(…)` of it"),
        (collections.ChainMap(), "value", "a ChainMap does not travel: send `dict(…)` of it"),
        (Pending(), "value", "a Pending does not travel: send what it gives when it is awaited"),
        (len, "value", "a builtin_function_or_method does not travel: send what it returns"),
        (..., "value", "an ellipsis does not travel"),
        (numpy.array([object()]), "value", "an array of the type object does not travel: send a list"),
        (numpy.array(["a"], numpy.dtypes.StringDType()), "value", "does not travel: send a list"),
        (numpy.ma.masked_array([1], [True]), "value", "MaskedArray, an array that is more than its items"),
        (numpy.ndarray((3,), "V0", b""), "value", "items that have no bytes"),
    ],
)
def test_what_does_not_travel_is_refused_with_its_place(value: object, place: str, advice: str) -> None:
    buffers: list[Buffer] = [b"before"]
    with pytest.raises(TypeError) as caught:
        encode([b"sent", value], buffers, "args")
    assert str(caught.value).startswith(place.replace("value", "args[1]") + ": ")
    assert advice in str(caught.value)
    assert buffers == [b"before"]


def nested(levels: int, around: Callable[[Any], Any]) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = around(value)
    return value


AROUND: list[Callable[[Any], Any]] = [
    lambda inner: [inner],
    lambda inner: (inner,),
    lambda inner: {"a": inner},
    lambda inner: {1: inner},
    lambda inner: {inner: 1},
    lambda inner: frozenset([inner]),
]


@pytest.mark.parametrize("around", AROUND[:4] + AROUND[5:])
def test_values_nest_so_deep_and_no_deeper(around: Callable[[Any], Any]) -> None:
    deepest = nested(MAX_DEPTH, around)
    assert same(travelled(deepest), deepest)
    buffers: list[Buffer] = [b""]
    with pytest.raises(ValueError, match="args: it nests deeper than 64"):
        encode([b"sent", around(deepest)], buffers, "args")
    assert buffers == [b""]


DEEPER = [
    nested(MAX_DEPTH + 1, around)
    for around in (
        lambda inner: [inner],
        lambda inner: {"a": inner},
        lambda inner: {"$": ["tuple", inner]},
        lambda inner: {"$": ["dict", [inner, inner]]} if type(inner) is int else {"$": ["dict", [0, inner]]},
    )
]


@pytest.mark.parametrize("value", DEEPER)
def test_what_comes_nests_no_deeper_either(value: object) -> None:
    with pytest.raises(ValueError, match="deeper than 64"):
        decode(value, ())


def test_what_contains_itself_is_refused() -> None:
    looped: list[object] = []
    looped.append({"a": (looped,)})
    with pytest.raises(ValueError, match="nests deeper than 64, or contains itself"):
        encode(looped, [])


# --- arrays


@pytest.mark.parametrize("dtype", ["<f8", "M8[ns]", "U3", "i1,f8", "?"])
def test_an_array_is_not_copied_on_either_side(dtype: str) -> None:
    array = numpy.zeros((4, 3), dtype)
    for there in (array, array.T, array.reshape(-1), array[1:2]):
        buffers: list[Buffer] = []
        told = encode(there, buffers)
        assert numpy.shares_memory(numpy.frombuffer(buffers[0], "u1"), there)
        here: Any = decode(told, buffers)
        assert numpy.shares_memory(here, there)


def test_an_array_with_gaps_is_copied_once_and_is_whole() -> None:
    array = numpy.arange(12.0).reshape(3, 4)[:, ::2]
    buffers: list[Buffer] = []
    encode(array, buffers)
    assert memoryview(buffers[0]).nbytes == array.nbytes
    assert same(travelled(array), array)


def test_an_array_is_writable_where_its_buffer_is() -> None:
    assert travelled(numpy.zeros(3)).flags.writeable
    assert not travelled(numpy.zeros(3), bytes).flags.writeable


def test_a_bytearray_is_the_very_buffer() -> None:
    buffers: list[Buffer] = []
    told = encode(bytearray(b"abc"), buffers)
    assert decode(told, buffers) is buffers[0]


def test_bytes_that_came_as_such_are_not_copied() -> None:
    raw = bytes(1000)
    assert decode({"$": ["bytes", 0]}, [raw]) is raw


def test_the_arrays_of_files_and_records_travel_as_arrays(tmp_path: Path) -> None:
    mapped = numpy.memmap(tmp_path / "data", "<i4", "w+", shape=(3,))
    assert same(travelled(mapped), numpy.zeros(3, "<i4"))
    records = numpy.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    assert travelled(records)["b"][0] == 2.0


def test_a_scalar_needs_no_buffer() -> None:
    buffers: list[Buffer] = []
    assert encode([numpy.float64(1.0)] * 2, buffers) == [{"$": ["scalar", "<f8", "000000000000f03f"]}] * 2
    assert buffers == []


@pytest.mark.parametrize(
    "scalar",
    [
        numpy.str_(""),
        numpy.str_("a\0"),
        numpy.str_("\ud800\U0001f3af"),
        numpy.bytes_(b""),
        numpy.bytes_(b"a\0"),
        numpy.void(b"abc"),
        numpy.void(b""),
        numpy.bool_(True),
        numpy.datetime64("NaT"),
        numpy.datetime64("2025-07-25T15:05:38.9", ("ms", 25)),
        numpy.timedelta64(5, "ms"),
        numpy.array([(1, "ab")], "i4,U2")[0],
        numpy.clongdouble(1 / numpy.longdouble(3)),
    ],
)
def test_a_scalar_arrives_as_one(scalar: numpy.generic) -> None:
    assert same(travelled(scalar), scalar)
    assert same(travelled([{"a": scalar}]), [{"a": scalar}])


def test_long_doubles_are_those_of_machines_that_have_the_same() -> None:
    assert same(travelled(numpy.longdouble("0.1")), numpy.longdouble("0.1"))
    with pytest.raises(ValueError, match="no type of an array here is '<f16/1'"):
        decode({"$": ["scalar", "<f16/1", "00" * 16]}, ())


def test_nothing_loads_numpy_for_what_has_none() -> None:
    code = (
        "import sys; from snyper.services.values import decode, encode\n"
        "decode(encode({'a': (1, {2}), 'b': b'c'}, buffers := []), buffers)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_without_numpy_an_array_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    told = encode(numpy.zeros(1), [])
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "snyper.services.arrays")
    monkeypatch.delattr("snyper.services.arrays")
    values._arrays.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'snyper\[arrays\]'"):
        decode(told, [bytes(8)])
    with pytest.raises(TypeError, match="does not travel"):
        encode([object()], [])


# --- what nobody sent


KINDS = sorted(values._DECODERS)
PLAIN = st.none() | st.booleans() | st.integers() | st.integers(0, 3) | st.floats() | TEXTS
WORDS = st.sampled_from(
    [
        *(
            "nan",
            "-ff",
            "0" * 32,
            "1E+999999999999999999999",
            "sNaN",
            "2025-07-25",
            "2025-07-25T15:05:38+01:00",
        ),
        *(
            "15:05:38",
            "Europe/Berlin",
            "../../etc/passwd",
            "<f8",
            "|O",
            "O",
            "<U2",
            "|V0",
            "|b1",
            "<M8[ns]",
            "F",
        ),
        *("<f16/63", "00" * 8, "ff" * 8, "size", "fields", "", "0x1", "1_0", "\u0661"),
    ]
)


def hostile(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tagged = st.lists(inner, max_size=4).flatmap(
        lambda fields: st.sampled_from(KINDS).map(lambda kind: {"$": [kind, *fields]})
    )
    types = st.fixed_dictionaries({"size": inner | st.integers(0, 16), "fields": st.lists(inner, max_size=3)})
    return (
        tagged
        | types
        | st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS | WORDS, inner, max_size=3)
        | inner.map(lambda value: {"$": value})
    )


BUFFERS = st.lists(st.binary(max_size=16), max_size=3)


class Counted(int):
    """An integer that counts how often one is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    Counted.compared = 0
    monkeypatch.setitem(
        values._DECODERS,
        "int",
        lambda fields, buffers, depth: Counted(values._decode_int(fields, buffers, depth)),
    )


def alike(count: int, begin: int = 1) -> list[Any]:
    """Integers that all have one hash."""
    return [{"$": ["int", f"{(begin + at) * HASHES:x}"]} for at in range(count)]


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
@pytest.mark.usefixtures("counting")
def test_many_of_one_hash_are_refused_before_they_are_compared(kind: str) -> None:
    many = alike(20_000)
    with pytest.raises(ValueError, match="the same hash"):
        decode({"$": [kind, *([[key, 0] for key in many] if kind == "dict" else many)]}, ())
    assert Counted.compared == 0


@pytest.mark.usefixtures("counting")
def test_many_sets_with_a_few_of_one_hash_each_are_refused_together() -> None:
    with pytest.raises(ValueError, match="the same hash"):
        decode([{"$": ["set", *alike(100)]} for _ in range(200)], ())
    assert Counted.compared <= 2 * values.MAX_COMPARED


@pytest.mark.parametrize("within", ["frozenset", "tuple"])
@pytest.mark.usefixtures("counting")
def test_items_of_one_hash_count_for_what_is_in_them(within: str) -> None:
    items = [{"$": [within, *alike(40), *alike(1, 100 + at)]} for at in range(300)]
    with pytest.raises(ValueError, match="the same hash"):
        decode({"$": ["set", *items]}, ())
    assert Counted.compared <= 2 * values.MAX_COMPARED


def test_long_ones_of_one_hash_count_for_their_digits() -> None:
    long = [{"$": ["int", f"{(at << 800_000) * HASHES:x}"]} for at in range(1, 200)]
    with pytest.raises(ValueError, match="the same hash"):
        decode({"$": ["set", *long]}, ())


def test_a_long_integer_is_not_compared_with_a_decimal_that_is_equal() -> None:
    """It would take 2 s, and a hundred times that for ten times the digits."""
    alike = [{"$": ["decimal", "1e300000"]}, {"$": ["int", f"{10**300_000:x}"]}]
    with pytest.raises(ValueError, match="the same hash"):
        decode({"$": ["set", *alike]}, ())


def test_zones_that_nobody_knows_are_not_looked_for_without_end() -> None:
    times = [{"$": ["datetime", "2025-01-01T00:00:00", f"No/where{at}", 0]} for at in range(MAX_ZONES)]
    assert len(decode([*times, *times], ())) == 2 * MAX_ZONES  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="too many zones"):
        decode([*times, {"$": ["time", "00:00:00", "One/more", 0]}], ())


def test_items_without_bytes_are_not_as_many_as_they_say() -> None:
    nothing = {"size": 0, "fields": []}
    with pytest.raises(ValueError, match="nothings"):
        decode({"$": ["array", 0, {"size": 1, "fields": [["a", nothing, 0, [10**9]]]}, [1]]}, [bytearray(1)])
    with pytest.raises(TypeError, match="no bytes"):
        encode(numpy.zeros(1, [("a", numpy.dtype([]), (10**9,)), ("b", "u1")]), [])


@pytest.mark.usefixtures("counting")
def test_a_few_of_one_hash_are_a_set() -> None:
    assert len(decode({"$": ["set", *alike(100)]}, ())) == 100  # type: ignore[arg-type]
    assert 100 * 99 // 2 <= Counted.compared <= 2 * values.MAX_COMPARED
    grid = {(x, y, z) for x in range(-20, 20) for y in range(-20, 20) for z in range(-20, 20)}
    assert decode(encode(grid, []), ()) == grid


@pytest.mark.parametrize(
    "text", ["9" * 50_000, f".{'9' * 50_000}", f"{'9' * 25_000}.{'9' * 25_000}", "1e999"]
)
def test_a_long_text_that_is_no_decimal_is_read_once(text: str) -> None:
    began_s = time_module.process_time()
    with pytest.raises(ValueError, match="written otherwise"):
        decode({"$": ["decimal", f"{text}x"]}, ())
    assert time_module.process_time() - began_s < 2  # where it was tried in all ways, a minute


@settings(max_examples=1000)
@given(st.recursive(PLAIN | WORDS, hostile, max_leaves=12), BUFFERS)
def test_whatever_comes_is_a_value_or_a_valueerror(value: object, buffers: list[Buffer]) -> None:
    try:
        found = decode(value, buffers)
    except ValueError:
        return
    repr(found)  # numpy looks at the items only now


@settings(max_examples=300)
@given(VALUES, st.data())
def test_a_value_that_was_changed_is_a_value_or_a_valueerror(value: object, data: st.DataObject) -> None:
    buffers: list[Buffer] = []
    told = json.loads(json.dumps(encode([value], buffers)))
    places = list(places_in(told))
    container, key = data.draw(st.sampled_from(places))
    container[key] = data.draw(PLAIN | WORDS | st.just([]) | st.just({}))
    try:
        repr(decode(told, buffers))
    except ValueError:
        return


def places_in(value: Any) -> Any:
    if isinstance(value, list | dict):
        for key, item in list(enumerate(value) if isinstance(value, list) else value.items()):
            yield value, key
            yield from places_in(item)


HASHES = sys.hash_info.modulus  # an integer's hash is what is left of it


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"$": ["int", "1", 1]}, "one text"),
        ({"$": ["int", "1_0"]}, "hexadecimal"),
        ({"$": ["float", "1.0"]}, "nan, inf or -inf"),
        ({"$": ["str", [0x110000]]}, "chr"),
        ({"$": ["str", [True]]}, "code points"),
        ({"$": ["bytes", 3]}, "no such buffer"),
        ({"$": ["bytes", -1]}, "no such buffer"),
        ({"$": ["bytes", True]}, "no such buffer"),
        ([{"$": ["bytes", 0]}, {"$": ["bytes", 0]}], "taken twice"),
        ({"$": ["dict", [1, 2], [True, 3]]}, "a key stands twice"),
        ({"$": ["dict", [[], 2]]}, "unhashable"),
        ({"$": ["set", 1, 1.0]}, "an item stands twice"),
        ({"$": ["set", {"a": 1}]}, "unhashable"),
        ({"$": ["timedelta", 1 << 80, 0, 0]}, "no timedelta"),
        ({"$": ["datetime", "yesterday"]}, "isoformat"),
        ({"$": ["datetime", "2025-07-25", "/etc/passwd", 0]}, "no zone is called so"),
        ({"$": ["datetime", "2025-07-25", "a/../../b", 0]}, "no zone is called so"),
        ({"$": ["decimal", "1E+9999999999999999999999"]}, "no decimal"),
        ({"$": ["decimal", "\u0661"]}, "written otherwise"),
        ({"$": ["uuid", "-" + "0" * 31]}, "a uuid has 32"),
        ({"$": ["pickle", "x"]}, "no kind of value is 'pickle'"),
        ({"$": "int"}, "an array that begins with a kind"),
        ({"$": ["int", "1"], "a": 1}, "has it alone"),
        ({"$": ["array", 0, "|O", [2]]}, "no type of an array"),
        ({"$": ["array", 0, "O", [2]]}, "no type of an array"),
        ({"$": ["array", 0, "f8", [2]]}, "no type of an array"),
        ({"$": ["array", 0, "<f8,<f8", [1]]}, "no type of an array"),
        # By units of nothing numpy divides, which ends the process, when it compares them.
        ({"$": ["scalar", "<m8[0ns]", "0000000000000000"]}, "no type of an array"),
        ({"$": ["array", 0, "<M8[00D]", [2]]}, "no type of an array"),
        ({"$": ["array", 0, "<f8", [3]]}, "do not fit"),
        ({"$": ["array", 0, "<f8", [-1, -2]]}, "0 or more"),
        ({"$": ["array", 0, "<f8", [2.0]]}, "0 or more"),
        ({"$": ["array", 0, "<f8", [1] * 65]}, "at most 64"),
        ({"$": ["array", 1, "<f8", [0, 1 << 80]]}, "Maximum allowed dimension|too big|no array"),
        ({"$": ["array", 1, "|V0", [1 << 40]]}, "do not fit"),
        ({"$": ["array", 0, "<U4", [1]]}, "no code point"),
        ({"$": ["array", 0, {"size": 16, "fields": [["a", "<U2", 4]]}, [1]]}, "no code point"),
        ({"$": ["array", 0, {"size": 16, "fields": [["a", "<U1", 4, [2]]]}, [1]]}, "no code point"),
        ({"$": ["array", 0, {"size": 16, "fields": [["a", "<f8", 12]]}, [1]]}, "array|type|size"),
        ({"$": ["array", 0, {"size": 16, "fields": [["a", "<f8", -1]]}, [1]]}, "negative"),
        (
            {"$": ["array", 0, {"size": 16, "fields": [["a", "<f8", 0]] * 2}, [1]]},
            "already used",
        ),
        ({"$": ["array", 0, {"size": 8, "fields": [["a", "<U1", 0], ["b", "<f8", 0]]}, [2]]}, "overlap"),
        ({"$": ["array", 0, {"size": 8, "fields": [["a", "<U1", 4, [2]]]}, [2]]}, "array|type|size"),
        ({"$": ["scalar", "<f8", "00"]}, "do not fit"),
        ({"$": ["scalar", "<f8", "xx" * 8]}, "hexadecimal"),
        ({"$": ["scalar", "<U1", "ffffffff"]}, "utf-32"),
    ],
)
def test_what_is_wrong_is_said(told: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(told, [b"\xff" * 16, b""])


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
@pytest.mark.parametrize(
    "key",
    [
        lambda at: {"$": ["int", format(at * HASHES, "x")]},
        lambda at: {"$": ["complex", 1e15 - 1_000_003.0 * at, float(at)]},
        lambda at: {"$": ["uuid", format(at * HASHES, "032x")]},
        lambda at: {"$": ["tuple", {"$": ["int", format(at * HASHES, "x")]}, 1]},
    ],
)
def test_keys_that_were_made_to_be_slow_are_refused(kind: str, key: Callable[[int], object]) -> None:
    keys = [key(at) for at in range(1, 1_000)]
    with pytest.raises(ValueError, match="too many keys have the same hash"):
        decode({"$": [kind, *([one, 0] if kind == "dict" else one for one in keys)]}, ())


def test_what_nests_in_a_number_is_none() -> None:
    told: object = 1
    for _ in range(1_000):
        told = {"$": ["complex", told, 1]}
    with pytest.raises(ValueError, match="a complex has two numbers"):
        decode(told, ())


def test_fields_that_overlap_do_not_travel() -> None:
    either = numpy.dtype({"names": ["f", "i"], "formats": ["<f8", "<i8"], "offsets": [0, 0]})
    with pytest.raises(TypeError, match="fields that overlap"):
        encode(numpy.zeros(2, either), [])


def test_an_absurd_exponent_is_not_written_out() -> None:
    told = decode({"$": ["decimal", "1E+999999999999999999"]}, ())
    assert str(told) == "1E+999999999999999999"


def test_an_integer_of_more_digits_than_python_reads_travels() -> None:
    assert travelled(-(7**20_000)) == -(7**20_000)


def test_a_uuid_travels() -> None:
    assert travelled([uuid.UUID(int=5)]) == [uuid.UUID(int=5)]

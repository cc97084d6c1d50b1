"""Values as they travel: to JSON and buffers of raw bytes, and back. Pure.

docs/protocol.md has the format, under Values. What JSON has not is an object with the one key `$`, whose
value is an array: the kind, and what it takes.
"""

import dataclasses
import enum
import json
import math
import re
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from operator import is_
from pathlib import PurePath
from types import NoneType
from typing import Any
from zoneinfo import ZoneInfo

from snyper.shared.socket_protocol import MAX_INTEGER

MAX_DEPTH = 64  # containers in containers: far from where JSON readers end, 1,000 brackets of three a level
TAG = "$"

Json = Any  # None, bool, int, float, str, and lists and dicts of these: what `json.dumps` takes
Buffer = bytes | bytearray | memoryview
_Encoder = Callable[[Any, list[Buffer], int], Json]
_Decoder = Callable[[list[Json], "_Buffers", int], object]

_HEX = re.compile("-?[0-9a-f]+", re.ASCII)
_UUID = re.compile("[0-9a-f]{32}", re.ASCII)
# No digit belongs to one of two parts, or a long text of digits that is none would be tried in all ways.
_DECIMAL = re.compile(r"[-+]?((\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|inf(inity)?|s?nan\d*)", re.I | re.A)
# A path below the zones of the time zone database, and never out of them.
_ZONE = re.compile("[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}", re.ASCII)


def encode(value: object, buffers: list[Buffer], name: str = "value") -> Json:
    """Encode `value` as what `json.dumps` takes, and append raw bytes to `buffers`.

    What is plain JSON already is returned as it is, not copied. The buffers share memory with `bytes`,
    `bytearray`, `memoryview` and contiguous arrays: send or copy them before anybody changes those.

    Raises TypeError where something does not travel, with its place below `name` and what to do, and
    ValueError, with `name`, for what contains itself or nests deeper than MAX_DEPTH. `buffers` is then as it
    was.
    """
    count = len(buffers)
    try:
        return _encode(value, buffers, 0)
    except TypeError as error:
        del buffers[count:]
        raise TypeError(f"{_place_of_error(value, name)}: {error}") from None
    except ValueError as error:
        del buffers[count:]
        raise ValueError(f"{name}: {error}") from None


def decode(value: Json, buffers: Sequence[Buffer]) -> object:
    """Decode what `encode` made, from JSON as `json.loads` returns it, and the buffers that came with it.

    A `bytearray` is the very buffer, arrays share its memory and are writable if it is; each buffer is taken
    once. What is plain JSON is returned as it is, not copied.

    Raises ValueError, and nothing else, for whatever is no such value.
    """
    return _decode(value, _Buffers(buffers), 0)


# --- there


def _encode(value: Any, buffers: list[Buffer], depth: int) -> Json:
    return _ENCODERS.get(type(value), _encode_other)(value, buffers, depth)


def _encode_as_it_is(value: Json, buffers: list[Buffer], depth: int) -> Json:
    return value


def _encode_int(value: int, buffers: list[Buffer], depth: int) -> Json:
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    return {TAG: ["int", format(value, "x")]}


def _encode_float(value: float, buffers: list[Buffer], depth: int) -> Json:
    if math.isfinite(value):
        return value
    return {TAG: ["float", str(value)]}


def _encode_complex(value: complex, buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["complex", *(_encode_float(number, buffers, depth) for number in (value.real, value.imag))]}


def _encode_str(value: str, buffers: list[Buffer], depth: int) -> Json:
    if value.isascii() or _is_text(value):
        return value
    return {TAG: ["str", [ord(character) for character in value]]}


def _is_text(value: str) -> bool:
    """Tell a text from what has half of a character in it, for which UTF-8 has no bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode_bytes(value: Buffer, buffers: list[Buffer], depth: int) -> Json:
    buffers.append(value)
    return {TAG: ["bytes", len(buffers) - 1]}


def _encode_bytearray(value: bytearray, buffers: list[Buffer], depth: int) -> Json:
    buffers.append(value)
    return {TAG: ["bytearray", len(buffers) - 1]}


def _encode_memoryview(value: memoryview, buffers: list[Buffer], depth: int) -> Json:
    # `cast` knows no view of nothing, and none with gaps.
    is_whole = value.c_contiguous and value.nbytes
    return _encode_bytes(value.cast("B") if is_whole else value.tobytes(), buffers, depth)


def are_plain(values: Iterable[Any]) -> bool:
    """Tell of values without parts, as most calls have, that they are JSON as they are: `encode` would return
    them. False says nothing.
    """
    for value in values:
        kind = type(value)
        if kind is float:
            if not -math.inf < value < math.inf:
                return False
        elif kind is int:
            if not -MAX_INTEGER <= value <= MAX_INTEGER:
                return False
        elif kind is str:
            if not value.isascii():
                return False
        elif value is not None and kind is not bool:
            return False
    return True


def _encode_items(values: Iterable[Any], buffers: list[Buffer], depth: int) -> list[Json]:
    _check_depth(depth)
    depth += 1
    find = _ENCODERS.get
    return [find(type(value), _encode_other)(value, buffers, depth) for value in values]


def _encode_list(value: list[Any], buffers: list[Buffer], depth: int) -> Json:
    if depth < MAX_DEPTH and are_plain(value):
        return value
    encoded = _encode_items(value, buffers, depth)
    return value if all(map(is_, encoded, value)) else encoded


def _encode_tuple(value: tuple[Any, ...], buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["tuple", *_encode_items(value, buffers, depth)]}


def _encode_set(value: set[Any], buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["set", *_encode_items(value, buffers, depth)]}


def _encode_frozenset(value: frozenset[Any], buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["frozenset", *_encode_items(value, buffers, depth)]}


def _encode_dict(value: dict[Any, Any], buffers: list[Buffer], depth: int) -> Json:
    for key in value:
        if type(key) is not str or key == TAG or not (key.isascii() or _is_text(key)):
            keys = _encode_items(value, buffers, depth)
            items = _encode_items(value.values(), buffers, depth)
            return {TAG: ["dict", *map(list, zip(keys, items, strict=True))]}
    if depth < MAX_DEPTH and are_plain(value.values()):
        return value
    encoded = _encode_items(value.values(), buffers, depth)
    return value if all(map(is_, encoded, value.values())) else dict(zip(value, encoded, strict=True))


def _encode_datetime(value: datetime, buffers: list[Buffer], depth: int) -> Json:
    return _encode_with_zone("datetime", datetime.isoformat(value), value)


def _encode_time(value: time, buffers: list[Buffer], depth: int) -> Json:
    return _encode_with_zone("time", time.isoformat(value), value)


def _encode_with_zone(kind: str, text: str, value: datetime | time) -> Json:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    if zone is None and not value.fold:
        return {TAG: [kind, text]}
    return {TAG: [kind, text, zone, value.fold]}


def _encode_date(value: date, buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["date", date.isoformat(value)]}


def _encode_timedelta(value: timedelta, buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["timedelta", value.days, value.seconds, value.microseconds]}


def _encode_decimal(value: Decimal, buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["decimal", Decimal.__str__(value)]}


def _encode_uuid(value: uuid.UUID, buffers: list[Buffer], depth: int) -> Json:
    return {TAG: ["uuid", format(value.int, "032x")]}


_ENCODERS: dict[type, _Encoder] = {
    NoneType: _encode_as_it_is,
    bool: _encode_as_it_is,
    int: _encode_int,
    float: _encode_float,
    complex: _encode_complex,
    str: _encode_str,
    bytes: _encode_bytes,
    bytearray: _encode_bytearray,
    memoryview: _encode_memoryview,
    list: _encode_list,
    tuple: _encode_tuple,
    dict: _encode_dict,
    set: _encode_set,
    frozenset: _encode_frozenset,
    datetime: _encode_datetime,
    date: _encode_date,
    time: _encode_time,
    timedelta: _encode_timedelta,
    Decimal: _encode_decimal,
    uuid.UUID: _encode_uuid,
}

# How what is of a subclass becomes its base kind, where the encoder does not see to it.
_AS_BASE: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: bytes.__bytes__,
    list: list,
    dict: lambda value: dict(value.items()),
}


def _encode_other(value: Any, buffers: list[Buffer], depth: int) -> Json:
    """Encode what is of none of the very types: of a subclass, of numpy, a path."""
    kind = type(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.ndarray, numpy.generic)):
        return _encode_of_numpy(value, buffers, depth)
    if issubclass(kind, PurePath):
        return _encode_str(str(value), buffers, depth)
    for base in kind.__mro__:
        if base in _ENCODERS:
            # One of pandas' dates is none (NaT), and unequal to itself.
            if issubclass(base, date) and value != value:
                break
            return _ENCODERS[base](_AS_BASE[base](value) if base in _AS_BASE else value, buffers, depth)
    raise TypeError(_refusal(value))


def _encode_of_numpy(value: Any, buffers: list[Buffer], depth: int) -> Json:
    from snyper.services import arrays

    kind = type(value)
    encoder = arrays.encode_array if isinstance(value, arrays.Array) else arrays.encode_scalar
    if kind.__module__ == "numpy":  # those are so many; of others there may be ever more
        _ENCODERS[kind] = encoder
    return encoder(value, buffers, depth)


def _refusal(value: Any) -> str:
    kind = type(value)
    article = "an" if kind.__name__[:1] in "AEIOUaeiou" else "a"
    return f"{article} {kind.__name__} does not travel: send {_instead_of(value, kind)}"


def _instead_of(value: Any, kind: type) -> str:
    if issubclass(kind, enum.Enum):
        return "its `value` or its `name`"
    if dataclasses.is_dataclass(kind):
        return "`dataclasses.asdict(…)` of it"
    if issubclass(kind, Mapping):
        return "`dict(…)` of it"
    if issubclass(kind, Awaitable):
        return "what it gives when it is awaited"
    # Others may have things in it of which each is no more than the whole, as pandas' tables and tensors.
    if issubclass(kind, Iterable) and kind.__module__ in sys.stdlib_module_names:
        return "`list(…)` of it"
    if callable(value):
        return "what it returns"
    return "what is in it, as numbers, texts, lists, dicts or arrays"


def _place_of_error(value: Any, name: str) -> str:
    """Find what does not travel in `value`, once more: what travels need not know where it is."""
    for step, item in _steps_into(value, name):
        try:
            _encode(item, [], 0)
        except TypeError:
            return _place_of_error(item, step)
    return name


def _steps_into(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"a key of {name}", key) for key in value)
        yield from ((f"{name}[{_key_text(key)}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"an item of {name}", item) for item in value)


def _key_text(key: object) -> str:
    return json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key)


# --- and back


_CONTAINERS = frozenset((list, dict))
# Between items of sets and keys of dicts that have one hash, in all of a value. So many take some 10 ms. What
# is honest has few: a grid of 100 points on each of three axes 250,000, as -1 and -2 have one hash.
MAX_COMPARED = 500_000
MAX_ZONES = 1_000  # of a value: there are some 600, and to look for one takes 40 µs


class _Buffers(list[Buffer | None]):
    """The buffers that came with a value: None for one that is taken.

    `compared` counts what it takes to tell the items of its sets and the keys of its dicts apart. `zones` are
    those that it names: each is looked for once.
    """

    compared = 0

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        super().__init__(buffers)
        self.zones: dict[str, ZoneInfo | None] = {}


def _decode(value: Json, buffers: _Buffers, depth: int) -> Any:
    kind = type(value)
    if kind is dict:
        if TAG in value:
            return _decode_tagged(value, buffers, depth)
        if _CONTAINERS.isdisjoint(map(type, value.values())):
            _check_depth(depth)
            return value
        return dict(zip(value, _decode_items(value.values(), buffers, depth), strict=True))
    if kind is list:
        if _CONTAINERS.isdisjoint(map(type, value)):
            _check_depth(depth)
            return value
        return _decode_items(value, buffers, depth)
    return value


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise ValueError(f"it nests deeper than {MAX_DEPTH}, or contains itself")


def _decode_items(values: Iterable[Json], buffers: _Buffers, depth: int) -> list[Any]:
    _check_depth(depth)
    return [_decode(value, buffers, depth + 1) for value in values]


def _decode_tagged(value: dict[str, Json], buffers: _Buffers, depth: int) -> object:
    body = value[TAG]
    if len(value) != 1 or type(body) is not list or not body or type(body[0]) is not str:
        raise ValueError(f'an object with the key "{TAG}" has it alone, and an array that begins with a kind')
    decoder = _DECODERS.get(body[0])
    if decoder is None:
        raise ValueError(f"no kind of value is {body[0][:32]!r}")
    try:
        return decoder(body[1:], buffers, depth)
    except (TypeError, ArithmeticError) as error:
        raise ValueError(f"no {body[0]}: {error}") from None


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _text_of(fields: list[Json]) -> str:
    _check(len(fields) == 1 and type(fields[0]) is str, "one text is needed")
    return fields[0]  # type: ignore[no-any-return]


def _take_buffer(index: Json, buffers: _Buffers) -> Buffer:
    _check(type(index) is int and 0 <= index < len(buffers), "there is no such buffer")
    buffer = buffers[index]
    if buffer is None:
        raise ValueError("a buffer is taken twice")
    buffers[index] = None
    return buffer


def _decode_int(fields: list[Json], buffers: _Buffers, depth: int) -> int:
    text = _text_of(fields)
    _check(_HEX.fullmatch(text) is not None, "an int has hexadecimal digits")
    return int(text, 16)


def _decode_float(fields: list[Json], buffers: _Buffers, depth: int) -> float:
    text = _text_of(fields)
    _check(text in ("nan", "inf", "-inf"), "a float that is no number is nan, inf or -inf")
    return float(text)  # a nan of its own for each, as they are several keys


def _decode_complex(fields: list[Json], buffers: _Buffers, depth: int) -> complex:
    numbers = [_decode(field, buffers, depth) if _is_float(field) else field for field in fields]
    _check(len(numbers) == 2 and {int, float}.issuperset(map(type, numbers)), "a complex has two numbers")
    return complex(*numbers)


def _is_float(field: Json) -> bool:
    """Tell a float that is no number from anything else that is tagged, which could nest without end."""
    return type(field) is dict and type(field.get(TAG)) is list and field[TAG][:1] == ["float"]


def _decode_str(fields: list[Json], buffers: _Buffers, depth: int) -> str:
    codes = fields[0] if len(fields) == 1 else None
    if type(codes) is not list or not {int}.issuperset(map(type, codes)):
        raise ValueError("a str has an array of code points")
    return "".join(map(chr, codes))


def _decode_bytes(fields: list[Json], buffers: _Buffers, depth: int) -> bytes:
    _check(len(fields) == 1, "bytes have one buffer")
    return bytes(_take_buffer(fields[0], buffers))


def _decode_bytearray(fields: list[Json], buffers: _Buffers, depth: int) -> bytearray:
    _check(len(fields) == 1, "a bytearray has one buffer")
    buffer = _take_buffer(fields[0], buffers)
    return buffer if isinstance(buffer, bytearray) else bytearray(buffer)


def _decode_tuple(fields: list[Json], buffers: _Buffers, depth: int) -> tuple[Any, ...]:
    return tuple(_decode_items(fields, buffers, depth))


def _decode_set(fields: list[Json], buffers: _Buffers, depth: int) -> set[Any]:
    items = _decode_items(fields, buffers, depth)
    _check_hashes(items, buffers)
    found = set(items)
    _check(len(found) == len(fields), "an item stands twice")
    return found


def _decode_frozenset(fields: list[Json], buffers: _Buffers, depth: int) -> frozenset[Any]:
    return frozenset(_decode_set(fields, buffers, depth))


def _decode_dict(fields: list[Json], buffers: _Buffers, depth: int) -> dict[Any, Any]:
    _check(all(type(pair) is list and len(pair) == 2 for pair in fields), "a dict has pairs")
    keys = _decode_items([key for key, _ in fields], buffers, depth)
    _check_hashes(keys, buffers)
    found = dict(zip(keys, _decode_items([item for _, item in fields], buffers, depth), strict=True))
    _check(len(found) == len(fields), "a key stands twice")
    return found


def _check_hashes(items: list[Any], buffers: _Buffers) -> None:
    """Refuse items that were made to have one hash, so that each has to be compared with all others, and
    what is in it with what is in those. Anybody can write such numbers; the hashes of texts are secret.
    """
    hashes = list(map(hash, items))
    if len(set(hashes)) < len(items):
        buffers.compared += _comparisons(hashes, items)
        _check(buffers.compared <= MAX_COMPARED, "too many keys have the same hash")


def _comparisons(hashes: list[int], items: list[Any]) -> int:
    """Return at most how many values are compared to tell items apart of which some have one hash."""
    counts = Counter(hashes)
    alike = ((counts[key], item) for key, item in zip(hashes, items, strict=True) if counts[key] > 1)
    return sum((count - 1) * _comparisons_of(item) for count, item in alike)


def _comparisons_of(item: Any) -> int:
    """Return at most how many values are compared to tell whether another of the same hash is equal."""
    if isinstance(item, tuple):
        return 1 + sum(map(_comparisons_of, item))
    if isinstance(item, frozenset):
        counts = Counter(map(hash, item))
        return 1 + sum(counts[hash(one)] * _comparisons_of(one) for one in item)
    # Of a long integer all digits; with a Decimal that takes a time which grows with their square.
    return 1 + 5_000 * (sys.getsizeof(item) // 1_000) ** 2


def _decode_datetime(fields: list[Json], buffers: _Buffers, depth: int) -> datetime:
    text, zone, fold = _fields_with_zone(fields, buffers)
    value = datetime.fromisoformat(text).replace(fold=fold)
    if zone is None:
        return value
    there = value.replace(tzinfo=zone)
    if there.utcoffset() == value.utcoffset():
        return there
    # Its clocks are set otherwise here: the instant counts, not what a clock shows.
    return value.astimezone(zone) if value.tzinfo else value


def _decode_time(fields: list[Json], buffers: _Buffers, depth: int) -> time:
    text, zone, fold = _fields_with_zone(fields, buffers)
    value = time.fromisoformat(text).replace(fold=fold)
    return value.replace(tzinfo=zone) if zone else value


def _fields_with_zone(fields: list[Json], buffers: _Buffers) -> tuple[str, ZoneInfo | None, int]:
    text, zone, fold = fields if len(fields) == 3 else (_text_of(fields), None, 0)
    is_right = type(text) is str and type(zone) in (str, NoneType) and type(fold) is int and fold in (0, 1)
    _check(is_right, "it has a text, or a text, a zone or null, and 0 or 1")
    if zone is None:
        return text, None, fold
    if zone not in buffers.zones:
        _check(len(buffers.zones) < MAX_ZONES, "too many zones")
        buffers.zones[zone] = _find_zone(zone)
    return text, buffers.zones[zone], fold


def _find_zone(key: str) -> ZoneInfo | None:
    """Find a zone of this computer's time zone database, or None: its offset came, too."""
    _check(_ZONE.fullmatch(key) is not None, "no zone is called so")
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError, ImportError):
        return None


def _decode_date(fields: list[Json], buffers: _Buffers, depth: int) -> date:
    return date.fromisoformat(_text_of(fields))


def _decode_timedelta(fields: list[Json], buffers: _Buffers, depth: int) -> timedelta:
    _check(len(fields) == 3 and {int}.issuperset(map(type, fields)), "it has days, seconds and microseconds")
    return timedelta(*fields)


def _decode_decimal(fields: list[Json], buffers: _Buffers, depth: int) -> Decimal:
    text = _text_of(fields)
    _check(_DECIMAL.fullmatch(text) is not None, "a decimal is written otherwise")
    return Decimal(text)


def _decode_uuid(fields: list[Json], buffers: _Buffers, depth: int) -> uuid.UUID:
    text = _text_of(fields)
    _check(_UUID.fullmatch(text) is not None, "a uuid has 32 hexadecimal digits")
    return uuid.UUID(text)


def _decode_array(fields: list[Json], buffers: _Buffers, depth: int) -> object:
    _check(len(fields) in (3, 4) and fields[3:] in ([], ["F"]), "it has a buffer, a type, a shape, perhaps F")
    buffer = _take_buffer(fields[0], buffers)
    return _arrays().decode_array(buffer, fields[1], fields[2], "F" if len(fields) == 4 else "C")


def _decode_scalar(fields: list[Json], buffers: _Buffers, depth: int) -> object:
    _check(len(fields) == 2 and type(fields[1]) is str, "it has a type and hexadecimal digits")
    return _arrays().decode_scalar(fields[0], bytearray.fromhex(fields[1]))


@cache
def _arrays() -> Any:
    try:
        from snyper.services import arrays
    except ImportError:
        raise ValueError("an array came, and numpy is not here: pip install 'snyper[arrays]'") from None
    return arrays


_DECODERS: dict[str, _Decoder] = {
    "int": _decode_int,
    "float": _decode_float,
    "complex": _decode_complex,
    "str": _decode_str,
    "bytes": _decode_bytes,
    "bytearray": _decode_bytearray,
    "tuple": _decode_tuple,
    "dict": _decode_dict,
    "set": _decode_set,
    "frozenset": _decode_frozenset,
    "datetime": _decode_datetime,
    "date": _decode_date,
    "time": _decode_time,
    "timedelta": _decode_timedelta,
    "decimal": _decode_decimal,
    "uuid": _decode_uuid,
    "array": _decode_array,
    "scalar": _decode_scalar,
}

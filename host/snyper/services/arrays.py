"""Arrays and scalars of numpy as they travel: their types as JSON, their items as bytes. Pure.

Imported only where numpy is there.
"""

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy

from snyper.services.values import TAG

Array = numpy.ndarray
# Whose items say it all. Other subclasses mean more than their numbers: a mask, a unit.
_WHOLE = (numpy.ndarray, numpy.memmap, numpy.recarray)

_MAX_TYPE_DEPTH = 16  # structures in structures
_MAX_DIMENSIONS = 64  # numpy's own
_MAX_CODE_POINT = 0x10FFFF

# Kinds, sizes and byte orders as numpy writes them (its `dtype.str`), but for the long doubles.
_TYPE = re.compile(
    r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(8|16)|\|[SV]\d{1,10}|[<>]U\d{1,10}"
    r"|[<>][mM]8(\[([1-9]\d{0,9})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?",
    re.ASCII,
)


def _long_types() -> dict[str, str]:
    """Name the long doubles of this machine by the bits of their mantissa: their size alone does not tell."""
    bits = numpy.finfo(numpy.longdouble).nmant
    sizes = {"f": numpy.dtype(numpy.longdouble).itemsize, "c": numpy.dtype(numpy.clongdouble).itemsize}
    return {
        f"{order}{kind}{size}/{bits}": f"{order}{kind}{size}"
        for order in "<>"
        for kind, size in sizes.items()
        if sizes["f"] > 8
    }


_LONG_TYPES = _long_types()
_LONG_NAMES = {plain: name for name, plain in _LONG_TYPES.items()}


def encode_array(array: Any, buffers: list[Any], depth: int) -> dict[str, Any]:
    """Encode an array, and append its bytes to `buffers`: its own memory, or a copy where that has gaps.

    Raises TypeError, with what to do, for a subclass that means more than its items, and for items that are
    objects.
    """
    kind = type(array)
    if kind not in _WHOLE:
        advice = "send `numpy.asarray(…)` of it, and what else it means beside it"
        raise TypeError(f"{kind.__name__}, an array that is more than its items, does not travel: {advice}")
    plain = array.view(numpy.ndarray)
    entry = ["array", len(buffers), _encode_type(plain.dtype), list(plain.shape)]
    if plain.flags.f_contiguous and not plain.flags.c_contiguous:
        entry.append("F")
        plain = plain.T
    if not plain.nbytes:
        if plain.size:
            raise TypeError("an array of items that have no bytes does not travel: send its shape")
        buffers.append(b"")
    else:
        buffers.append(numpy.ascontiguousarray(plain).reshape(-1).view(numpy.uint8).data)
    return {TAG: entry}


def encode_scalar(scalar: Any, buffers: list[Any], depth: int) -> dict[str, Any]:
    """Encode a scalar, whose few bytes stand in the JSON. Raises TypeError, with what to do."""
    dtype = scalar.dtype
    # An empty text of numpy's has no bytes by its type, and some by `tobytes`.
    return {TAG: ["scalar", _encode_type(dtype), scalar.tobytes()[: dtype.itemsize].hex()]}


def decode_array(buffer: Any, type_: Any, shape: Any, order: Any) -> Any:
    """Make an array of a buffer's memory. Raises ValueError where type, shape and buffer do not fit."""
    dtype = _decode_type(type_)
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise ValueError(f"a shape is an array of at most {_MAX_DIMENSIONS} integers, 0 or more")
    count = math.prod(shape)
    if count * dtype.itemsize != len(buffer) or (count and not dtype.itemsize):
        raise ValueError("type, shape and bytes of an array do not fit")
    array = numpy.ndarray(shape, dtype, buffer, order=order)
    _check_texts(array)
    return array


def decode_scalar(type_: Any, raw: bytearray) -> Any:
    """Make a scalar of its bytes. Raises ValueError where they do not fit the type."""
    dtype = _decode_type(type_)
    if dtype.itemsize != len(raw):
        raise ValueError("type and bytes of a scalar do not fit")
    # An item of an array loses the zeros at its end.
    if dtype.kind == "S":
        return numpy.bytes_(bytes(raw))
    if dtype.kind == "U":
        return numpy.str_(raw.decode("utf-32-le" if dtype.str[0] == "<" else "utf-32-be", "surrogatepass"))
    array = numpy.ndarray((), dtype, raw)
    _check_texts(array)
    return array[()]


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 0


@lru_cache
def _encode_type(dtype: Any) -> Any:
    if dtype.names is not None:
        if _overlap([dtype.fields[name][0] for name in dtype.names], dtype.itemsize):
            raise TypeError("an array of fields that overlap does not travel: send each by itself")
        return {"size": dtype.itemsize, "fields": [_encode_field(dtype, name) for name in dtype.names]}
    name = _LONG_NAMES.get(dtype.str, dtype.str)
    # A type of another package may call itself bytes.
    if name not in _LONG_TYPES and not (_TYPE.fullmatch(name) and numpy.dtype(name) == dtype):
        advice = "send a list, or numbers or texts by `astype`"
        raise TypeError(f"an array of the type {dtype} does not travel: {advice}")
    return name


def _overlap(fields: Iterable[Any], size: int) -> bool:
    """Tell whether fields take more bytes than there are: then to go through each may take any time."""
    return bool(sum(field.itemsize for field in fields) > size)


def _encode_field(dtype: Any, name: str) -> list[Any]:
    field, offset = dtype.fields[name][:2]
    if field.subdtype is None:
        return [name, _encode_type(field), offset]
    base, shape = field.subdtype
    if not base.itemsize:
        raise TypeError("an array with a field of items that have no bytes does not travel: send its shape")
    return [name, _encode_type(base), offset, list(shape)]


def _decode_type(type_: Any, depth: int = 0) -> Any:
    if type(type_) is str:
        return _find_type(type_)
    if type(type_) is not dict or type_.keys() != {"size", "fields"} or type(type_["fields"]) is not list:
        raise ValueError("a type is a text, or an object with size and fields")
    if depth == _MAX_TYPE_DEPTH:
        raise ValueError(f"a type nests deeper than {_MAX_TYPE_DEPTH}")
    fields = [_decode_field(field, depth + 1) for field in type_["fields"]]
    names, formats, offsets = zip(*fields, strict=True) if fields else ((), (), ())
    if type(type_["size"]) is not int:
        raise ValueError("the size of a type is an integer")
    if _overlap(formats, type_["size"]):
        raise ValueError("the fields of a type overlap")
    spec = {"names": names, "formats": formats, "offsets": offsets, "itemsize": type_["size"]}
    return numpy.dtype(spec)  # type: ignore[call-overload]


@lru_cache
def _find_type(name: str) -> Any:
    if name not in _LONG_TYPES and not _TYPE.fullmatch(name):
        raise ValueError(f"no type of an array here is {name[:40]!r}")
    return numpy.dtype(_LONG_TYPES.get(name, name))


def _decode_field(field: Any, depth: int) -> tuple[str, Any, int]:
    is_right = (
        type(field) is list
        and len(field) in (3, 4)
        and type(field[0]) is str
        and type(field[2]) is int
        and all(type(shape) is list and {int}.issuperset(map(type, shape)) for shape in field[3:])
    )
    if not is_right:
        raise ValueError("a field is its name, type, offset, and perhaps a shape")
    base = _decode_type(field[1], depth)
    if len(field) == 4 and not base.itemsize:
        raise ValueError("a field of any number of nothings")
    return field[0], numpy.dtype((base, tuple(field[3]))) if len(field) == 4 else base, field[2]


def _check_texts(array: Any) -> None:
    """Refuse texts of what are no code points, for which numpy has no error but CPython's SystemError."""
    dtype = array.dtype
    if dtype.names is not None:
        for name in dtype.names:
            _check_texts(array[name])
    elif dtype.kind == "U" and array.size and dtype.itemsize:
        codes = array.view([("codes", dtype.str[0] + "u4", (dtype.itemsize // 4,))])["codes"]
        if codes.max() > _MAX_CODE_POINT:
            raise ValueError("a text has what is no code point")

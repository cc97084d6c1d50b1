"""Heads of `.npy` files (NEP 1) as strangers send them: judged before any memory is taken. Pure."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy

MAX_HEAD_BYTES = 65_536  # numpy's own have 128; version 2 of the format would allow 4 GiB
MAX_DIMENSIONS = 32  # which numpy before 2.0 takes
# Of an array without elements: its JSON may have as many empty lists.
MAX_EMPTY_LISTS = 65_536
MAGIC = b"\x93NUMPY"
_FIXED_BYTES = len(MAGIC) + 2
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_MAX_COUNT = 2**63 - 1  # numpy's own limit, of elements and of bytes
_ALIGNED_BYTES = 64  # so that what follows may be mapped
_TYPE = re.compile(r"[<>|=]?(b1|[iu]1)|[<>]([iu][248]|f[248])", re.ASCII)
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:'(?P<text1>[^'\\]{0,99})'|"(?P<text2>[^"\\]{0,99})"|(?P<number>0|[1-9]\d{0,18})L?"""
    r"|(?P<word>True|False)|(?P<sign>[{}():,\[])|(?P<end>\Z))",
    re.ASCII,
)
_OTHERS = {b"PK\x03\x04": "an .npz archive", b"PK\x05\x06": "an .npz archive", b"\x80": "a pickle"}


class NotTaken(ValueError):
    """The reason why a file is not taken as an array, in a sentence for people."""


@dataclass(frozen=True)
class Head:
    """What the head of a file says: `dtype` as numpy writes it, such as `<f8`; `offset` is how many bytes
    there are before the elements.
    """

    dtype: str
    shape: tuple[int, ...]
    is_fortran: bool = False
    offset: int = 0

    @property
    def type(self) -> "numpy.dtype[Any]":
        """The type of its elements."""
        return numpy.dtype(self.dtype)

    @property
    def data_bytes(self) -> int:
        """How many bytes its elements have."""
        return math.prod(self.shape) * self.type.itemsize

    @property
    def file_bytes(self) -> int:
        """How many bytes the whole file has."""
        return self.offset + self.data_bytes


def read_head(begin: bytes | bytearray) -> Head | None:
    """Read the head of a file that begins with `begin`; None where it does not reach so far. Raises NotTaken
    for what is no array that is taken, as soon as it shows.
    """
    if not MAGIC.startswith(begin[: len(MAGIC)]):
        what = next((what for other, what in _OTHERS.items() if begin.startswith(other)), "no .npy file")
        raise NotTaken(f"this is {what}: send one array, as numpy.save writes it")
    if len(begin) < _FIXED_BYTES:
        return None
    version = (begin[6], begin[7])
    length_bytes = _LENGTH_BYTES.get(version)
    if length_bytes is None:
        raise NotTaken(f"version {version[0]}.{version[1]} of .npy is not known here")
    text_at = _FIXED_BYTES + length_bytes
    if len(begin) < text_at:
        return None
    length = int.from_bytes(begin[_FIXED_BYTES:text_at], "little")
    if length > MAX_HEAD_BYTES:
        raise NotTaken(f"its head has {length:,} bytes, above the limit of {MAX_HEAD_BYTES:,}")
    if len(begin) < text_at + length:
        return None
    text = bytes(begin[text_at : text_at + length]).decode("latin-1")
    return _head_of(_Tokens(text).dictionary(), text_at + length)


def head_bytes(head: Head) -> bytes:
    """Return the head of a file as numpy writes it, in version 1.0."""
    text = str({"descr": head.dtype, "fortran_order": head.is_fortran, "shape": head.shape})
    length = len(text) + 1
    length += -(_FIXED_BYTES + 2 + length) % _ALIGNED_BYTES
    return MAGIC + b"\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


def head_of(array: Any) -> Head:
    """Return what the head of a file with this array says, but for `offset`. Raises NotTaken."""
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return _checked(Head(array.dtype.str, tuple(array.shape), is_fortran))


def _head_of(found: dict[str, Any], offset: int) -> Head:
    if found.keys() != {"descr", "fortran_order", "shape"}:
        raise NotTaken("its head has other keys than descr, fortran_order and shape")
    descr, is_fortran, shape = found["descr"], found["fortran_order"], found["shape"]
    if type(is_fortran) is not bool or type(shape) is not tuple:
        raise NotTaken("its head has no shape, or does not say its order")
    if type(descr) is not str:
        raise NotTaken("its head has no type")
    return _checked(Head(descr, shape, is_fortran, offset))


def _checked(head: Head) -> Head:
    """Check type, shape and their product, by Python's integers, which do not overflow. Raises NotTaken."""
    if not _TYPE.fullmatch(head.dtype):
        raise NotTaken(
            f"arrays of the type {head.dtype!r} are not taken: booleans, integers, and floats of 2, 4 or 8"
            " bytes are"
        )
    if len(head.shape) > MAX_DIMENSIONS:
        raise NotTaken(f"it has {len(head.shape)} dimensions, above the limit of {MAX_DIMENSIONS}")
    lists = math.prod(length or 1 for length in head.shape)
    if lists * head.type.itemsize > _MAX_COUNT:
        raise NotTaken("its shape has more elements than any computer holds")
    if 0 in head.shape and lists > MAX_EMPTY_LISTS:
        raise NotTaken("it has no elements, and a shape as if there were many")
    return Head(head.type.str, head.shape, head.is_fortran, head.offset)


class _Tokens:
    """The text of a head, of which only what numpy writes there is understood: it is never evaluated."""

    def __init__(self, text: str) -> None:
        self._tokens = self._of(text)

    def dictionary(self) -> dict[str, Any]:
        """Parse all of it. Raises NotTaken."""
        found: dict[str, Any] = {}
        self._expect("{")
        token = self._next()
        while token != ("sign", "}"):
            if token[0] != "text" or token[1] in found:
                raise _broken()
            self._expect(":")
            found[token[1]] = self._value()
            token = self._after_item("}")
        if self._next()[0] != "end":
            raise _broken()
        return found

    def _value(self) -> Any:
        match self._next():
            case "text", text:
                return text
            case "word", word:
                return word == "True"
            case "sign", "(":
                return self._shape()
            case "sign", "[":
                raise NotTaken("structured arrays are not taken: send each field as an array")
            case _:
                raise _broken()

    def _shape(self) -> tuple[int, ...]:
        lengths: list[int] = []
        token = self._next()
        while token != ("sign", ")"):
            if token[0] != "number" or len(lengths) > MAX_DIMENSIONS:
                raise NotTaken(f"its shape is none: at most {MAX_DIMENSIONS} counts, such as (100, 50)")
            lengths.append(int(token[1]))
            token = self._after_item("" if len(lengths) == 1 else ")")  # (3) is a number, (3,) a shape
        return tuple(lengths)

    def _after_item(self, end: str) -> tuple[str, str]:
        """Return what follows an item: past a comma the next one, or the `end` sign."""
        token = self._next()
        if token == ("sign", ","):
            return self._next()
        if token != ("sign", end):
            raise _broken()
        return token

    def _expect(self, sign: str) -> None:
        if self._next() != ("sign", sign):
            raise _broken()

    def _next(self) -> tuple[str, str]:
        return next(self._tokens)

    def _of(self, text: str) -> Iterator[tuple[str, str]]:
        at = 0
        while True:
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise _broken()
            yield found.lastgroup.rstrip("12"), found[found.lastgroup]
            at = found.end()


def _broken() -> NotTaken:
    return NotTaken("its head is not what numpy.save writes")

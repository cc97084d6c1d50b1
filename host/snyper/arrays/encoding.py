"""Arrays as JSON: nested lists, in pieces of bounded size. Pure."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy

PIECE_BYTES = 32_768  # encoded at once: 3 ms in which no other thread runs


def as_object(pieces: Iterable[Any], shape: Sequence[int], dtype: Any) -> Iterator[bytes]:
    """Yield the JSON of an object with shape, type and elements, of which `encoded` says more."""
    about = {"shape": shape, "dtype": str(dtype)}
    yield json.dumps(about, separators=(",", ":"))[:-1].encode() + b',"data":'
    yield from encoded(pieces, shape)
    yield b"}"


def encoded(pieces: Iterable[Any], shape: Sequence[int]) -> Iterator[bytes]:
    """Yield the JSON of an array of that shape, whose elements come in order in `pieces`, none of which
    crosses the end of a list that it does not fill.

    It is nested as `tolist` does it, and `np.array(value, dtype)` makes the array of it again: NaN is null,
    and infinities are the texts "Infinity" and "-Infinity".
    """
    if 0 in shape:
        yield json.dumps(numpy.empty(shape).tolist(), separators=(",", ":")).encode()
        return
    # How many elements a list of each depth has: all, then those of one row, …, then one.
    counts = [math.prod(shape[depth:]) for depth in range(len(shape) + 1)]
    at = 0
    for piece in pieces:
        end = at + piece.size
        depth = next(depth for depth in range(len(counts)) if not (at % counts[depth] or end % counts[depth]))
        text = json_of(piece.reshape(-1, *shape[depth:]))[1:-1]
        opening = "[" * sum(not at % count for count in counts[:depth])
        closing = "]" * sum(not end % count for count in counts[:depth])
        yield f"{',' if at else ''}{opening}{text}{closing}".encode()
        at = end


def json_of(array: Any) -> str:
    """Return the JSON of an array, whole, with NaN and infinities as `encoded` has them."""
    text = json.dumps(array.tolist(), separators=(",", ":"))
    if array.dtype.kind == "f" and not numpy.isfinite(array).all():
        text = text.replace("NaN", "null").replace("Infinity", '"Infinity"').replace('-"', '"-')
    return text

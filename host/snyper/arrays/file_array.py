"""An array in a file of a person's own, whatever numpy has written there."""

from pathlib import Path
from typing import Any

import numpy

from snyper.arrays.slices import select


def open_array(path: Path, name: str, part: str = "") -> Any:
    """Open the array in a `.npy` file, or a slice of it, which is read as it is used: it may be larger than
    memory. `name` is what it is called. Raises ValueError for a file that is none, NoSlice, OSError.
    """
    try:
        array = numpy.load(path, "r" if path.stat().st_size else None, allow_pickle=False)
        if not isinstance(array, numpy.ndarray):
            raise ValueError("it is an archive")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name} is no .npy file of numbers: {error}") from None
    return array[_index_of(part, array.shape)] if part else array


def _index_of(part: str, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
    """Return a slice as numpy takes it. Raises NoSlice."""
    ranges = select(part, shape).ranges
    is_number = [":" not in one for one in part.split(",")]
    is_number += [False] * (len(ranges) - len(is_number))
    return tuple(
        one.start if alone else slice(one.start, one.stop, one.step)
        for one, alone in zip(ranges, is_number, strict=True)
    )

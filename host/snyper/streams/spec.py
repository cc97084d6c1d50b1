"""The spec of a stream: its samples. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from snyper.shared.stream_spec import checked_spec


@dataclass(frozen=True)
class StreamSpec:
    """The samples of a stream: what one is, and how many there are a second.

    `dtype` is numpy's text with byte order, such as "<f4": kinds b, i, u, f and c, of at most 16 bytes.
    `shape` is that of one sample, () for a number: at most 4 dimensions and 65,536 values. `rate_hz` is 0
    where samples come at any time. `names` and `units` are of the values of a sample, each or none.

    Raises ValueError for anything else.
    """

    dtype: str
    shape: tuple[int, ...]
    rate_hz: float
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        spec = checked_spec(self.to_data())
        object.__setattr__(self, "dtype", spec["dtype"])
        for field in ("shape", "names", "units"):
            object.__setattr__(self, field, tuple(spec[field]))

    @classmethod
    def from_data(cls, data: Any) -> "StreamSpec":
        """Make a spec of what the wire says. Raises ValueError."""
        return cls(**checked_spec(data))

    def to_data(self) -> dict[str, Any]:
        """Return the same as the wire says it."""
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "rate_hz": self.rate_hz,
            "names": list(self.names),
            "units": list(self.units),
        }

    @property
    def sample_bytes(self) -> int:
        """Return how many bytes a sample has."""
        return int(self.dtype[2:]) * math.prod(self.shape)


def channel_number(wanted: str, count: int, names: Sequence[str] = ()) -> int:
    """Return which of the `count` values of a sample is meant by its name, or its number from 0 on. Raises
    ValueError, with those that there are.
    """
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < count:
        return int(wanted)
    numbers = f"0 to {count - 1}" if count > 1 else "0"
    raise ValueError(f"it has no channel {wanted}: {', '.join(names) or numbers}")

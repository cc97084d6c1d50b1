"""A block: samples of a stream that follow each other, and when and where they were taken."""

from dataclasses import dataclass
from typing import Any

import numpy


@dataclass(frozen=True)
class Mark:
    """A named instant, in microseconds of the hub's clock."""

    name: str
    at_us: int


@dataclass(frozen=True, eq=False)
class Block:
    """Samples of one stream that follow each other without a gap."""

    epoch: str  # of the source's run: after its restart another; numbers of two epochs are never compared
    seq: int  # number of the first sample in the epoch, from 0
    samples: numpy.ndarray[Any, Any]  # of the shape (n, *spec.shape) and the spec's dtype; not to be written
    at_us: int  # capture of the first sample, in the hub's clock
    uncertainty_us: int
    source_us: int  # the same instant as the source's own clock had it, never rewritten
    marks: tuple[Mark, ...] = ()
    lost: int = 0  # samples missing before it, for this subscriber
    lag_us: int = 0  # from the capture until the reader was given it; 0 while the hub's clock is not known

    @property
    def next_seq(self) -> int:
        """Return the number of the sample that comes after it."""
        return self.seq + len(self.samples)

    @property
    def offset_us(self) -> int:
        """Return how far the hub's clock was ahead of the source's own."""
        return self.at_us - self.source_us

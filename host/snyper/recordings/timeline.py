"""The instant of each sample in a segment, and the first sample from an instant on. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy

Array = numpy.ndarray[Any, Any]

_FAR_US = float(1 << 60)


@dataclass(frozen=True)
class Timeline:
    """The instants of the samples in blocks that follow each other.

    A block's first sample is at its stamp, and the others follow at the rate of the spec. Stamps are made
    from rounds of questions to a clock, so that they may go back by microseconds, or a block reach into the
    next: of two samples the later number is never the earlier instant. What is stored stays as it is.
    """

    starts_us: Array  # of its blocks, none before the one in front of it
    firsts: Array  # the numbers of their first samples
    counts: Array
    rate_hz: float
    ceiling_us: int  # where the next segment begins

    def number_at(self, at_us: Array) -> Array:
        """Return for each instant the number of the first sample that is not before it, or of the one after
        the last.
        """
        block = numpy.searchsorted(self.starts_us, at_us, "left") - 1
        known = numpy.maximum(block, 0)
        after_us = at_us - self.starts_us[known]
        within = numpy.minimum(self._samples_until(after_us), self.counts[known])
        numbers = self.firsts[known] + numpy.where(block < 0, 0, within)
        end = self.firsts[-1] + self.counts[-1]
        found: Array = numpy.where(at_us > self.ceiling_us, end, numbers)
        return found

    def times_us(self, lower: int, upper: int, first: int, end: int) -> Array:
        """Return when the samples `first` to `end` were captured, which are those of the blocks `lower` to
        `upper`: nothing is missing between these, and the outer ones may have more.
        """
        following = numpy.append(self.starts_us, self.ceiling_us)[lower + 1 : upper + 1]
        block = numpy.repeat(numpy.arange(upper - lower), self.counts[lower:upper])
        block = block[first - self.firsts[lower] :][: end - first]
        within = numpy.arange(first, end) - self.firsts[lower:upper][block]
        times = self.starts_us[lower:upper][block] + self._offsets_us(within)
        found: Array = numpy.minimum(times, following[block])
        return found

    def _offsets_us(self, samples: Array) -> Array:
        if not self.rate_hz:
            return numpy.zeros(len(samples), numpy.int64)
        with numpy.errstate(over="ignore"):
            return numpy.minimum(samples * (1e6 / self.rate_hz), _FAR_US).astype(numpy.int64)

    def _samples_until(self, after_us: Array) -> Array:
        """Return how many samples of a block are less than so long after its first."""
        longest = int(self.counts.max())
        if not self.rate_hz:
            return numpy.where(after_us > 0, longest, 0)
        guess = numpy.clip(numpy.ceil(after_us * (self.rate_hz / 1e6)), 0, longest).astype(numpy.int64)
        # Rounding is off by one at most, either way.
        guess = numpy.maximum(guess - 1, 0)
        for _ in range(2):
            guess = guess + ((guess < longest) & (self._offsets_us(guess) < after_us))
        return guess

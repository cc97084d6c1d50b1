"""Exponential backoff, capped and jittered. Pure but for the random numbers."""

import random


class Backoff:
    """The delays before the next attempts: from `first_ms` up to `cap_ms`. Each is drawn from the upper half
    of its step, so that boards that lost one hub together do not come back to it together.
    """

    def __init__(self, first_ms: int, cap_ms: int) -> None:
        self._first_ms = first_ms
        self._cap_ms = cap_ms
        self._step_ms = first_ms

    def next_ms(self, cap_ms: "int | None" = None) -> int:
        """Return the next delay in milliseconds, capped at `cap_ms` instead of the usual."""
        if cap_ms is None:
            cap_ms = self._cap_ms
        step_ms = min(self._step_ms, cap_ms)
        self._step_ms = min(2 * step_ms, cap_ms)
        return random.randint((step_ms + 1) // 2, step_ms)

    def reset(self) -> None:
        """Begin again at the first step, after an attempt that was a success."""
        self._step_ms = self._first_ms

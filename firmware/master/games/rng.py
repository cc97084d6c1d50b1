"""Random numbers for games: the same from the same seed, on every runtime. Pure, and integers only."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Park and Miller's "minimal standard" generator with the multiplier of 1993: Communications of the ACM 36(7).
_MODULUS = (1 << 31) - 1
_MULTIPLIER = 48_271
_WARM_UP = 4  # seeds that are neighbours begin alike


class Rng:
    """A seeded generator. `seed` is 0 to 2^31 - 1."""

    def __init__(self, seed: int) -> None:
        self._state = seed % (_MODULUS - 1) + 1
        for _ in range(_WARM_UP):
            self.below(1)

    def below(self, count: int) -> int:
        """Return a number from 0 to `count` - 1. Raises ValueError when there is none."""
        if count < 1:
            raise ValueError("nothing to choose from")
        self._state = self._state * _MULTIPLIER % _MODULUS
        return self._state % count

    def between(self, low: int, high: int) -> int:
        """Return a number from `low` to `high`. Raises ValueError when there is none."""
        return low + self.below(high - low + 1)

    def choice(self, items: "Sequence[Any]") -> "Any":
        """Return one of `items`. Raises ValueError when there is none."""
        return items[self.below(len(items))]

    def shuffled(self, items: "Sequence[Any]") -> "list[Any]":
        """Return `items` in another order (Fisher and Yates)."""
        mixed = list(items)
        for at in range(len(mixed) - 1, 0, -1):
            other = self.below(at + 1)
            mixed[at], mixed[other] = mixed[other], mixed[at]
        return mixed

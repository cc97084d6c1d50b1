"""Cases, each an attack; their figures, each with a bound; and the scale of a run."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

QUICK, FULL = "quick", "full"


class Skipped(Exception):
    """A case, or the rest of one, that cannot run here. The message says why."""


@dataclass(frozen=True)
class Figure:
    """A figure of a case: what was counted or measured, its value, its bound, and whether that holds."""

    what: str
    value: str
    bound: str
    holds: bool
    was_run: bool = True


def not_run(why: str) -> Figure:
    """Make the line that says why a part of a case was not run."""
    return Figure(why, "", "", True, was_run=False)


def at_most(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """Make a figure that must not be greater than `bound`."""
    return Figure(what, _with(value, unit), f"at most {_with(bound, unit)}", value <= bound)


def at_least(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """Make a figure that must not be less than `bound`."""
    return Figure(what, _with(value, unit), f"at least {_with(bound, unit)}", value >= bound)


def none_of(what: str, count: int, tries: int) -> Figure:
    """Make a figure of what must never have happened in `tries`."""
    return Figure(what, f"{count:,} of {tries:,}", "0", count == 0 and tries > 0)


def all_of(what: str, count: int, tries: int) -> Figure:
    """Make a figure of what must have happened in each of `tries`."""
    return Figure(what, f"{count:,} of {tries:,}", "all", count == tries > 0)


def _with(value: float, unit: str) -> str:
    text = f"{value:,}" if value == int(value) or abs(value) >= 1_000 else f"{value:.3g}"
    return f"{text.removesuffix('.0')} {unit}".rstrip()


@dataclass(frozen=True)
class Scale:
    """The scale of a run, and the place of a case: `directory` is its own, and gone afterwards. `tell` says
    how far it is.
    """

    name: str
    directory: Path
    tell: Callable[[str], None]

    @property
    def is_full(self) -> bool:
        return self.name == FULL

    def pick(self, quick: T, full: T) -> T:
        """Return what holds at this scale."""
        return full if self.is_full else quick

    def place(self, name: str) -> Path:
        """Make a new directory below `directory`."""
        made = self.directory / name
        made.mkdir(parents=True)
        return made


Run = Callable[[Scale], AsyncIterator[Figure]]


@dataclass(frozen=True)
class Case:
    """A case: its number, its name, what it does and what that shows, each a sentence for people; and
    `run`, which does it and yields each figure as it has it.

    `run` raises Skipped for what cannot run here. Whatever else it raises is a case that failed.
    """

    number: int
    name: str
    does: str
    shows: str
    run: Run

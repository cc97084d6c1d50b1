"""A step of `make demo`: its line, and the error where it does not come out as it should."""

from rich.console import Console


class DemoError(Exception):
    """A step did not come out as it should; the message says which and how."""


def say(console: Console, step: str, text: str) -> None:
    """Print a step's line; with "" it goes on from the line before."""
    console.print(f"{step:<10} {text}")


def check(holds: bool, should: str) -> None:
    """Raise DemoError, which says what should hold, where it does not."""
    if not holds:
        raise DemoError(should)

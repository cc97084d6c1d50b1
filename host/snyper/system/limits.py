"""Limits that people set with `--limit NAME=NUMBER`."""

from collections.abc import Mapping, Sequence

from snyper.shared.config import Integer, complete


def read_limits(given: Sequence[str]) -> dict[str, int]:
    """Read limits as people give them, each NAME=NUMBER. Raises ValueError with what is wrong."""
    found: dict[str, int] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise ValueError(f"a limit is NAME=NUMBER, with 9 digits at most, not {text!r}")
        found[name] = int(value)
    return found


def complete_limits(table: Mapping[str, Integer], given: Sequence[str]) -> dict[str, int]:
    """Return all limits of a table: those given, each NAME=NUMBER, and the defaults of the others. Raises
    ValueError.
    """
    limits: dict[str, int] = complete(dict(table), read_limits(given))
    return limits

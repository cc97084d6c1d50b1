"""Limits that people set with `--limit NAME=NUMBER`."""

from collections.abc import Mapping, Sequence

from snyper.device.serving.limits import read_limits
from snyper.shared.config import Integer, complete


def complete_limits(table: Mapping[str, Integer], given: Sequence[str]) -> dict[str, int]:
    """Return all limits of a table: those given, each NAME=NUMBER, and the defaults of the others. Raises
    ValueError.
    """
    limits: dict[str, int] = complete(dict(table), read_limits(given))
    return limits

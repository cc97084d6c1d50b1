"""Limits of what serves HTTP and of what receives, each settable with `--limit NAME=NUMBER`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snyper.device.inbox.limits import Limits

_MB = 1_000_000


class Bounds(NamedTuple):
    """The default of a limit, and the least and the most that it may be set to."""

    default: int
    least: int
    most: int


SERVER_LIMITS = {
    "connections": Bounds(512, 8, 60_000),
    "per_address": Bounds(256, 8, 60_000),
    "handshake_ms": Bounds(10_000, 500, 600_000),
    "head_ms": Bounds(10_000, 500, 600_000),
    "head_bytes": Bounds(16_384, 2_048, 1_000_000),
    "stall_s": Bounds(30, 1, 3_600),  # for the next bytes of a body: existing clients give up then
    "answer_ms": Bounds(60_000, 500, 3_600_000),
    "drain_s": Bounds(25, 1, 3_600),
    "guesses": Bounds(10, 1, 1_000),
    "guess_wait_s": Bounds(60, 1, 86_400),
}
RECEIVER_LIMITS = {
    "file_mb": Bounds(1_000, 1, 1_000_000),
    "data_kb": Bounds(1_000, 1, 100_000),
    "keep_free_mb": Bounds(64, 0, 1_000_000),  # of the disk
    "part_s": Bounds(86_400, 60, 31_536_000),  # without another byte, until a part is removed
    "parts": Bounds(64, 1, 10_000),
    "waiting": Bounds(100_000, 1, 10_000_000),  # events that handlers have not finished
    "handler_s": Bounds(300, 1, 86_400),
}

# Of a receiver on a device: each connection may have data of `data_kb` under way, in memory.
DEVICE_LIMITS = {
    **SERVER_LIMITS,
    **RECEIVER_LIMITS,
    "connections": Bounds(64, 8, 60_000),
    "per_address": Bounds(32, 8, 60_000),
}


def complete_limits(table: Mapping[str, Bounds], given: Sequence[str]) -> dict[str, int]:
    """Return all limits of a table: those given, each NAME=NUMBER, and the defaults of the others. Raises
    ValueError.
    """
    limits = {name: bounds.default for name, bounds in table.items()}
    for name, value in read_limits(given).items():
        if name not in table:
            raise ValueError(f"there is no limit {name}: there are {', '.join(table)}")
        if not table[name].least <= value <= table[name].most:
            raise ValueError(f"{name} is a number from {table[name].least} to {table[name].most}")
        limits[name] = value
    return limits


def read_limits(given: Sequence[str]) -> dict[str, int]:
    """Read limits as people give them, each NAME=NUMBER. Raises ValueError with what is wrong."""
    found: dict[str, int] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise ValueError(f"a limit is NAME=NUMBER, with 9 digits at most, not {text!r}")
        found[name] = int(value)
    return found


def check_accepted(accept: Sequence[str]) -> None:
    """Raise ValueError for what is no type of files, such as `image/*`, and no suffix, such as `.jpg`."""
    for pattern in accept:
        if "/" not in pattern and not pattern.startswith("."):
            raise ValueError(f"{pattern} is no type such as image/* and no suffix such as .jpg")


def inbox_limits(limits: Mapping[str, int], accept: Sequence[str]) -> Limits:
    """Return the limits of an inbox, which takes files of these types and suffixes."""
    return Limits(
        max_file_bytes=limits["file_mb"] * _MB,
        max_data_bytes=limits["data_kb"] * 1_000,
        keep_free_bytes=limits["keep_free_mb"] * _MB,
        max_age_s=limits["part_s"],
        max_parts=limits["parts"],
        max_waiting=limits["waiting"],
        types=tuple(one for one in accept if "/" in one),
        suffixes=tuple(one for one in accept if "/" not in one),
    )

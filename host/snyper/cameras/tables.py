"""Tables of TOML that people write, and what is wrong with them. Pure."""

import tomllib
from collections.abc import Collection, Mapping
from typing import Any


def read_tables(text: str) -> dict[str, Any]:
    """Return what TOML says, after a byte order mark too, as some editors write it. Raises ValueError with
    what is wrong.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"it is no TOML: {error}") from None


def check_known(table: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Raise ValueError where a table has a field that is none of the `known`."""
    unknown = table.keys() - set(known)
    if unknown:
        raise ValueError(f"{where} has {min(unknown)!r}: there are {', '.join(sorted(known))}")

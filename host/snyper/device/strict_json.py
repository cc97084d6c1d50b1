"""JSON as its standard has it, of strangers: no NaN, no number that no float holds, no depth without end."""

from __future__ import annotations

import json
import sys
from math import isinf

_MAX_DIGITS = 4_300  # of an integer: as Python itself has it where it has a limit


class _Unfit(ValueError):
    """JSON, or nearly, that could not be sent on."""


class NotAnObject(ValueError):
    """JSON, and no object."""


def parse_object(content: str | bytes | bytearray) -> dict[str, object]:
    """Parse a body that is an object of JSON. Raises NotAnObject; ValueError for what `parse_strictly` does
    not take.
    """
    try:
        value = parse_strictly(content)
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAnObject("the body is JSON, and no object: send {…}")
    return value


def parse_strictly(content: str | bytes | bytearray) -> object:
    """Parse JSON. Raises ValueError for what is none, or is no value that could be sent on as JSON."""
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_PARSE_INT)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError, _Unfit):
        raise
    except ValueError:  # which tells a stranger what to call in this program
        raise _too_long() from None


def _refuse_constant(name: str) -> object:
    raise _Unfit(f"{name} is none")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Unfit(f"{text[:40]} is too large a number")
    return number


def _short_integer(text: str) -> int:
    """Return an integer as text; a longer one takes longer than its length."""
    if len(text) > _MAX_DIGITS:
        raise _too_long()
    return int(text)


def _too_long() -> ValueError:
    ask = getattr(sys, "get_int_max_str_digits", None)
    most = _MAX_DIGITS if ask is None else ask()
    return _Unfit(f"it has an integer of more than {most:,} digits")


_PARSE_INT = None if hasattr(sys, "get_int_max_str_digits") else _short_integer

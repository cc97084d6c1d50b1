"""JSON as its standard has it, of strangers: no NaN, no number that no float holds, no depth without end."""

import json
from math import isinf


def parse_strictly(content: str | bytes | bytearray) -> object:
    """Parse JSON. Raises ValueError for what is none, or is no value that could be sent on as JSON."""
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is none")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number

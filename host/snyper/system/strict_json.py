"""JSON as its standard has it, of strangers: no NaN, no number that no float holds, no depth without end."""

import json
import sys
from math import isinf


class _Unfit(ValueError):
    """JSON, or nearly, that could not be sent on."""


def parse_strictly(content: str | bytes | bytearray) -> object:
    """Parse JSON. Raises ValueError for what is none, or is no value that could be sent on as JSON."""
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError, _Unfit):
        raise
    except ValueError:  # which tells a stranger what to call in this program
        most = sys.get_int_max_str_digits()
        raise ValueError(f"it has an integer of more than {most:,} digits") from None


def _refuse_constant(name: str) -> object:
    raise _Unfit(f"{name} is none")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _Unfit(f"{text[:40]} is too large a number")
    return number

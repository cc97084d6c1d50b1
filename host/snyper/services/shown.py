"""The arguments of a call as a log shows them: short, harmless, and without what is secret. Pure.

What they are made of is never asked for its `repr`, and nothing of them is kept: an array is its type and its
shape.
"""

import inspect
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from itertools import islice
from types import NoneType
from typing import Any

from snyper.services.naming import key_of
from snyper.services.surface import Member

MAX_CHARS = 200  # of all arguments of a call
HIDDEN = "***"
_MAX_ITEMS = 6  # of a container
_MAX_DEPTH = 4
_MAX_TEXT = 60  # characters of a text, bytes of what is bytes
_MAX_BITS = 128  # of an integer: longer ones take a time that grows with their square
_MAX_INTEGER = 1 << _MAX_BITS - 1
_MAX_DECIMAL_BYTES = 200
_MAX_SOUGHT = 4_096  # characters of one: no exception's message has more
_MIN_HIDDEN = 3  # characters of a secret that is sought in a text: a shorter one is everywhere

_ANYWHERE = re.compile("passw|passphrase|secret|token|credential|apikey|privatekey|bearer")
_WORDS = frozenset(("auth", "authorization", "cookie", "key", "keys", "otp", "pass", "pin", "pw", "pwd"))
_BOUNDARY = re.compile("(?<=[a-z0-9])(?=[A-Z])|[^a-zA-Z]+")

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

_SMALL = frozenset((float, bool, NoneType))

Note = str | Callable[[], str]


@lru_cache(maxsize=1_000)
def _is_secret(name: str) -> bool:
    return _ANYWHERE.search(key_of(name).replace("_", "").replace("-", "")) is not None or any(
        word.lower() in _WORDS for word in _BOUNDARY.split(name)
    )


def is_secret(name: object) -> bool:
    """Tell whether what is called so is nobody's to see: `password`, `api_key`, `accessToken`."""
    if isinstance(name, bytes):
        name = name[: _MAX_TEXT + 1].decode("latin-1")
    if type(name) is not str:
        return False
    return len(name) > _MAX_TEXT or _is_secret(name)  # of a longer one nobody would see what it is


class Shown:
    """The arguments of one member's calls."""

    def __init__(self, member: Member) -> None:
        is_all_secret = is_secret(member.name.removeprefix(member.prefix))
        signature = member.signature
        parameters = [] if signature is None else list(signature.parameters.values())
        hidden = {one.kind: is_all_secret or is_secret(one.name) for one in parameters}
        self._positional = [
            is_all_secret or is_secret(one.name) for one in parameters if one.kind in _POSITIONAL
        ]
        self._rest = hidden.get(inspect.Parameter.VAR_POSITIONAL, is_all_secret)
        self._named = is_all_secret or hidden.get(inspect.Parameter.VAR_KEYWORD, False)
        # Those that need no look at their names.
        self._open_positional = next(
            (at for at, is_hidden in enumerate(self._positional) if is_hidden), len(self._positional)
        )
        self._open_names = frozenset(
            one.name for one in parameters if not (self._named or is_secret(one.name))
        )

    def note(self, args: Sequence[object], kwargs: dict[str, object]) -> "Note":
        """Return what `text` returns, or a function that does, where that holds only what is small and stays
        as it is: most calls are never looked at.
        """
        if not (args or kwargs):
            return ""
        is_small = (
            len(args) <= self._open_positional
            and self._open_names.issuperset(kwargs)
            and (not args or _are_small(args))
            and (not kwargs or _are_small(kwargs.values()))
        )
        return partial(self.text, args, kwargs) if is_small else self.text(args, kwargs)

    def text(self, args: Sequence[object], kwargs: dict[str, object]) -> str:
        """Return arguments as a line of at most MAX_CHARS."""
        if not (args or kwargs):
            return ""
        shown = [
            prefix + (HIDDEN if is_hidden else _text_of(value, 0))
            for prefix, value, is_hidden in self._each(args, kwargs)
        ]
        if len(args) > _MAX_ITEMS or len(kwargs) > _MAX_ITEMS:
            shown.append("…")
        return cut(", ".join(shown), MAX_CHARS)

    def without_secrets(self, text: str, args: Sequence[object], kwargs: dict[str, object]) -> str:
        """Return a text, such as an exception's, in which what `text` hides is hidden too."""
        for _, value, is_hidden in self._each(args, kwargs):
            for secret in _secrets_in(value, is_hidden, 0):
                if len(secret) >= _MIN_HIDDEN:
                    text = text.replace(secret, HIDDEN)
        return text

    def _each(self, args: Sequence[object], kwargs: dict[str, object]) -> Iterator[tuple[str, object, bool]]:
        """Yield the first arguments: what is written before each, its value, and whether that is hidden."""
        positional = self._positional
        for at, value in enumerate(args[:_MAX_ITEMS]):
            yield "", value, positional[at] if at < len(positional) else self._rest
        for name, value in islice(kwargs.items(), _MAX_ITEMS):
            word = name if len(name) <= _MAX_TEXT and name.isidentifier() else _text_of(name, 0)
            yield f"{word}=", value, self._named or is_secret(name)


def _are_small(values: Iterable[object]) -> bool:
    for value in values:
        kind = type(value)
        if kind is int:
            if not -_MAX_INTEGER <= value <= _MAX_INTEGER:  # type: ignore[operator]
                return False
        elif kind is str:
            if len(value) > _MAX_TEXT:  # type: ignore[arg-type]
                return False
        elif kind not in _SMALL:
            return False
    return True


def cut(text: str, max_chars: int) -> str:
    """Return a text, or its beginning where it is longer than that."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def _secrets_in(value: Any, is_hidden: bool, depth: int) -> Iterator[str]:
    """Yield the texts of what is hidden in a value."""
    if depth > _MAX_DEPTH:
        return
    kind = type(value)
    if kind is dict:
        for key, item in islice(value.items(), _MAX_ITEMS):
            yield from _secrets_in(item, is_hidden or is_secret(key), depth + 1)
    elif kind in (list, tuple, set, frozenset):
        for item in islice(value, _MAX_ITEMS):
            yield from _secrets_in(item, is_hidden, depth + 1)
    elif is_hidden and kind is str:
        yield from (value, repr(value[:_MAX_SOUGHT])[1:-1])
    elif is_hidden and kind in (bytes, bytearray):
        begin = bytes(value[:MAX_CHARS])
        yield from (begin.decode("latin-1"), repr(begin)[2:-1])
    elif is_hidden and (kind is float or (kind is int and value.bit_length() <= _MAX_BITS)):
        yield str(value)


def _text_of(value: Any, depth: int) -> str:
    kind = type(value)
    show = _SHOW.get(kind)
    if show is not None:
        return show(value)
    if kind in _BRACKETS:
        return _of_items(value, depth)
    if kind.__module__ == "numpy" and hasattr(value, "dtype"):
        return _of_numpy(value)
    return f"<{kind.__name__[:_MAX_TEXT]}>"


def _of_items(value: Any, depth: int) -> str:
    kind = type(value)
    if depth >= _MAX_DEPTH:
        return f"<{kind.__name__} of {len(value):,}>"
    if kind is dict:
        shown = [
            f"{_text_of(key, depth + 1)}: {HIDDEN if is_secret(key) else _text_of(item, depth + 1)}"
            for key, item in islice(value.items(), _MAX_ITEMS)
        ]
    else:
        shown = [_text_of(item, depth + 1) for item in islice(value, _MAX_ITEMS)]
    if len(value) > _MAX_ITEMS:
        shown.append(f"… of {len(value):,}")
    begin, end = _BRACKETS[kind]
    if kind is tuple and len(value) == 1:
        end = ",)"
    return f"{begin}{cut(', '.join(shown), MAX_CHARS)}{end}"


def _of_numpy(value: Any) -> str:
    if hasattr(value, "__len__") or value.dtype.kind not in "biufcmM" or value.shape:
        return f"<{cut(value.dtype.name, _MAX_TEXT)} array {cut(str(value.shape), _MAX_TEXT)}>"
    return str(value)


def _of_str(value: str) -> str:
    return repr(value) if len(value) <= _MAX_TEXT else f"{value[:_MAX_TEXT]!r}… of {len(value):,}"


def _of_bytes(value: bytes | bytearray) -> str:
    return repr(bytes(value)) if len(value) <= _MAX_TEXT else f"<{type(value).__name__} of {len(value):,}>"


def _of_int(value: int) -> str:
    bits = value.bit_length()
    return str(value) if bits <= _MAX_BITS else f"<int of {bits:,} bits>"


def _of_decimal(value: Decimal) -> str:
    return str(value) if value.__sizeof__() <= _MAX_DECIMAL_BYTES else "<Decimal>"


_SHOW: dict[type, Callable[[Any], str]] = {
    str: _of_str,
    int: _of_int,
    float: repr,
    bool: repr,
    NoneType: repr,
    complex: repr,
    bytes: _of_bytes,
    bytearray: _of_bytes,
    Decimal: _of_decimal,
    datetime: str,
    date: str,
    time: str,
    timedelta: str,
    uuid.UUID: str,
}
_BRACKETS: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}

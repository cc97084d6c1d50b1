"""Checks config.json against a schema with defaults. Pure but for `read_file`.

A schema is a dict of fields and of further schemas. Whatever is left out of a file has its default.
"""

import json

from snyper.shared.runtime import unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_BYTES = 4096  # of a file: eight networks with everything set, indented, take half of it
_SHOWN_CHARS = 32  # of what a person wrote, in a message


class ConfigError(ValueError):
    """A fault in a configuration: a line for a person. `path` says where, such as
    `wifi.networks[1].password`; it is empty for the whole.
    """

    def __init__(self, path: str, fault: str) -> None:
        super().__init__("`%s`: %s" % (path, fault) if path else fault)
        self.path = path


class Field:
    """One setting. `default` holds where it is left out; a `secret` one's value is in no message."""

    secret = False

    def __init__(self, default: "Any") -> None:
        self.default = default

    def read(self, value: "Any", path: str) -> "Any":
        """Check `value`, and return it as the firmware takes it. Raises ConfigError."""
        if not self.accepts(value):
            raise _unexpected(path, self.expects(), _kind(value) if self.secret else _shown(value))
        return value

    def accepts(self, value: "Any") -> bool:
        raise NotImplementedError

    def expects(self) -> str:
        """Describe in words what `accepts` takes."""
        raise NotImplementedError


class Integer(Field):
    """An integer from `low` to `high`; 0 too where `or_zero`. The setting's name says the unit."""

    def __init__(self, default: int, low: int, high: int, or_zero: bool = False) -> None:
        super().__init__(default)
        self._low = low
        self._high = high
        self._or_zero = or_zero

    def accepts(self, value: "Any") -> bool:
        return type(value) is int and (self._low <= value <= self._high or (self._or_zero and value == 0))

    def expects(self) -> str:
        return "%san integer from %d to %d" % ("0 or " if self._or_zero else "", self._low, self._high)


class Text(Field):
    """A string of `low` to `high` bytes of UTF-8; an empty one too where `or_empty`."""

    def __init__(
        self, default: str, low: int, high: int, or_empty: bool = False, secret: bool = False
    ) -> None:
        super().__init__(default)
        self._low = low
        self._high = high
        self._or_empty = or_empty
        self.secret = secret

    def accepts(self, value: "Any") -> bool:
        if type(value) is not str:
            return False
        length = _length(value)
        return self._low <= length <= self._high or (self._or_empty and length == 0)

    def expects(self) -> str:
        return "%sa string of %d to %d bytes" % ('"" or ' if self._or_empty else "", self._low, self._high)


class Pattern(Field):
    """A string that `is_valid` takes, an empty one too where `or_empty`; `form` says what that is."""

    def __init__(
        self,
        default: str,
        is_valid: "Callable[[str], bool]",
        form: str,
        or_empty: bool = False,
        secret: bool = False,
    ) -> None:
        super().__init__(default)
        self.secret = secret
        self._is_valid = is_valid
        self._form = form
        self._or_empty = or_empty

    def accepts(self, value: "Any") -> bool:
        if type(value) is not str:
            return False
        return self._is_valid(value) if value else self._or_empty

    def expects(self) -> str:
        return '"" or %s' % self._form if self._or_empty else self._form


class Choice(Field):
    """One of a few words."""

    def __init__(self, default: str, words: "tuple[str, ...]") -> None:
        super().__init__(default)
        self._words = words

    def accepts(self, value: "Any") -> bool:
        return type(value) is str and value in self._words

    def expects(self) -> str:
        return " or ".join(['"%s"' % word for word in self._words])


class Pin(Field):
    """A pin by its GPIO number, or by a name such as "LED"; an empty string too, for none, where `or_empty`.
    "GP16" and "GPIO16" are read as 16.
    """

    _MAX_GPIO = 48  # of an ESP32-S3, the highest of the chips that MicroPython's radio runs on

    def __init__(self, default: "int | str", or_empty: bool = False) -> None:
        super().__init__(default)
        self._or_empty = or_empty

    def read(self, value: "Any", path: str) -> "Any":
        if type(value) is str and value.startswith("GP"):
            number = whole_number(value[4:] if value.startswith("GPIO") else value[2:])
            if number >= 0:
                value = number
        return super().read(value, path)

    def accepts(self, value: "Any") -> bool:
        if type(value) is int:
            return 0 <= value <= self._MAX_GPIO
        if value == "":
            return self._or_empty
        return type(value) is str and len(value) <= 16 and value[0].isalpha() and is_word(value, "_")

    def expects(self) -> str:
        return '%sa GPIO number or a name such as "GP16" or "LED"' % ('"" or ' if self._or_empty else "")


class List(Field):
    """`low` to `high` entries, each what `entry` takes: a field or a schema. `default` is a tuple of them."""

    def __init__(
        self, entry: "Field | dict[str, Any]", default: "tuple[Any, ...]", low: int, high: int
    ) -> None:
        self.entry = entry
        super().__init__(default)
        self._low = low
        self._high = high

    def read(self, value: "Any", path: str) -> "Any":
        if type(value) is not list:
            raise _unexpected(path, self.expects(), _kind(value))
        if not self._low <= len(value) <= self._high:
            raise _unexpected(path, self.expects(), "%d" % len(value))
        return [_read(self.entry, value[at], "%s[%d]" % (path, at)) for at in range(len(value))]

    def expects(self) -> str:
        return "a list of %d to %d entries" % (self._low, self._high)


def complete(schema: "dict[str, Any]", given: "Any", where: str = "") -> "dict[str, Any]":
    """Check `given`, which stands at the path `where`, and return it with defaults for what it leaves out.

    Nothing in the result is shared with `given` or `schema`. Raises ConfigError.
    """
    if type(given) is not dict:
        raise _unexpected(where, "an object", _kind(given))
    for key in given:
        if key not in schema:
            known = ", ".join(sorted(schema))
            raise ConfigError(_join(where, _line(key)), "unknown key; known ones are %s" % known)
    config = {}
    for key in schema:
        field = schema[key]
        path = _join(where, key)
        if key in given:
            config[key] = _read(field, given[key], path)
        else:
            config[key] = _read(field, {} if type(field) is dict else _default(field), path)
    return config


def defaults(schema: "dict[str, Any]") -> "dict[str, Any]":
    """Return the configuration where a file says nothing."""
    return complete(schema, {})


def read_file(path: str) -> "dict[str, Any]":
    """Read the object in the file at `path`, not yet checked. Raises OSError or ConfigError."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return parse(file.read(min(size, MAX_BYTES + 1)))  # no more: a board takes the memory before it reads


def parse(data: bytes) -> "dict[str, Any]":
    """Parse the object in the bytes of a file, not yet checked. Raises ConfigError."""
    try:
        given = json.loads(_decode(data))
    except MemoryError:
        raise ConfigError("", "no memory to read it") from None
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested too deep for the parser
        line = getattr(error, "lineno", 0)  # MicroPython does not say
        raise ConfigError("", "not JSON%s" % (": see line %d" % line if line else "")) from None
    if type(given) is not dict:
        raise _unexpected("", "an object in { }", _kind(given))
    return given


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigError("", "longer than %d bytes" % MAX_BYTES)
    if data[:3] == b"\xef\xbb\xbf":  # a mark that some editors put in front
        data = data[3:]
    try:
        text = data.decode()
    except UnicodeError:
        raise ConfigError("", "not UTF-8: save the file in that encoding") from None
    lower = text.lower()
    for digit in "89abcdef":
        if "\\ud" + digit in lower:  # MicroPython does not put the two halves of a character together
            raise ConfigError("", "write the character itself instead of \\ud%s.." % digit)
    return text


def is_word(text: str, also: str) -> bool:
    """Return whether `text` has no other characters than ASCII letters, digits and those in `also`."""
    return all(
        "a" <= char <= "z" or "A" <= char <= "Z" or "0" <= char <= "9" or char in also for char in text
    )


def whole_number(text: str) -> int:
    """Parse the number below 10^9 that `text` writes in digits without leading zeros, or -1."""
    if not 0 < len(text) <= 9 or text.strip("0123456789") or (text[0] == "0" and text != "0"):
        return -1
    return int(text)


def _is_country(text: str) -> bool:
    return len(text) == 2 and "A" <= text[0] <= "Z" and "A" <= text[1] <= "Z"


def _is_key(text: str) -> bool:
    from snyper.shared.keys import Key  # which a board without a key never needs

    unload("snyper.shared.keys")
    try:
        Key(text)
    except ValueError:
        return False
    return True


# What every board has, whatever its role.
KEY = Pattern("", _is_key, "NAME:HEX, as `snyper deploy` writes it", or_empty=True, secret=True)
COUNTRY = Pattern("", _is_country, "two capital letters such as GB", or_empty=True)
LED = {"pin": Pin("LED")}
WATCHDOG_MS = Integer(8000, 3000, 8388, or_zero=True)  # a radio takes a second to start; an RP2040 ends there

_WIFI_CHIP_GPIOS = (23, 24, 25, 29)  # of a Pico W, and of a Pico 2 W


def check_gpio(pin: "int | str", path: str, platform: str, also: str = "") -> None:
    """Check that a board of `platform` has such a GPIO to spare. Raises ConfigError where it is known to have
    none. `also` is the name of a pin that will do.
    """
    if platform != "rp2" or pin == also:
        return
    if pin in _WIFI_CHIP_GPIOS:
        raise ConfigError(path, "GPIO %d is wired to the Wi-Fi chip" % pin)
    if type(pin) is not int or pin > 28:
        raise ConfigError(path, "a Pico W has GPIO 0 to 28, not %s" % pin)


def _read(field: "Any", value: "Any", path: str) -> "Any":
    return complete(field, value, path) if type(field) is dict else field.read(value, path)


def _default(field: "Any") -> "Any":
    return list(field.default) if type(field.default) is tuple else field.default


def _join(where: str, key: str) -> str:
    return "%s.%s" % (where, key) if where else key


def _unexpected(path: str, expected: str, found: str) -> ConfigError:
    return ConfigError(path, "%s is expected, not %s" % (expected, found))


def _length(text: str) -> int:
    """Return the length in bytes of UTF-8; -1 for half a character, which has none."""
    try:
        return len(text.encode())
    except UnicodeError:
        return -1


def _kind(value: "Any") -> str:
    """Return what JSON calls a value, without the value."""
    kind = type(value)
    if kind is str:
        return "a string of %d characters" % len(value)
    if kind is dict:
        return "an object"
    if kind is list:
        return "a list"
    if kind is bool:
        return "true or false"
    return "null" if value is None else "a number"


def _shown(value: "Any") -> str:
    """Format what a person wrote, on one line."""
    kind = type(value)
    if kind is str:
        return '"%s"' % _line(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int and -1_000_000_000 < value < 1_000_000_000:
        return "%d" % value
    if kind is float:
        return "%s" % value
    return _kind(value)


def _line(value: "Any") -> str:
    """Format the beginning of a string, or a key that is none, without an end of line."""
    if type(value) is not str:
        return "%s" % value
    text = repr(value[:_SHOWN_CHARS])[1:-1]
    return text if len(value) <= _SHOWN_CHARS else text + "..."

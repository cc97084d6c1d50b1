"""config.json: a file of a person's settings over a table of defaults."""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def complete(defaults: "dict[str, Any]", given: "dict[str, Any]", where: str = "") -> "dict[str, Any]":
    """`given` with the defaults for what it leaves out, objects likewise.

    Raises ValueError that names the path of a key that `defaults` lacks, or of a value of another type.
    """
    config = {}
    for key in defaults:
        default = defaults[key]
        config[key] = complete(default, {}) if isinstance(default, dict) else default
    for key in given:
        path = "%s%s" % (where, key)
        if key not in defaults:
            raise ValueError("config.json: unknown key `%s`" % path)
        default = defaults[key]
        if type(given[key]) is not type(default):
            raise ValueError("config.json: `%s` is of type %s" % (path, type(default).__name__))
        config[key] = complete(default, given[key], path + ".") if isinstance(default, dict) else given[key]
    return config


def load(path: str, defaults: "dict[str, Any]") -> "dict[str, Any]":
    """The completed configuration in the file at `path`. Raises OSError or ValueError."""
    with open(path) as file:
        given = json.load(file)
    if not isinstance(given, dict):
        raise ValueError("config.json: an object is expected")
    return complete(defaults, given)

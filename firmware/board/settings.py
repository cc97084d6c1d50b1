"""Loads the settings: config.json, else the last good one, else the defaults. Unloaded after that."""

import json
import os
import sys

from snyper.shared.config import ConfigError, read_file
from snyper.shared.log import keep, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONFIG = "/config.json"
GOOD_CONFIG = "/config.good.json"
_NEW_CONFIG = "/config.json.new"

_PIECE_BYTES = 256  # of a file at once: a large piece of memory may not be had


def in_force(read: "Callable[[object, str], dict[str, Any]]") -> "tuple[dict[str, Any], bool]":
    """Return the settings in force, and whether they are the defaults because no file of them is valid."""
    for path in (CONFIG, GOOD_CONFIG):
        try:
            config = read(read_file(path), sys.platform)
        except OSError:
            keep("settings", "%s: there is no such file" % path)
            continue
        except ValueError as error:
            keep("settings", "%s: %s" % (path, error))
            continue
        if path == CONFIG:
            _keep_good()
        else:
            keep("settings", "running with the last good configuration")
        return config, False
    keep("settings", "running with the defaults")
    return read({}, sys.platform), True


def change(new: "dict[str, Any]", read: "Callable[[object, str], dict[str, Any]]") -> None:
    """Write the settings in `new`, which are as in a file, into the file that the next boot reads. Whatever
    else that file says stays.

    A power cut leaves the old file or the new one. Raises OSError when the flash does not take it,
    ConfigError when the file would not be valid; the old one is then as it was.
    """
    given = _stored()
    for name in new:
        if type(new[name]) is dict and type(given.get(name)) is dict:
            given[name].update(new[name])
        else:
            given[name] = new[name]
    read(given, sys.platform)
    try:
        with open(_NEW_CONFIG, "w") as file:
            file.write(json.dumps(given))
        if read_file(_NEW_CONFIG) != given:
            raise OSError("the flash does not keep what is written")
        os.rename(_NEW_CONFIG, CONFIG)
    except (OSError, ConfigError):
        _remove(_NEW_CONFIG)
        raise


def _stored() -> "dict[str, Any]":
    """Return what the file says now; where there is none, what the last good one says, which then holds."""
    for path in (CONFIG, GOOD_CONFIG):
        try:
            return read_file(path)
        except OSError:
            continue
    return {}


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:  # it is not there, or the flash takes nothing at all
        return


def _keep_good() -> None:
    """Copy the configuration, which is valid, unless that was done before."""
    try:
        if not _are_equal(CONFIG, GOOD_CONFIG):
            _copy(CONFIG, GOOD_CONFIG)
    except OSError as error:
        _remove(GOOD_CONFIG + ".new")
        log("settings", "%s cannot be written: %r" % (GOOD_CONFIG, error))


def _are_equal(path: str, other_path: str) -> bool:
    try:
        with open(path, "rb") as file, open(other_path, "rb") as other:
            while True:
                piece = file.read(_PIECE_BYTES)
                if piece != other.read(_PIECE_BYTES):
                    return False
                if not piece:
                    return True
    except OSError:  # the other is not there
        return False


def _copy(path: str, new_path: str) -> None:
    """Replace a file at once: a power cut leaves the old one or the new one."""
    with open(path, "rb") as file, open(new_path + ".new", "wb") as new:
        piece = file.read(_PIECE_BYTES)
        while piece:
            new.write(piece)
            piece = file.read(_PIECE_BYTES)
    os.rename(new_path + ".new", new_path)

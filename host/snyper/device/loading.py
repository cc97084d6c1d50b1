"""Imports a person's file, as `python FILE` would: its folder is the first to import from."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType


class LoadingError(Exception):
    """A person's file cannot be used. The message says where in it, why, and what to do."""


def load_file(path: Path) -> ModuleType:
    """Import the file `path` and return the module.

    Its folder goes to the front of `sys.path`, and it is imported under its own name. Raises LoadingError.
    """
    path = path.absolute()
    name = path.stem
    if not path.is_file():
        raise LoadingError(f"there is no file {path}")
    if name in sys.modules or _is_of_python(name):
        raise LoadingError(f"{path.name} has the name of a module that others import: rename it")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadingError(f"{path.name} is no Python: its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = f"{Path(error.filename or path).name}, line {error.lineno}"
        raise LoadingError(f"{place}: {error.msg}: {(error.text or '').strip()}") from error
    except (Exception, SystemExit) as error:
        raise LoadingError(f"{_place_of(error, path)}: {explain(error)}{_remedy(error)}") from error
    return module


def _is_of_python(name: str) -> bool:
    named: frozenset[str] | None = getattr(sys, "stdlib_module_names", None)
    if named is not None:
        return name in named
    return Path(os.__file__).with_name(f"{name}.py").exists()  # most of them, before Python 3.10


def explain(error: BaseException) -> str:
    """Return the type and the message of an exception, as `message_of` does."""
    kind, message = type(error).__name__, message_of(error)
    return f"{kind}: {message}" if message else kind


def message_of(error: BaseException) -> str:
    """Return the message of an exception, whatever its `__str__` does, in at most 500 characters."""
    try:
        message = str(error)
    except Exception as second:
        message = f"its message raises {type(second).__name__}"
    return message if len(message) <= 500 else message[:499] + "…"


def _place_of(error: BaseException, path: Path) -> str:
    """Return where it arose: the last line of the file itself that was on the way to it."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f"{path.name}, line {lines[-1]}" if lines else path.name


def _remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f". If it is a package: {sys.executable} -m pip install {error.name.partition('.')[0]}"
    return ""

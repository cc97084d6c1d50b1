"""Imports a person's file of services, as `python FILE` would: its folder is the first to import from."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from snyper.offload.declarations import Service, service_of


class ServicesError(Exception):
    """A file of services cannot be used. The message says where in it, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A service and its function."""

    service: Service
    function: Callable[..., Any]


def load_services(path: Path) -> dict[str, Loaded]:
    """Import the file `path` and return its services by name, in their order there.

    Its folder goes to the front of `sys.path`, and it is imported under its own name. Raises ServicesError.
    """
    return _services_in(_import(path), path)


def _import(path: Path) -> ModuleType:
    path = path.absolute()
    name = path.stem
    if not path.is_file():
        raise ServicesError(f"there is no file {path}")
    if name in sys.stdlib_module_names or name in sys.modules:
        raise ServicesError(f"{path.name} has the name of a module that others import: rename it")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ServicesError(f"{path.name} is no Python: its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = f"{Path(error.filename or path).name}, line {error.lineno}"
        raise ServicesError(f"{place}: {error.msg}: {(error.text or '').strip()}") from error
    except (Exception, SystemExit) as error:
        raise ServicesError(f"{_place_of(error, path)}: {explain(error)}{_remedy(error)}") from error
    return module


def _services_in(module: ModuleType, path: Path) -> dict[str, Loaded]:
    found: dict[str, Loaded] = {}
    for value in vars(module).values():
        service = service_of(value)
        if service is None or (service.name in found and found[service.name].function is value):
            continue
        for other in (loaded.service for loaded in found.values()):
            if service.name == other.name:
                raise ServicesError(f"{path.name} declares {service.name} twice: rename one of them")
            if service.path == other.path:
                raise ServicesError(
                    f"{path.name}: {other.name} and {service.name} are both at {service.path}: give one "
                    f'another path, @{service.kind}_service("/api/{service.name}")'
                )
        found[service.name] = Loaded(service, value)
    if not found:
        raise ServicesError(
            f"{path.name} declares no service: put @data_service, @file_service or @image_service, from "
            "snyper.services, before a function"
        )
    return found


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

"""Imports a person's file of services, and finds them in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from snyper.device.loading import LoadingError, load_file
from snyper.offload.declarations import Service, service_of


class ServicesError(LoadingError):
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
    try:
        module = load_file(path)
    except LoadingError as error:
        raise ServicesError(str(error)) from error
    return _services_in(module, path)


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

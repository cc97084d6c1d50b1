"""Services over the link: the same functions, workers and queue, for who calls them through a hub."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import Parameter, Signature
from keyword import iskeyword
from pathlib import Path
from typing import Any

from snyper.device.serving.exchange import Refusal
from snyper.device.serving.requests import disk_refusal
from snyper.gateway.service_routes import Serving
from snyper.gateway.uploads import BODY_NAME, DEFAULT_OPTIONS, FILE_NAME, file_upload
from snyper.offload.declarations import Kind, Service
from snyper.offload.work import Done, InvalidInput, Raised, Rejected, TimedOut, Work
from snyper.services.async_server import AsyncServer
from snyper.services.remote_exceptions import Busy, from_wire

_FILENAME = "filename"
_OPTIONS = "options"


@asynccontextmanager
async def at_hub(serving: Serving, hub: str, name: str) -> AsyncIterator[None]:
    """Serve the same functions as the service `name` of a hub, to consoles and devices, for the block.

    Raises Refused where the hub does not take it; ValueError for a name that is none, also of a function.
    """
    names = [service.name for service in serving.services]
    told = serving.describe
    server = AsyncServer(hub=hub, name=name, devices=True, concurrent=names, statistics=told)
    for service in serving.services:
        server.register(_function_of(server, serving, service))
    async with server:
        yield


def _function_of(server: AsyncServer, serving: Serving, service: Service) -> Callable[..., Any]:
    """Return the function that callers see, which has a worker do what it is called with."""
    signature = _signature_of(service)

    async def function(*args: object, **kwargs: object) -> object:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{service.name}{signature}: {error}") from None
        given.apply_defaults()
        taken, *_ = given.args
        tell = server.progress_of_call()
        return await _carry_out(serving, service, taken, given.arguments, tell)

    function.__name__ = function.__qualname__ = service.name
    function.__doc__ = service.doc
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _signature_of(service: Service) -> Signature:
    is_data = service.kind is Kind.DATA
    name = service.takes if is_data else service.field
    if not name.isidentifier() or iskeyword(name) or name == _FILENAME:
        name = "data" if is_data else "file"
    kind = Parameter.POSITIONAL_OR_KEYWORD
    parameters = [Parameter(name, kind)]
    if not is_data:
        parameters.append(Parameter(_FILENAME, kind, default=""))
    if service.takes_options:
        parameters.append(Parameter(_OPTIONS, kind, default=None if is_data else DEFAULT_OPTIONS))
    return Signature(parameters)


async def _carry_out(
    serving: Serving,
    service: Service,
    taken: object,
    given: dict[str, Any],
    on_progress: Callable[[float], None],
) -> object:
    """Do one call. Raises what the function raised, Busy, and WorkError where its worker was ended."""
    try:
        async with serving.places.one():
            folder = serving.spool.take()
            try:
                make = _data_work if service.kind is Kind.DATA else _file_work
                work = await _in_thread(make, service, folder, taken, given)
                return await _in_thread(_value_of, await serving.pool.run(work, on_progress))
            finally:
                serving.spool.give_back(folder)
    except Refusal as refusal:
        raise Busy(refusal.detail) from None
    except Rejected as error:
        raise InvalidInput(error.detail) from None
    except TimedOut as error:
        raise TimeoutError(error.detail) from None
    except Raised as error:
        raise _as_raised(error.detail) from None
    except OSError as error:
        raise OSError(disk_refusal(error).detail) from error


def _as_raised(detail: str) -> Exception:
    """Return the exception of the function that a worker told of: its type, a colon, its message."""
    kind, _, message = detail.partition(": ")
    if not kind.isidentifier():
        return RuntimeError(detail)
    return from_wire({"type": kind, "message": message})


async def _in_thread(function: Callable[..., Any], *args: object) -> Any:
    """Call a function in a thread, and wait for its end also where that is cancelled: it uses the folder."""
    calling = asyncio.create_task(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling])
        raise


def _data_work(service: Service, folder: Path, taken: object, given: dict[str, Any]) -> Work:
    """Make work of values: JSON in a file, as a long one over HTTP is. Raises TypeError, ValueError."""
    options = given.get(_OPTIONS)
    body = {service.takes: taken, _OPTIONS: {} if options is None else options}
    content = json.dumps(body, default=_plain, allow_nan=False).encode()
    _check_size(service, len(content))
    path = folder / BODY_NAME
    path.write_bytes(content)
    return Work(service, folder, path)


def _plain(value: Any) -> object:
    """Return what JSON has for an array of numpy's, or one of its numbers. Raises TypeError."""
    if not hasattr(value, "tolist") or isinstance(value, memoryview):
        raise TypeError(f"it takes what JSON can say and arrays of numbers, not {type(value).__name__}")
    return value.tolist()


def _file_work(service: Service, folder: Path, taken: Any, given: dict[str, Any]) -> Work:
    """Make work of a file. Raises TypeError, ValueError, OSError."""
    filename, options = given[_FILENAME], given.get(_OPTIONS, DEFAULT_OPTIONS)
    if not isinstance(filename, str) or not isinstance(options, str):
        raise TypeError(f"{_FILENAME} and {_OPTIONS} of {service.name} are text")
    try:
        content = memoryview(taken)
    except TypeError:
        raise TypeError(f"{service.name} takes the bytes of a file, not {type(taken).__name__}") from None
    _check_size(service, content.nbytes)
    with (folder / FILE_NAME).open("wb") as file:
        file.write(content)
    return file_upload(service, folder, "", filename, "", options).work


def _check_size(service: Service, size: int) -> None:
    if size > service.max_bytes:
        raise ValueError(f"{service.name} takes at most {service.max_bytes} bytes, not {size}")


def _value_of(done: Done) -> object:
    """Return what came of work: the bytes of a file, or a value."""
    return done.value if done.file is None else done.file.read_bytes()

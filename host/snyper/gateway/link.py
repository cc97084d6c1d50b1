"""Services over the link: the same functions, workers and queue, for who calls them through a hub."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from inspect import Parameter, Signature
from keyword import iskeyword
from pathlib import Path
from typing import Any

from snyper.device.inbox.limits import Limits, NoRoom
from snyper.device.serving.exchange import Refusal
from snyper.device.serving.requests import NO_ROOM_S, disk_refusal
from snyper.gateway.app import Gateway
from snyper.gateway.places import CALLED_OFF, overloaded
from snyper.gateway.service_routes import Serving
from snyper.gateway.uploads import BODY_NAME, DEFAULT_OPTIONS, FILE_NAME, file_upload
from snyper.offload.declarations import Kind, Service
from snyper.offload.idempotency import Result
from snyper.offload.jobs import Full, Job, Jobs, Request
from snyper.offload.work import InvalidInput, Raised, Rejected, TimedOut, Work
from snyper.services.async_server import AsyncServer
from snyper.services.execution import Declined
from snyper.services.remote_exceptions import Busy, from_wire

_FILENAME = "filename"
_OPTIONS = "options"


@asynccontextmanager
async def at_hub(gateway: Gateway, serving: Serving, hub: str, name: str) -> AsyncIterator[None]:
    """Serve the same functions as the service `name` of a hub, to consoles and devices, for the block. When
    `gateway` drains, calls do.

    Raises Refused where the hub does not take it; ValueError for a name that is none, also of a function.
    """
    names = [service.name for service in serving.services]
    told = serving.describe
    server = AsyncServer(hub=hub, name=name, devices=True, concurrent=names, statistics=told)
    for service in serving.services:
        server.register(_function_of(server, serving, service))
    async with server:
        gateway.on_drained(server.drain)
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
        make = _data_work if service.kind is Kind.DATA else _file_work
        make = partial(make, service, serving.limits, taken, given.arguments)
        return await _carry_out(server, serving, make)

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


async def _carry_out(server: AsyncServer, serving: Serving, make: Callable[[Path], Work]) -> object:
    """Do one call, whose work `make` makes in a folder. Raises what the function raised, WorkError where its
    worker was ended, and Declined where none has begun.
    """
    try:
        async with serving.places.one():
            job = await _begin(serving, make)
            with serving.jobs.holding(job):
                try:
                    return await _result(server, serving.jobs, job)
                finally:
                    job.is_delivered = True
    except Refusal as refusal:
        raise Declined(Busy(refusal.detail, float(refusal.headers["retry-after"]))) from None
    except NoRoom as error:
        raise Declined(Busy(str(error), float(NO_ROOM_S))) from None
    except Rejected as error:
        raise InvalidInput(error.detail) from None
    except TimedOut as error:
        raise TimeoutError(error.detail) from None
    except Raised as error:
        raise _as_raised(error.detail) from None
    except OSError as error:
        raise OSError(disk_refusal(error).detail) from error


async def _begin(serving: Serving, make: Callable[[Path], Work]) -> Job:
    """Begin a job, which has its files from then on. Raises Refusal, and what `make` raises."""
    folder = serving.spool.take()
    try:
        work = await _in_thread(make, folder)
        return serving.jobs.enter(work, Request("", "", digest=secrets.token_hex(16)))  # it joins no other
    except BaseException as error:
        serving.spool.give_back(folder)
        if isinstance(error, Full):
            raise overloaded() from None
        raise


async def _result(server: AsyncServer, jobs: Jobs, job: Job) -> object:
    """Wait for what comes of a job. Cancelled, it ends the job, which has not begun where its caller has gone
    and is not back in time. Raises Refusal, WorkError.
    """
    loop = asyncio.get_running_loop()
    job.on_progress = server.progress_of_call()
    server.when_caller_gone(jobs.return_s, lambda: loop.call_soon_threadsafe(jobs.drop_if_queued, job))
    try:
        await asyncio.wait([job.task])
    except asyncio.CancelledError:
        await jobs.cancel(job)
        raise
    if job.task.cancelled():  # before it began
        raise overloaded(CALLED_OFF)
    return await _in_thread(_value_of, job.task.result())


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


def _data_work(service: Service, limits: Limits, taken: object, given: dict[str, Any], folder: Path) -> Work:
    """Make work of values: JSON in a file, as a long one over HTTP is. Raises TypeError, ValueError, NoRoom,
    OSError.
    """
    options = given.get(_OPTIONS)
    body = {service.takes: taken, _OPTIONS: {} if options is None else options}
    content = json.dumps(body, default=_plain, allow_nan=False).encode()
    _check_size(service, len(content))
    limits.check_room(folder, len(content))
    path = folder / BODY_NAME
    path.write_bytes(content)
    return Work(service, folder, path)


def _plain(value: Any) -> object:
    """Return what JSON has for an array of numpy's, or one of its numbers. Raises TypeError."""
    if not hasattr(value, "tolist") or isinstance(value, memoryview):
        raise TypeError(f"it takes what JSON can say and arrays of numbers, not {type(value).__name__}")
    return value.tolist()


def _file_work(service: Service, limits: Limits, taken: Any, given: dict[str, Any], folder: Path) -> Work:
    """Make work of a file. Raises TypeError, ValueError, NoRoom, OSError."""
    filename, options = given[_FILENAME], given.get(_OPTIONS, DEFAULT_OPTIONS)
    if not isinstance(filename, str) or not isinstance(options, str):
        raise TypeError(f"{_FILENAME} and {_OPTIONS} of {service.name} are text")
    try:
        content = memoryview(taken)
    except TypeError:
        raise TypeError(f"{service.name} takes the bytes of a file, not {type(taken).__name__}") from None
    _check_size(service, content.nbytes)
    limits.check_room(folder, content.nbytes)
    with (folder / FILE_NAME).open("wb") as file:
        file.write(content)
    return file_upload(service, folder, "", filename, "", options).work


def _check_size(service: Service, size: int) -> None:
    if size > service.max_bytes:
        raise ValueError(f"{service.name} takes at most {service.max_bytes} bytes, not {size}")


def _value_of(result: Result) -> object:
    """Return what came of work: the bytes of a file, or a value."""
    return json.loads(result.json) if result.file is None else result.file.read_bytes()

"""What the portable tests share: expected errors, deadlines, comparison."""

import asyncio

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from snyper.shared.link import Link

DEADLINE_S = 60  # what a test waits for comes in milliseconds; on a busy machine in seconds


def raises(code: str, function: "Callable[..., object]", *args: object) -> ProtocolError:
    """Return the ProtocolError with `code` that the call raises."""
    try:
        function(*args)
    except ProtocolError as raised:
        error = raised
    else:
        raise AssertionError("no `%s` was raised" % code)
    assert error.code == code, error
    return error


async def raises_async(code: str, awaitable: "Awaitable[object]") -> ProtocolError:
    """Return the ProtocolError with `code` that awaiting raises, in time."""
    return await failed(code, begin(awaitable))


async def within(awaitable: "Awaitable[Any]") -> "Any":
    """Return what is awaited, which comes before the deadline."""
    return await asyncio.wait_for(awaitable, DEADLINE_S)


async def run_link(link: "Link") -> ProtocolError:
    """Serve a link until it ends, and all of it is gone; return why. May be cancelled."""
    closed = asyncio.Event()
    link.start(lambda link: closed.set())
    try:
        await closed.wait()
    finally:
        link.end(ProtocolError(ErrorCode.DISCONNECTED, "this side ended the link"))
        await link.let_go()
    assert link.close_error is not None
    return link.close_error


async def never_ends() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def begin(awaitable: "Awaitable[Any]") -> "asyncio.Task[Any]":
    """Start a task for `awaitable`, whose result is what it gave or the ProtocolError that it raised:
    MicroPython complains of a task that dies before somebody waits for it.
    """
    return asyncio.create_task(_outcome(awaitable))


async def _outcome(awaitable: "Awaitable[Any]") -> "Any":
    try:
        return await awaitable
    except ProtocolError as error:
        return error


async def failed(code: str, task: "asyncio.Task[Any]") -> ProtocolError:
    """Return the ProtocolError with `code` that a task of `begin` ends with."""
    error = await within(task)
    assert isinstance(error, ProtocolError), error
    assert error.code == code, error
    return error


def equal(a: object, b: object) -> bool:
    """Compare in type too, at any depth: to Python 1, 1.0 and True are the same."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return set(a) == set(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    return a == b


def fields_of(message: SocketMessage) -> "dict[str, object]":
    """Collect the fields that a message has, as one dict."""
    return {
        name: getattr(message, name)
        for name in ("type", "id", "target_id", "status", "data")
        if getattr(message, name) is not None
    }


def verdicts(items: "list[SocketMessage | ProtocolError]") -> "list[object]":
    """Describe what a parser found, to compare: a message's fields, an error's code."""
    return [fields_of(item) if isinstance(item, SocketMessage) else item.code for item in items]

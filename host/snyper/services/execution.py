"""The function of a call, carried out: what comes of it as the answer. In any thread."""

from collections.abc import Awaitable
from types import AsyncGeneratorType, GeneratorType, NoneType
from typing import TYPE_CHECKING, Any

from snyper.services.context import current_job
from snyper.services.desk import Job
from snyper.services.remote_exceptions import CallError, to_wire
from snyper.services.wire import RAISED, RETURNED, Pieces, own, refusal, reply

if TYPE_CHECKING:
    Generators = GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]
    Outcome = Pieces | Generators | Awaitable[object]  # of a function


class Declined(Exception):
    """A served function's word that it has done nothing, and `why`, which its caller gets as the server's own
    error. A caller who was away meanwhile, and comes back with the call, has it made anew.
    """

    def __init__(self, why: CallError) -> None:
        super().__init__(str(why))
        self.why = why


_VALUES = frozenset((NoneType, bool, int, float, str, bytes, list, dict, tuple))  # and nothing else


def execute(tracebacks: bool, job: Job) -> "Outcome":
    """Call the function of a call; return the answer, or what it has returned where that makes one."""
    current_job.set(job)
    try:
        value = job.member.invoke(*job.args, **job.kwargs)
        if type(value) not in _VALUES:
            if isinstance(value, GeneratorType | AsyncGeneratorType):
                return value
            if hasattr(type(value), "__await__"):
                awaitable: Awaitable[object] = value
                return awaitable
        pieces = reply(job.seq, RETURNED, value)
        return pieces if len(pieces) == 1 else own(pieces)
    except BaseException as error:  # whatever the function raises is the caller's to know
        return raised(job, error, tracebacks)
    finally:
        current_job.set(None)


async def complete(job: Job, awaitable: Awaitable[object], tracebacks: bool) -> Pieces:
    """Await what a function has returned; return the answer."""
    current_job.set(job)  # for this task
    try:
        return own(reply(job.seq, RETURNED, await awaitable))
    except BaseException as error:
        return raised(job, error, tracebacks)


def raised(job: Job, error: BaseException, tracebacks: bool) -> Pieces:
    """Return the answer to a call that has raised."""
    if isinstance(error, Declined):
        job.is_declined = True
        job.outcome = f"refused {type(error.why).__name__}: {error.why}"
        return refusal(job.seq, error.why)
    wire = to_wire(error, tracebacks)
    job.outcome = f"raised {str(wire['type']).rpartition('.')[2]}: {wire['message']}".removesuffix(": ")
    return reply(job.seq, RAISED, wire)

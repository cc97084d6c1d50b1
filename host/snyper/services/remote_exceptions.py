"""Errors of calls, and what a function raised as it travels. Pure.

    CallError           the link or the server, not what was called
      Unreachable       nobody is there
      Refused           no right, or a wrong secret
      Incompatible      another version of the protocol
      NotServed         no such name there
      Busy              the queue is full
      Locked            somebody else has the lease
      LeaseLost         the lease of the caller's own is over
      WouldDeadlock     it waits for itself
      Cancelled         somebody gave it up
      OutcomeUnknown    sent, and nobody can say whether it was carried out
      ResultGone        carried out, and its result is gone
      StreamLost        a stream ended before its end
    RemoteError         what a function raised, of a type that is not on the list of built-in ones

None of the first is an OSError or a TimeoutError: those come from a device.
"""

import json
import traceback as tracebacks
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from snyper.services import values

MAX_MESSAGE_BYTES = 4096  # of UTF-8; chosen: a screenful
MAX_TRACEBACK_BYTES = 16_384  # of its end; chosen
_MAX_NAME_CHARS = 200


class CallError(Exception):
    """An error of the link or the server. `remote` is true where the server said so."""

    remote = False


class Unreachable(CallError):
    """Nobody answers at `address`, or what answers is no server; or the connection to it was not free until
    the call's deadline, `is_connected`. Nothing was sent.
    """

    def __init__(self, address: str, why: str, is_connected: bool = False) -> None:
        super().__init__(*((address, why, True) if is_connected else (address, why)))
        self.address = address
        self.why = why
        self.is_connected = is_connected

    def __str__(self) -> str:
        if self.is_connected:
            return f"not sent to {self.address} before its deadline: {self.why}"
        return (
            f"no server answers at {self.address}: {self.why}. Is it running, is the address right, and does"
            " its firewall let the port through?"
        )


class Refused(CallError):
    """The server does not let this client in, or not do this; `why` says what to do. `code` is that of the
    protocol's error, "" where it was none.
    """

    def __init__(self, why: str, code: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.code = code


class Incompatible(CallError):
    """The two ends speak different versions of the protocol."""

    def __init__(self, here: int, there: int) -> None:
        super().__init__(here, there)
        self.here = here
        self.there = there

    def __str__(self) -> str:
        older = "this side" if self.here < self.there else "the other side"
        return f"this side speaks version {self.here} of the protocol, the other {self.there}: update {older}"


class NotServed(CallError):
    """The server serves nothing that is called `name`. `hint` is a sentence with what is meant instead."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name, hint)
        self.name = name
        self.hint = hint

    def __str__(self) -> str:
        return f"Command {self.name!r} is not registered." + (f" {self.hint}" if self.hint else "")


class Busy(CallError):
    """As many calls wait as may, or the server is ending. `by` says what is running, of whom and for how
    long. Nothing was done. It may be called again after `retry_after_s`, where the server says that.
    """

    def __init__(self, by: str, retry_after_s: float | None = None) -> None:
        super().__init__(*((by,) if retry_after_s is None else (by, retry_after_s)))
        self.by = by
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"busy: {self.by}"


class Locked(CallError):
    """The lease is another's, until then unless it is renewed. Both are aware. Nothing was done."""

    def __init__(self, holder: str, since: datetime, until: datetime, why: str = "") -> None:
        super().__init__(holder, since, until, why)
        self.holder = holder
        self.since = since
        self.until = until
        self.why = why

    def __str__(self) -> str:
        # Each in the reader's own zone.
        since, until = (f"{instant.astimezone():%H:%M:%S}" for instant in (self.since, self.until))
        return f"locked by {self.holder} since {since}, until {until}" + (f": {self.why}" if self.why else "")


class LeaseLost(CallError):
    """The lease that the call relies on is over: `by` broke it, or it ran out where that is empty."""

    def __init__(self, by: str, why: str = "") -> None:
        super().__init__(by, why)
        self.by = by
        self.why = why

    def __str__(self) -> str:
        return ": ".join(filter(None, ("the lease is lost", self.by and f"{self.by} broke it", self.why)))


class WouldDeadlock(CallError):
    """The call waits for the object from which it came. Nothing was done."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name} would wait for ever: the call that makes it has the same object, and waits for it"
        )


class Cancelled(CallError):
    """The call was given up; a function that had begun may still be running."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} was cancelled"


class OutcomeUnknown(CallError):
    """The call was sent, and nobody can say whether it was carried out. It was not sent again."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.name} was sent, and nobody can say whether it was carried out: {self.why}"


class ResultGone(CallError):
    """The call was carried out, and its result or its error is not kept any more."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name} was carried out, and its result is gone"


class StreamLost(CallError):
    """A stream was cut after `after` items. It was not begun again."""

    def __init__(self, after: int) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return f"after {self.after} items the connection broke, or no item came within its deadline"


class RemoteError(Exception):
    """An exception that a function raised there, of a type that is not on the list of built-in ones.

    `type_name` is the type's name, without its module, and `message` what it said. If the type was made from
    one on the list it is an instance of that, too: pyserial's SerialException of OSError, with its `errno`.
    """

    remote = True

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: getattr(self, name) for name in ("errno", "strerror") if hasattr(self, name)}
        made_of = (_base_name_of(type(self)), self.type_name, self.message)
        return _make_remote_error, made_of, {**state, **vars(self)}


_ERRORS_OF_CALLS: tuple[type[CallError], ...] = (
    *(CallError, Unreachable, Refused, Incompatible, NotServed, Busy, Locked, LeaseLost, WouldDeadlock),
    *(Cancelled, OutcomeUnknown, ResultGone, StreamLost),
)
_OS_ERRORS: tuple[type[OSError], ...] = (
    *(OSError, BlockingIOError, ChildProcessError, FileExistsError, FileNotFoundError, InterruptedError),
    *(IsADirectoryError, NotADirectoryError, PermissionError, ProcessLookupError, TimeoutError),
    *(ConnectionError, BrokenPipeError, ConnectionAbortedError, ConnectionRefusedError, ConnectionResetError),
)
_OTHERS: tuple[type[Exception], ...] = (
    *(Exception, ArithmeticError, FloatingPointError, OverflowError, ZeroDivisionError, AssertionError),
    *(AttributeError, BufferError, EOFError, ImportError, ModuleNotFoundError, LookupError, IndexError),
    *(KeyError, MemoryError, NameError, UnboundLocalError, ReferenceError, RuntimeError, NotImplementedError),
    *(RecursionError, SystemError, TypeError, ValueError, UnicodeError),
    *(Warning, UserWarning, DeprecationWarning, FutureWarning, RuntimeWarning),
)
_BASES = frozenset((*_OS_ERRORS, *_OTHERS)) - {Exception}
# As they are called on the wire. What is not on the list is a name after a dot, and before that its base.
_TYPES: dict[str, type[Exception]] = {
    **{kind.__name__: kind for kind in (*_OS_ERRORS, *_OTHERS)},
    **{f"snyper.{kind.__name__}": kind for kind in _ERRORS_OF_CALLS},
}
_NAMES: dict[type, str] = {
    **{kind: name for name, kind in _TYPES.items()},
    **dict.fromkeys((UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError), "UnicodeError"),
}


class _Verbatim(str):
    """A text that is its own `repr`: a KeyError shows its key so."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def to_wire(error: BaseException, traceback: bool = False) -> dict[str, object]:
    """Describe an exception as a value, for `from_wire`: type, message and perhaps what it is made of.

    The message is cut after 4 kB (MAX_MESSAGE_BYTES). With `traceback` its traceback comes as text, of which
    the last 16 kB. Raises nothing, also where the exception cannot say what it is.
    """
    kind = type(error)
    if kind in (StopIteration, StopAsyncIteration):
        # Which would end a loop of the caller's; a generator does the same.
        wire: dict[str, object] = {"type": "RuntimeError", "message": f"it raised {kind.__name__}"}
    else:
        wire = {"type": _name_of(error), "message": _message_of(error)}
        # Those of Unicode's errors would bring what could not be read along.
        if kind is _TYPES.get(str(wire["type"])) or isinstance(error, OSError):
            arguments = _arguments_of(error)
            if arguments is not None and (isinstance(error, CallError) or arguments != [wire["message"]]):
                wire["args"] = arguments
    if traceback:
        wire["traceback"] = _traceback_of(error)
    return wire


def _name_of(error: BaseException) -> str:
    kind = type(error)
    # What another server said to a function here is for that function: it is no word of this server.
    is_of_another = isinstance(error, CallError) and error.remote
    if kind in _NAMES and not is_of_another:
        return _NAMES[kind]
    name = error.type_name if isinstance(error, RemoteError) else kind.__name__
    return f"{_base_name_of(kind)}.{_clean(name)[:_MAX_NAME_CHARS]}"


def _base_name_of(kind: type) -> str:
    """Name the built-in type on the list that `kind` was made from; empty where that is any exception."""
    return next((base.__name__ for base in kind.__mro__ if base in _BASES), "")


def _message_of(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, RemoteError) else str(error)
        if isinstance(error, BaseExceptionGroup):
            inner = (f"{type(one).__name__}: {_message_of(one)}" for one in error.exceptions)
            text = f"{text}: {'; '.join(inner)}"
        return _cut(_clean(text))
    except Exception as failure:
        return f"(it cannot say what it is: its __str__ raised {type(failure).__name__})"


def _clean(text: str) -> str:
    """Make text that UTF-8 has bytes for."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _cut(text: str) -> str:
    raw = text.encode()
    if len(raw) <= MAX_MESSAGE_BYTES:
        return text
    return raw[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"


def _arguments_of(error: BaseException) -> list[object] | None:
    """Return what makes it once more, or None where that is not of values alone, has bytes, or is long."""
    arguments: list[object] = list(error.args)
    if isinstance(error, CallError):
        arguments = [_cut(_clean(one)) if isinstance(one, str) else one for one in arguments]
    if isinstance(error, OSError) and 2 <= len(arguments) <= 5:  # as OSError itself takes them apart
        names = [name for name in (error.filename, error.filename2) if name is not None]
        arguments = [error.errno, error.strerror, *names]
    try:
        buffers: list[values.Buffer] = []
        encoded = values.encode(arguments, buffers)
        is_short = not buffers and (
            isinstance(error, CallError) or len(json.dumps(encoded)) <= MAX_MESSAGE_BYTES
        )
    except Exception:
        return None
    return arguments if is_short else None


def _traceback_of(error: BaseException) -> str:
    try:
        raw = _clean("".join(tracebacks.format_exception(error))).encode()
    except Exception as failure:
        return f"(it cannot be shown: {type(failure).__name__})"
    return raw[-MAX_TRACEBACK_BYTES:].decode(errors="ignore")


def from_wire(data: object, call: str = "", server: str = "") -> Exception:
    """Make the exception that `to_wire` described, with `remote` and a note that names call and server.

    Raises nothing: whatever is no such description becomes a RemoteError.
    """
    fields = data if isinstance(data, dict) else {}
    error = _make(fields)
    error.remote = True  # type: ignore[attr-defined]
    if call or server:
        error.add_note("raised" + (f" by {call}" if call else "") + (f" at {server}" if server else ""))
    if type(fields.get("traceback")) is str:
        error.add_note("there:\n" + fields["traceback"][-MAX_TRACEBACK_BYTES:].rstrip())
    return error


def _make(fields: dict[Any, Any]) -> Exception:
    name, message = fields.get("type"), fields.get("message")
    if type(name) is not str or type(message) is not str:
        return RemoteError("unknown", "the server described an error in words that are not known here")
    arguments = fields.get("args")
    error = _make_of(name, arguments if type(arguments) is list else None, message)
    try:
        str(error)
        repr(error)
    except Exception:  # an integer of too many digits, a day before the first
        return RemoteError(name, message)
    return error


def _make_of(name: str, arguments: list[Any] | None, message: str) -> Exception:
    kind = _TYPES.get(name)
    if kind is None:
        return _make_unknown(name, arguments, message)
    if issubclass(kind, CallError):
        return _make_error_of_call(kind, arguments, message)
    if issubclass(kind, OSError):
        return _make_os_error(kind, arguments, message)
    if arguments is not None:
        return kind(*arguments)
    return kind(_Verbatim(message) if kind is KeyError else message)


def _make_unknown(name: str, arguments: list[Any] | None, message: str) -> Exception:
    base, _, last = name.rpartition(".")
    if base == "snyper":  # a newer server has more errors of calls
        return CallError(f"{last}: {message}")
    error = _make_remote_error(base, last[:_MAX_NAME_CHARS], message)
    if isinstance(error, OSError) and arguments is not None:
        error.errno, error.strerror = [*arguments, None, None][:2]
    return error


@cache
def _remote_kind(base_name: str) -> type[RemoteError]:
    return type(RemoteError.__name__, (RemoteError, _TYPES[base_name]), {"__module__": __name__})


def _make_remote_error(base_name: str, type_name: str, message: str) -> RemoteError:
    base = _TYPES.get(base_name)
    if base not in _BASES:
        return RemoteError(type_name, message)
    error = _remote_kind(base_name)(type_name, message)
    if isinstance(error, OSError):
        error.errno = error.strerror = None  # for which it took name and message
    return error


# What each is made of, where that is more than a text.
_FIELDS: dict[type[CallError], tuple[type, ...]] = {
    Incompatible: (int, int),
    LeaseLost: (str, str),
    Locked: (str, datetime, datetime, str),
    NotServed: (str, str),
    OutcomeUnknown: (str, str),
    StreamLost: (int,),
    Unreachable: (str, str),
}
_MORE: dict[type[CallError], tuple[type, ...]] = {Busy: (float,), Unreachable: (bool,)}  # may be left out


def _make_error_of_call(kind: type[CallError], arguments: list[Any] | None, message: str) -> CallError:
    fields = _FIELDS.get(kind, (str,))
    if arguments is None or tuple(map(type, arguments)) not in (fields, fields + _MORE.get(kind, ())):
        return CallError(message)
    make: Callable[..., CallError] = kind
    return make(*arguments)


def _make_os_error(kind: type[OSError], arguments: list[Any] | None, message: str) -> OSError:
    """Make it of the very type: OSError chooses another by the number, which means another here."""
    if arguments is None or len(arguments) > 4:
        return kind(message)
    if len(arguments) < 2:
        return kind(*arguments)
    error = kind()
    error.args = tuple(arguments[:2])
    # Each is shown once it is set, were it to None.
    for name, value in zip(("errno", "strerror", "filename", "filename2"), arguments, strict=False):
        setattr(error, name, value)
    return error

"""What a function raised there, as it arrives here; and the errors of calls themselves."""

import asyncio
import builtins
import copy
import errno
import json
import pickle
import re
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import snyper
from snyper.services import remote_exceptions, values
from snyper.services.remote_exceptions import (
    MAX_MESSAGE_BYTES,
    MAX_TRACEBACK_BYTES,
    Busy,
    CallError,
    Cancelled,
    Incompatible,
    Locked,
    NotServed,
    OutcomeUnknown,
    Refused,
    RemoteError,
    ResultGone,
    StreamLost,
    Unreachable,
    WouldDeadlock,
    from_wire,
    to_wire,
)

NOON = datetime(2025, 7, 25, 12, tzinfo=UTC)
ERRORS_OF_CALLS = [
    Busy("too much", 1.0),
    Unreachable("192.168.1.10:4440", "connection refused"),
    Unreachable("192.168.1.10:4440", "other calls had the connection", is_connected=True),
    Refused("the secret is another"),
    Incompatible(1, 2),
    NotServed("hello"),
    NotServed("helo", "Did you mean 'hello'?"),
    Busy("read() of lab-pc3, running 12 s"),
    Locked("lab-pc3", NOON, NOON, "cooldown"),
    WouldDeadlock("read"),
    Cancelled("read"),
    OutcomeUnknown("read", "the server was restarted"),
    ResultGone("read"),
    StreamLost(7),
    CallError("something new"),
]


def test_every_error_of_calls_can_be_caught_by_its_name() -> None:
    kinds: list[type[Exception]] = [CallError, *CallError.__subclasses__(), RemoteError]
    for kind in kinds:
        assert getattr(snyper, kind.__name__) is kind
        assert kind.__name__ in snyper.__all__


class RangeError(Exception):
    pass


def travelled(error: BaseException) -> Exception:
    """Send an exception as the value that it is, which has no bytes of its own."""
    told = values.encode(to_wire(error), [])
    return from_wire(values.decode(json.loads(json.dumps(told, allow_nan=False, ensure_ascii=False)), ()))


def raised_by(code: str) -> BaseException:
    """Return what Python itself raises, with all that it has beside its message."""
    try:
        eval(code)
    except Exception as error:
        return error
    raise AssertionError(code)


def lines_of(error: BaseException) -> str:
    return "\n".join((type(error).__name__, str(error), repr(error)))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of range"),
        ValueError(),
        ValueError("out of range", 7),
        KeyError("channel"),
        KeyError("'"),
        KeyError(3),
        KeyError((1, 2)),
        IndexError("list index out of range"),
        ZeroDivisionError("division by zero"),
        OverflowError(34, "Numerical result out of range"),
        NotImplementedError(),
        MemoryError(),
        AssertionError("x"),
        EOFError("x"),
        BufferError("x"),
        ImportError("no pyvisa", name="pyvisa"),
        RuntimeWarning("x"),
        Exception("x"),
        OSError("no number"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ENOENT, "No such file or directory", "/dev/ttyACM0"),
        OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"),
        TimeoutError("timed out"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        raised_by("{}['a']"),
        raised_by("[][1]"),
        raised_by("None.read()"),
        raised_by("int('x')"),
        raised_by("1 / 0"),
        raised_by("open('/nowhere/at/all')"),
        raised_by("len(1, 2)"),
        raised_by("undefined"),
    ],
)
def test_a_built_in_exception_arrives_as_at_home(error: Exception) -> None:
    arrived = travelled(error)
    assert type(arrived) is type(error)
    assert lines_of(arrived) == lines_of(error)
    assert getattr(arrived, "remote", False) is True
    if isinstance(error, OSError) and isinstance(arrived, OSError):
        assert (arrived.errno, arrived.strerror) == (error.errno, error.strerror)
        assert (arrived.filename, arrived.filename2) == (error.filename, error.filename2)


def test_a_file_that_is_named_by_its_path_arrives_by_its_text() -> None:
    arrived = travelled(OSError(errno.ENOENT, "No such file", Path("data")))
    assert str(arrived) == f"[Errno {errno.ENOENT}] No such file: 'data'"


def test_an_oserror_keeps_its_type_whatever_its_number_means_here() -> None:
    wire = {"type": "OSError", "message": "x", "args": [errno.ENOENT, "x"]}
    assert type(from_wire(wire)) is OSError


def test_every_exception_that_python_has_arrives_or_is_told() -> None:
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, BaseException):
            try:
                error = kind("x")
            except TypeError:
                continue  # those of Unicode, and groups
            arrived = travelled(error)
            assert isinstance(arrived, Exception)
            assert not isinstance(arrived, StopIteration | StopAsyncIteration)
            assert type(arrived) is kind or kind.__name__ in str(arrived)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_ends_a_program_there_ends_none_here(kind: type[BaseException]) -> None:
    arrived = travelled(kind("x"))
    assert type(arrived) is RemoteError
    assert (arrived.type_name, arrived.message) == (kind.__name__, "x")


@pytest.mark.parametrize("error", [StopIteration(3), StopAsyncIteration()])
def test_what_ends_a_loop_there_ends_none_here(error: Exception) -> None:
    arrived = travelled(error)
    assert type(arrived) is RuntimeError
    assert str(arrived) == f"it raised {type(error).__name__}"


def test_what_could_not_be_decoded_stays_there() -> None:
    for error in (raised_by(r"b'secret\xff'.decode()"), raised_by(r"'\ud800'.encode()")):
        assert "args" not in to_wire(error)
        arrived = travelled(error)
        assert type(arrived) is UnicodeError
        assert str(arrived) == str(error)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (RangeError("too high"), "RangeError"),
        (subprocess.SubprocessError("too high"), "SubprocessError"),
        (type("Busy", (Exception,), {})("too high"), "Busy"),
        (type("ValueError", (Exception,), {})("too high"), "ValueError"),
    ],
)
def test_any_other_arrives_by_its_name(error: Exception, name: str) -> None:
    arrived = travelled(error)
    assert isinstance(arrived, RemoteError)
    assert (arrived.type_name, arrived.message) == (name, "too high")
    assert str(arrived) == f"{name}: too high"
    assert not isinstance(arrived, CallError)


@pytest.mark.parametrize("error", ERRORS_OF_CALLS)
def test_an_error_of_the_server_arrives_with_all_that_it_says(error: CallError) -> None:
    assert error.remote is False
    arrived = travelled(error)
    assert type(arrived) is type(error)
    assert lines_of(arrived) == lines_of(error)
    assert vars(arrived) == {**vars(error), "remote": True}


@pytest.mark.parametrize("error", [*ERRORS_OF_CALLS, RemoteError("RangeError", "too high")])
def test_errors_of_ours_can_be_copied_and_pickled(error: Exception) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert lines_of(other) == lines_of(error)
        assert vars(other) == vars(error)


@pytest.mark.parametrize("kind", [type(error) for error in ERRORS_OF_CALLS])
def test_no_error_of_the_link_is_one_that_a_device_may_raise(kind: type[CallError]) -> None:
    assert issubclass(kind, CallError)
    assert [base for base in kind.__mro__ if base.__module__ == "builtins"] == [
        Exception,
        BaseException,
        object,
    ]


def test_what_another_server_said_to_a_function_is_no_word_of_this_one() -> None:
    there = travelled(Busy("somebody"))
    arrived = travelled(there)
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == "Busy"
    further = travelled(arrived)
    assert lines_of(further) == lines_of(arrived)


def test_a_note_names_the_call_and_the_server() -> None:
    arrived = from_wire(to_wire(ValueError("x")), "read_voltage()", "192.168.1.10:4440")
    assert arrived.__notes__ == ["raised by read_voltage() at 192.168.1.10:4440"]
    assert not hasattr(travelled(ValueError("x")), "__notes__")


def test_a_traceback_goes_only_where_it_is_wanted() -> None:
    error = raised_by("{}['channel']")
    assert "traceback" not in to_wire(error)
    arrived = from_wire(to_wire(error, traceback=True))
    (note,) = arrived.__notes__
    assert note.startswith("there:\nTraceback")
    assert note.endswith("KeyError: 'channel'")


def test_of_a_long_traceback_the_end_goes() -> None:
    wire = to_wire(ValueError("x" * 100_000 + "end"), traceback=True)
    assert str(wire["traceback"]).endswith("end\n")
    assert len(str(wire["traceback"])) == MAX_TRACEBACK_BYTES


@pytest.mark.parametrize("character", ["x", "\u4e2d", "\U0001f3af"])
def test_a_long_message_is_cut(character: str) -> None:
    for error in (ValueError(character * 5000), KeyError(character * 5000), RangeError(character * 5000)):
        wire = to_wire(error)
        assert MAX_MESSAGE_BYTES - 4 < len(str(wire["message"]).encode()) <= MAX_MESSAGE_BYTES
        assert str(wire["message"]).endswith("…")
        assert len(json.dumps(wire, ensure_ascii=False).encode()) < 2 * MAX_MESSAGE_BYTES
        assert str(wire["message"]) in str(from_wire(wire))


@pytest.mark.parametrize("error", [KeyError(7**5500), Locked("lab-pc3", datetime.min, datetime.max)])
def test_what_cannot_be_shown_here_is_told(error: Exception) -> None:
    wire = to_wire(error)
    assert "args" in wire
    arrived = travelled(error)
    assert isinstance(arrived, RemoteError)
    assert str(wire["message"]) in lines_of(arrived)


def test_a_group_says_what_is_in_it() -> None:
    inner = ExceptionGroup("two", [KeyError("a"), RangeError("too high")])
    arrived = travelled(ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("x"), inner]))
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == "ExceptionGroup"
    assert arrived.message == (
        "unhandled errors in a TaskGroup (2 sub-exceptions): ValueError: x; "
        "ExceptionGroup: two (2 sub-exceptions): KeyError: 'a'; RangeError: too high"
    )


def test_an_exception_that_cannot_say_what_it_is_travels() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Odd(Exception):
        def __str__(self) -> str:
            return 3  # type: ignore[return-value]

    for kind, why in ((Broken, "RuntimeError"), (Odd, "TypeError")):
        arrived = travelled(kind())
        assert isinstance(arrived, RemoteError)
        assert arrived.type_name == kind.__name__
        assert arrived.message == f"(it cannot say what it is: its __str__ raised {why})"
        assert isinstance(from_wire(to_wire(kind(), traceback=True)), RemoteError)


def test_the_page_shows_what_goes_over_the_wire() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    section = page.split("\n### Exceptions\n")[1].split("\n## ")[0]
    (sample,) = re.findall(r"`({.*?})`", section)
    assert json.loads(sample) == to_wire(KeyError("channel"))
    fields = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert fields == [*to_wire(KeyError("channel"), traceback=True)]
    names = re.findall(r"`(\w*\.\w+)`", section.split("before that:")[1].splitlines()[0])
    for name in names:
        base, _, last = name.rpartition(".")
        error = type(last, (getattr(builtins, base or "Exception"),), {})("x")
        assert to_wire(error)["type"] == name
    assert len(names) == 2


# --- whatever comes

NAMES = [
    *remote_exceptions._TYPES,
    ".X",
    "OSError.X",
    "KeyError.X",
    "X.Y",
    "",
    "snyper.New",
    "SystemExit",
    "os.system",
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
# Python shows no integer of so many digits, and no clock a day before the first.
ODD = st.just(6000).map(lambda power: 7**power) | st.just(datetime.min) | st.datetimes() | st.binary()
VALUES = st.recursive(
    PLAIN | ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)
FIELDS = {
    "type": st.sampled_from(NAMES) | VALUES,
    "message": st.text(max_size=20) | VALUES,
    "args": st.lists(VALUES, max_size=5) | VALUES,
    "traceback": st.text(max_size=20) | VALUES,
}


@given(VALUES | st.fixed_dictionaries({}, optional=FIELDS))
def test_whatever_comes_is_an_exception(data: Any) -> None:
    error = from_wire(data, "read()", "lab1")
    assert isinstance(error, Exception)
    assert error.remote is True  # type: ignore[attr-defined]
    assert "raised by read() at lab1" in error.__notes__
    lines_of(error)


@given(
    st.sampled_from([ValueError, KeyError, OSError, BlockingIOError, RangeError]),
    st.lists(st.text() | PLAIN | st.binary(), max_size=6),
)
def test_whatever_was_raised_prints_as_at_home(kind: type[Exception], arguments: list[Any]) -> None:
    try:
        error = kind(*arguments)
    except (TypeError, ValueError):
        return
    arrived = travelled(error)
    expected = f"RangeError: {error}".removesuffix(": ") if kind is RangeError else str(error)
    assert str(arrived) == expected


@pytest.mark.parametrize("character", ["x", "\u4e2d"])
def test_a_long_text_of_an_error_of_calls_is_cut(character: str) -> None:
    arrived = travelled(Locked("lab-pc3", NOON, NOON, character * 5000))
    assert isinstance(arrived, Locked)
    assert MAX_MESSAGE_BYTES - 4 < len(arrived.why.encode()) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "data", [None, [], {}, {"type": "ValueError"}, {"type": 1, "message": "x"}, "ValueError"]
)
def test_what_is_no_description_is_a_remote_error(data: object) -> None:
    assert isinstance(from_wire(data), RemoteError)


def test_an_error_of_a_newer_server_is_an_error_of_calls() -> None:
    arrived = from_wire({"type": "snyper.Overheated", "message": "too hot"})
    assert type(arrived) is CallError
    assert str(arrived) == "Overheated: too hot"


def test_an_error_of_a_server_with_other_fields_keeps_its_message() -> None:
    arrived = from_wire({"type": "snyper.Locked", "message": "locked by somebody", "args": ["somebody"]})
    assert type(arrived) is CallError
    assert str(arrived) == "locked by somebody"


class SerialException(IOError):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "number"),
    [
        (socket.gaierror(-2, "Name or service not known"), OSError, -2),
        (SerialException("device disconnected"), OSError, None),
        (SerialException(errno.EIO, "Input/output error"), OSError, errno.EIO),
        (json.JSONDecodeError("no value", "x", 0), ValueError, None),
        (type("NoSuchChannel", (KeyError,), {})("A"), KeyError, None),
        (type("Last", (StopIteration,), {})(), Exception, None),
        (type("Closed", (ConnectionResetError,), {})("x"), ConnectionResetError, None),
    ],
)
def test_what_was_made_from_a_built_in_type_is_caught_as_such(
    error: Exception, kind: type[Exception], number: int | None
) -> None:
    for arrived in (
        travelled(error),
        travelled(travelled(error)),
        pickle.loads(pickle.dumps(travelled(error))),
    ):
        assert isinstance(arrived, RemoteError)
        assert isinstance(arrived, kind)
        assert not isinstance(arrived, StopIteration)
        assert (arrived.type_name, arrived.message) == (type(error).__name__, str(error))
        assert getattr(arrived, "errno", None) == number
        assert getattr(arrived, "strerror", None) == getattr(error, "strerror", None)
        assert str(arrived).startswith(type(error).__name__)
        assert repr(arrived).startswith("RemoteError(")


def test_every_built_in_type_can_be_made_another() -> None:
    for base in remote_exceptions._BASES:
        error = type("Other", (base,), {})("x")
        arrived = travelled(error)
        assert isinstance(arrived, RemoteError)
        assert isinstance(arrived, base)
        assert str(arrived) == f"Other: {error}"
        assert copy.copy(arrived).args == arrived.args

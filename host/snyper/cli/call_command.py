"""`snyper call` and `snyper stubs`: a server of functions and objects, from a shell."""

import contextlib
import math
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from snyper.cli.output import err, fail
from snyper.cli.send_command import value_of
from snyper.client.environment import line_of, secret
from snyper.services import CallError, Client, Refused, RemoteError, Unreachable, deadline
from snyper.services.client import caller_of
from snyper.services.client_stream import RemoteStream
from snyper.services.stubs import stubs as text_of
from snyper.services.wire import DESCRIBE, PORT, RUNNING
from snyper.shared.address import parse_address
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_HUB
from snyper.system.streams import print_json

SECRET_VARIABLE = "SNYPER_SECRET"
SECRET_FILE_VARIABLE = "SNYPER_SECRET_FILE"
_CONNECT_S = 3.0  # that a server has to answer


def server_address(text: str) -> tuple[str, int]:
    """Parse HOST or HOST:PORT of a server, or end the command with wrong usage."""
    with contextlib.suppress(ValueError):
        return parse_address(f"{text}:{PORT}")
    try:
        return parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Address = Annotated[
    str,
    typer.Argument(metavar="ADDRESS", help=f"Of the server: HOST or HOST:PORT; else its port is {PORT}."),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        envvar=SECRET_FILE_VARIABLE,
        metavar="FILE",
        help=f"What holds the server's secret; else the variable {SECRET_VARIABLE} does.",
    ),
]


def call(
    address: Address,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What is called; a property is get_NAME.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VALUE...] [KEY=VALUE...]", help="What it takes, as JSON or else as text."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="How long it may take; else as long as it does."),
    ] = None,
    secret_file: SecretFile = None,
) -> None:
    """Call a function or a method that a server serves, and show what it returns as JSON.

    Of what yields many values each is a line. `snyper call lab1 read_voltage samples=20`
    """
    args, kwargs = parse(arguments or [])
    with _connected(address, secret_file) as client, _limited(timeout):
        value = client.call(name, *args, **kwargs)
        if isinstance(value, RemoteStream):
            for item in value:
                print_json(as_json(item))
        else:
            print_json(as_json(value))


def stubs(address: Address, secret_file: SecretFile = None) -> None:
    """Write what a server serves as a .pyi, for type checkers and editors: `snyper stubs lab1 > lab.pyi`"""
    with _connected(address, secret_file) as client:
        text = text_of(caller_of(client).ask(DESCRIBE))
    sys.stdout.write(text)
    sys.stdout.flush()


def parse(words: list[str]) -> tuple[list[object], dict[str, object]]:
    """Parse [VALUE...] [KEY=VALUE...]. Raises BadParameter, which shows the word that is wrong."""
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for text in words:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            if kwargs:
                raise typer.BadParameter(f"{text} is no KEY=VALUE: values without a name come first")
            args.append(value_of(text))
        elif key in kwargs:
            raise typer.BadParameter(f"{key} stands twice")
        else:
            kwargs[key] = value_of(value)
    return args, kwargs


def as_json(value: Any) -> object:
    """Return a value as JSON shows it: tuples, sets and arrays as lists, bytes in hexadecimal digits,
    intervals in seconds; what else JSON has no value for as text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "tolist"):  # an array, or a scalar of one
        return as_json(value.tolist())
    return str(value)


@contextlib.contextmanager
def _connected(address: str, secret_file: Path | None) -> Iterator[Any]:
    """Give a client of a server that answers; end the command with a message and a status for what goes
    wrong.
    """
    host, port = server_address(address)
    try:
        if secret_file is None:
            word = secret(SECRET_VARIABLE)
        else:
            word = line_of(secret_file, SECRET_FILE_VARIABLE, "secret")
        with Client(address=host or "localhost", port=port, secret=word or None) as client:
            with deadline(_CONNECT_S):
                caller_of(client).ask(RUNNING)
            yield client
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Unreachable as error:
        fail(f"{error}: give HOST:PORT of one that runs", EXIT_NO_HUB)
    except Refused as error:
        fail(f"{error}; {SECRET_VARIABLE} or --secret-file says it", EXIT_FAILED)
    except (CallError, RemoteError) as error:
        fail(str(error), EXIT_FAILED)
    except typer.Exit:
        raise
    except Exception as error:
        if not getattr(error, "remote", False) and not isinstance(error, OSError | ValueError):
            raise
        fail(
            f"{type(error).__name__}: {error}" if getattr(error, "remote", False) else str(error), EXIT_FAILED
        )


def _limited(timeout_s: float | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if timeout_s is None else deadline(timeout_s)

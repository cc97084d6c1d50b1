"""`snyper call` and `snyper stubs`: a server of functions and objects, from a shell."""

import asyncio
import contextlib
import math
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import typer

from snyper.cli.call_files import check_free, content_of, file_named, filename_for, save
from snyper.cli.commands import hub_address
from snyper.cli.output import err, fail
from snyper.cli.send_command import value_of
from snyper.client import DEFAULT_HUB, connect
from snyper.client.environment import line_of, secret
from snyper.services import CallError, Client, Refused, RemoteError, Unreachable, deadline
from snyper.services.client import caller_of
from snyper.services.client_stream import RemoteStream
from snyper.services.stubs import stubs as text_of
from snyper.services.wire import DESCRIBE, PORT, RUNNING
from snyper.shared.address import parse_address
from snyper.shared.socket_protocol import ProtocolError, is_target_id
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_HUB
from snyper.system.streams import print_json

SECRET_VARIABLE = "SNYPER_SECRET"
SECRET_FILE_VARIABLE = "SNYPER_SECRET_FILE"
_CONNECT_S = 3.0  # that a server has to answer


def place_options(text: str, hub: str | None) -> dict[str, Any]:
    """Return the options of a client for HOST or HOST:PORT of a server, or the NAME of a service; end the
    command with wrong usage for what is neither.

    What may be both is the name of a service where `hub`, or without one the hub on this computer, knows it;
    a word without a dot is one for certain where there is a `hub`.
    """
    if is_target_id(text) and text != "localhost" and not _is_ip_address(text):
        if hub is not None and "." not in text:
            return {"hub": hub, "name": text}
        if asyncio.run(_is_known(text, hub or DEFAULT_HUB)):
            return {"hub": hub or DEFAULT_HUB, "name": text}
    host, port = _server_address(text)
    return {"address": host or "localhost", "port": port}


def _is_ip_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ip_address(text))
    return False


async def _is_known(name: str, hub: str) -> bool:
    """Tell whether that hub, if there is one, knows a service of that name."""
    try:
        async with connect(hub) as console:
            return any(service.target_id == name for service in await console.services())
    except (ProtocolError, ValueError):
        return False


def _server_address(text: str) -> tuple[str, int]:
    with contextlib.suppress(ValueError):
        return parse_address(f"{text}:{PORT}")
    try:
        return parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


ServerPlace = Annotated[
    str,
    typer.Argument(
        metavar="SERVER",
        help=f"HOST or HOST:PORT of the server, whose port else is {PORT}; or its NAME at a hub.",
    ),
]
ServiceHub = Annotated[
    str | None,
    typer.Option(
        "--hub",
        envvar="SNYPER_HUB",
        metavar="[tls://]HOST:PORT",
        help="The hub that knows the server by its name; else the one on this computer is asked.",
        callback=lambda text: text and hub_address(text),
    ),
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
    server: ServerPlace,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What is called; a property is get_NAME.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VALUE...] [KEY=VALUE...]",
            help="What it takes, as JSON or else as text; @FILE is what a file holds.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="How long it may take; else as long as it does."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where the bytes go that it returns, else beside, as processed_NAME of a @FILE.",
            dir_okay=False,
        ),
    ] = None,
    hub: ServiceHub = None,
    secret_file: SecretFile = None,
) -> None:
    """Call a function or a method that a server serves, and show what it returns as JSON.

    Of what yields many values each is a line. `snyper call lab1 read_voltage samples=20`
    Files go there and back: `snyper call laptop resize image=@a.jpg --out small.jpg`
    """
    args, kwargs = parse(arguments or [])
    sent = [value for value in (*args, *kwargs.values()) if isinstance(value, Path)]
    if to is not None:
        check_free(to)
    args = [content_of(value) for value in args]
    named = {key: content_of(value) for key, value in kwargs.items()}
    with connected_server(server, hub, secret_file) as client, _limited(timeout):
        if len(sent) == 1:
            named |= filename_for(caller_of(client).ask(DESCRIBE), name, sent[0], named)
        value = client.call(name, *args, **named)
        if isinstance(value, RemoteStream):
            for item in value:
                print_json(as_json(item))
            return
        is_file = isinstance(value, bytes | bytearray)
        saved = save(bytes(value), to, sent) if is_file else None
        print_json(as_json(value) if saved is None else str(saved))
    if to is not None and saved is None:
        err.print(f"it returned no bytes: there is no {to}", soft_wrap=True)


def stubs(server: ServerPlace, hub: ServiceHub = None, secret_file: SecretFile = None) -> None:
    """Write what a server serves as a .pyi, for type checkers and editors: `snyper stubs lab1 > lab.pyi`"""
    with connected_server(server, hub, secret_file) as client:
        text = text_of(caller_of(client).ask(DESCRIBE))
    sys.stdout.write(text)
    sys.stdout.flush()


def parse(words: list[str]) -> tuple[list[object], dict[str, object]]:
    """Parse [VALUE...] [KEY=VALUE...], where @FILE is the Path of a file. Raises BadParameter, which shows
    the word that is wrong.
    """
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for text in words:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            if kwargs:
                raise typer.BadParameter(f"{text} is no KEY=VALUE: values without a name come first")
            args.append(_value_of(text))
        elif key in kwargs:
            raise typer.BadParameter(f"{key} stands twice")
        else:
            kwargs[key] = _value_of(value)
    return args, kwargs


def _value_of(text: str) -> object:
    return file_named(text) if text.startswith("@") else value_of(text)


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
        plain = value.tolist()
        return str(value) if type(plain) is type(value) else as_json(plain)  # Python has no long double
    return str(value)


@contextlib.contextmanager
def connected_server(server: str, hub: str | None, secret_file: Path | None) -> Iterator[Any]:
    """Give a client of a server that answers; end the command with a message and a status for what goes
    wrong.
    """
    try:
        options = place_options(server, hub)
        if secret_file is None:
            word = secret(SECRET_VARIABLE)
        else:
            word = line_of(secret_file, f"--secret-file or {SECRET_FILE_VARIABLE}", "secret")
        with Client(**options, secret=word or None) as client:
            with deadline(_CONNECT_S):
                caller_of(client).ask(RUNNING)
            yield client
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Unreachable as error:
        fail(f"{error} Give the HOST:PORT of one, or the name of a service of a hub", EXIT_NO_HUB)
    except Refused as error:
        is_of_secret = "secret" in str(error)  # else it is of a key, to the hub
        hint = f"; {SECRET_VARIABLE} or --secret-file says it" if is_of_secret else ""
        fail(f"{error}{hint}", EXIT_FAILED)
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

"""Options and error handling that all commands to a hub share."""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from snyper.cli.output import err, fail
from snyper.client import NoHubError, ReconnectingClient, TargetError
from snyper.client.labels import plural
from snyper.shared.address import parse_address, parse_hub
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    ErrorCode,
    ProtocolError,
    is_target_id,
    is_target_selector,
)
from snyper.shared.stream_spec import checked_name
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_HUB, ended_by_signals
from snyper.system.text import one_line

T = TypeVar("T")


class Engine(StrEnum):
    """The runtimes that run the firmware."""

    MICROPYTHON = "micropython"
    CPYTHON = "cpython"


def address(text: str) -> str:
    """Check HOST:PORT, or end with wrong usage."""
    try:
        parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def hub_address(text: str) -> str:
    """Check HOST:PORT or tls://HOST:PORT, or end with wrong usage."""
    try:
        parse_hub(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def stream_name(text: str) -> str:
    """Check a stream's name, SOURCE/STREAM, or end the command with wrong usage."""
    source, slash, name = text.partition("/")
    if not slash:
        raise typer.BadParameter(f"{text} is no stream: SOURCE/STREAM, as `snyper stream list` shows them")
    try:
        checked_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not is_target_id(source):
        raise typer.BadParameter(f"{text} is no stream: `snyper stream list` shows which there are")
    return text


def selector(text: str) -> str:
    """Check a selector (a name, `group:NAME`, `all`), or end the command with wrong usage."""
    if not is_target_selector(text):
        raise typer.BadParameter(f"{text} is no target's name, group:NAME or all")
    return text


def one_target(text: str) -> str:
    """Return what a command to one target takes, or end with wrong usage."""
    if not is_target_id(text) or text == ALL_TARGETS:
        raise typer.BadParameter(f"{text} is not one target's name: `snyper targets` lists them")
    return text


HubOption = Annotated[
    str,
    typer.Option(
        "--hub",
        envvar="SNYPER_HUB",
        metavar="[tls://]HOST:PORT",
        help="The hub; with TLS where tls:// is written before it.",
        callback=hub_address,
    ),
]
OneTarget = Annotated[str, typer.Argument(help="A target's name.", metavar="TARGET", callback=one_target)]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, everything else on stderr.")]


def warn_of_losses(client: ReconnectingClient, hub: str) -> None:
    """Say on stderr when `client` loses its hub, and when it has it again."""
    is_lost = False

    def on_state(state: str) -> None:
        nonlocal is_lost
        if state == SessionState.WAITING and client.last_error is not None and not is_lost:
            is_lost = True
            why = one_line(client.last_error.message)
            err.print(f"the hub at {hub} is lost ({why}): this goes on when it is back")
        elif state == SessionState.CONNECTED and is_lost:
            is_lost = False
            err.print(f"the hub at {hub} is back")

    client.on_state(on_state)


def warn_of_gap(missed: int | None) -> None:
    """Say on stderr how many events the hub has no more; None where nobody knows."""
    if missed is None:
        err.print("the hub counts its events anew: the last ones before that may be missing")
    else:
        err.print(f"{plural(missed, 'event')} missing: the hub has no more of them")


def run(
    work: Coroutine[Any, Any, T],
    hub: str | None = None,
    until_ctrl_c: bool = False,
    on_ctrl_c: str = "stopped",
) -> T:
    """Run `work`, and end the command with a message and an exit status for what goes wrong."""
    try:
        return asyncio.run(ended_by_signals(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print(on_ctrl_c)
        raise typer.Exit(0 if until_ctrl_c else EXIT_INTERRUPTED) from None
    except NoHubError as error:
        why = f"no hub at {hub} ({error.message})"
        fail(f"{why}: start one with `snyper hub`, or name it with --hub", EXIT_NO_HUB)
    except TargetError as error:
        fail(f"{error.target_id}: {error}", EXIT_FAILED)
    except ProtocolError as error:
        _fail_with(error, hub)
    except (OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)


def _fail_with(error: ProtocolError, hub: str | None) -> NoReturn:
    if error.code == ErrorCode.UNKNOWN_TARGET:
        listed = "services" if error.message.startswith("no service ") else "targets"
        if error.message.startswith(("no source ", "no stream ")):
            listed = "stream list"
        fail(f"{error.message}: `snyper {listed}` lists them", EXIT_FAILED)
    if error.code in (ErrorCode.DISCONNECTED, ErrorCode.TIMEOUT):
        fail(f"the hub at {hub} is lost: {error.message}", EXIT_NO_HUB)
    fail(f"the hub at {hub} refuses: {error}", EXIT_FAILED)

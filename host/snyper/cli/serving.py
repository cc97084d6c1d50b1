"""The start and the end of commands that serve HTTP, and the options of all of them."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from snyper.cli.commands import address
from snyper.cli.output import err, fail
from snyper.client.addresses import is_loopback
from snyper.client.environment import line_of, secret
from snyper.device.loading import LoadingError
from snyper.device.logs import log_to_stderr
from snyper.device.serving.listening import load_certificate, urls
from snyper.services.remote_exceptions import Refused
from snyper.shared.address import parse_address
from snyper.shared.config import Integer
from snyper.system.limits import complete_limits
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ended_by_signals, loading

if TYPE_CHECKING:
    from snyper.gateway.app import Face

KEY_VARIABLE = "SNYPER_SERVICE_KEY"


def addresses(given: list[str]) -> list[str]:
    """Check what is listened on, or end with wrong usage."""
    return [address(one) for one in given]


KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Serve only who sends the key in this file; by default that in SNYPER_SERVICE_KEY.",
        dir_okay=False,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Let everybody in who reaches it, without a key.")]
Certificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Serve HTTPS with this certificate (PEM).", dir_okay=False),
]
CertificateKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The certificate's key, if it is in a file of its own.", dir_okay=False
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=NUMBER", help="Another limit than the default; may be repeated."),
]


@dataclass(frozen=True)
class Access:
    """The rules of who may reach a server, as the options say them."""

    key_file: Path | None
    is_open: bool
    certificate: Path | None
    certificate_key: Path | None
    has_more_keys: bool = False  # which a face has, and asks for


@dataclass(frozen=True)
class Server:
    """A server that has its sockets, if it is to have any, and serves nothing yet."""

    socks: Sequence[socket]
    tls: ssl.SSLContext | None
    keys: Mapping[str, str]
    limits: dict[str, int]
    urls: list[str]

    def run(self, faces: "Sequence[Face]", ready: Callable[[], None]) -> None:
        """Serve these until Ctrl-C, SIGTERM or the terminal's end. `ready` is called when they are served."""
        from snyper.gateway import run
        from snyper.gateway.app import Gateway

        gateway = Gateway(self.limits, self.keys)
        serving = run.serve(gateway, faces, run.Listening(self.socks, self.tls), ready)
        asyncio.run(ended_by_signals(serving))  # until it takes the signals itself


@contextmanager
def starting(
    listen: list[str],
    access: Access,
    limits: dict[str, int],
    log_level: int = logging.INFO,
) -> Iterator[Server]:
    """Open the sockets of a server for the block. Whatever goes wrong, and Ctrl-C, ends the command with a
    message and its exit status: 0 for Ctrl-C in the block, 130 before it.
    """
    keys = service_keys(listen, access.key_file, access.is_open, access.has_more_keys)
    check_certificate(access.certificate, access.certificate_key)
    log_to_stderr(log_level)
    has_begun = False
    try:
        with ExitStack() as stack:
            tls = load_certificate(access.certificate, access.certificate_key) if access.certificate else None
            socks, urls = _open(listen, tls, stack) if listen else ([], [])
            has_begun = True
            yield Server(socks, tls, keys, limits, urls)
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("stopped")
        if not has_begun:
            raise typer.Exit(EXIT_INTERRUPTED) from None
    except (LoadingError, Refused, OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)


def _open(
    listen: Sequence[str], tls: ssl.SSLContext | None, stack: ExitStack
) -> tuple[list[socket], list[str]]:
    with loading():
        from snyper.gateway import run  # which needs the extra
    socks = run.open_sockets(listen, stack)
    return socks, urls(socks, tls)


def limits_of(table: Mapping[str, Integer], given: list[str] | None) -> dict[str, int]:
    """Return all limits of a table, or end with wrong usage."""
    try:
        return complete_limits(table, given or ())
    except ValueError as error:
        fail(f"--limit: {error}", EXIT_USAGE)


def check_hub(hub: str | None, name: str | None) -> None:
    """End with wrong usage where there is a hub without a name there, or a name without a hub."""
    if (hub is None) != (name is None):
        fail("at a hub: --hub HOST:PORT and --name NAME, both", EXIT_USAGE)


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """End with wrong usage where there is a key without its certificate."""
    if certificate is None and key is not None:
        fail("--certificate-key needs --certificate", EXIT_USAGE)


def places(urls: Sequence[str], hub: str | None, name: str | None) -> str:
    """Return in words where a server is reached."""
    return ", ".join([*urls, *([f"{name} at the hub {hub}"] if hub else [])])


def service_keys(
    listen: list[str], key_file: Path | None, is_open: bool, has_more: bool = False
) -> dict[str, str]:
    """Return the keys that a server asks for, by name; `has_more`: there are others. Ends the command where
    others reach it without any.
    """
    try:
        key = secret(KEY_VARIABLE) if key_file is None else line_of(key_file, "--key-file", "key")
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    if (key or has_more) and is_open:
        fail("--open lets everybody in, and there is a key: give one of them", EXIT_USAGE)
    far = [one for one in listen if not is_loopback(parse_address(one)[0])]
    if far and not key and not has_more and not is_open:
        fail(
            f"a server on {far[0]} can be reached by others, so it needs a key: set {KEY_VARIABLE}, or"
            " --key-file FILE, or --open for a network where everybody may, or listen on 127.0.0.1",
            EXIT_USAGE,
        )
    return {"key": key} if key else {}

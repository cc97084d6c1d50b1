"""`snyper dashboard`: the range as a web page."""

import asyncio
import logging
import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.array_gateway import DEFAULT_GATEWAY
from snyper.cli.commands import HubOption, Json, address
from snyper.cli.history_commands import JournalOption
from snyper.cli.output import err, fail
from snyper.cli.record_command import DEFAULT_FOLDER, KeepDays, KeepGb, kept
from snyper.cli.serving import Certificate, CertificateKey, Limit, check_certificate, limits_of
from snyper.client import DEFAULT_HUB
from snyper.client.addresses import is_loopback
from snyper.client.environment import FILE_VARIABLE, KEY_VARIABLE, keys, secret
from snyper.device.logs import log_to_stderr
from snyper.history.database import JournalError, default_path
from snyper.shared.address import parse_address
from snyper.system.files import others_access, shown
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ended_by_signals, loading
from snyper.system.streams import print_json

DEFAULT_CAMERAS = "http://127.0.0.1:8765"
DEFAULT_PORT = 8088
DEFAULT_LISTEN = f"127.0.0.1:{DEFAULT_PORT}"
PASSWORD_VARIABLE = "SNYPER_DASHBOARD_PASSWORD"
MIN_PASSWORD_CHARS = 6


def _listen(text: str) -> str:
    """Check the address to serve on; without a port it has the dashboard's own."""
    has_port = text.rpartition(":")[2].isdigit()
    return address(text if has_port else f"{text}:{DEFAULT_PORT}")


def dashboard(
    hub: HubOption = DEFAULT_HUB,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to serve; :PORT is every address.", callback=_listen),
    ] = DEFAULT_LISTEN,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the history of a hub without a journal here is kept.", dir_okay=False
        ),
    ] = None,
    journal: JournalOption = None,
    recordings: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where its page Signals records streams to.", file_okay=False),
    ] = DEFAULT_FOLDER,
    keep_days: KeepDays = None,
    keep_gb: KeepGb = None,
    gateway: Annotated[
        str,
        typer.Option(
            envvar="SNYPER_GATEWAY",
            metavar="URL|NAME",
            help="The gateway with arrays, or its name at the hub.",
        ),
    ] = DEFAULT_GATEWAY,
    cameras: Annotated[
        str,
        typer.Option(envvar="SNYPER_CAMERAS", metavar="URL", help="The gateway with cameras."),
    ] = DEFAULT_CAMERAS,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the password from this file.", dir_okay=False)
    ] = None,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Read the key to the hub from this file, as SNYPER_KEY_FILE.", dir_okay=False
        ),
    ] = None,
    limit: Limit = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in your browser.")] = True,
    as_json: Json = False,
) -> None:
    """Show the range as a web page until Ctrl-C.

    On any other address than 127.0.0.1 it asks for a password: typed in here, in a file, or in the variable
    SNYPER_DASHBOARD_PASSWORD. What is sent is encrypted with --certificate.
    """
    extras.need("dashboard", "the dashboard")
    check_certificate(certificate, certificate_key)
    password = _password(listen, password_file)
    from snyper.dashboard.limits import LIMITS
    from snyper.device.serving.listening import load_certificate, open_socket

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "hub": hub})
        err.print(f"dashboard: {url} shows the hub at {hub}; Ctrl-C stops it")
        if open_browser:
            webbrowser.open(url)

    log_to_stderr(logging.WARNING)
    limits = limits_of(LIMITS, limit)
    if key_file is not None:
        _use_key(key_file)
    try:
        archive = archive or default_path("dashboard.sqlite3", "--archive FILE")
        journal = journal or _default_journal()
    except JournalError as error:
        fail(str(error), EXIT_FAILED)
    try:
        tls = load_certificate(certificate, certificate_key) if certificate else None
        with open_socket(*parse_address(listen), "another dashboard") as sock:
            with loading():
                from snyper.dashboard import serve  # which takes a second: what is wrong is said before that

            access = serve.Access(password, tls, limits)
            places = serve.Places(recordings, gateway, cameras, *kept(keep_days, keep_gb))
            asyncio.run(ended_by_signals(serve.serve(hub, sock, access, journal, archive, places, ready)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("stopped")
    except JournalError as error:
        fail(f"{error}. Or name another archive with --archive", EXIT_FAILED)
    except (OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)


def _use_key(file: Path) -> None:
    """Take the key to the hub from this file, whatever else names one; or end with wrong usage."""
    os.environ.pop(KEY_VARIABLE, None)
    os.environ[FILE_VARIABLE] = str(file)
    try:
        keys()
    except ValueError as error:
        fail(str(error).replace(FILE_VARIABLE, "--key-file"), EXIT_USAGE)


def _read_password(file: Path) -> str:
    """Read a file's text but for the end of its line. Raises ValueError, which says what to do."""
    try:
        if others_access(file):
            err.print(
                f"dashboard: others may read {shown(file)}: `chmod 600` keeps the password yours",
            )
        return file.read_bytes().decode().removeprefix("\ufeff").rstrip("\r\n")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"--password-file: {shown(file)} cannot be read ({why}): name another") from None
    except UnicodeDecodeError:
        raise ValueError(f"{shown(file)} is not UTF-8: give the password in that encoding") from None


def _default_journal() -> Path | None:
    try:
        return default_path()
    except JournalError:
        return None


def _password(listen: str, file: Path | None) -> str | None:
    """Return the password that guards the dashboard, or None where only this computer reaches it."""
    try:
        given = secret(PASSWORD_VARIABLE) if file is None else _read_password(file)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    if given is None and is_loopback(parse_address(listen)[0]):
        return None
    if given is None:
        if not sys.stdin.isatty():
            fail(
                f"a dashboard on {listen} can be reached by others, so it needs a password:"
                f" --password-file FILE, or set {PASSWORD_VARIABLE}, or listen on 127.0.0.1",
                EXIT_USAGE,
            )
        err.print(f"dashboard: others can reach {listen}, so choose a password that they have to give")
        try:
            given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        except typer.Abort:
            err.print("\nstopped")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if len(given) < MIN_PASSWORD_CHARS:
        fail(f"the password needs at least {MIN_PASSWORD_CHARS} characters", EXIT_USAGE)
    return given

"""`snyper hub`: arguments, and the process that it becomes."""

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from snyper.cli.commands import Engine, Json, address, run
from snyper.cli.output import fail
from snyper.device.logs import log_to_stderr
from snyper.device.serving.limits import read_limits
from snyper.history.database import PATH_VARIABLE, JournalError, default_path
from snyper.hub.access import decided
from snyper.hub.cease_fire_file import file_of
from snyper.hub.journal import KEEP_DAYS, MAX_KEEP_DAYS
from snyper.hub.limits import complete_limits
from snyper.hub.options import CROSSTALK_MS, MAX_CROSSTALK_MS, Options, announce
from snyper.shared.address import parse_address
from snyper.system.process import EXIT_FAILED, EXIT_USAGE


def _listen(text: str | None) -> str | None:
    return text and address(text)


def hub(
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to listen; :PORT is every address. By default that, or without a key this computer.",
            callback=_listen,
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="This Python, or a hub board's firmware.")] = Engine.CPYTHON,
    journal: Annotated[
        Path | None,
        typer.Option(
            envvar=PATH_VARIABLE,
            metavar="PATH",
            help="The file that keeps what happens; by default journal.sqlite3 in your data folder.",
        ),
    ] = None,
    no_journal: Annotated[
        bool, typer.Option("--no-journal", help="Keep the last events, in memory only.")
    ] = False,
    keep_days: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_KEEP_DAYS, metavar="DAYS", help="How long the journal keeps what happened."
        ),
    ] = KEEP_DAYS,
    is_open: Annotated[
        bool, typer.Option("--open", help="Let everybody in who reaches it, without a key.")
    ] = False,
    crosstalk_ms: Annotated[
        int,
        typer.Option(
            min=0,
            max=MAX_CROSSTALK_MS,
            metavar="MS",
            help="A hit so near one of another target, twice as strong, does not count; 0: all do.",
        ),
    ] = CROSSTALK_MS,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Another limit than the default; may be repeated."),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Take peers with TLS too, on the same port; this needs a key.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a hub until Ctrl-C."""
    limits = tuple(limit or ())
    try:
        complete_limits(limits, on_board=engine is Engine.MICROPYTHON)
    except ValueError as error:
        fail(f"--limit: {error}", EXIT_USAGE)
    if engine is Engine.MICROPYTHON:
        if tls:
            fail("a hub board has no memory for TLS: its peers seal what they say, with the key", EXIT_USAGE)
        options = Options(
            listen or "", crosstalk_ms=crosstalk_ms, as_json=as_json, is_open=is_open, limits=limits
        )
        _run_board(options)
        return
    try:
        path = None if no_journal else journal or default_path()
    except JournalError as error:
        fail(f"{error}, or go without one: --no-journal", EXIT_FAILED)
    options = Options(listen or "", path, keep_days, crosstalk_ms, limits, tls, as_json, is_open)
    # The process becomes the hub, which is the same process to whoever started it and has nothing of the
    # command line in it. -P: what lies in the current folder, such as a snyper.py, is no part of it.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "snyper.hub", *options.arguments()])


def _run_board(options: Options) -> None:
    """Run a hub board's firmware on MicroPython until Ctrl-C."""
    from snyper.boards.hub_board import MAX_KEYS, run_hub_board

    log_to_stderr(logging.INFO)
    try:
        options, keys = decided(options)
    except ValueError as error:
        fail(str(error), EXIT_FAILED)
    if len(keys.lines) > MAX_KEYS:
        fail(f"a hub board takes {MAX_KEYS} keys: revoke some with `snyper keys revoke NAME`", EXIT_FAILED)
    ready = partial(announce, options, bool(keys.lines), engine=Engine.MICROPYTHON.value)
    config = {
        "crosstalk_ms": options.crosstalk_ms,
        "keys": list(keys.lines),
        "open": options.is_open,
        "limits": read_limits(options.limits),
    }
    keeper = file_of(parse_address(options.listen)[1])
    run(run_hub_board(options.listen, config, ready, keeper), until_ctrl_c=True)

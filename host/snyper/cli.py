"""The `snyper` command.

Exit status: 0 all went well, 1 some target failed or the work broke off, 2 wrong usage, 3 no hub there,
130 cut short by Ctrl-C. What runs until Ctrl-C (`hub`, `simulate`, `watch`) ends with 0 by it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from firmware.master.console import MAX_TIMEOUT_MS, MIN_TIMEOUT_MS
from firmware.master.controller import MOTION_TIMEOUT_MS, PING_TIMEOUT_MS
from shared.address import parse_address
from shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    IDENTIFY_MS,
    MAX_DURATION_MS,
    MAX_IDENTIFY_MS,
    MIN_DURATION_MS,
    MIN_IDENTIFY_MS,
    PORT,
    ErrorCode,
    MessageType,
    ProtocolError,
    is_target_selector,
)
from snyper import board_command, deploy_commands, screens
from snyper.client import DEFAULT_HUB, KEY_VARIABLE, TargetResult, connect
from snyper.output import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_HUB, EXIT_USAGE, err, fail, out, print_json

T = TypeVar("T")

MIN_TIMEOUT_S = MIN_TIMEOUT_MS / 1000
MAX_TIMEOUT_S = MAX_TIMEOUT_MS / 1000
PING_TIMEOUT_S = PING_TIMEOUT_MS / 1000
MOTION_TIMEOUT_S = MOTION_TIMEOUT_MS / 1000

app = typer.Typer(
    help="Run a range of pop-up targets: a hub, simulated targets, and commands to them.",
    epilog="Exit status: 0 all well, 1 some target failed, 2 wrong usage, 3 no hub there.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Engine(StrEnum):
    """What runs the firmware."""

    MICROPYTHON = "micropython"
    CPYTHON = "cpython"


def _address(text: str) -> str:
    try:
        parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def _selector(text: str) -> str:
    if not is_target_selector(text):
        raise typer.BadParameter(f"{text} is no target's name, group:NAME or all")
    return text


Target = Annotated[str, typer.Argument(help="A target's name, group:NAME or all.", callback=_selector)]
HubOption = Annotated[
    str,
    typer.Option("--hub", envvar="SNYPER_HUB", metavar="HOST:PORT", help="The hub.", callback=_address),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, everything else on stderr.")]
Timeout = Annotated[
    float,
    typer.Option(min=MIN_TIMEOUT_S, max=MAX_TIMEOUT_S, metavar="SECONDS", help="How long a target may take."),
]


def main() -> None:
    """Runs the command line. SIGTERM ends a command as Ctrl-C does, with everything it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


@app.command()
def hub(
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to listen; :PORT is every address.", callback=_address),
    ] = f":{PORT}",
    engine: Annotated[Engine, typer.Option(help="This Python, or a hub board's firmware.")] = Engine.CPYTHON,
    as_json: Json = False,
) -> None:
    """Run a hub until Ctrl-C."""
    from snyper import run_hub

    def ready(address: str) -> None:
        if as_json:
            print_json({"listen": address, "engine": engine.value})
        err.print(f"hub: listening on {address}; Ctrl-C stops it", markup=False)

    _log_to_stderr(logging.INFO)
    if engine is Engine.MICROPYTHON:
        _run(run_hub.on_micropython(listen, ready), until_ctrl_c=True)
    else:
        _run(run_hub.on_cpython(listen, ready), until_ctrl_c=True)


@app.command()
def simulate(
    targets: Annotated[int, typer.Option(min=1, max=5000, help="How many.")] = 4,
    engine: Annotated[
        Engine | None, typer.Option(help="A MicroPython process each, or all in this process.")
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    hit_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="How often an armed one is hit.")] = 0.7,
    seed: Annotated[int, typer.Option(help="The same seed shoots the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Run simulated targets against a hub until Ctrl-C: the real firmware on virtual boards."""
    from tools import simulator

    def report(notice: simulator.Notice) -> None:
        err.print(f"{notice.target_id or 'simulate'}: {notice.text}", markup=False)

    _log_to_stderr(logging.WARNING)
    err.print(f"simulate: {targets} targets for the hub at {hub}; Ctrl-C ends them", markup=False)
    if not _answers(hub):
        err.print("simulate: nothing answers there yet; the targets try until it does", markup=False)
    if as_json:
        print_json({"targets": [f"target_{number}" for number in range(1, targets + 1)], "hub": hub})
    config = {"key": os.environ.get(KEY_VARIABLE, "")}
    _run(simulator.simulate(targets, engine, hub, hit_rate, seed, report, config), until_ctrl_c=True)


@app.command(name="targets")
def list_targets(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """List the targets that the hub knows."""

    async def ask() -> None:
        async with connect(hub) as console:
            found = sorted(await console.targets(), key=lambda target: screens.natural(target.target_id))
        if as_json:
            print_json([asdict(target) for target in found])
        elif found:
            out.print(screens.targets_table(found))
        else:
            err.print("no target has registered with this hub yet")

    _run(ask(), hub)


@app.command()
def ping(
    target: Target = ALL_TARGETS,
    timeout: Timeout = PING_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Ask whether targets are alive."""
    _command(MessageType.PING, target, timeout, hub, as_json)


@app.command()
def stand_up(
    target: Target, timeout: Timeout = MOTION_TIMEOUT_S, hub: HubOption = DEFAULT_HUB, as_json: Json = False
) -> None:
    """Stand targets up; done when they stand."""
    _command(MessageType.STAND_UP, target, timeout, hub, as_json)


@app.command()
def lay_down(
    target: Target, timeout: Timeout = MOTION_TIMEOUT_S, hub: HubOption = DEFAULT_HUB, as_json: Json = False
) -> None:
    """Lay targets down; done when they lie."""
    _command(MessageType.LAY_DOWN, target, timeout, hub, as_json)


@app.command()
def activate(
    target: Target,
    duration: Annotated[
        float,
        typer.Option(
            min=MIN_DURATION_MS / 1000, max=MAX_DURATION_MS / 1000, metavar="SECONDS", help="Armed how long."
        ),
    ] = DEFAULT_DURATION_MS / 1000,
    timeout: Timeout = MOTION_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Stand targets up and arm them; done when they are armed. `snyper watch` shows the hits."""
    _command(MessageType.ACTIVATE, target, timeout, hub, as_json, {"duration_ms": round(duration * 1000)})


@app.command()
def identify(
    target: Target,
    duration: Annotated[
        float,
        typer.Option(
            min=MIN_IDENTIFY_MS / 1000, max=MAX_IDENTIFY_MS / 1000, metavar="SECONDS", help="For how long."
        ),
    ] = IDENTIFY_MS / 1000,
    timeout: Timeout = PING_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Make the lights of targets flicker, to find them."""
    _command(MessageType.IDENTIFY, target, timeout, hub, as_json, {"duration_ms": round(duration * 1000)})


@app.command()
def watch(
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
    timeout: Annotated[
        float | None, typer.Option(min=MIN_TIMEOUT_S, metavar="SECONDS", help="Stop after this long.")
    ] = None,
) -> None:
    """Show the range live until Ctrl-C: a table in a terminal, else a line an event."""

    async def follow() -> None:
        async with connect(hub) as console:
            if out.is_terminal and not as_json:
                await screens.watch_live(console, out, hub)
            async for event in console.events():
                if as_json:
                    print_json(asdict(event))
                else:
                    out.print(screens.event_line(event), markup=False)

    async def follow_for_a_while() -> None:
        try:
            async with asyncio.timeout(timeout):
                await follow()
        except TimeoutError:
            return

    _run(follow_for_a_while(), hub, until_ctrl_c=True)


app.command()(deploy_commands.deploy)
app.command()(deploy_commands.boards)
app.command()(deploy_commands.config)
app.command()(board_command.board)


@app.command()
def logs(
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="Over USB: the board's port, such as /dev/ttyACM0.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="Through the hub: the target's name.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Over USB: what it says from now on, without disturbing it.")
    ] = False,
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Show a board's log: boots, crashes, faults.

    Over USB that interrupts the firmware, and the board starts anew after it; through the hub it does not.
    """

    async def ask(target_id: str) -> None:
        async with connect(hub) as console:
            async for page in console.log(target_id):
                out.print(page, end="", markup=False, soft_wrap=True)

    if (port is None) == (target is None) or (follow and port is None):
        fail("name one: --port PORT (with or without --follow), or --target NAME", EXIT_USAGE)
    if port is not None:
        deploy_commands.show_log(port, follow)
    elif target is not None:
        _run(ask(target), hub)


@app.command()
def demo() -> None:
    """Show everything on this machine: a hub, four real MicroPython targets, commands, hits, a power cut."""
    from snyper import demonstration

    raise typer.Exit(_run(demonstration.run(out)))


@app.command()
def play(
    targets: Annotated[int, typer.Option(min=1, max=16, help="How many.")] = 4,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the dashboard listens.", callback=_address)
    ] = "127.0.0.1:8088",
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in your browser.")] = True,
) -> None:
    """Run a hub, simulated targets and the dashboard until Ctrl-C, to click through."""
    from snyper import play

    err.print("play: starting; Ctrl-C ends everything")
    _run(play.run(targets, listen, browser, lambda line: err.print(line, markup=False)), until_ctrl_c=True)


def _answers(hub: str) -> bool:
    host, port = parse_address(hub)
    try:
        with socket.create_connection((host or "127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _command(
    type: str, target: str, timeout: float, hub: str, as_json: bool, data: dict[str, object] | None = None
) -> None:
    async def send() -> list[TargetResult]:
        async with connect(hub) as console:
            with screens.progress(err, type) as on_result:
                return await console.command(type, target, round(timeout * 1000), data, on_result)

    results = sorted(_run(send(), hub), key=lambda result: screens.natural(result.target_id))
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        out.print(screens.results_table(results))
    if not all(result.ok for result in results):
        raise typer.Exit(EXIT_FAILED)


def _run(work: Coroutine[Any, Any, T], hub: str | None = None, until_ctrl_c: bool = False) -> T:
    """Runs `work`; what goes wrong becomes a message and an exit status."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(0 if until_ctrl_c else EXIT_INTERRUPTED) from None
    except ProtocolError as error:
        _fail_with(error, hub)
    except (OSError, ValueError) as error:
        if hub is not None and isinstance(error, OSError):
            why = error.strerror or str(error) or type(error).__name__
            fail(f"no hub at {hub} ({why}): start one with `make hub`, or name it with --hub", EXIT_NO_HUB)
        fail(str(error), EXIT_FAILED)


def _fail_with(error: ProtocolError, hub: str | None) -> NoReturn:
    if error.code == ErrorCode.UNKNOWN_TARGET:
        fail(f"{error.message}: `snyper targets` lists them", EXIT_FAILED)
    if error.code in (ErrorCode.DISCONNECTED, ErrorCode.TIMEOUT):
        fail(f"the hub at {hub} is lost: {error.message}", EXIT_NO_HUB)
    fail(f"the hub at {hub} refuses: {error}", EXIT_FAILED)


def _log_to_stderr(level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)


if __name__ == "__main__":
    main()

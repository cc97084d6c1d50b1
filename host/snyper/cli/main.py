"""The `snyper` command.

Exit status: 0 all went well, 1 some target failed or the work broke off, 2 wrong usage, 3 no hub there,
130 cut short by Ctrl-C. What runs until Ctrl-C (`hub`, `simulate`, `watch`) ends with 0 by it.
"""

import asyncio
import logging
import signal
import socket
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from snyper.cli import (
    board_command,
    calibrate as calibration,
    dashboard_command,
    deploy_commands,
    extras,
    game_commands,
    history_commands,
    hub_command,
    screens,
    trace as trace_picture,
)
from snyper.cli.commands import (
    Engine,
    HubOption,
    Json,
    address as _address,
    run as _run,
    selector as _selector,
)
from snyper.cli.help_page import App, CommandsByUse
from snyper.cli.output import PIPED_COLUMNS, can_redraw, drawn_columns, err, fail, out
from snyper.client import DEFAULT_HUB, HubClient, NoHubError, TargetResult, Trace, connect, instants
from snyper.client.addresses import dial_address
from snyper.client.environment import hub_key
from snyper.client.labels import natural, plural
from snyper.client.selections import Order, carry_out
from snyper.shared.address import format_address
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    IDENTIFY_MS,
    MAX_DURATION_MS,
    MAX_IDENTIFY_MS,
    MIN_DURATION_MS,
    MIN_IDENTIFY_MS,
    MessageType,
    is_target_id,
)
from snyper.shared.vocabulary import (
    COMMAND_TIMEOUT_MS,
    MAX_TIMEOUT_MS,
    MIN_TIMEOUT_MS,
    PING_TIMEOUT_MS,
)
from snyper.system import streams
from snyper.system.logs import log_to_stderr
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ending_signals
from snyper.system.streams import print_json

T = TypeVar("T")

MIN_TIMEOUT_S = MIN_TIMEOUT_MS / 1000
MAX_TIMEOUT_S = MAX_TIMEOUT_MS / 1000
PING_TIMEOUT_S = PING_TIMEOUT_MS / 1000
COMMAND_TIMEOUT_S = COMMAND_TIMEOUT_MS / 1000

app = App(
    help="Run a range of pop-up targets: a hub, simulated targets, and commands to them.",
    epilog="Exit status: 0 all well, 1 some target failed, 2 wrong usage, 3 no hub there.",
    cls=CommandsByUse,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _one_target(text: str) -> str:
    if not is_target_id(text) or text == ALL_TARGETS:
        raise typer.BadParameter(f"{text} is not one target's name: `snyper targets` lists them")
    return text


def _selectors(texts: list[str]) -> list[str]:
    return [_selector(text) for text in texts]


OneTarget = Annotated[str, typer.Argument(help="A target's name.", metavar="TARGET", callback=_one_target)]
Targets = Annotated[
    list[str],
    typer.Argument(metavar="TARGET", help="Targets' names, group:NAME or all.", callback=_selectors),
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="WHEN", help=f"Begin at this instant: {instants.FORMS}."),
]
In = Annotated[
    float | None,
    typer.Option(
        "--in",
        min=0.1,
        max=instants.MAX_AHEAD_S,
        metavar="SECONDS",
        help="Begin so many seconds from now, all at one instant.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(min=MIN_TIMEOUT_S, max=MAX_TIMEOUT_S, metavar="SECONDS", help="How long a target may take."),
]


def main() -> None:
    """Runs the command line. SIGTERM and SIGHUP end a command as Ctrl-C does, with everything it started."""
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    with streams.guarded():
        if not sys.stdout.isatty():
            out.width = PIPED_COLUMNS
        app()


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"snyper {version('snyper')}")
        raise typer.Exit


@app.callback()
def snyper(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """Takes what is no command's."""


app.command()(hub_command.hub)


@app.command()
def simulate(
    targets: Annotated[int, typer.Option(min=1, max=5000, metavar="N", help="How many.")] = 4,
    engine: Annotated[
        Engine | None, typer.Option(help="A MicroPython process each, or all in this process.")
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    hit_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="RATE", help="How often an armed one is hit.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed shoots the same.")] = 0,
    as_json: Json = False,
) -> None:
    """Run simulated targets against a hub until Ctrl-C: the real firmware on virtual boards."""
    from snyper.boards import simulator

    def report(notice: simulator.Notice) -> None:
        err.print(f"{notice.target_id or 'simulate'}: {notice.text}", markup=False)

    log_to_stderr(logging.WARNING)
    err.print(f"simulate: {plural(targets, 'target')} for the hub at {hub}; Ctrl-C ends this", markup=False)
    if as_json:
        print_json({"targets": [f"target_{number}" for number in range(1, targets + 1)], "hub": hub})

    async def run_targets() -> None:
        try:
            dialled = format_address(*dial_address(hub))
            await simulator.simulate(targets, engine, dialled, hit_rate, seed, report, {"key": hub_key()})
        except (socket.gaierror, UnicodeError):  # the latter of a name that DNS cannot have
            raise NoHubError("no computer is known by that name") from None

    _run(run_targets(), hub, until_ctrl_c=True)


@app.command(name="targets")
def list_targets(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """List the targets that the hub knows."""

    async def ask() -> None:
        async with connect(hub) as console:
            found = sorted(await console.targets(), key=lambda target: natural(target.target_id))
        if as_json:
            print_json([asdict(target) for target in found])
        elif found:
            screens.print_table(screens.targets_table(found), "firmware", "groups", "round trip")
            for warning in screens.piezo_warnings(found):
                err.print(warning)
        else:
            err.print("no target has registered with this hub yet")

    _run(ask(), hub)


@app.command()
def ping(
    target: Targets = [ALL_TARGETS],  # noqa: B006 - typer's way
    timeout: Timeout = PING_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Ask whether targets are alive."""
    _command(Order(MessageType.PING, round(timeout * 1000)), target, hub, as_json)


@app.command()
def stand_up(
    target: Targets,
    at: At = None,
    in_: In = None,
    timeout: Timeout = COMMAND_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Stand targets up; done when they are up. With --in or --at all of them begin at one instant."""
    _motion(MessageType.STAND_UP, target, at, in_, timeout, hub, as_json)


@app.command()
def lay_down(
    target: Targets,
    at: At = None,
    in_: In = None,
    timeout: Timeout = COMMAND_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Lay targets down; done when they are down. With --in or --at all of them begin at one instant."""
    _motion(MessageType.LAY_DOWN, target, at, in_, timeout, hub, as_json)


@app.command()
def activate(
    target: Targets,
    duration: Annotated[
        float,
        typer.Option(
            min=MIN_DURATION_MS / 1000, max=MAX_DURATION_MS / 1000, metavar="SECONDS", help="Armed how long."
        ),
    ] = DEFAULT_DURATION_MS / 1000,
    at: At = None,
    in_: In = None,
    timeout: Timeout = COMMAND_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Stand targets up and arm them; done when they are armed. `snyper watch` shows the hits.

    With --in or --at all of them begin at one instant.
    """
    data: dict[str, object] = {"duration_ms": round(duration * 1000)}
    _motion(MessageType.ACTIVATE, target, at, in_, timeout, hub, as_json, data)


@app.command()
def identify(
    target: Targets,
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
    data: dict[str, object] = {"duration_ms": round(duration * 1000)}
    _command(Order(MessageType.IDENTIFY, round(timeout * 1000), data), target, hub, as_json)


@app.command()
def calibrate(
    target: OneTarget,
    quiet: Annotated[
        float, typer.Option(min=1.0, max=60.0, metavar="SECONDS", help="How long to listen to the quiet.")
    ] = calibration.QUIET_S,
    hits: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="How many hits to wait for.")
    ] = calibration.HITS,
    wait: Annotated[
        float, typer.Option(min=1.0, max=600.0, metavar="SECONDS", help="How long to wait for each.")
    ] = calibration.WAIT_S,
    yes: Annotated[bool, typer.Option("--yes", help="Write the threshold without asking.")] = False,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Find a target's threshold from a few hits, and write it into the target.

    The target stands up for it and goes down after it. Ctrl-C leaves the threshold as it was.
    """

    def say(text: str) -> None:
        err.print(text, markup=False)

    async def measure() -> calibration.Measured:
        async with connect(hub) as console:
            return await calibration.measure(console, target, say, quiet_s=quiet, hits=hits, wait_s=wait)

    async def write(threshold: int) -> None:
        async with connect(hub) as console:
            await console.configure(target, threshold=threshold)

    if not yes and not sys.stdin.isatty():
        fail("nobody is there to be asked: add --yes to write the threshold unasked", EXIT_USAGE)
    measured = _run(measure(), hub)
    screen = err if as_json else out
    try:
        threshold = calibration.proposal(measured)
    except calibration.CalibrationError as error:
        screen.print(calibration.picture(measured, None))
        fail(str(error), EXIT_FAILED)
    screen.print(calibration.picture(measured, threshold))
    try:
        is_wanted = yes or typer.confirm(f"Write {threshold:,} into {target}?", default=True, err=True)
    except typer.Abort:
        err.print("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if is_wanted:
        _run(write(threshold), hub)
        say(f"{target}: the threshold was {measured.threshold:,} and is {threshold:,}, on its flash too")
        say("if a fleet.toml names its `piezo.threshold`, change it there: the next deploy writes that one")
    else:
        say(f"{target}: the threshold is {measured.threshold:,} as before")
    if as_json:
        print_json({**asdict(measured), "proposed": threshold, "written": is_wanted})


@app.command()
def trace(
    target: OneTarget,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it into this PNG file.", dir_okay=False)
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Show what a target's piezo gave around its last hit."""

    if png is not None:
        extras.need("plot", "--png")

    async def ask() -> Trace:
        async with connect(hub) as console:
            return await console.trace(target)

    found = _run(ask(), hub)
    if not found.values:
        fail(
            f"{target} has felt no hit since it was last armed: `snyper activate {target}`, shoot, ask again",
            EXIT_FAILED,
        )
    if png is not None:
        try:
            trace_picture.save_png(found, png, target)
        except OSError as error:
            fail(f"{png} is not written: {error}", EXIT_FAILED)
        err.print(f"{png}: {len(found.values)} samples of {target}", markup=False)
    if as_json:
        print_json({"target_id": target, **asdict(found)})
    elif png is None:
        out.print(trace_picture.picture(found, drawn_columns()))


@app.command()
def watch(
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
    timeout: Annotated[
        float | None, typer.Option(min=MIN_TIMEOUT_S, metavar="SECONDS", help="Stop after this long.")
    ] = None,
) -> None:
    """Show the range live until Ctrl-C: a table in a terminal, else a line an event."""

    async def follow(console: HubClient) -> None:
        if can_redraw(out) and not as_json:
            await screens.watch_live(console, out, hub)
        async for event in console.events():
            if as_json:
                print_json(asdict(event))
            else:
                out.print(screens.event_line(event), markup=False, soft_wrap=True)

    async def follow_for_a_while() -> None:
        is_connected = False
        try:
            async with asyncio.timeout(timeout):
                async with streams.noticing_its_end(), connect(hub) as console:
                    is_connected = True
                    await follow(console)
        except TimeoutError:
            if not is_connected:
                raise NoHubError(f"nothing answers there within {timeout:g} s") from None

    _run(follow_for_a_while(), hub, until_ctrl_c=True)


app.command()(deploy_commands.deploy)
app.command()(deploy_commands.boards)
app.command()(deploy_commands.config)
app.command()(board_command.board)
app.command()(history_commands.history)
app.command()(history_commands.stats)
app.command()(history_commands.export)
app.command()(dashboard_command.dashboard)
app.add_typer(game_commands.game, name="game")


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
        is_empty = True
        async with connect(hub) as console:
            async for page in console.log(target_id):
                is_empty = is_empty and not page
                out.print(page, end="", markup=False, soft_wrap=True)
        if is_empty:
            err.print(f"{target_id}: its log is empty", markup=False)

    if (port is None) == (target is None) or (follow and port is None):
        fail("name one: --port PORT (with or without --follow), or --target NAME", EXIT_USAGE)
    if port is not None:
        deploy_commands.show_log(port, follow)
    elif target is not None:
        _run(ask(target), hub)


@app.command()
def demo() -> None:
    """Show everything on this machine: a hub, four real MicroPython targets, commands, hits, a power cut."""
    from snyper.cli import demonstration

    raise typer.Exit(_run(demonstration.run(out)))


@app.command()
def play(
    targets: Annotated[int, typer.Option(min=1, max=16, metavar="N", help="How many.")] = 4,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the dashboard listens.", callback=_address)
    ] = "127.0.0.1:8088",
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in your browser.")] = True,
) -> None:
    """Run a hub, simulated targets and the dashboard until Ctrl-C, to click through."""
    extras.need("dashboard", "play")
    from snyper.cli import play

    err.print("play: starting; Ctrl-C ends everything")
    _run(play.run(targets, listen, browser, lambda line: err.print(line, markup=False)), until_ctrl_c=True)


def _motion(
    message_type: str,
    targets: list[str],
    at: str | None,
    in_s: float | None,
    timeout: float,
    hub: str,
    as_json: bool,
    data: dict[str, object] | None = None,
) -> None:
    if at is not None and in_s is not None:
        fail("name one: --at WHEN or --in SECONDS", EXIT_USAGE)
    try:
        instant = None if at is None else instants.parse(at, datetime.now(UTC))
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    _command(Order(message_type, round(timeout * 1000), data or {}, in_s, instant), targets, hub, as_json)


def _command(order: Order, targets: list[str], hub: str, as_json: bool) -> None:
    async def send() -> list[TargetResult]:
        with screens.progress(err, order.type) as on_result:
            return await carry_out(hub, targets, order, on_result)

    results = sorted(_run(send(), hub), key=lambda result: natural(result.target_id))
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        screens.print_table(screens.results_table(results), "began", "after", "why")
    if not all(result.ok for result in results):
        raise typer.Exit(EXIT_FAILED)

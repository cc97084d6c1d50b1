"""The commands to targets: `snyper targets`, `ping`, `stand-up`, `lay-down`, `activate`, `identify`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from snyper.cli import screens
from snyper.cli.commands import HubOption, Json, run, selector
from snyper.cli.output import err, fail, out
from snyper.client import DEFAULT_HUB, TargetResult, connect, instants
from snyper.client.labels import natural
from snyper.client.selections import TargetCommand, carry_out
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    DEFAULT_DURATION_MS,
    IDENTIFY_MS,
    MAX_DURATION_MS,
    MAX_IDENTIFY_MS,
    MIN_DURATION_MS,
    MIN_IDENTIFY_MS,
    MessageType,
)
from snyper.shared.vocabulary import COMMAND_TIMEOUT_MS, MAX_TIMEOUT_MS, MIN_TIMEOUT_MS, PING_TIMEOUT_MS
from snyper.system.process import EXIT_FAILED, EXIT_USAGE
from snyper.system.streams import print_json

MIN_TIMEOUT_S = MIN_TIMEOUT_MS / 1000
MAX_TIMEOUT_S = MAX_TIMEOUT_MS / 1000
PING_TIMEOUT_S = PING_TIMEOUT_MS / 1000
COMMAND_TIMEOUT_S = COMMAND_TIMEOUT_MS / 1000


def _selectors(texts: list[str]) -> list[str]:
    return [selector(text) for text in texts]


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


def list_targets(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """List the targets that the hub knows."""

    async def ask() -> None:
        async with connect(hub) as console:
            found = sorted(await console.targets(), key=lambda target: natural(target.target_id))
            safety = await console.cease_fire_state()
            is_open = console.is_open
        if is_open:
            err.print("this hub is open to all who reach it: `snyper keys new`, and start it without --open")
        if safety is not None and not as_json:
            out.print(screens.safety_text(safety, 0.0))
        if as_json:
            print_json([asdict(target) for target in found])
        elif found:
            screens.print_table(screens.targets_table(found), "firmware", "groups", "round trip")
            for warning in screens.piezo_warnings(found):
                err.print(warning)
        else:
            err.print("no target has registered with this hub yet")

    run(ask(), hub)


def ping(
    target: Targets = [ALL_TARGETS],  # noqa: B006 - typer's way
    timeout: Timeout = PING_TIMEOUT_S,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Ask whether targets are alive."""
    _command(TargetCommand(MessageType.PING, round(timeout * 1000)), target, hub, as_json)


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
    _command(TargetCommand(MessageType.IDENTIFY, round(timeout * 1000), data), target, hub, as_json)


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
    _command(
        TargetCommand(message_type, round(timeout * 1000), data or {}, in_s, instant), targets, hub, as_json
    )


def _command(command: TargetCommand, targets: list[str], hub: str, as_json: bool) -> None:
    async def send() -> list[TargetResult]:
        with screens.progress(err, command.word) as on_result:
            return await carry_out(hub, targets, command, on_result)

    results = sorted(run(send(), hub), key=lambda result: natural(result.target_id))
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        screens.print_table(screens.results_table(results), "began", "after", "why")
    if not all(result.ok for result in results):
        raise typer.Exit(EXIT_FAILED)

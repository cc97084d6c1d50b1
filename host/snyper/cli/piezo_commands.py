"""`snyper calibrate` and `trace`: what a target's piezo gives, and from where on that is a hit."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from snyper.cli import calibrate as calibration, extras, trace as trace_picture
from snyper.cli.commands import HubOption, Json, OneTarget, run
from snyper.cli.output import drawn_columns, err, fail, out
from snyper.cli.plot_faces import Png
from snyper.client import DEFAULT_HUB, Trace, connect
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from snyper.system.streams import print_json
from snyper.system.text import one_line


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
        err.print(one_line(text))

    async def measure() -> calibration.Measured:
        async with connect(hub) as console:
            return await calibration.measure(console, target, say, quiet_s=quiet, hits=hits, wait_s=wait)

    async def write(threshold: int) -> None:
        async with connect(hub) as console:
            await console.configure(target, threshold=threshold)

    if not yes and not sys.stdin.isatty():
        fail("nobody is there to be asked: add --yes to write the threshold unasked", EXIT_USAGE)
    measured = run(measure(), hub)
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
        run(write(threshold), hub)
        say(f"{target}: the threshold was {measured.threshold:,} and is {threshold:,}, on its flash too")
        say("if a fleet.toml names its `piezo.threshold`, change it there: the next deploy writes that one")
    else:
        say(f"{target}: the threshold is {measured.threshold:,} as before")
    if as_json:
        print_json({**asdict(measured), "proposed": threshold, "written": is_wanted})


def trace(
    target: OneTarget,
    png: Png = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Show what a target's piezo gave around its last hit."""

    if png is not None:
        extras.need("plot", "--png")

    async def ask() -> Trace:
        async with connect(hub) as console:
            return await console.trace(target)

    found = run(ask(), hub)
    if not found.values:
        fail(
            f"{target} detected no hit since it was armed: `snyper activate {target}`, shoot, ask again",
            EXIT_FAILED,
        )
    if png is not None:
        try:
            trace_picture.save_png(found, png, target)
        except OSError as error:
            fail(f"{png} is not written: {error}", EXIT_FAILED)
        err.print(f"{png}: {len(found.values)} samples of {target}")
    if as_json:
        print_json({"target_id": target, **asdict(found)})
    elif png is None:
        out.print(trace_picture.picture(found, drawn_columns()))

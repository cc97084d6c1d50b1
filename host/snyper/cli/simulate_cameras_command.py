"""`snyper simulate-cameras`: cameras that read the plates of cars that are not there."""

import asyncio
import logging
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import HubOption, Json, run
from snyper.cli.output import err
from snyper.client import DEFAULT_HUB
from snyper.client.labels import plural
from snyper.device.errors import TransferError
from snyper.device.logs import log_to_stderr
from snyper.system.streams import print_json
from snyper.system.temporary import temporary_folder


def simulate_cameras(
    number: Annotated[
        int, typer.Option("-n", "--cameras", metavar="N", help="How many.", min=1, max=1_000)
    ] = 4,
    hub: HubOption = DEFAULT_HUB,
    checkpoint: Annotated[
        str, typer.Option(metavar="NAME", help="The checkpoint that they are at.")
    ] = "checkpoint_001",
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="From one car to the next, of each.", min=0.01)
    ] = 2.0,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="End once each has told so many; else until Ctrl-C.", min=1),
    ] = None,
    outages: Annotated[
        bool, typer.Option("--outages", help="Switch each off now and then, for some seconds.")
    ] = False,
    outbox: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep what is to be told here; by default only until the end.",
            file_okay=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed has the same cars.")] = 0,
    as_json: Json = False,
) -> None:
    """Simulate cameras that tell a hub's service `cameras` the plates they read; `snyper gateway --cameras
    FOLDER --hub HOST:PORT` is that service.
    """
    extras.need("cameras", "`snyper simulate-cameras`")
    from snyper.cameras.camera import Camera, Delivery
    from snyper.cameras.outbox import Outbox
    from snyper.cameras.simulated import run_camera

    log_to_stderr(logging.ERROR)
    names = [f"camera_{at:03}" for at in range(1, number + 1)]
    is_there: dict[str, bool] = {}
    told = 0

    def say(name: str, delivery: Delivery) -> None:
        """Say of all of them together when their service comes and goes."""
        before = any(is_there.values())
        is_there[name] = delivery.is_connected
        if any(is_there.values()) != before or (not before and len(is_there) == 1):
            why = f" ({delivery.why})" if delivery.why else ""
            now = "is there" if any(is_there.values()) else f"is not there{why}: this goes on when it is"
            err.print(f"simulate-cameras: the service `cameras` at {hub} {now}")

    def detected(name: str, detection_id: str, plate: str) -> None:
        nonlocal told
        told += 1
        if as_json:
            print_json({"camera_id": name, "detection_id": detection_id, "plate": plate})

    def outbox_path(folder: Path, name: str) -> Path:
        return folder / f"{name}.outbox"

    def make(folder: Path, name: str) -> Camera:
        on_change = partial(say, name)
        return Camera(name, checkpoint, hub=hub, outbox=outbox_path(folder, name), on_change=on_change)

    async def simulate(folder: Path) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for name in names:
                    camera = run_camera(
                        *(partial(make, folder, name), interval, f"{seed} {name}", count, outages),
                        on_detection=partial(detected, name),
                    )
                    group.create_task(camera)
        except ExceptionGroup as errors:
            error = errors.exceptions[0]
            raise (OSError(str(error)) if isinstance(error, TransferError) else error) from None

    async def count_left(folder: Path) -> int:
        left = 0
        for path in map(partial(outbox_path, folder), names):
            if path.exists():
                with closing(Outbox(path)) as found:
                    left += found.counts().waiting + found.counts().set_aside
        return left

    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder()) if outbox is None else outbox
        if as_json:
            print_json({"hub": hub, "cameras": names})
        end = "" if count else "; Ctrl-C ends this"
        err.print(f"simulate-cameras: {plural(number, 'camera')} for the hub at {hub}{end}")
        try:
            run(simulate(folder), hub, until_ctrl_c=True)
        except typer.Exit as ended:
            if ended.exit_code:
                raise
        left = run(count_left(folder))
    kept = "gone: --outbox FOLDER keeps them" if outbox is None else f"in {outbox}, for the next run"
    more = f"; not acknowledged, with health checks: {left:,}, {kept}" if left else ""
    err.print(f"simulate-cameras: {plural(told, 'detection')} told{more}")

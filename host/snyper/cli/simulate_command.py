"""`snyper simulate`: targets without boards."""

import logging
import socket
from typing import Annotated

import typer

from snyper.cli.commands import Engine, HubOption, Json, run
from snyper.cli.output import err
from snyper.client import DEFAULT_HUB, NoHubError, certificate
from snyper.client.addresses import dial_hub
from snyper.client.environment import client_key
from snyper.client.labels import plural
from snyper.device.logs import log_to_stderr
from snyper.system.streams import print_json
from snyper.system.text import one_line


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

    def on_notice(notice: simulator.Notice) -> None:
        err.print(one_line(f"{notice.target_id or 'simulate'}: {notice.text}"))

    log_to_stderr(logging.WARNING)
    err.print(f"simulate: {plural(targets, 'target')} for the hub at {hub}; Ctrl-C ends this")
    if as_json:
        print_json({"targets": [f"target_{number}" for number in range(1, targets + 1)], "hub": hub})

    async def run_targets() -> None:
        try:
            dialled = dial_hub(hub)
            config = {"key": client_key(), "certificate": certificate.of_hubs([hub])}
            await simulator.simulate(targets, engine, dialled, hit_rate, seed, on_notice, config)
        except (socket.gaierror, UnicodeError):  # the latter of a name that DNS cannot have
            raise NoHubError("no computer is known by that name") from None

    run(run_targets(), hub, until_ctrl_c=True)

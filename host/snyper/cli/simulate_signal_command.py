"""`snyper simulate-signal`: the demonstration signal as a stream of a hub."""

import asyncio
import logging
from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import HubOption, Json, run
from snyper.cli.output import err, fail
from snyper.client import DEFAULT_HUB, certificate
from snyper.client.addresses import dial_hub
from snyper.client.console_session import why_unreachable
from snyper.client.environment import client_key
from snyper.client.service_session import check_name
from snyper.device.logs import log_to_stderr
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from snyper.shared.session import SessionState
from snyper.shared.stream_spec import checked_name
from snyper.system.process import EXIT_USAGE
from snyper.system.streams import print_json
from snyper.system.text import one_line


def simulate_signal(
    hub: HubOption = DEFAULT_HUB,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the source is called at the hub.")] = "demo",
    stream: Annotated[str, typer.Option(metavar="NAME", help="What its stream is called.")] = "signal",
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same seed has the same noise.")] = None,
    as_json: Json = False,
) -> None:
    """Provide a sine with noise as a stream of a hub until Ctrl-C, 2,000 samples a second."""
    extras.need("arrays", "the demonstration signal")
    from snyper.streams.demonstration import SAMPLES_PER_S, send_demonstration

    try:
        check_name(name)
        checked_name(stream)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    log_to_stderr(logging.WARNING)
    if as_json:
        print_json({"hub": hub, "stream": f"{name}/{stream}"})

    async def provide() -> None:
        source = _Source(dial_hub(hub), name, client_key(), about="the demonstration signal")
        source.shown_hub = hub
        source.certificate = certificate.of_hubs([hub])
        async with source.stream(stream, dtype="<f8", rate_hz=SAMPLES_PER_S) as opened:
            registering = asyncio.create_task(source.run())
            try:
                await send_demonstration(opened, seed)
            finally:
                source.is_ending = True
                await end_task(registering)

    err.print(f"simulate-signal: {name}/{stream} for the hub at {hub}; Ctrl-C ends this")
    run(provide(), hub, until_ctrl_c=True)


class _Source(Device):
    """A device that says when its hub is there, and when it is not."""

    shown_hub = ""
    is_ending = False
    _is_here: bool | None = None

    def on_state(self, state: str) -> None:
        if state == SessionState.CONNECTED and self._is_here is not True:
            self._is_here = True
            err.print(f"simulate-signal: the hub at {self.shown_hub} is there")
        elif state == SessionState.WAITING and self._is_here is not False and not self.is_ending:
            self._is_here = False
            error = self.last_error
            words = why_unreachable(error) if isinstance(error, OSError) else one_line(str(error or ""))
            why = f" ({words})" if words else ""
            err.print(f"simulate-signal: no hub at {self.shown_hub}{why}: this goes on when it is there")

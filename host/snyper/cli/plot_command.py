"""`snyper plot`: a stream as it comes, in a window, in the terminal or as a picture."""

import asyncio
from contextlib import aclosing, nullcontext
from typing import Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import HubOption, run, stream_name, warn_of_losses
from snyper.cli.mark_keys import StreamMarks, marking
from snyper.cli.output import fail
from snyper.cli.plot_faces import Png, Terminal, live_face, save
from snyper.client import DEFAULT_HUB, connect
from snyper.system.process import EXIT_FAILED

_FRAME_S = 0.1
_MAX_SECONDS = 3_600.0


def plot(
    name: Annotated[
        str, typer.Argument(metavar="SOURCE/STREAM", help="Such as target_1/piezo.", callback=stream_name)
    ],
    seconds: Annotated[
        float,
        typer.Option(metavar="S", help="How much of it is seen at once.", min=0.01, max=_MAX_SECONDS),
    ] = 10.0,
    rolling: Annotated[
        float,
        typer.Option(
            metavar="S", help="The time of the rolling mean and deviation.", min=0, max=_MAX_SECONDS
        ),
    ] = 0.5,
    channel: Annotated[
        str,
        typer.Option(metavar="NAME|N", help="Which value of a sample, by its name or from 0 on."),
    ] = "0",
    history: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so long ago: 10s, 5m; by default now.")
    ] = None,
    png: Png = None,
    terminal: Terminal = False,
    hub: HubOption = DEFAULT_HUB,
) -> None:
    """Plot a stream until Ctrl-C, with its rolling mean and deviation.

    A key pressed meanwhile is a mark in it, for all who read it; so is Enter, a name and Enter.
    """
    extras.need("arrays", "plotting a stream")
    extras.need("plot", "plotting a stream")
    from snyper.streams.plot import StreamPlot
    from snyper.streams.subscriber import history_ms

    try:
        history_ms(history or 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--history") from None
    seen = StreamPlot(name, channel, seconds, rolling)
    face = None if png is not None else live_face(seen, terminal)

    def note(said: str) -> None:
        seen.note = said

    async def read() -> None:
        async with connect(hub, reconnect=True) as console:
            warn_of_losses(console, hub)
            reader = console.read_stream(name, history=history)
            marks = StreamMarks(console, name, note)
            if face is not None:
                face.on_key = marks.mark
            with nullcontext() if face is None else marking(marks.mark, note):
                async with aclosing(reader.__aiter__()) as blocks:
                    async for block in blocks:
                        seen.take(reader, block)

    async def follow() -> None:
        reading = asyncio.create_task(read())
        try:
            if face is None:
                await asyncio.wait((reading,), timeout=seconds)
            while face is not None and not reading.done() and face.draw():
                await asyncio.wait((reading,), timeout=_FRAME_S)
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if face is not None:
                face.close()

    run(follow(), hub, until_ctrl_c=png is None)
    if png is not None:
        if not seen.has_samples:
            why = f"nothing came of {name} within {seconds:g} s: is it sent? `snyper stream list`"
            fail(why, EXIT_FAILED)
        save(seen, png)

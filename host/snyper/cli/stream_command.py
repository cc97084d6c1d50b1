"""`snyper stream`: which streams there are, and what comes of one."""

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from snyper.cli import extras, screens
from snyper.cli.commands import HubOption, Json, run, warn_of_losses
from snyper.cli.help_page import App
from snyper.cli.mark_keys import StreamMarks, TypedLine, marking
from snyper.cli.output import err, fail, out
from snyper.client import DEFAULT_HUB, ProtocolError, connect
from snyper.client.labels import natural
from snyper.shared.socket_protocol import ErrorCode, is_target_id
from snyper.shared.stream_spec import checked_name
from snyper.streams.info import StreamInfo
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json

_SECOND_S = 1.0
READ = "read"


class _ReadsByDefault(TyperGroup):
    """A group that takes a source and a stream without the word `read`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = [READ, *args]
        return super().resolve_command(ctx, args)


stream = App(
    help="List the streams that the hub knows, and read one.",
    cls=_ReadsByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _source(text: str) -> str:
    source, slash, name = text.partition("/")
    if slash and is_target_id(source):
        raise typer.BadParameter(f"{text} is two words here: {source} {name or 'STREAM'}")
    if not is_target_id(text):
        raise typer.BadParameter(f"{text} is no name: `snyper stream list` shows which there are")
    return text


def _npy_file(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() != ".npy":
        raise typer.BadParameter(f"{path} does not end with .npy, which is what is written")
    return path


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@stream.command("list")
def list_streams(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """List the streams that the hub knows."""

    async def ask() -> list[StreamInfo]:
        async with connect(hub) as console:
            try:
                found = await console.streams()
            except ProtocolError as error:
                if error.code != ErrorCode.UNKNOWN_TYPE:
                    raise
                fail(f"the hub at {hub} is on a board, or older, and lists no streams", EXIT_FAILED)
        return sorted(found, key=lambda info: natural(info.name))

    found = run(ask(), hub)
    if as_json:
        print_json([asdict(info) for info in found])
    elif found:
        screens.print_table(screens.streams_table(found), "kept", "samples")
    else:
        err.print("no source has announced a stream")


@stream.command(READ)
def read_stream(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A device or a target.", callback=_source)],
    name: Annotated[str, typer.Argument(metavar="STREAM", help="One of its streams.", callback=_name)],
    history: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so long ago: 10s, 5m; by default now.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End after so long; by default with Ctrl-C.", min=0),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.npy", help="Write the samples into a new file.", callback=_npy_file
        ),
    ] = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Read a stream until Ctrl-C; the word may be left out.

    What is typed meanwhile is a mark in it, for all who read it: a key, or Enter, a name and Enter.
    """
    extras.need("arrays", "reading a stream")
    from snyper.cli.stream_reading import Reading
    from snyper.streams.subscriber import history_ms

    try:
        history_ms(history or 0)
        reading = Reading(f"{source}/{name}", out_file)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--history") from None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", EXIT_FAILED)

    async def read() -> None:
        try:
            async with asyncio.timeout(duration), connect(hub, reconnect=True) as console:
                warn_of_losses(console, hub)
                reader = console.read_stream(reading.name, history=history)
                line = TypedLine()
                ticking = asyncio.create_task(_tick(reading, as_json, line))
                try:
                    marks = StreamMarks(
                        console, reading.name, lambda said: line.above(lambda: err.print(said))
                    )
                    with marking(marks.mark, line.show):
                        async with aclosing(reader.__aiter__()) as blocks:
                            async for block in blocks:
                                _take(reading, reader, block)
                                if reader.blocks == 1 and reading.evicted:
                                    line.above(lambda: err.print(_gone(reading)))
                finally:
                    ticking.cancel()
        except TimeoutError:
            return
        finally:
            reading.close()

    try:
        run(read(), hub, until_ctrl_c=True, on_ctrl_c="stopped")
    finally:
        if as_json:
            print_json(reading.sum())
        else:
            err.print(reading.ending())


def _take(reading: Any, reader: Any, block: Any) -> None:
    try:
        reading.take(reader, block)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", EXIT_FAILED)


def _gone(reading: Any) -> str:
    return f"{reading.name}: the hub has {reading.evicted:,} samples of that time no more"


async def _tick(reading: Any, as_json: bool, line: TypedLine) -> None:
    """Say each second what came in it."""
    while True:
        await asyncio.sleep(_SECOND_S)
        line.above(partial(_say, reading, as_json))


def _say(reading: Any, as_json: bool) -> None:
    second = reading.second()
    if as_json:
        print_json(second)
    else:
        out.print(reading.line(second), soft_wrap=True)

"""`snyper arrays`: the arrays that a gateway stores."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from snyper.cli import transfers
from snyper.cli.array_gateway import DEFAULT_GATEWAY, Gateway, GatewayHub, gateway_client
from snyper.cli.array_plot_command import plot
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, out
from snyper.cli.record_command import record
from snyper.cli.transfers import SERVER_TIMEOUT_S, ServerTimeout
from snyper.client.labels import plural
from snyper.device.errors import TransferError
from snyper.shared.runtime import end_task
from snyper.system.files import shown, writing
from snyper.system.process import ended_by_signals
from snyper.system.streams import print_json
from snyper.system.text import one_line

arrays = App(
    help="Store arrays at a gateway, and get them back.", no_args_is_help=True, rich_markup_mode=None
)

arrays.command()(record)
arrays.command()(plot)

_PATIENCE_S = 1.0  # until it is said why nothing comes
_WHY_NOT = {
    "none": "the gateway has no signal: start it with --stream SOURCE/STREAM or --demo-signal",
    "no hub": "the gateway's hub is not there: this goes on when it is",
    "away": "nothing comes of the signal's source yet: this goes on when something does",
}


def _which(text: str) -> str:
    """Take off the blank that a negative number is given, so that it is no option."""
    return text.strip()


IndexOrName = Annotated[
    str, typer.Argument(metavar="INDEX|NAME", help="As `list` shows it.", callback=_which)
]


@arrays.command()
def upload(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Of numpy.save, each.", dir_okay=False)
    ],
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Store `.npy` files, in their order, and show the index of each."""
    with gateway_client(to, hub, timeout) as client:
        for file in files:
            with transfers.progress(file.name) as on_progress:
                stored = client.upload_file(file, on_progress)
            if as_json:
                print_json(stored)
            else:
                line = f"{stored['index']}  {stored['dtype']}  {_shape(stored['shape'])}  {shown(file)}"
                out.print(one_line(line), highlight=False, soft_wrap=True)


@arrays.command("list")
def list_arrays(
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Show the arrays that are stored."""
    with gateway_client(to, hub, timeout) as client:
        found = list(client.describe_arrays())
        if as_json:
            print_json(found)
            return
        table = Table("index", "name", "shape", "type", "bytes", "stored", box=None)
        for one in found:
            size = f"{one['bytes']:,}"
            row = (one["index"], one["name"], _shape(one["shape"]), one["dtype"], size, one["created"])
            table.add_row(*(one_line(str(cell)) for cell in row))
        if found:
            out.print(table)
        err.print(plural(len(found), "array"))


@arrays.command()
def get(
    which: IndexOrName,
    part: Annotated[
        str, typer.Option("--slice", metavar="SLICE", help="A part of it, such as 10:20,::2 or :,0.")
    ] = "",
    into: Annotated[
        Path | None,
        typer.Option("--into", "-o", metavar="FILE", help="Write it as .npy.", dir_okay=False),
    ] = None,
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Show an array, or write it to a file."""
    with gateway_client(to, hub, timeout) as client, transfers.progress(which) as on_progress:
        from snyper.arrays.encoding import as_object

        if into is not None:
            with writing(into) as file:
                client.save_array(which, file, part, on_progress)
            return
        array = client.get_array(which, part, on_progress)
        if as_json:
            parts = as_object([array.reshape(-1)], array.shape, array.dtype)
            typer.echo(b"".join(parts))
        else:
            out.print(str(array), highlight=False, soft_wrap=True)
            err.print(f"{array.dtype}, {_shape(array.shape)}")


@arrays.command()
def delete(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="INDEX|NAME...",
            help="As `list` shows them.",
            callback=lambda names: [_which(name) for name in names],
        ),
    ],
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Delete arrays, in their order. Their indices are never used again."""
    with gateway_client(to, hub, timeout) as client:
        for one in which:
            deleted = client.delete_array(one)
            if as_json:
                print_json(deleted)
            else:
                err.print(f"deleted {deleted['index']}")


@arrays.command()
def stream(
    duration: Annotated[
        float | None, typer.Option(min=0.0, metavar="SECONDS", help="For how long; by default until Ctrl-C.")
    ] = None,
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Start a gateway's signal, and show what comes of it."""
    packets = 0

    def show(packet: dict[str, Any]) -> None:
        nonlocal packets
        packets += 1
        x, y = packet.pop("x"), packet.pop("y")
        if as_json:
            typer.echo(to_json(packet, x, y))
        elif y.size:
            means = f"mean {y.mean():.3f}, {y.min():.3f} … {y.max():.3f}"
            out.print(f"{packet['timestamp']:.3f}  {plural(y.size, 'point')}, {means}", highlight=False)

    async def listen() -> None:
        explaining = asyncio.create_task(explain())
        try:
            async with asyncio.timeout(duration):
                await client.connect_streaming(show)
        except TimeoutError:
            pass
        finally:
            await end_task(explaining)

    async def explain() -> None:
        """Say why nothing comes, where the gateway knows."""
        await asyncio.sleep(_PATIENCE_S)
        if packets:
            return
        with suppress(TransferError):  # which whoever listens is told, too
            told = (await asyncio.to_thread(client.health)).get("stream")
            if not isinstance(told, dict):
                return
            if detail := told.get("detail"):
                err.print(one_line(f"the gateway passes nothing on: {detail}"), soft_wrap=True)
            elif told.get("state") in _WHY_NOT:
                err.print(_WHY_NOT[told["state"]], soft_wrap=True)

    with gateway_client(to, hub, timeout) as client:
        from snyper.arrays.packet_format import to_json

        try:
            asyncio.run(ended_by_signals(listen()))
        except (KeyboardInterrupt, asyncio.CancelledError):
            pass
        finally:
            err.print(plural(packets, "packet"))


def _shape(shape: Any) -> str:
    return " × ".join(map(str, shape)) or "a number"

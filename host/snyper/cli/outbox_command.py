"""`snyper outbox`: what waits until its receiver is there."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from snyper.cli import transfers
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, out
from snyper.cli.transfers import SERVER_TIMEOUT_S, FileOrJson, ServerTimeout
from snyper.client.labels import plural
from snyper.device import Delivery, Item, Outbox
from snyper.device.delivery import AWAY, DELIVERING
from snyper.device.outbox import as_json
from snyper.device.outcomes import EXIT_UNREACHABLE
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json
from snyper.system.text import one_line

outbox = App(
    help="Keep what is to be sent until its receiver is there.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", envvar="SNYPER_OUTBOX", metavar="FOLDER", help="The folder of the outbox."),
]
ItemId = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@outbox.command()
def add(what: FileOrJson, folder: Folder = None) -> None:
    """Add a file or JSON, and show its id. A file is copied: it may be changed or removed."""
    value = transfers.parse(what)
    with transfers.transferring():
        box = Outbox(folder)
        item = box.add_file(value) if isinstance(value, Path) else box.add_data(value[0])
        out.print(item.id)


@outbox.command("list")
def list_items(folder: Folder = None, in_json: Json = False) -> None:
    """Show what waits, in the order in which it is sent, and what was refused."""
    with transfers.transferring():
        box = Outbox(folder)
        if in_json:
            print_json(as_json(box))
            return
        waiting, failed = box.waiting(), box.failed()
        if waiting or failed:
            out.print(_table([*waiting, *failed]))
        why = box.status().get("why")
        err.print(f"{len(waiting)} waiting, {len(failed)} refused" + (f"; {one_line(why)}" if why else ""))


@outbox.command()
def run(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="URL", help="The receiver; else the variable SERVICE_SERVER_URL says it."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Deliver what waits now, and end.")] = False,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
    folder: Folder = None,
) -> None:
    """Deliver what is in the outbox, and what is added to it, in its order, until Ctrl-C."""
    with transfers.transferring():
        delivery = Delivery(Outbox(folder), to, timeout, on_item=_show_item)
        if not once:
            try:
                delivery.run_here()
            except KeyboardInterrupt:
                return
        report = delivery.flush()
    if report.why:
        err.print(f"snyper: {report.left} waiting: {one_line(report.why)}")
    if report.state == AWAY:
        raise typer.Exit(EXIT_UNREACHABLE)
    if report.refused or report.state != DELIVERING:
        raise typer.Exit(EXIT_FAILED)


@outbox.command()
def retry(
    item_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="As `list` shows it; all, if left out.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Have what was refused sent again, at its old place."""
    with transfers.transferring():
        count = Outbox(folder).retry(item_id)
    err.print(f"{plural(count, 'item')} to be sent again")
    if item_id is not None and not count:
        raise typer.Exit(EXIT_FAILED)


@outbox.command()
def discard(item_id: ItemId, folder: Folder = None) -> None:
    """Throw away an item that waits or was refused."""
    with transfers.transferring():
        was_there = Outbox(folder).discard(item_id)
    if not was_there:
        err.print(f"snyper: there is no item {one_line(item_id)} in the outbox")
        raise typer.Exit(EXIT_FAILED)


def _table(items: list[Item]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "bytes", "what", "to", "state"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for item in items:
        what = item.filename or item.kind
        state = item.reason or "waits"
        table.add_row(item.id, str(item.size), *map(one_line, (what, item.endpoint, state)))
    return table


def _show_item(item: Item, reason: str) -> None:
    out.print(json.dumps([item.id, item.filename or item.kind, reason or "sent"]), soft_wrap=True)

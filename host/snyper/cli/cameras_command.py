"""`snyper cameras`: what a gateway keeps of its cameras, looked after while that does not run."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from snyper.cli import extras
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, fail, out
from snyper.client.labels import plural
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED, ended_by_signals
from snyper.system.streams import print_json
from snyper.system.text import one_line

if TYPE_CHECKING:
    from snyper.cameras.service import Cameras

T = TypeVar("T")

cameras = App(
    help="Look after what `snyper gateway --cameras FOLDER` keeps, while it does not run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
CamerasFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="That of `--cameras`.", file_okay=False, exists=True)
]
DatabaseOption = Annotated[
    str | None, typer.Option(metavar="URL", help="That of the gateway; SQLite in the folder if left out.")
]


@cameras.command()
def check(
    folder: CamerasFolder,
    database: DatabaseOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove files without a record, and links to what is gone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for pictures that no record has, and for records whose picture is gone; exit status 1 if there are
    some that are not repaired.
    """
    found = _with_cameras(folder, database, lambda opened: opened.check(repair))
    if as_json:
        print_json({"files": found.files, "orphans": found.orphans, "missing": found.missing})
    else:
        for name in found.orphans:
            out.print(one_line(f"no record has  {name}"), highlight=False, soft_wrap=True)
        for name in found.missing:
            out.print(one_line(f"is gone        {name}"), highlight=False, soft_wrap=True)
        err.print(f"{plural(found.files, 'picture')} checked")
    if (found.orphans or found.missing) and not repair:
        raise typer.Exit(EXIT_FAILED)


@cameras.command("forget")
def erase(
    folder: CamerasFolder,
    plate: Annotated[
        str, typer.Option(metavar="PLATE", help="The very plate; case, blanks and dashes do not count.")
    ],
    database: DatabaseOption = None,
    as_json: Json = False,
) -> None:
    """Erase all records of a plate, protected ones too, with their pictures, from every file;
    PostgreSQL's own log, and copies of it, are not reached.
    """
    count = _with_cameras(folder, database, lambda opened: opened.erase_plate(plate))
    if as_json:
        print_json({"erased": count})
    else:
        err.print(f"{plural(count, 'record')} erased")


def _with_cameras(folder: Path, database: str | None, work: "Callable[[Cameras], Awaitable[T]]") -> T:
    extras.need("cameras", "`snyper cameras`")
    from snyper.cameras.database import FILE
    from snyper.cameras.service import opened

    if database is None and not (folder / FILE).is_file():
        fail(one_line(f"{shown(folder)} has no {FILE}: name the folder of --cameras"), EXIT_FAILED)

    async def run() -> T:
        async with opened(folder, database, sweeps=False) as found:
            return await work(found)

    try:
        return asyncio.run(ended_by_signals(run()))
    except (OSError, ValueError) as error:
        fail(one_line(str(error)), EXIT_FAILED)

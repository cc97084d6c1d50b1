"""`snyper cameras`: what a gateway keeps of its cameras, looked after while that does not run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from snyper.cli import camera_keys_command, extras
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import can_redraw, err, fail, out
from snyper.client.labels import plural
from snyper.system.files import PRIVATE, shown, writing
from snyper.system.process import EXIT_FAILED, EXIT_USAGE, ended_by_signals
from snyper.system.streams import print_json
from snyper.system.text import one_line

if TYPE_CHECKING:
    from snyper.cameras.check import CheckResult
    from snyper.cameras.service import Cameras

T = TypeVar("T")
_WHO = "snyper cameras"  # in the place of a key, in the log
_PIECE_BYTES = 1_000_000  # written at once

cameras = App(
    help="Look after what `snyper gateway --cameras FOLDER` keeps, while it does not run; keys at any time.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
CamerasFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="That of `--cameras`.", file_okay=False, exists=True)
]
camera_keys_command.add_to(cameras)
DatabaseOption = Annotated[
    str | None, typer.Option(metavar="URL", help="That of the gateway; SQLite in the folder if left out.")
]


@cameras.command()
def check(
    folder: CamerasFolder,
    database: DatabaseOption = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Remove files without a record, damaged ones, and links to what is gone; records stay.",
        ),
    ] = False,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read each picture, and compare its SHA-256.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --repair: also where that is most of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for pictures that no record has, and for records whose picture is gone or damaged; exit status 1
    if there are some that are not repaired.
    """

    async def work(opened: "Cameras") -> "CheckResult":
        with _progress() as bar:
            task = bar.add_task("hours", total=None)
            return await opened.check(
                repair,
                force,
                read_data,
                lambda done, hours: bar.update(task, completed=done, total=hours),
            )

    found = _with_cameras(folder, database, work)
    if as_json:
        print_json(
            {
                "files": found.files,
                "orphans": found.orphans,
                "missing": found.missing,
                "damaged": found.damaged,
            }
        )
    else:
        for name in found.orphans:
            out.print(one_line(f"no record has  {name}"), highlight=False, soft_wrap=True)
        for name in found.missing:
            out.print(one_line(f"is gone        {name}"), highlight=False, soft_wrap=True)
        for name, why in found.damaged.items():
            out.print(one_line(f"is damaged     {name}: {why}"), highlight=False, soft_wrap=True)
        err.print(f"{plural(found.files, 'picture')} checked")
    if (found.orphans or found.missing or found.damaged) and not repair:
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
    extras.need("cameras", "`snyper cameras`")
    from snyper.cameras.plates import EXACT, NO_PATTERN, NO_PLATE, is_plate, parse_pattern

    if not is_plate(plate):
        fail(f"--plate: {NO_PLATE}", EXIT_USAGE)
    count = _with_cameras(folder, database, lambda opened: opened.erase_plate(plate, _WHO, rewrites=True))
    if not count and parse_pattern(plate).kind != EXACT:
        fail(f"--plate: {NO_PATTERN}", EXIT_USAGE)
    if as_json:
        print_json({"erased": count})
    else:
        err.print(f"{plural(count, 'record')} erased")


@cameras.command("remove")
def remove(
    folder: CamerasFolder,
    names: Annotated[
        list[str], typer.Argument(metavar="CAMERA...", help="An id, or the begin of some and *.")
    ],
    with_records: Annotated[
        bool,
        typer.Option("--with-records", help="Also those that have records, which go, protected ones too."),
    ] = False,
    database: DatabaseOption = None,
    as_json: Json = False,
) -> None:
    """Remove cameras from the list, with their settings and health; none of them where one has records. One
    that sends again is listed anew.
    """
    removed = _with_cameras(folder, database, lambda opened: opened.remove_cameras(names, with_records, _WHO))
    if as_json:
        print_json({"removed": removed})
    else:
        err.print(f"{plural(len(removed), 'camera')} removed")


@cameras.command("log")
def show_log(
    folder: CamerasFolder,
    database: DatabaseOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The newest N rows.")] = 100,
    as_json: Json = False,
) -> None:
    """Show who searched, exported and erased, the newest first; the same search again within an hour is one
    row. Of a gateway that runs `GET /api/log` says it.
    """
    from snyper.cameras.log import DELETE, EXPORT, SEARCH

    rows = _with_cameras(folder, database, lambda opened: opened.log.rows((SEARCH, EXPORT, DELETE), limit))
    if as_json:
        for row in rows:
            print_json(asdict(row))
        return
    table = Table("from", "until", "key", "what", "filters", "times", "records", box=None, pad_edge=False)
    for row in rows:
        filters = {**row.what, **({} if row.plate is None else {"plate": row.plate})}
        words = one_line(" ".join(f"{name}={value}" for name, value in filters.items()))
        times = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one)) for one in (row.first_s, row.last_s)]
        who = one_line(row.who) or "nobody's"
        table.add_row(*times, Text(who), row.kind, Text(words), str(row.times), str(row.count))
    out.print(table)


@cameras.command("export")
def export_records(
    folder: CamerasFolder,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table.")] = None,
    archive: Annotated[
        Path | None, typer.Option("--zip", metavar="FILE", help="Write the table with all pictures.")
    ] = None,
    camera: Annotated[str | None, typer.Option(metavar="CAMERA", help="Only of this camera.")] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this checkpoint.")] = None,
    plate: Annotated[
        str | None, typer.Option(metavar="PLATE", help="Only of this plate, with * and ?, or ~1 before it.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Captured from then on.")
    ] = None,
    end: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Captured before then.")] = None,
    zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where it is such a time if it names no zone.")
    ] = "UTC",
    database: DatabaseOption = None,
    as_json: Json = False,
) -> None:
    """Export records as a table, or as an archive of it with the pictures and the SHA-256 of each file. Of a
    gateway that runs `GET /api/export` does it.
    """
    file = csv if archive is None else archive
    if file is None or (csv is not None and archive is not None):
        fail("name one of --csv FILE and --zip FILE", EXIT_USAGE)
    extras.need("cameras", "`snyper cameras`")
    from snyper.cameras.export import CSV, ZIP
    from snyper.cameras.log import EXPORT, Entry, folded_pattern
    from snyper.cameras.records import RecordQuery
    from snyper.cameras.times import zone_named

    try:
        read_in = zone_named(zone)
    except ValueError as error:
        fail(one_line(f"--zone: {error}"), EXIT_USAGE)
    query = RecordQuery(
        camera_id=camera,
        checkpoint_id=checkpoint,
        plate=plate,
        from_s=_seconds("--from", begin, read_in),
        until_s=_seconds("--until", end, read_in),
    )
    asked = {"camera_id": camera, "checkpoint_id": checkpoint, "from": begin, "until": end}
    what = {name: value for name, value in asked.items() if value is not None}
    entry = Entry(EXPORT, _WHO, {**what, "format": ZIP if archive else CSV}, folded_pattern(plate))

    async def work(opened: "Cameras") -> int:
        await opened.log.write(entry)
        exported = opened.export(query)
        parts = exported.archive() if archive else exported.table()
        try:
            with _progress() as bar, writing(file, PRIVATE) as target:
                task = bar.add_task("records", total=await opened.count(query))
                while await asyncio.to_thread(_write_some, parts, target):
                    bar.update(task, completed=exported.count)
        finally:
            await opened.log.write(replace(entry, count=exported.count, times=0))
        return exported.count

    count = _with_cameras(folder, database, work)
    if as_json:
        print_json({"exported": count, "file": str(file)})
    else:
        err.print(f"{plural(count, 'record')} in {shown(file)}", markup=False)


def _progress() -> Progress:
    return Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
        console=err,
        transient=True,
        disable=not can_redraw(err),
    )


def _write_some(parts: Iterator[bytes], target: BinaryIO) -> int:
    """Write some parts, and return how many bytes, 0 after the last."""
    size = 0
    for part in parts:
        size += target.write(part)
        if size >= _PIECE_BYTES:
            break
    return size


def _seconds(option: str, text: str | None, zone: tzinfo) -> float | None:
    from snyper.cameras.times import bound_of

    if text is None:
        return None
    time_s = bound_of(text, zone)
    if time_s is None:
        fail(f"{option} is a time such as 2024-12-19T10:00:00Z", EXIT_USAGE)
    return time_s


def _with_cameras(folder: Path, database: str | None, work: "Callable[[Cameras], Awaitable[T]]") -> T:
    extras.need("cameras", "`snyper cameras`")
    from snyper.cameras.database import FILE, OWNER
    from snyper.cameras.records import CamerasError
    from snyper.cameras.service import opened

    if database is None and not any((folder / name).is_file() for name in (FILE, OWNER)):
        fail(one_line(f"{shown(folder)} has no {FILE}: name the folder of --cameras"), EXIT_FAILED)

    async def run() -> T:
        async with opened(folder, database, sweeps=False) as found:
            return await work(found)

    try:
        return asyncio.run(ended_by_signals(run()))
    except (OSError, ValueError, CamerasError) as error:
        fail(one_line(str(error)), EXIT_FAILED)

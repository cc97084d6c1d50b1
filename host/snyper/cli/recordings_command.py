"""`snyper recordings`: what is recorded, and exports for other programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from snyper.cli import extras
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, fail, out
from snyper.cli.record_command import DEFAULT_FOLDER, Folder
from snyper.cli.transfers import progress
from snyper.client.labels import plural
from snyper.system.files import shown, writing
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json
from snyper.system.text import one_line

if TYPE_CHECKING:
    from snyper.recordings import Recording

recordings = App(
    help="List what `snyper arrays record` has recorded, and export it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
RecordingFolder = Annotated[
    Path, typer.Argument(metavar="RECORDING", help="The folder of a recording.", file_okay=False)
]
_SHOWN = 20  # gaps and marks, of which all are in --json


@recordings.command("list")
def list_recordings(folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the recordings in a folder, also those that grow."""
    extras.need("arrays", "`snyper recordings`")
    from snyper.recordings.errors import RecordingError
    from snyper.recordings.retention import recordings_in

    if folder != DEFAULT_FOLDER and not folder.is_dir():
        fail(f"there is no folder {shown(folder)}", EXIT_FAILED)
    found = []
    for path in recordings_in(folder):
        try:
            with _opened(path) as recording:
                found.append({"recording": path.name} | _about(recording))
        except (RecordingError, OSError) as error:
            err.print(one_line(str(error)), soft_wrap=True)
    if as_json:
        print_json(found)
        return
    if found:
        table = Table("recording", "stream", "began (UTC)", "lasts", "samples", "missing", box=None)
        for one in found:
            lasts = _time(one["seconds"])
            cells = (one["recording"], one["stream"], one["began"] or "", lasts)
            table.add_row(*map(one_line, cells), f"{one['samples']:,}", f"{one['missing']:,}")
        out.print(table)
    err.print(
        one_line(f"{plural(len(found), 'recording')} in {shown(folder)}"), highlight=False, soft_wrap=True
    )


@recordings.command()
def info(recording: RecordingFolder, as_json: Json = False) -> None:
    """Show what a recording has: epochs, gaps, marks."""
    extras.need("arrays", "`snyper recordings`")
    with _told(), _opened(recording) as opened:
        about = _about(opened) | {
            "epochs": [
                {"epoch": one.id, "first": one.first, "end": one.end, "samples": one.samples}
                | one.spec.to_data()
                for one in opened.epochs
            ],
            "gaps": [
                {"epoch": gap.epoch, "first": gap.first, "last": gap.last, "why": gap.why}
                for gap in opened.gaps
            ],
            "marks": [
                {"at_us": mark.at_us, "name": mark.name, "utc": _utc(opened, mark.at_us)}
                for mark in opened.marks
            ],
        }
    if as_json:
        print_json(about)
        return
    lines = [
        f"{about['stream']}, from {about['began'] or 'an unknown time'} on, {_time(about['seconds'])}",
        f"{plural(about['samples'], 'sample')}, {about['missing']:,} missing{_older(opened)}",
    ]
    for one in about["epochs"]:
        shape = " × ".join(map(str, one["shape"])) or "a number"
        numbers = f"{one['first']:,} to {one['end'] - 1:,}"
        lines.append(f"epoch {one['epoch']}: {numbers}; {one['dtype']}, {shape}, {one['rate_hz']:g} Hz")
    for gap in about["gaps"][:_SHOWN]:
        lines.append(f"gap in {gap['epoch']}: {gap['first']:,} to {gap['last']:,}, {gap['why']}")
    lines += [f"mark {mark['name']}: {mark['utc'] or mark['at_us']}" for mark in about["marks"][:_SHOWN]]
    for name in ("gaps", "marks"):
        if len(about[name]) > _SHOWN:
            lines.append(f"and {len(about[name]) - _SHOWN:,} {name} more: --json has all")
    for line in lines:
        out.print(one_line(line), highlight=False, soft_wrap=True)


@recordings.command()
def export(
    recording: RecordingFolder,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What it becomes: .npy, .csv or .zarr at its end.")
    ],
    epoch: Annotated[
        str | None, typer.Option(metavar="EPOCH", help="One alone, as `info` shows them: .npy has only one.")
    ] = None,
) -> None:
    """Write a recording for other programs."""
    extras.need("arrays", "`snyper recordings`")
    kind = file.suffix.lower()
    if kind == ".zarr":
        extras.need("zarr", "a .zarr")
    from snyper.recordings import exports

    with _told(file), _opened(recording) as opened, progress(file.name) as on_progress:
        if kind == ".zarr":
            count = exports.write_zarr(opened, file, epoch, on_progress)
        elif kind == ".npy":
            with writing(file) as binary:
                count = exports.write_npy(opened, binary, epoch, on_progress)
        elif kind == ".csv":
            with writing(file) as binary:
                text = TextIOWrapper(binary, "utf-8", newline="")
                count = exports.write_csv(opened, text, epoch, on_progress)
                text.flush()
                text.detach()
        else:
            raise typer.BadParameter(f"{shown(file)} ends in none of .npy, .csv, .zarr", param_hint="FILE")
        missing = sum(one.missing for one in opened.epochs if epoch in (None, one.id))
    said = f"{shown(file)}: {plural(count, 'sample')}, {missing:,} missing{_older(opened)}"
    err.print(one_line(said), highlight=False, soft_wrap=True)


@contextmanager
def _opened(path: Path) -> "Iterator[Recording]":
    from snyper.recordings import open_recording

    with open_recording(path) as recording:
        yield recording


@contextmanager
def _told(written: Path | None = None) -> Iterator[None]:
    """End the command with a message for what goes wrong in a block, in which a file may be written."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            place = written if error.filename is None else Path(error.filename)
            if place is not None:
                fail(f"{shown(place)}: {error.strerror}", EXIT_FAILED)
        fail(str(error), EXIT_FAILED)


def _about(recording: "Recording") -> dict[str, Any]:
    epochs = recording.epochs
    samples = sum(one.samples for one in epochs)
    begin_us, end_us = recording.span_us if samples else (0, 0)
    return {
        "stream": f"{recording.source}/{recording.stream}",
        "began": _utc(recording, begin_us) if samples else None,
        "seconds": (end_us - begin_us) / 1_000_000,
        "samples": samples,
        "missing": sum(one.missing for one in epochs),
        "shortened": recording.is_shortened,
    }


def _older(recording: "Recording") -> str:
    """Return what is said of samples that are neither there nor missing."""
    return "; older ones were removed" if recording.is_shortened else ""


def _utc(recording: "Recording", at_us: int) -> str | None:
    utc_us = recording.utc_us(at_us)
    try:
        return None if utc_us is None else f"{datetime.fromtimestamp(utc_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # out of the calendar
        return None


def _time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{int(rest):02}" if hours else f"{minutes}:{rest:04.1f}"

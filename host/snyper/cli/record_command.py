"""`snyper arrays record`: streams into a folder of recordings, until Ctrl-C."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snyper.cli import extras
from snyper.cli.commands import HubOption, Json, run, stream_name, warn_of_losses
from snyper.cli.mark_keys import HINT, TypedLine, marking
from snyper.cli.output import can_redraw, err, fail, out
from snyper.client import DEFAULT_HUB, connect
from snyper.client.labels import plural
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json
from snyper.system.temporary import temporary_folder
from snyper.system.text import one_line

if TYPE_CHECKING:
    from snyper.client import HubClient
    from snyper.recordings import Recorder
    from snyper.streams.info import StreamInfo

DEFAULT_FOLDER = Path("recordings")
Folder = Annotated[
    Path, typer.Option("--folder", metavar="FOLDER", help="Of the recordings.", file_okay=False)
]
KeepDays = Annotated[float | None, typer.Option(metavar="DAYS", help="Remove what is older.", min=0)]
KeepGb = Annotated[
    float | None, typer.Option(metavar="GB", help="Remove the oldest of more than that.", min=0)
]
_DAY_S = 86_400
_GB = 1_000_000_000
_SHOW_S = 0.5
_WAIT_S = 1.0  # until it is said what is waited for
_NAMES = 8  # that are said with that


def kept(days: float | None, gb: float | None) -> tuple[float | None, int | None]:
    """Return for how many seconds, and up to how many bytes, recordings are kept; None for no limit."""
    return None if days is None else days * _DAY_S, None if gb is None else int(gb * _GB)


def record(
    streams: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE/STREAM...", help="As `snyper stream list` shows them.", parser=stream_name
        ),
    ],
    folder: Folder = DEFAULT_FOLDER,
    history: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin so long ago: 10s, 5m; by default now.")
    ] = None,
    continues: Annotated[
        bool,
        typer.Option("--continue", help="Go on in the newest recording of each, where there is one."),
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End after so long; by default with Ctrl-C.", min=0),
    ] = None,
    keep_days: KeepDays = None,
    keep_gb: KeepGb = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Record streams until Ctrl-C, each into a folder of its own that opens after any crash.

    What is typed meanwhile is a mark in each stream and recording: a key, or Enter, a name and Enter. What
    cannot be kept is recorded as a gap.
    """
    if twice := [name for name in streams if streams.count(name) > 1]:
        raise typer.BadParameter(f"{twice[0]} is given twice", param_hint="SOURCE/STREAM...")
    extras.need("arrays", "recording")
    from snyper.recordings.errors import InUse, RecordingError
    from snyper.recordings.session import keep_within, only_recorder, record_stream
    from snyper.streams.subscriber import history_ms

    begun: list[tuple[Path, Recorder]] = []

    def on_begin(path: Path, recorder: "Recorder") -> None:
        begun.append((path, recorder))
        how = "on in" if recorder.continues else "into"
        err.print(one_line(f"{recorder.name}: {how} {shown(path)}"), soft_wrap=True)

    async def record_all(spill: Path) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(duration), connect(hub, reconnect=True) as console:
                warn_of_losses(console, hub)
                keeping = asyncio.create_task(keep_within(folder, *kept(keep_days, keep_gb)))
                marks = _Marks(console, streams, begun)
                shows = can_redraw(err) and not as_json
                showing = asyncio.create_task(_show(begun, marks)) if shows else None
                telling = asyncio.create_task(_tell_waiting(console, streams, begun))
                try:
                    with marking(marks.mark, marks.show if shows else TypedLine().show, takes_lines=True):
                        async with asyncio.TaskGroup() as tasks:
                            for number, name in enumerate(streams):
                                place = spill / str(number)
                                place.mkdir()
                                tasks.create_task(
                                    record_stream(console, name, folder, place, on_begin, history, continues)
                                )
                except ExceptionGroup as group:
                    raise group.exceptions[0] from None
                finally:
                    keeping.cancel()
                    telling.cancel()
                    if showing is not None:
                        showing.cancel()

    try:
        history_ms(history or 0)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--history") from None
    try:
        with only_recorder(folder), temporary_folder() as spill:
            run(record_all(spill), hub, until_ctrl_c=True)
    except (InUse, RecordingError) as error:
        fail(str(error), EXIT_FAILED)
    except OSError as error:
        fail(f"it cannot be recorded into {shown(folder)}: {error.strerror or error}", EXIT_FAILED)
    finally:
        _tell_end(begun, as_json)
    if missing := {*streams} - {recorder.name for _, recorder in begun}:
        fail(f"nothing has come of {', '.join(sorted(missing))}", EXIT_FAILED)


def _tell_end(begun: "list[tuple[Path, Recorder]]", as_json: bool) -> None:
    """Say what is recorded, and end the command where the end of something is not."""
    for path, recorder in begun:
        progress = recorder.progress
        if as_json:
            about = {"stream": recorder.name, "samples": progress.stored, "missing": progress.gaps}
            print_json(about | {"recording": shown(path)})
        else:
            text = f"{recorder.name}: {plural(progress.stored, 'sample')}, {progress.gaps:,} missing"
            out.print(one_line(f"{text}, in {shown(path)}"), highlight=False, soft_wrap=True)
    for path, recorder in begun:
        if failing := recorder.progress.failing:
            why = f"the end of {recorder.name} is not in {shown(path)}: {failing}"
            fail(f"{why}. With --continue another recorder goes on there", EXIT_FAILED)


async def _tell_waiting(hub: "HubClient", streams: list[str], begun: "list[tuple[Path, Recorder]]") -> None:
    """Say which streams have not come in a second, and why."""
    await asyncio.sleep(_WAIT_S)
    known: list[StreamInfo] = []
    with suppress(ProtocolError):  # an older hub, or one on a board, has no list
        known = await hub.streams()
    here = {recorder.name for _, recorder in begun}
    for name in streams:
        if name not in here:
            err.print(one_line(f"waiting for {name}: {_why_waiting(name, known)}"), soft_wrap=True)


def _why_waiting(name: str, known: "list[StreamInfo]") -> str:
    """Return what the hub knows of a stream of which nothing has come; it lists what is only asked for, too,
    without a dtype.
    """
    source = name.rpartition("/")[0]
    is_here = {info.source: info.connected for info in known}
    own = next((info for info in known if info.name == name and info.dtype), None)
    if own is not None and not own.connected:
        return f"{source} is away"
    if own is not None or not known:
        return "nothing has come yet"
    if is_here.get(source):
        why = "no such stream here yet"
        others = [info.stream for info in known if info.source == source and info.dtype]
    else:
        why = f"no {source} here yet"
        others = [info.name for info in known if info.connected and info.dtype]
    more = ", …" if len(others) > _NAMES else ""
    return f"{why} (there are: {', '.join(others[:_NAMES])}{more})" if others else why


async def _show(begun: "list[tuple[Path, Recorder]]", marks: "_Marks") -> None:
    """Show how far each recorder is, in place."""
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    with Live(console=err, transient=True, auto_refresh=False) as live:
        while True:
            table = Table("stream", "samples", "missing", "waiting", "", box=None)
            for _, recorder in begun:
                progress = recorder.progress
                waiting = f"{progress.waiting_bytes / 1e6:,.1f} MB" if progress.waiting_bytes else ""
                table.add_row(
                    recorder.name, f"{progress.stored:,}", f"{progress.gaps:,}", waiting, progress.failing
                )
            typed = Text(marks.typed) if marks.typed else Text(HINT, "dim")
            live.update(Group(table, typed), refresh=True)
            marks.is_news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(marks.is_news.wait(), _SHOW_S)


class _Marks:
    """The marks that are typed: into each stream that is recorded, or its recording alone where the stream
    takes none.
    """

    typed = ""  # of a name that is not whole

    def __init__(self, hub: "HubClient", streams: list[str], begun: "list[tuple[Path, Recorder]]") -> None:
        self.is_news = asyncio.Event()
        self._hub = hub
        self._streams = streams
        self._begun = begun
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, typed: str) -> None:
        """Have what is typed shown."""
        self.typed = typed
        self.is_news.set()

    def mark(self, name: str) -> None:
        """Make one, now; of a stream that has not come yet, say that it has none."""
        here = {recorder.name for _, recorder in self._begun}
        for stream in self._streams:
            if stream not in here:
                said = f"{stream}: no mark {name!r}: nothing of it is recorded yet"
                err.print(one_line(said), soft_wrap=True)
        for _, recorder in self._begun:
            self._tasks.add(task := asyncio.create_task(self._mark(recorder, name)))
            task.add_done_callback(self._tasks.discard)

    async def _mark(self, recorder: "Recorder", name: str) -> None:
        from snyper.recordings.session import put_mark

        error = await put_mark(self._hub, recorder.name, name, recorder)
        if error is not None:
            may_be = error.code in (ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)
            alone = "at least" if may_be else "alone"
            said = f"{recorder.name}: {name!r} is in the recording {alone} ({error.message})"
            err.print(one_line(said), soft_wrap=True)

"""`snyper arrays plot`: a stored array, a file or a recording, as a picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from snyper.cli import extras, transfers
from snyper.cli.array_gateway import DEFAULT_GATEWAY, Gateway, GatewayHub, gateway_client
from snyper.cli.output import fail
from snyper.cli.plot_faces import Png, Terminal, save, show_still
from snyper.cli.transfers import SERVER_TIMEOUT_S, ServerTimeout
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED

if TYPE_CHECKING:
    from snyper.streams.plot import StillPlot

_SUFFIX = ".npy"
Stored = Annotated[
    str,
    typer.Argument(
        metavar="INDEX|NAME|FILE", help="As `list` shows it; or a .npy file, or the folder of a recording."
    ),
]


def plot(
    which: Stored,
    part: Annotated[
        str, typer.Option("--slice", metavar="SLICE", help="A part of an array, such as 10:20,::2 or :,0.")
    ] = "",
    begin: Annotated[
        float | None, typer.Option(metavar="S", help="Begin so many seconds after a recording's begin.")
    ] = None,
    end: Annotated[
        float | None, typer.Option(metavar="S", help="End so many seconds after a recording's begin.")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|N",
            help="Which value of a sample, by its name or from 0 on; repeated for several.",
        ),
    ] = None,
    rolling: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Samples, of a recording seconds, of rolling mean and deviation; by default a twentieth.",
            min=0,
        ),
    ] = None,
    png: Png = None,
    terminal: Terminal = False,
    to: Gateway = DEFAULT_GATEWAY,
    hub: GatewayHub = None,
    timeout: ServerTimeout = SERVER_TIMEOUT_S,
) -> None:
    """Plot a stored array, a `.npy` file or a recording, with rolling mean and deviation."""
    extras.need("arrays", "plotting an array")
    extras.need("plot", "plotting an array")
    path = Path(which)
    channels = channel or []
    is_file = which.lower().endswith(_SUFFIX)
    if (path / "recording.json").exists() or (path.name != which and not is_file):  # no name has a slash
        if part:
            raise typer.BadParameter("a recording has --begin and --end, no --slice", param_hint="--slice")
        drawn = _of_recording(path, begin, end, channels, rolling)
    else:
        if begin is not None or end is not None:
            raise typer.BadParameter("--begin and --end are of a recording: --slice is of an array")
        if is_file:
            drawn = _of_file(path, shown(path), part, channels, rolling)
        else:
            drawn = _of_stored(which, part, channels, rolling, to, hub, timeout)
    if png is not None:
        save(drawn, png)
    else:
        show_still(drawn, terminal)


def _of_stored(
    which: str,
    part: str,
    channels: list[str],
    rolling: float | None,
    to: str,
    hub: str | None,
    timeout: float,
) -> "StillPlot":
    """Get an array into a file that nobody else sees, and plot that: it may be larger than memory."""
    with TemporaryDirectory(prefix="snyper-") as folder:
        path = Path(folder) / "array.npy"
        with (
            gateway_client(to, hub, timeout) as client,
            path.open("wb") as file,
            transfers.progress(which) as on_progress,
        ):
            client.save_array(which, file, part, on_progress)
        return _of_file(path, which + (f"[{part}]" if part else ""), "", channels, rolling)


def _of_file(path: Path, name: str, part: str, channels: list[str], rolling: float | None) -> "StillPlot":
    from snyper.arrays.file_array import open_array
    from snyper.streams.array_plot import plot_of_array

    with _told(name), transfers.progress(name) as on_progress:
        return plot_of_array(name, open_array(path, name, part), channels, rolling, on_progress)


def _of_recording(
    path: Path, begin: float | None, end: float | None, channels: list[str], rolling: float | None
) -> "StillPlot":
    from snyper.recordings import open_recording
    from snyper.recordings.plot import plot_of_recording

    with _told(str(path)), open_recording(path) as recording:
        return plot_of_recording(recording, begin, end, channels, rolling)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """End the command with a message for what goes wrong in a block."""
    from snyper.recordings import RecordingError

    try:
        yield
    except OSError as error:
        fail(f"{name}: {error.strerror or error}", EXIT_FAILED)
    except (RecordingError, ValueError) as error:
        fail(str(error), EXIT_FAILED)

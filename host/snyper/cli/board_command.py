"""`snyper board`: a board to plug in, without one."""

from pathlib import Path
from typing import Annotated

import typer

from snyper.boards.micropython import MicropythonNotFoundError
from snyper.boards.usb_board import UsbBoard
from snyper.cli.output import fail
from snyper.system.process import EXIT_FAILED


def board(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Its flash; made if need be.", file_okay=False)
    ],
) -> None:
    """Run a virtual board until Ctrl-C: stdout says the port to connect to, DIR is its flash.

    It is a real MicroPython that takes itself for a Pico W. To cut its power, kill the process: it comes back
    as a board does. Its Wi-Fi joins any network. As a hub
    board it has the screen, if its config.json says so.
    """
    try:
        usb_board = UsbBoard(directory, screen={})
    except BlockingIOError:
        fail(f"the board in {directory} is on already: end the other `snyper board` first", EXIT_FAILED)
    except MicropythonNotFoundError as error:
        fail(str(error), EXIT_FAILED)
    except OSError as error:
        what = f"{error.filename or directory}: {error.strerror}" if error.strerror else str(error)
        fail(what, EXIT_FAILED)
    try:
        usb_board.start()
        typer.echo(usb_board.port)
        typer.echo(f"board: try `mpremote connect {usb_board.port}`; Ctrl-C ends it", err=True)
        usb_board.wait()
        said = usb_board.log.rstrip().rpartition("\n")[2] or "nothing"
        fail(f"the board's MicroPython does not start; it said last: {said}", EXIT_FAILED)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
    finally:
        usb_board.close()

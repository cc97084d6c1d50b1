"""The entry of a hub board at power-up. `boot` handles every failure but its own absence."""

import sys
import time

import machine


def load_read():  # type: ignore[no-untyped-def]
    from snyper.firmware.master.config import read

    return read


def load_application():  # type: ignore[no-untyped-def]
    from snyper.firmware.master.hub_board import HubBoard

    return HubBoard


try:
    from snyper.firmware.board.update import apply

    if apply():
        machine.reset()  # this file too may be another now
    del apply
    from snyper.firmware.board.boot import run

    run("master", load_read, load_application)
except Exception as error:
    sys.print_exception(error)  # type: ignore[attr-defined, unused-ignore]
    time.sleep(60)  # Ctrl-C reaches the REPL
    machine.reset()

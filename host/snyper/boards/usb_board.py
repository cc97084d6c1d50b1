"""A board at the end of a USB cable: what mpremote and a serial terminal find on a pseudo-terminal."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from snyper.boards.board import PWRON_RESET, Board
from snyper.boards.temporary import temporary_directory
from snyper.boards.usb_cable import Cable

_SOFT_REBOOT = b"MPY: soft reboot\r\n"

BOOT_SECONDS = 1.0  # from the end of a process until all it has said is read


class UsbBoard(Board):
    """A board with a USB cable to this computer: at the other end of `port` is its prompt.

    Where `main.py` ends or is interrupted, there is the prompt. A process that is killed is a power cut after
    which the power comes back. The port stays through resets; it goes when the cable is unplugged.
    """

    has_usb = True

    def __init__(self, flash: Path, directory: Path | None = None, **options: Any) -> None:
        """Make a board that is unplugged and off. `flash` is made if need be, and nothing but the board's
        files is written to it.

        `directory` is for everything else: by default a temporary one, gone with the board. The name, and
        with it the unique id, is by default the flash's path. `options` are `Board`'s. Raises OSError,
        BlockingIOError when this flash's board is on already.
        """
        flash = flash.resolve()
        name = options.pop("name", None) or str(flash)
        with ExitStack() as held:
            flash.mkdir(parents=True, exist_ok=True)
            claim = os.open(flash, os.O_RDONLY)
            held.callback(os.close, claim)
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if directory is None:
                directory = held.enter_context(temporary_directory("snyper-board-"))
            else:
                directory.mkdir(parents=True, exist_ok=True)
            (directory / "board.log").unlink(missing_ok=True)
            super().__init__(directory, flash, name=name, **options)
            self._held = held.pop_all()
        self._cable: Cable | None = None

    def __enter__(self) -> "UsbBoard":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> str:
        """Return the pseudo-terminal to connect to. Raises RuntimeError while the board is unplugged."""
        if self._cable is None:
            raise RuntimeError(f"{self.name} is not plugged in")
        return self._cable.port

    def start(self) -> None:
        """Plug the board in, where it is not, and switch it on. Raises RuntimeError when it is on, OSError
        when MicroPython does not run.
        """
        if self._cable is None:
            self._cable = Cable(self._log_path.open("ab"))
        super().start()

    def unplug(self) -> None:
        """Take the cable away, and with it the power. `start` plugs the board in again, at another port."""
        self.kill()
        if self._cable is not None:
            self._cable.close()
            self._cable = None

    def close(self) -> None:
        """Unplug the board and let its flash go. May be called again."""
        self.unplug()
        self._held.close()

    @contextmanager
    def _terminal(self) -> Iterator[tuple[int, int]]:
        assert self._cable is not None
        yield self._cable.plug_in(), self._cable.board

    def _boot(self, reset_cause: int) -> Any:
        process = super()._boot(reset_cause)
        if process is not None and self._cable is not None:
            self._cable.pid = process.pid
        return process

    def _environment(self) -> dict[str, str]:
        assert self._cable is not None
        return {"SNYPER_REPL": "raw"} if self._cable.starts_raw else {}

    def _is_stuck(self) -> bool:
        assert self._cable is not None
        return self._cable.is_stuck()

    def _reset_cause(self, was_bitten: bool) -> int | None:
        assert self._cable is not None
        self._cable.pid = None
        self._cable.starts_raw = False
        return super()._reset_cause(was_bitten)

    def _cause_after_power_cut(self) -> int | None:
        (self.directory / "watchdog").unlink(missing_ok=True)
        return PWRON_RESET

    def _cause_after_end(self) -> int | None:
        """Return the cause of a soft reset, which stops no watchdog; a raw prompt stays one."""
        assert self._cable is not None
        if not self._cable.booted.wait(BOOT_SECONDS):
            return None  # it is no board's MicroPython
        self._cable.starts_raw = self._cable.is_raw
        self._cable.say(_SOFT_REBOOT)
        return self._cause

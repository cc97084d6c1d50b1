"""The surroundings of a virtual board, which see and act on it: files in the board's directory."""

import json
import time
from pathlib import Path
from typing import Any

from snyper.boards.status import last_status_in, statuses_in, times_up

SAMPLING_NS = 250_000_000  # an ADC read less long ago than this is in use; the board says so every 50 ms


class Surroundings:
    """The surroundings of the board that has `directory`, as far as it notices them.

    Methods may be called from any thread.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory.resolve()
        self.name = name or self.directory.name
        self._log_path = self.directory / "board.log"
        self._board: dict[str, Any] = {}  # what virtual_board is told of itself

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Return pins, PWM, ADC and Wi-Fi as `VirtualBoard.outputs()` says them; empty before the board
        boots.
        """
        try:
            outputs: dict[str, dict[str, Any]] = json.loads(self._read("outputs.json"))
        except FileNotFoundError:
            return {"pins": {}, "pwm": {}, "adc": {}, "wifi": {}}
        return outputs

    def is_sampling(self, gpio: int = 26) -> bool:
        """Return whether the firmware reads the ADC on `gpio` now: whether the target is armed."""
        at_ns = self.outputs()["adc"].get(str(gpio), {"at_ns": 0})["at_ns"]
        return bool(time.time_ns() - at_ns < SAMPLING_NS)

    def strike(self, peak: int, duration_ms: int, gpio: int = 26, in_ms: int = 0) -> int:
        """Strike the board in `in_ms`: the piezo then gives `peak` (u16) for `duration_ms`, whether it is
        read or not. Returns when it begins, in ns of the monotonic clock.
        """
        at_ns = time.monotonic_ns() + in_ms * 1_000_000
        from_ns = time.time_ns() + in_ms * 1_000_000
        until_ns = from_ns + duration_ms * 1_000_000
        self._write("strike", {"gpio": gpio, "peak": peak, "from_ns": from_ns, "until_ns": until_ns})
        return at_ns

    def press(self, gpio: int, samples: int = 4) -> None:
        """Push a button between that pin and ground, down for so many samples of the firmware, with
        contacts that bounce. Raises RuntimeError while it has not yet sampled all of the push before.
        """
        if (self.directory / "levels").exists():
            raise RuntimeError(f"{self.name} has not sampled all of the last push")
        levels = [[0, 1], [1, 1], [0, samples], [1, 1], [0, 1], [1, 3]]
        self._write("levels", {"gpio": gpio, "levels": levels})

    def screen(self) -> dict[str, Any]:
        """Return what the screen shows and was sent, as `Screen.save` says it; empty before it was sent
        anything.
        """
        try:
            shown: dict[str, Any] = json.loads(self._read("screen.json"))
        except FileNotFoundError:
            return {}
        return shown

    def plug_screen(self, is_in: bool) -> None:
        """Plug the screen of a board that has one out, and in again: it then has forgotten everything."""
        self._board["screen"]["plugged"] = time.time_ns() if is_in else 0
        self._write("board.json", self._board)

    def set_air(self, **changes: object) -> None:
        """Change the radio around the board: `networks`, `up`, `rejoins`, `dhcp`, `lies`, as
        `VirtualBoard` says what they are.
        """
        self._board["air"].update(changes)
        self._write("board.json", self._board)

    def set_faults(self, **faults: object) -> None:
        """Change what is wrong with the flash of a board that was made with `faults`; None ends one.

        `cut_at` is the step of writing (`steps`) in which the power goes, to stay off; `capacity_bytes` is
        the size of the flash; in a file whose path ends with `corrupts`, a bit flips whenever it is written.
        """
        self._board["faults"].update(faults)
        self._write("board.json", self._board)

    @property
    def steps(self) -> int:
        """Return how many steps have changed the flash of a board with `faults` since it was switched on: a
        file opened for writing, a piece written, a file closed, renamed or removed, a directory made or
        removed.
        """
        try:
            return int(self._read("steps"))
        except FileNotFoundError:
            return 0

    @property
    def log(self) -> str:
        """Return all that the firmware has printed, over all its boots."""
        try:
            return self._log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def status(self) -> str:
        """Return the word of the last status line; empty where there is none. docs/troubleshooting.md lists
        them.
        """
        return str(last_status_in(self.log)["status"])

    def statuses(self) -> list[dict[str, Any]]:
        """List every change of the board's status, over all its boots."""
        return statuses_in(self.log)

    @property
    def times_up(self) -> int:
        """Return how often it has begun to do its work, over all its boots: a hub to listen, a target
        registered.
        """
        return times_up(self.log)

    def _read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def _write(self, name: str, value: object) -> None:
        new = self.directory / f"{name}.written"
        new.write_text(json.dumps(value))
        new.replace(self.directory / name)

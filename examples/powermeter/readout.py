"""Shows a powermeter live: `python readout.py --address 192.168.1.10`, until Ctrl-C. The secret is in
SNYPER_SECRET.

However many look, the server reads the instrument once for all. Started anew, it is picked up again.
"""

import argparse
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

import snyper
from powermeter import Powermeter

BARS = "▁▂▃▄▅▆▇█"
READINGS = 48  # that are shown
ASK_S = 1.0  # between two questions whether the server is there
FREE = "nobody has a lease"
AWAY_S = 2.0  # without an answer, after which it is away


class Readout:
    """What is known of the powermeter; rich draws it."""

    def __init__(self, where: str) -> None:
        self.identity = where
        self.voltages: deque[float] = deque(maxlen=READINGS)
        self.range = 0  # 0 until it is known
        self.leases: list[str] = []
        self.away = "it has not answered yet"  # "" while the server is there
        self.trouble = ""  # that the instrument has

    def __rich__(self) -> Panel:
        fresh = "dim" if self.away or self.trouble else "bold green"
        lines = []
        voltages = list(self.voltages)  # to which another thread adds
        if voltages:
            span = f"{in_unit(min(voltages))} to {in_unit(max(voltages))} in the last {len(voltages)}"
            lines += [
                Text(in_unit(voltages[-1]), fresh),
                Text(sparkline(voltages), "dim" if fresh == "dim" else "cyan"),
                Text(span, "dim"),
            ]
        if self.range:
            lines.append(Text(f"range {self.range}, to {Powermeter.RANGES_V[self.range - 1]:.1f} V"))
        lines += [Text(lease, "yellow") for lease in self.leases]
        if self.away:
            lines.append(Text(f"the server is away: {self.away}", "bold red"))
        elif self.trouble:
            lines.append(Text(self.trouble, "bold red"))
        return Panel(Group(*lines), title=self.identity, width=READINGS + 24, padding=(1, 2))


def in_unit(volts: float) -> str:
    """Return a voltage as people read it."""
    return f"{volts:.4f} V" if abs(volts) >= 1 else f"{volts * 1000:.2f} mV"


def sparkline(values: list[float]) -> str:
    """Return a bar for each value, from the lowest of them to the highest."""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in values)


def lease_line(lease: dict[str, Any]) -> str:
    """Say who has a lease, until when and why."""
    until: datetime = lease["until"]
    why = f": {lease['why']}" if lease["why"] else ""
    return f"{lease['who']} has it until {until.astimezone():%H:%M:%S}{why}"


def keep_up(readout: Readout, follow: Callable[[], None]) -> None:
    """Follow the server in a thread. What ends that is shown, and it is tried again."""

    def run() -> None:
        while True:
            try:
                follow()
            except Exception as error:  # of the link, or of the instrument
                readout.trouble = str(error)
            time.sleep(ASK_S)

    threading.Thread(target=run, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a powermeter live, until Ctrl-C.")
    parser.add_argument("--address", default="localhost", help="of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=4440, help="of the server (%(default)s)")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between readings (%(default)s)")
    arguments = parser.parse_args()
    pm = snyper.Client(
        Powermeter,
        address=arguments.address,
        port=arguments.port,
        secret=os.environ.get("SNYPER_SECRET"),
    )
    readout = Readout(f"{arguments.address}:{arguments.port}")

    def follow_voltage() -> None:
        for voltage in snyper.watch(pm, "read_voltage", every=arguments.every):
            readout.voltages.append(voltage)
            readout.trouble = ""

    def follow_range() -> None:
        for readout.range in snyper.watch(pm, "range"):
            pass

    def ask_for_leases() -> None:
        try:
            with snyper.deadline(AWAY_S):
                readout.leases = [lease_line(lease) for lease in snyper.leases(pm)] or [FREE]
                readout.identity = pm.identity
        except snyper.CallError as error:
            readout.away = str(error)
        else:
            readout.away = ""

    for follow in (follow_voltage, follow_range, ask_for_leases):
        keep_up(readout, follow)
    logging.getLogger("snyper").setLevel(logging.ERROR)  # that the server is away is shown
    try:
        with Live(readout, refresh_per_second=10):
            while True:
                time.sleep(ASK_S)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

"""Attack a running system in every known way, and hold each promise against a figure: `make faults`.

    python -m tools.faults [--full] [--case N ...] [--write]

Prints each figure with its bound and a verdict as it comes, and ends with 1 when one does not hold. Hubs are
processes on both runtimes, boards are real MicroPython, connections real sockets. docs/reliability.md says
what each case does; `--write` puts the figures there.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from snyper.boards.temporary import temporary_directory
from tools.faults import page
from tools.faults.case import FULL, QUICK, Case, Figure, Scale, Skipped
from tools.faults.catalogue import CASES
from tools.faults.page import Row

LIMIT_S = {QUICK: 450.0, FULL: 3 * 3600.0}  # of a case, on a busy machine too; one that hangs has failed


class _Report:
    """Prints figures as they come."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self.rows: list[Row] = []
        self.failed = 0

    def head(self, text: str) -> None:
        self._console.print(text, style="bold")
        self._line("case", "figure", "value", "bound", "verdict", "bold")

    def begin(self, case: Case) -> None:
        self._line(case.number, case.name, "", "", "", "cyan")

    def add(self, case: Case, figure: Figure) -> None:
        if not figure.was_run:
            self.skip(case, figure.what)
            return
        verdict = "holds" if figure.holds else "FAILS"
        self.failed += not figure.holds
        self.rows.append(Row(case, figure.what, figure.value, figure.bound, verdict))
        style = "green" if figure.holds else "bold red"
        self._line("", f"  {figure.what}", figure.value, figure.bound, verdict, style)

    def skip(self, case: Case, why: str) -> None:
        self.rows.append(Row(case, why, "", "", "not run"))
        self._line("", f"  {why}", "", "", "not run", "yellow")

    def fail(self, case: Case, why: str) -> None:
        self.failed += 1
        first = why.strip().splitlines()[0][:200] if why.strip() else "no word"
        self.rows.append(Row(case, f"broke off: {first}", "", "", "FAILS"))
        self._line("", f"  broke off: {first}", "", "", "FAILS", "bold red")
        for line in why.strip().splitlines()[1:40]:
            self._console.print(f"       {escape(line)}", style="red")

    def tell(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(f"       {escape(text)}", style="dim", end="\r", soft_wrap=True)

    def end(self, took_s: float) -> None:
        done = len(self.rows)
        self._console.print(
            f"faults: {done - self.failed} of {done} rows hold or say why not, in {took_s:.0f} s"
        )

    def _line(self, number: object, what: str, value: str, bound: str, verdict: str, style: str) -> None:
        line = f"{number:>4}  {what:<64} {value:>26}  {bound:<22} {verdict}"
        self._console.print(escape(line.rstrip()), style=style, soft_wrap=True)


async def _run(case: Case, scale: Scale, report: _Report) -> None:
    report.begin(case)
    try:
        try:
            async with asyncio.timeout(LIMIT_S[scale.name]) as limit:
                async for figure in case.run(scale):
                    report.add(case, figure)
        except Skipped as why:
            report.skip(case, str(why))
    except* Exception as group:
        errors = "\n".join(f"{type(error).__name__}: {error}" for error in _leaves(group))
        is_late = limit.expired()
        report.fail(case, f"it was not over after {LIMIT_S[scale.name]:.0f} s" if is_late else errors)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the full numbers: hours")
    parser.add_argument(
        "--case",
        type=int,
        action="append",
        choices=[case.number for case in CASES],
        metavar="N",
        help="only this one; may be repeated",
    )
    parser.add_argument(
        "--write", action="store_true", help="also write the figures into docs/reliability.md"
    )
    options = parser.parse_args()
    name = FULL if options.full else QUICK
    cases = [case for case in CASES if options.case is None or case.number in options.case]
    report = _Report()
    report.head(f"faults: {len(cases)} cases, {name}")
    began = time.monotonic()
    with temporary_directory("snyper-faults-") as directory:
        for case in cases:
            place = Path(directory) / str(case.number)
            place.mkdir()
            asyncio.run(_run(case, Scale(name, place, report.tell), report))
    report.end(time.monotonic() - began)
    if options.write:
        page.write(report.rows, name)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

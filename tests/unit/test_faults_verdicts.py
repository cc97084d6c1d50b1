"""What `make faults` makes of a case: of figures, of one that cannot run, of one that breaks off or hangs."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tools.faults import __main__ as faults
from tools.faults.case import QUICK, Case, Figure, Scale, Skipped, at_most, not_run


async def holds(scale: Scale) -> AsyncIterator[Figure]:
    yield at_most("a figure", scale.pick(1, 9), 5)


async def misses(scale: Scale) -> AsyncIterator[Figure]:
    yield at_most("a figure", 6, 5)


async def cannot_run(scale: Scale) -> AsyncIterator[Figure]:
    yield at_most("a figure", 1, 5)
    raise Skipped("there is no board here")


async def cannot_run_in_part(scale: Scale) -> AsyncIterator[Figure]:
    yield not_run("there is no strace here")
    yield at_most("a figure", 1, 5)


async def breaks_off(scale: Scale) -> AsyncIterator[Figure]:
    yield at_most("a figure", 1, 5)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.01))


async def hangs(scale: Scale) -> AsyncIterator[Figure]:
    yield at_most("a figure", 1, 5)
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("run", "status", "verdicts"),
    [
        (holds, 0, ["holds"]),
        (misses, 1, ["FAILS"]),
        (cannot_run, 0, ["holds", "not run"]),
        (cannot_run_in_part, 0, ["not run", "holds"]),
        (breaks_off, 1, ["holds", "FAILS"]),
        (hangs, 1, ["holds", "FAILS"]),
    ],
)
def test_a_case(
    run: object,
    status: int,
    verdicts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = Case(1, "a case", "It is tried.", "It holds.", run)  # type: ignore[arg-type]
    monkeypatch.setattr(faults, "CASES", (case,))
    monkeypatch.setattr(faults, "LIMIT_S", {QUICK: 0.2})
    monkeypatch.setattr("sys.argv", ["make faults", "--case", "1"])
    assert faults.main() == status
    lines = capsys.readouterr().out.splitlines()
    found = [word for line in lines for word in ("holds", "FAILS", "not run") if line.endswith(f" {word}")]
    assert found == verdicts

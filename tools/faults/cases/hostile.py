"""A hub, a journal and a board that lie to the commands, and a hub that lies to the dashboard."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

from snyper.system.process import killed_with_parent
from tools.faults.browser import need_browser
from tools.faults.case import Case, Figure, Scale, Skipped, at_most, none_of, not_run
from tools.faults.lied_to import LIMIT_S, SEED
from tools.faults.lied_to_pages import lied_to_pages

# What is tried: quick, full, and in how many processes. 0 is all there are; a board's commands mostly wait.
_TRIED = {
    "fields": ("a field of a wrong kind", 400, 0, 1),
    "lines": ("a line with changed bytes", 400, 10_000, 1),
    "journals": ("a broken journal", 400, 10_000, 1),
    "boards": ("a board that lies", 40, 10_000, 10),
}


async def lying_hub(scale: Scale) -> AsyncIterator[Figure]:
    found: list[str] = []
    for kind, (name, quick, full, processes) in _TRIED.items():
        scale.tell(name)
        count = scale.pick(quick, full)
        parts = [_lied_to(kind, count // processes, SEED + part) for part in range(processes)]
        said = await asyncio.gather(*parts)
        wrong = [one for part in said for one in part["wrong"]]
        found += wrong[:5]
        yield none_of(f"{name}: traceback, forged line", len(wrong), sum(part["count"] for part in said))
        worst_s = max(part["worst_s"] for part in said)
        yield at_most(f"{name}: the longest command", worst_s, LIMIT_S, "s")
    if found:
        raise AssertionError("for instance:\n" + "\n".join(found))


async def _lied_to(kind: str, count: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tools.faults.lied_to", kind, str(count), str(seed)]
    process = await asyncio.create_subprocess_exec(*killed_with_parent(command), stdout=PIPE, stderr=PIPE)
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (
        f"{' '.join(command[2:])} ended with {process.returncode}:\n{err.decode()[-2_000:]}"
    )
    said: dict[str, Any] = json.loads(out)
    return said


async def lying_to_pages(scale: Scale) -> AsyncIterator[Figure]:
    try:
        need_browser()
    except Skipped as why:
        yield not_run(f"pages: {why}")
        return
    wrong, count = [], 0
    async for what, defect in lied_to_pages(scale.directory, scale.pick(12, None), SEED):
        count += 1
        if defect:
            wrong.append(f"{what}: {defect}")
    yield none_of("a page in a browser: traceback, script, error", len(wrong), count)
    if wrong:
        raise AssertionError("for instance:\n" + "\n".join(wrong[:5]))


async def lies_to_everybody(scale: Scale) -> AsyncIterator[Figure]:
    failed: list[str] = []
    for case in (lying_hub, lying_to_pages):
        try:
            async for figure in case(scale):
                yield figure
        except AssertionError as error:
            failed.append(str(error))
    if failed:
        raise AssertionError("\n".join(failed))


CASES = (
    Case(
        19,
        "what lies to the commands",
        "A hub answers every command, and the dashboard, with each field of each message and event of each"
        " wrong kind, and commands with lines whose bytes are changed. A journal has each column and each"
        " field of each event so, and what answers on a USB port each answer.",
        "No command ends in a traceback, prints a line or a control character of the other side's, or goes on"
        " for ever; no page in a real browser fails, or runs what the hub says.",
        lies_to_everybody,
    ),
)

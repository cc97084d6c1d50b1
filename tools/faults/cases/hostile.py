"""A hub, a journal and a board that lie to the commands, and a hub that lies to the dashboard."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

from snyper.system.process import killed_with_parent
from tools.faults.browser import need_browser
from tools.faults.case import Case, Figure, Scale, Skipped, at_most, none_of, not_run
from tools.faults.lied_to import LIMIT_S, SEED
from tools.faults.lied_to_pages import lied_to_pages


async def lying_hub(scale: Scale) -> AsyncIterator[Figure]:
    numbers = scale.pick((400, 400, 400, 40), (0, 10_000, 10_000, 10_000))  # 0 is all of them
    command = [sys.executable, "-m", "tools.faults.lied_to", *map(str, numbers)]
    process = await asyncio.create_subprocess_exec(*killed_with_parent(command), stdout=PIPE, limit=1 << 24)
    try:
        assert process.stdout is not None
        found: list[str] = []
        async for line in process.stdout:
            said = json.loads(line)
            found += said["wrong"][:5]
            yield none_of(f"{said['name']}: traceback, forged line", len(said["wrong"]), said["count"])
            yield at_most(f"{said['name']}: the longest command", said["worst_s"], LIMIT_S, "s")
        status = await process.wait()
        assert status == 0, f"the lying hub ended with {status}"
        if found:
            raise AssertionError("for instance:\n" + "\n".join(found))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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

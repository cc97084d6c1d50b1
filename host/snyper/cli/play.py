"""`make play`: a hub, targets that somebody shoots at, a signal, and the dashboard, to click through."""

import asyncio
import webbrowser
from collections.abc import Callable
from contextlib import AsyncExitStack

from snyper.boards.temporary import temporary_directory
from snyper.cli.processes import running


async def run(targets: int, listen: str, open_browser: bool, say: Callable[[str], None]) -> None:
    """Play until cancelled: the dashboard is at `listen` (HOST:PORT). Processes and files are gone after it.

    Raises OSError when a part does not start, or ends by itself.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(temporary_directory("snyper-play-"))
        journal, archive = str(directory / "journal.sqlite3"), str(directory / "dashboard.sqlite3")
        hub = await stack.enter_async_context(running("hub", "--listen", "127.0.0.1:0", "--journal", journal))
        address = hub.said["listen"]
        say(f"hub        listening on {address}")
        shooting = await stack.enter_async_context(
            running("simulate", "--targets", str(targets), "--hub", address)
        )
        say(f"targets    {targets}, with somebody who shoots at them")
        sending = await stack.enter_async_context(running("simulate-signal", "--hub", address))
        say(f"signal     {sending.said['stream']}")
        dashboard = await stack.enter_async_context(
            running(
                *("dashboard", "--hub", address, "--listen", listen, "--no-open"),
                *("--journal", journal, "--archive", archive, "--recordings", str(directory / "recordings")),
            )
        )
        say(f"dashboard  {dashboard.said['url']}")
        say(f"commands   such as `snyper watch --hub {address}`, in another terminal")
        if open_browser:
            webbrowser.open(dashboard.said["url"])
        ends = [asyncio.ensure_future(part.ended()) for part in (hub, shooting, sending, dashboard)]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise done.pop().result()
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

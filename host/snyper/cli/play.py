"""`make play`: a hub, targets that somebody shoots at, a signal, an instrument, cameras, the dashboard."""

import asyncio
import webbrowser
from collections.abc import Callable
from contextlib import AsyncExitStack

from snyper.boards.temporary import temporary_directory
from snyper.cli import extras, play_bench
from snyper.cli.processes import running

CAMERAS = 4


async def run(targets: int, listen: str, open_browser: bool, say: Callable[[str], None]) -> None:
    """Play until cancelled: the dashboard is at `listen` (HOST:PORT). Processes and files are gone after it.

    Raises OSError when a part does not start, or ends by itself, TransferError and CallError where what plays
    in this process does not.
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
        parts = [hub, shooting, sending]
        urls: list[str] = []
        if extras.is_here("cameras"):
            gateway, cameras = await play_bench.begin_gateway(
                *(stack, directory, address), "-n", str(CAMERAS), "--interval", "4"
            )
            parts += [gateway, cameras]
            url = gateway.said["urls"][0]
            urls = ["--gateway", url, "--cameras", url]
            say(f"cameras    {CAMERAS}, and an array, at the gateway {url}")
            await play_bench.begin(stack, address, url)
            say(f"instrument {play_bench.NAME}, which somebody reads")
        else:
            say("cameras    none, nor an instrument and arrays: they need snyper[cameras]")
        dashboard = await stack.enter_async_context(
            running(
                *("dashboard", "--hub", address, "--listen", listen, "--no-open"),
                *("--journal", journal, "--archive", archive, "--recordings", str(directory / "recordings")),
                *urls,
            )
        )
        say(f"dashboard  {dashboard.said['url']}")
        say(f"commands   such as `snyper watch --hub {address}`, in another terminal")
        if open_browser:
            webbrowser.open(dashboard.said["url"])
        ends = [asyncio.ensure_future(part.ended()) for part in (*parts, dashboard)]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise done.pop().result()
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

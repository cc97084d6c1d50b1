"""A dashboard as a process, and a browser to look at it."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from snyper.system.process import killed_with_parent
from tools.browser import HEADLESS
from tools.faults.case import Skipped
from tools.faults.ranges import environment, until
from tools.loopback import HOST, free_port


def need_browser() -> None:
    """Raise Skipped where there is none, or no dashboard."""
    if find_spec("nicegui") is None or find_spec("playwright") is None or HEADLESS is None:
        raise Skipped(
            "no NiceGUI, playwright or chromium here: make setup; apt install chromium-headless-shell"
        )


@asynccontextmanager
async def dashboard_of(directory: Path, hub: str, password: str = "") -> AsyncIterator[tuple[int, Path]]:
    """Run a dashboard of that hub; yield its port, and its log. At the end it must still run, and have logged
    no traceback.
    """
    port = free_port()
    command = ("dashboard", "--hub", hub, "--listen", f"{HOST}:{port}", "--no-open")
    archive = ("--archive", str(directory / "archive.sqlite3"))
    log_path = directory / "dashboard.log"
    variables = {"SNYPER_DASHBOARD_PASSWORD": password} if password else {}
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *killed_with_parent([sys.executable, "-m", "snyper.cli", *command, *archive]),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(), **variables},
        )
    try:
        await until(lambda: "connected to the hub" in log_path.read_text(), "the dashboard should start")
        yield port, log_path
        assert process.returncode is None, "the dashboard has ended"
        assert "Traceback" not in log_path.read_text(), log_path.read_text()[-3_000:]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """Run a browser, to be used where `need_browser` has raised nothing."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=HEADLESS)
        try:
            yield browser
        finally:
            await browser.close()

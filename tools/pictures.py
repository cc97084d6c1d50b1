"""Takes the pictures of the dashboard that are in docs/pictures: a hub, targets, a game, a browser.

    python -m tools.pictures [DIRECTORY]

Needs Chromium (`apt install chromium`).
"""

import argparse
import asyncio
import io
import itertools
import math
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from snyper.arrays import NumpyClient
from snyper.boards.temporary import temporary_directory
from snyper.cli.processes import running
from snyper.client import connect
from snyper.services.client import Client
from snyper.services.remote_exceptions import CallError, RemoteError
from snyper.services.server import Server
from snyper.shared.device import Device
from snyper.shared.runtime import end_task
from tools.browser import HEADLESS

TARGETS = 4
MAX_BYTES = 150_000  # of one picture
MAX_MOVING_BYTES = 1_000_000
_FRAME_MS = 400
_FRAMES = 60
_DESK = {"width": 1280, "height": 800}
_PHONE = {"width": 400, "height": 820}
_WALL = {"width": 960, "height": 540}
_PLAYERS = ("Anna", "Bert", "Chiara")
_EXAMPLES = Path(__file__).parents[1] / "examples"
_ROWS = 2_000_000  # of a table that takes a worker some seconds
_DEFAULT = Path(__file__).parents[1] / "docs" / "pictures"


async def take(directory: Path) -> None:
    """Write the pictures. Raises OSError when a part does not start, TimeoutError when one does not show."""
    async with AsyncExitStack() as stack:
        kept = Path(stack.enter_context(temporary_directory("snyper-pictures-")))
        hub = await stack.enter_async_context(
            running("hub", "--listen", "127.0.0.1:0", "--journal", str(kept / "journal.sqlite3"))
        )
        address = str(hub.said["listen"])
        await stack.enter_async_context(
            running("simulate", "--targets", str(TARGETS), "--hub", address, "--hit-rate", "0.8")
        )
        places = ("--arrays", str(kept / "arrays"), "--cameras", str(kept / "cameras"))
        gateway = await stack.enter_async_context(
            running("gateway", *places, "--listen", "127.0.0.1:0", "--hub", address)
        )
        await asyncio.to_thread(_store, gateway.said["urls"][0])
        dashboard = await stack.enter_async_context(
            running(
                *("dashboard", "--hub", address, "--listen", "127.0.0.1:0", "--no-open"),
                *("--archive", str(kept / "archive.sqlite3"), "--recordings", str(kept / "recordings")),
                *("--gateway", gateway.said["urls"][0], "--cameras", gateway.said["urls"][0]),
            )
        )
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(executable_path=HEADLESS)
        stack.push_async_callback(browser.close)
        url = str(dashboard.said["url"]).rstrip("/")
        await _take_all(browser, url, address, directory)
        await _take_services(browser, url, address, directory)
        await _take_signals(browser, url, address, directory)
        await _take_cameras(browser, url, address, directory)


async def _take_all(browser: Browser, url: str, address: str, directory: Path) -> None:
    desk = await _open(browser, url, _DESK, "light")
    await desk.locator('article.card[data-state="down"]').nth(TARGETS - 1).wait_for()
    async with connect(address) as hub:
        for number in range(1, TARGETS + 1):
            group = "left" if number <= TARGETS // 2 else "right"
            await hub.configure(f"target_{number}", groups=[group])
        wall = await _open(browser, url + "/game?wall=1", _WALL, "dark")
        large = await _open(browser, url + "/game", _DESK, "dark")
        for game, players in (("reaction", _PLAYERS[:2]), ("gallery", _PLAYERS)):
            rounds = {"rounds": 4} if game == "reaction" else {}
            await hub.start_game(game, players, {"countdown_ms": 1_000, **rounds}, seed=3)
            await large.locator('.board[data-status="running"]').wait_for()
            await large.locator('.board[data-status="over"]').wait_for(timeout=180_000)
        await hub.start_game(
            "quick", _PLAYERS, {"rounds": 4, "first_up_ms": 2_000, "changeover_ms": 1_500}, 11
        )
        frames = await _film(wall, large, directory)
        await asyncio.to_thread(_write_moving, frames, directory / "game.gif")  # a link does not wait
        await large.locator('.board[data-status="over"]').wait_for(timeout=180_000)

        await desk.locator('article.card[data-state="down"]').nth(TARGETS - 1).wait_for()
        await hub.stand_up("target_2")
        await hub.activate("target_4", 60_000)
        await hub.activate("target_1", 5_000)
        await desk.locator('article.card[data-news^="hit"]').first.wait_for()
        await desk.locator(".flash").first.evaluate("() => new Promise((done) => setTimeout(done, 250))")
        await _shoot(desk, directory / "range-light.png")
        phone = await _open(browser, url, _PHONE, "dark")
        await phone.locator("article.card .chip").first.wait_for()
        await _shoot(phone, directory / "phone.png")
    for page in ("history", "health"):
        await desk.goto(f"{url}/{page}")
        await desk.locator(".plot canvas").first.wait_for()
        await desk.evaluate("() => new Promise((done) => setTimeout(done, 4000))")  # some points more
        await _shoot(desk, directory / f"{page}.png")


async def _take_services(browser: Browser, url: str, address: str, directory: Path) -> None:
    """Photograph the page of services while some work: an instrument, workers, one that is gone."""
    serve = ("serve", str(_EXAMPLES / "offload" / "services.py"), "--workers", "2", "--listen", "127.0.0.1:0")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(*serve, "--hub", address, "--name", "laptop"))
        meter = Server(Powermeter(), hub=address, name="lab1")
        stack.callback(meter.close)
        gone = Server(hub=address, name="camera")
        for server in (meter, gone):
            server.run(threaded=True)
        gone.close()
        desk = await _open(browser, url + "/services", _DESK, "light")
        phone = await _open(browser, url + "/services", _PHONE, "dark")
        await asyncio.to_thread(_call, address)
        with Client(hub=address, name="laptop") as laptop:
            table = b"celsius\n" + b"21.5\n" * _ROWS
            working = [
                asyncio.create_task(asyncio.to_thread(laptop.process, table, "t.csv")) for _ in range(3)
            ]
            for page in (desk, phone):
                await page.locator('[aria-label="laptop"] [data-fact="Waiting"]', has_text="1").wait_for()
            await _shoot(desk, directory / "services.png")
            await phone.locator('[aria-label="laptop"] header').evaluate(
                "(it) => it.scrollIntoView({block: 'center'})"
            )
            await _shoot(phone, directory / "services-phone.png")
            await asyncio.gather(*working)


async def _take_signals(browser: Browser, url: str, address: str, directory: Path) -> None:
    """Photograph the page of signals: an accelerometer that is knocked, a sine, and a target's piezo."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running("simulate-signal", "--hub", address))
        shaking = asyncio.create_task(_shake(address))
        stack.push_async_callback(end_task, shaking)
        desk = await _open(browser, url + "/signals", _DESK, "light")
        phone = await _open(browser, url + "/signals", _PHONE, "dark")
        for page, names in ((desk, ("lab1/accelerometer", "demo/signal")), (phone, ("lab1/accelerometer",))):
            for name in names:
                await page.locator(".zone", has_text=name).click()
            await page.get_by_role("button", name="Rolling mean").click()
        await desk.get_by_role("button", name="Record lab1/accelerometer").click()
        await desk.evaluate("() => new Promise((done) => setTimeout(done, 12000))")  # a plot that is full
        await _shoot(desk, directory / "signals.png")
        await _shoot(phone, directory / "signals-phone.png")
        await desk.get_by_role("button", name="End the recording of").click()
        await desk.locator(".notice").wait_for()
        await desk.locator(".notice").wait_for(state="detached")
        await desk.get_by_role("button", name="Open lab1/accelerometer").click()
        await desk.locator("[data-recording] canvas").evaluate("(it) => it.scrollIntoView({block: 'center'})")
        await desk.evaluate("() => new Promise((done) => setTimeout(done, 1000))")
        await _shoot(desk, directory / "recordings.png")


async def _take_cameras(browser: Browser, url: str, address: str, directory: Path) -> None:
    """Photograph the page of cameras: its wall, and one record large."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            running("simulate-cameras", "-n", "4", "--hub", address, "--interval", "1.5")
        )
        desk = await _open(browser, url + "/cameras", _DESK, "light")
        phone = await _open(browser, url + "/cameras", _PHONE, "dark")
        await desk.locator(".found li").nth(23).wait_for(timeout=60_000)
        await _shoot(desk, directory / "cameras.png")
        await phone.locator(".found .large img").nth(3).wait_for()
        await _shoot(phone, directory / "cameras-phone.png")


def _store(url: str) -> None:
    """Store some arrays: a beam on a camera, a spectrum, a wave with a spike in it."""
    rng = numpy.random.default_rng(2)
    rows, columns = numpy.mgrid[:480, :640]
    beam = numpy.exp(-((rows - 200) ** 2 + (columns - 380) ** 2 / 2) / 8_000) + rng.normal(
        0, 0.02, (480, 640)
    )
    times = numpy.linspace(0, 20, 1_000_000)
    wave = numpy.sin(times) + rng.normal(0, 0.1, times.size)
    wave[333_333] = 4
    lines = sum(
        numpy.exp(-((times - at) ** 2) * 40) * size for at, size in ((4, 3.0), (9, 7.0), (10, 2.0), (16, 5.0))
    )
    with NumpyClient(url) as client:
        for name, array in (("spectrum", lines), ("wave with one spike", wave), ("beam", beam.astype("<f4"))):
            client.upload_numpy_array(array, name)


async def _shake(address: str) -> None:
    """Send what an accelerometer gives on a table that somebody knocks at."""
    device = Device(address, "lab1")
    running_device = asyncio.create_task(device.run())
    spec: dict[str, Any] = {"dtype": "<f4", "shape": (3,), "rate_hz": 400}
    rng = numpy.random.default_rng(1)
    try:
        async with device.stream(
            "accelerometer", **spec, names=("x", "y", "z"), units=("m/s²",) * 3
        ) as stream:
            for block in itertools.count():
                times_s = (block * 20 + numpy.arange(20)) / 400
                knock = 6 * numpy.exp(-3 * (times_s % 4)) * numpy.sin(60 * times_s)
                still = rng.normal((0, 2 * math.sin(block / 30), 9.81), 0.15, (20, 3))
                samples = still + knock[:, None] * (1, 0.4, 0.2)
                await stream.send(samples.astype("<f4"))
                await asyncio.sleep(0.05)
    finally:
        await end_task(running_device)


class Powermeter:
    """An instrument."""

    def read_voltage(self, samples: int = 1) -> float:
        """Measure the photodiode's voltage."""
        if samples < 1:
            raise ValueError(f"{samples} samples are none")
        time.sleep(samples / 1000)
        return 0.42


def _call(address: str) -> None:
    """Have an instrument and workers do what they are for."""
    with Client(hub=address, name="lab1") as meter, Client(hub=address, name="laptop") as laptop:
        for samples in (5, 20, 20, 0, 5):
            _try(meter.read_voltage, samples)
        for number in range(30):
            laptop.analyze([20.1, 20.3, 19.9, 47.0, 20.2, float(number)])
        for degrees in (21.5, 22.0, "warm"):
            _try(laptop.process_data, {"temperature": degrees, "humidity": 60})


def _try(function: Any, *arguments: Any) -> None:
    with suppress(ValueError, CallError, RemoteError):
        function(*arguments)


async def _open(browser: Browser, url: str, size: Any, scheme: Any) -> Page:
    page = await browser.new_page(viewport=size, color_scheme=scheme)
    await page.goto(url)
    return page


async def _film(wall: Page, large: Page, directory: Path) -> list[Image.Image]:
    """Photograph the game on the wall, frame by frame, and one large picture from its middle."""
    frames = []
    taken = False
    for _ in range(_FRAMES):
        began = asyncio.get_running_loop().time()
        frames.append(Image.open(io.BytesIO(await wall.screenshot())).convert("RGB"))
        if not taken and await large.locator('.row-player[data-turn="true"] .player').all_inner_texts() == [
            "Bert"
        ]:
            taken = await large.locator(".shots li").count() > 3
            if taken:
                await _shoot(large, directory / "game-dark.png")
        if await wall.locator('.board[data-status="over"]').count():
            frames += [frames[-1]] * 4
            break
        await asyncio.sleep(max(0.0, _FRAME_MS / 1000 - (asyncio.get_running_loop().time() - began)))
    if not taken:
        await _shoot(large, directory / "game-dark.png")
    return frames


async def _shoot(page: Page, path: Path) -> None:
    await asyncio.to_thread(_write, await page.screenshot(), path)


def _write(screenshot: bytes, path: Path) -> None:
    """Write a picture with as few colours as keep it below MAX_BYTES."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for colours in (256, 128, 64):
        few = image.quantize(colours, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            break
    print(f"{path}: {path.stat().st_size // 1000} kB")


def _write_moving(frames: list[Image.Image], path: Path) -> None:
    """Write an animation with one palette for all frames, so that only what changes takes space."""
    small = [frame.resize((640, 360), Image.Resampling.LANCZOS) for frame in frames]
    palette = small[len(small) // 2].quantize(48, dither=Image.Dither.NONE)
    few = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    few[0].save(path, save_all=True, append_images=few[1:], duration=_FRAME_MS, loop=0, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size // 1000} kB, {len(few)} frames")
    assert size <= MAX_MOVING_BYTES, "too large: fewer frames, or fewer colours"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tools.pictures", description="Take the pictures of the dashboard.")
    parser.add_argument("directory", nargs="?", type=Path, default=_DEFAULT, help="where they go")
    chosen = parser.parse_args().directory
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(chosen))

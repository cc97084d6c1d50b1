"""The page of signals: a real hub and real sources in a real browser."""

import asyncio
import io
import re
import shutil
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy
import pytest

from snyper.client import connect
from snyper.recordings import Recorder, open_recording
from snyper.recordings.session import only_recorder
from snyper.recordings.writer import RecordingWriter
from snyper.shared.device import Device
from snyper.streams import Block, StreamSpec
from tests.integration.browsing import (
    Browser,
    Locator,
    Page,
    Watched,
    expect,
    needs_browser,
    running_dashboard,
    watched_context,
)
from tests.integration.calls_harness import HubProcess
from tests.integration.dashboard_process import Process
from tests.integration.harness import HOST, wait_until
from tests.integration.tabs import running_tabs

pytestmark = [*needs_browser, pytest.mark.slow]

T = TypeVar("T")

MARKUP = "<img src=x onerror=window.harmed=1>\u202e"
HEIGHT = "Number(document.querySelector('canvas').dataset.highest)"


class Source:
    """A source of the stream `wave` in a thread of its own: 100 samples of 0 twenty times a second."""

    def __init__(self, hub: str, name: str, **spec: Any) -> None:
        self._hub = hub
        self._name = name
        self._spec: dict[str, Any] = {"dtype": "<f4", "shape": (), "rate_hz": 2_000, **spec}
        self._next: list[Any] = []
        self.is_read = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        device = Device(self._hub, self._name)
        self._task = asyncio.create_task(device.run())
        self._sending = asyncio.create_task(self._send(device))
        await asyncio.gather(self._task, self._sending, return_exceptions=True)

    async def _send(self, device: Device) -> None:
        async with device.stream("wave", **self._spec) as stream:
            while True:
                samples = numpy.zeros((100, *self._spec["shape"]), self._spec["dtype"])
                if self._next:
                    samples[50] = self._next.pop(0)
                await stream.send(samples)
                self.is_read = stream.is_read
                await asyncio.sleep(0.05)

    def say(self, value: Any) -> None:
        """Have one sample of the next block be that."""
        self._next.append(value)

    def close(self) -> None:
        def end() -> None:
            self._sending.cancel()
            self._task.cancel()

        self._loop.call_soon_threadsafe(end)
        self._thread.join()
        self._loop.close()


@contextmanager
def source(hub: str, name: str, **spec: Any) -> Iterator[Source]:
    one = Source(hub, name, **spec)
    try:
        yield one
    finally:
        one.close()


def open_page(desk: Watched, *names: str) -> Page:
    page = desk.context.new_page()
    page.goto("/signals")
    for name in names:
        page.locator(".zone", has_text=name).click()
        expect(canvas(page, name)).not_to_have_attribute("data-columns", "0")
    return page


def panel(page: Page, name: str) -> Locator:
    return page.locator(f'section.signal[aria-label="{name}"]')


def canvas(page: Page, name: str) -> Locator:
    return panel(page, name).locator("canvas")


def test_without_streams_it_says_what_to_do(desk: Watched, hub: HubProcess) -> None:
    page = desk.context.new_page()
    page.goto("/")
    page.keyboard.press("6")
    expect(page.get_by_role("heading", name="Signals", level=1)).to_be_visible()
    expect(page.locator(".empty")).to_contain_text(f"snyper simulate-signal --hub {hub.address}")
    desk.is_fine()


def test_one_spike_is_seen_zoomed_and_downloaded(desk: Watched, hub: HubProcess, tmp_path: Path) -> None:
    with source(hub.address, "lab1") as lab:
        page = open_page(desk, "lab1/wave")
        expect(panel(page, "lab1/wave").locator(".how")).to_have_text("2,000 samples/s")
        lab.say(7)
        expect(canvas(page, "lab1/wave")).to_have_attribute("data-highest", "7")
        expect(canvas(page, "lab1/wave")).to_have_attribute("aria-label", "lab1/wave: from 0 to 7")
        for _ in range(2):
            page.get_by_role("button", name="More time").click()
        expect(page.locator(".span output")).to_have_text("30 s")
        page.wait_for_function(f"{HEIGHT} === 7")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download what is seen of lab1/wave").click()
        assert download.value.suggested_filename == "lab1-wave.npy"
        download.value.save_as(tmp_path / "seen.npy")
        seen = numpy.load(io.BytesIO((tmp_path / "seen.npy").read_bytes()))
        assert seen.dtype == numpy.dtype("<f4")
        assert sorted(set(seen.tolist())) == [0, 7]
        page.reload()
        expect(canvas(page, "lab1/wave")).not_to_have_attribute("data-columns", "0")  # chosen as before
    desk.is_fine()


def test_what_is_no_number_and_what_is_missing_breaks_the_line(desk: Watched, hub: HubProcess) -> None:
    with source(hub.address, "lab2") as lab:
        page = open_page(desk, "lab2/wave")
        expect(canvas(page, "lab2/wave")).to_have_attribute("data-breaks", "0")
        lab.say(numpy.nan)
        expect(canvas(page, "lab2/wave")).to_have_attribute("data-breaks", "1")
        lab.say(numpy.inf)
        expect(canvas(page, "lab2/wave")).to_have_attribute("data-breaks", "2")
    expect(panel(page, "lab2/wave").locator(".how")).to_contain_text("Its source is away")
    expect(panel(page, "lab2/wave")).to_have_attribute("data-live", "false")
    with source(hub.address, "lab2"):  # another run of it
        expect(panel(page, "lab2/wave").locator(".how")).to_contain_text("2,000 samples/s")
        expect(canvas(page, "lab2/wave")).to_have_attribute("data-breaks", "3")
    desk.is_fine()


def test_by_keyboard_it_pauses_and_zooms_and_shows_the_mean(desk: Watched, hub: HubProcess) -> None:
    with source(hub.address, "lab3", units=("V",)) as lab:
        page = open_page(desk, "lab3/wave")
        page.keyboard.press("p")
        expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")
        lab.say(9)
        page.keyboard.press("-")
        expect(page.locator(".span output")).to_have_text("20 s")
        page.keyboard.press("r")
        expect(panel(page, "lab3/wave").locator(".channels")).to_contain_text("mean and deviation of 1 s")
        wait_until(lambda: not lab._next, "it was sent")
        expect(canvas(page, "lab3/wave")).to_have_attribute("data-highest", "0")
        canvas(page, "lab3/wave").hover()
        expect(canvas(page, "lab3/wave")).to_have_attribute("data-pointed", "0 V")
        page.keyboard.press("p")
        expect(canvas(page, "lab3/wave")).to_have_attribute("data-highest", "9")
        page.locator(".zone", has_text="lab3/wave").focus()
        page.keyboard.press("Enter")
        expect(panel(page, "lab3/wave")).to_have_count(0)
        wait_until(lambda: not lab.is_read, "nobody reads it any more")
    desk.is_fine()


def test_what_is_paused_stays_so_until_one_goes_beyond_now(desk: Watched, hub: HubProcess) -> None:
    """A column of a day has more than a minute, most of which is yet to come."""
    with source(hub.address, "lab15"):
        page = open_page(desk, "lab15/wave")
        spans = page.locator(".span output")
        for span in ("20 s", "30 s", "1 min", "2 min", "5 min", "10 min", "20 min", "30 min", "1 h", "2 h"):
            page.keyboard.press("-")
            expect(spans).to_have_text(span)
        for span in ("4 h", "8 h", "1 d"):
            page.keyboard.press("-")
            expect(spans).to_have_text(span)
        page.keyboard.press("p")
        for span in ("8 h", "4 h"):
            page.keyboard.press("+")
            expect(spans).to_have_text(span)
            expect(canvas(page, "lab15/wave")).to_have_attribute("data-span", str(int(span[0]) * 3600))
            expect(page.get_by_role("button", name="Go on")).to_be_visible()
        for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
            expect(canvas(page, "lab15/wave")).to_have_attribute("data-columns", "0")
            expect(page.get_by_role("button", name="Go on")).to_be_visible()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
    desk.is_fine()


def test_a_key_marks_what_is_shown_and_recorded(browser: Browser, tmp_path: Path) -> None:
    """With the name in the field, for everybody who reads the stream; and in one that takes none, in its
    recording alone.
    """
    with (
        HubProcess() as hub,
        running_dashboard(tmp_path, hub.address) as url,
        watched_context(browser, url) as desk,
        source(hub.address, "lab13"),
    ):
        with source(hub.address, "lab14"):
            page = open_page(desk, "lab13/wave", "lab14/wave")
            record(page, "lab13/wave")
            record(page, "lab14/wave")
            page.keyboard.press("k")
            expect(canvas(page, "lab13/wave")).to_have_attribute("data-marks", "1")
            expect(canvas(page, "lab14/wave")).to_have_attribute("data-marks", "1")
            assert in_a_thread(next_mark(hub.address, "lab13/wave")) == "mark"
            field = page.get_by_label("Name of marks")
            field.fill("door opened by k")
            field.press("Enter")
            expect(canvas(page, "lab13/wave")).to_have_attribute("data-marks", "2")
            expect(canvas(page, "lab14/wave")).to_have_attribute("data-marks", "2")
        expect(panel(page, "lab14/wave")).to_contain_text("Its source is away")
        field.fill(f" {MARKUP}")
        page.get_by_role("button", name="Mark", exact=True).click()
        expect(canvas(page, "lab13/wave")).to_have_attribute("data-marks", "3")
        said = page.get_by_role("alert").filter(has_text="in lab14/wave: ")
        expect(said).to_contain_text("Its recording has it.")
        for name in ("lab13/wave", "lab14/wave"):
            page.get_by_role("button", name=f"End the recording of {name}").click()
            expect(panel(page, name).locator(".recording")).to_have_count(0)
        for name in ("lab13", "lab14"):
            [folder] = (tmp_path / "recordings").glob(f"*-{name}-wave")
            with open_recording(folder) as recording:
                first, second, third = (mark.name for mark in recording.marks)
            assert (first, second) == ("mark", "door opened by k")
            assert third.startswith("<img src=x")
        assert page.evaluate("window.harmed ?? null") is None
        desk.is_fine()


async def next_mark(hub: str, name: str) -> str:
    async with connect(hub) as client:
        async for block in client.read_stream(name, history="10s"):
            for mark in block.marks:
                return mark.name
    raise AssertionError("the stream has ended")


def test_names_and_units_stay_text(desk: Watched, hub: HubProcess) -> None:
    spec = {"shape": (9,), "names": (MARKUP,) * 9, "units": (MARKUP,) * 9}
    with source(hub.address, "lab4", **spec):
        page = open_page(desk, "lab4/wave")
        channels = panel(page, "lab4/wave").locator(".channels li")
        expect(channels).to_have_count(9)
        expect(channels.first).to_contain_text("<img src=x")
        expect(channels.last).to_have_text("and 1 more")
        for width in (360, 961, 1_024, 1_121, 1_185):  # of phones, and where the bar above changes
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("window.harmed ?? null") is None
    desk.is_fine()


def test_a_tab_behind_another_costs_next_to_nothing_and_then_has_the_newest(
    hub: HubProcess, url: str
) -> None:
    with running_tabs() as tabs, source(hub.address, "lab5") as lab:
        tab = tabs.open()
        tab.go_to(f"{url}/signals")
        zone = "[...document.querySelectorAll('.zone')].find((one) => one.textContent.includes('lab5'))"
        tab.until(f"{zone} && !{zone}.click()")
        tab.until("document.querySelector('canvas')?.dataset.columns > 0")
        assert tab.received() > 1_000
        tabs.open()
        tab.until("document.hidden")
        wait_until(lambda: not lab.is_read, "nobody reads it any more")
        lab.say(8)
        wait_until(lambda: not lab._next, "it was sent")
        before, seconds = tab.received(), 5
        tab.evaluate(f"new Promise((done) => setTimeout(done, {seconds * 1000}))")
        cost = tab.received() - before  # of what the frame around the page tells
        assert cost * 3_600 / seconds < 1_000_000
        tabs.show(tab)
        wait_until(lambda: lab.is_read, "it is read again")
        lab.say(9)
        tab.until(f"{HEIGHT} === 9")


def record(page: Page, name: str) -> Locator:
    """Have it recorded, and return what is said of that."""
    page.get_by_role("button", name=f"Record {name}").click()
    said = panel(page, name).locator(".recording")
    expect(said).to_have_text(re.compile(r"^Recording: 0:\d\d, [\d,]+ samples, none missing$"))
    return said


def recorded_in(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob("*/recording.json"))


def test_a_recording_outlives_its_tab_and_every_tab_has_it(browser: Browser, tmp_path: Path) -> None:
    with (
        HubProcess() as hub,
        running_dashboard(tmp_path, hub.address) as url,
        watched_context(browser, url) as desk,
        source(hub.address, "lab7") as lab,
    ):
        page = open_page(desk, "lab7/wave")
        record(page, "lab7/wave")
        page.close()
        lab.say(5)
        wait_until(lambda: not lab._next, "it was sent")
        page = desk.context.new_page()
        page.goto("/signals")
        expect(page.locator(".zone .recorded")).to_have_count(1)  # though nobody looks at it
        page.close()
        one, other = (open_page(desk, "lab7/wave") for _ in range(2))
        for tab in (one, other):
            expect(panel(tab, "lab7/wave").locator(".recording")).to_contain_text("none missing")
        other.get_by_role("button", name="End the recording of lab7/wave").click()
        expect(other.locator(".notice")).to_contain_text("none missing")
        expect(one.get_by_role("button", name="Record lab7/wave")).to_be_visible()
        [folder] = recorded_in(tmp_path / "recordings")
        with open_recording(folder) as recording:
            assert f"{recording.source}/{recording.stream}" == "lab7/wave"
            [epoch] = recording.epochs
            assert epoch.samples == epoch.end - epoch.first
            [run] = recording.read(epoch.first, epoch.end)
            assert sorted(set(run.samples.tolist())) == [0, 5]
        desk.is_fine()


@pytest.mark.slow
def test_the_end_of_the_dashboard_ends_a_recording_as_one_should(browser: Browser, tmp_path: Path) -> None:
    with HubProcess() as hub, source(hub.address, "lab8"):
        with running_dashboard(tmp_path, hub.address) as url, watched_context(browser, url) as desk:
            record(open_page(desk, "lab8/wave"), "lab8/wave")
            [folder] = recorded_in(tmp_path / "recordings")
            assert (folder / "reserve").exists()
        assert not (folder / "reserve").exists()  # which gives way to what is written at the end
        assert [path.name for path in folder.glob("*.idx")] == ["000001.idx"]
        with open_recording(folder) as recording:
            assert recording.epochs[0].samples > 0


@pytest.mark.slow
def test_what_is_recorded_is_kept_within_its_limits(browser: Browser, tmp_path: Path) -> None:
    old = tmp_path / "recordings" / "old"
    writer = RecordingWriter(old, "lab8", "wave")
    writer.begin("e", StreamSpec("<f8", (), 100))
    writer.write_block(0, numpy.ones(100), 0, 0, 0)
    writer.close()
    keep = ("--keep-gb", "0", "--keep-days", "1000")
    with (
        HubProcess() as hub,
        source(hub.address, "lab8"),
        running_dashboard(tmp_path, hub.address, f"http://{HOST}:9", f"http://{HOST}:9", *keep) as url,
        watched_context(browser, url) as desk,
    ):
        assert recorded_in(tmp_path / "recordings") == [old]
        said = record(open_page(desk, "lab8/wave"), "lab8/wave")
        wait_until(lambda: not old.exists(), "the oldest should go")
        assert len(recorded_in(tmp_path / "recordings")) == 1
        expect(said).to_contain_text("none missing")


@pytest.mark.slow
def test_a_folder_that_another_process_records_into_is_said_to_be(
    desk: Watched, hub: HubProcess, tmp_path: Path
) -> None:
    with source(hub.address, "lab9"), running_dashboard(tmp_path, hub.address) as url:
        (tmp_path / "recordings").mkdir()
        page = desk.context.new_page()
        page.goto(f"{url}/signals")
        page.locator(".zone", has_text="lab9/wave").click()
        with only_recorder(tmp_path / "recordings"):
            page.get_by_role("button", name="Record lab9/wave").click()
            expect(page.locator(".notice")).to_contain_text("another recorder records into")
        record(page, "lab9/wave")


def test_a_full_disk_is_said_and_gone_on_with(desk: Watched, hub: HubProcess, small_disk: Path) -> None:
    filler = small_disk / "filler"
    with source(hub.address, "lab10"), running_dashboard(small_disk, hub.address) as url:
        page = desk.context.new_page()
        page.goto(f"{url}/signals")
        page.locator(".zone", has_text="lab10/wave").click()
        said = record(page, "lab10/wave")
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4_096))
        expect(said).to_contain_text("the disk is full")
        expect(said).to_have_attribute("data-bad", "true")
        filler.unlink()
        expect(said).to_have_text(re.compile(r"^Recording: 0:\d\d, [\d,]+ samples, none missing$"))


SPEC = StreamSpec("<f4", (), 1_000.0)


async def write_recording(place: Path, hub: str, stream: str, from_s: int, to_s: int) -> None:
    """Write one as a recorder would have, from so many seconds before now on until others: zeros, with a 7 in
    the middle, behind it a second that is missing.
    """
    async with connect(hub) as console:
        now_us = (await console.status()).hub_us
        boot_id = console.boot_id
    source, _, name = stream.rpartition("/")
    async with Recorder(place / "20200101T000000Z-old", source, name, place / "spill") as recorder:
        middle = (from_s - to_s) // 2
        for second in range(from_s - to_s):
            samples = numpy.zeros(1_000, "<f4")
            if second == middle:
                samples[500] = 7
            if second == middle + 1:
                continue
            at_us = now_us - (from_s - second) * 1_000_000
            block = Block("old", second * 1_000, samples, at_us, 0, at_us, lag_us=now_us - at_us)
            await recorder.put(block, SPEC, boot_id)


def in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Wait for it in a loop of its own: this thread has the browser's."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(work)).result()


def test_what_was_recorded_is_seen_before_what_comes(
    desk: Watched, hub: HubProcess, url: str, dashboard_folder: Path, tmp_path: Path
) -> None:
    place = dashboard_folder / "recordings"
    place.mkdir()
    in_a_thread(write_recording(place, hub.address, "lab11/wave", 1_800, 1_200))
    with source(hub.address, "lab11", rate_hz=2_000):
        page = open_page(desk, "lab11/wave")
        breaks = int(canvas(page, "lab11/wave").get_attribute("data-breaks") or "")
        for span in ("20 s", "30 s", "1 min", "2 min", "5 min", "10 min", "20 min", "30 min", "1 h"):
            page.keyboard.press("-")
            expect(page.locator(".span output")).to_have_text(span)
        expect(canvas(page, "lab11/wave")).to_have_attribute("data-highest", "7")
        # Before the first, where a second is missing, and between what was recorded and what came.
        expect(canvas(page, "lab11/wave")).to_have_attribute("data-breaks", str(breaks + 3))
        with page.expect_download() as download:
            page.get_by_role("button", name="Download what is seen of lab11/wave").click()
        download.value.save_as(tmp_path / "seen.npy")
        seen = numpy.load(tmp_path / "seen.npy")
        assert sorted(set(seen.tolist())) == [0, 7]
        assert len(seen) > 599_000
        page.get_by_role("button", name="Pause").click()
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("button", name="Go on")).to_be_visible()
        page.keyboard.press("p")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        expect(canvas(page, "lab11/wave")).to_have_attribute("data-highest", "7")
    shutil.rmtree(place)
    desk.is_fine()


def test_a_recording_is_opened_zoomed_and_moved_through(
    desk: Watched, hub: HubProcess, url: str, dashboard_folder: Path, tmp_path: Path
) -> None:
    place = dashboard_folder / "recordings"
    place.mkdir()
    in_a_thread(write_recording(place, hub.address, "lab12/wave", 700, 100))
    page = desk.context.new_page()
    page.goto("/signals")
    page.get_by_role("button", name="Open lab12/wave").click()
    name = "20200101T000000Z-old"
    plot = canvas(page, name)
    expect(plot).to_have_attribute("data-highest", "7")
    expect(plot).to_have_attribute("data-breaks", "2")
    expect(panel(page, name).locator("output")).to_have_text("10 min")
    panel(page, name).get_by_role("button", name="Less time").click()
    expect(panel(page, name).locator("output")).to_have_text("5 min")
    panel(page, name).get_by_role("button", name="Later").focus()
    for span_s in (120, 60, 30):  # around its middle, by keyboard
        page.keyboard.press("+")
        expect(plot).to_have_attribute("data-span", str(span_s))
        expect(plot).to_have_attribute("data-highest", "7")
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download what is seen of {name}").click()
    download.value.save_as(tmp_path / "seen.npy")
    seen = numpy.load(tmp_path / "seen.npy")
    assert seen.max() == 7
    assert len(seen) == 29_000
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(plot).to_have_attribute("data-highest", "0")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 50, steps=4)
    page.mouse.up()
    expect(plot).to_have_attribute("data-highest", "7")
    shutil.rmtree(place)
    gone = page.request.get("/export/signal", params={"recording": name, "from_us": 0, "to_us": 1})
    assert (gone.status, "no such recording" in gone.text()) == (404, True)
    page.get_by_role("button", name=f"Close {name}", exact=True).click()
    expect(panel(page, name)).to_have_count(0)
    desk.is_fine()


def test_the_axis_of_large_numbers_is_seen_whole(desk: Watched, url: str, dashboard_folder: Path) -> None:
    place = dashboard_folder / "recordings"
    place.mkdir()
    writer = RecordingWriter(place / "20200103T000000Z-large", "lab16", "wave")
    writer.begin("e", StreamSpec("<f8", (), 1_000.0))
    writer.write_block(0, numpy.linspace(-9_110_000, -9_080_000, 1_000), 0, 0, 40)
    writer.close()
    page = desk.context.new_page()
    page.add_init_script("""
        const fill = CanvasRenderingContext2D.prototype.fillText;
        window.drawn = [];
        CanvasRenderingContext2D.prototype.fillText = function (words, x, y, room = Infinity) {
            const width = Math.min(room, this.measureText(words).width);
            if (this.textAlign === "right") drawn.push([words, x - width]);
            fill.call(this, words, x, y, room);
        };
    """)
    page.goto("/signals")
    page.get_by_role("button", name="Open lab16/wave").click()
    page.wait_for_function("drawn.some(([words]) => words.includes('e+6'))")
    assert page.evaluate("drawn.filter(([, left]) => left < 0)") == []
    shutil.rmtree(place)
    desk.is_fine()


def test_a_recording_that_grows_does_so_in_its_plot(desk: Watched, url: str, dashboard_folder: Path) -> None:
    place = dashboard_folder / "recordings"
    place.mkdir()
    writer = RecordingWriter(place / "20200102T000000Z-grows", "lab13", "wave")
    writer.begin("e", StreamSpec("<c8", (), 1_000.0))

    def write(from_s: int, to_s: int) -> None:
        for second in range(from_s, to_s):
            samples = (second + 1) * numpy.exp(1j * numpy.arange(1_000)).astype("<c8")
            writer.write_block(second * 1_000, samples, second * 1_000_000, 0, 40)

    write(0, 10)
    page = desk.context.new_page()
    page.goto("/signals")
    page.get_by_role("button", name="Open lab13/wave").click()
    name = "20200102T000000Z-grows"
    plot, length = canvas(page, name), panel(page, name).locator("output")
    expect(length).to_have_text("10 s")
    expect(plot).to_have_attribute("data-highest", re.compile(r"^(10|9\.99|10\.0)"))
    expect(plot).to_have_attribute("data-rolled", "0")
    page.get_by_role("button", name="Rolling mean").click()
    expect(plot).not_to_have_attribute("data-rolled", "0")
    expect(plot).to_have_attribute("data-rolled", plot.get_attribute("data-columns") or "")
    write(10, 30)
    expect(length).to_have_text("30 s")
    expect(plot).to_have_attribute("data-highest", re.compile(r"^(30|29\.99|30\.0)"))
    panel(page, name).get_by_role("button", name="Less time").click()
    expect(length).to_have_text("20 s")
    write(30, 40)
    panel(page, name).get_by_role("button", name="More time").click()
    expect(length).to_have_text("30 s")
    panel(page, name).get_by_role("button", name="More time").click()
    expect(length).to_have_text("40 s")
    writer.close()
    page.get_by_role("button", name=f"Close {name}", exact=True).click()
    shutil.rmtree(place)
    desk.is_fine()


def test_a_hub_that_is_lost_is_said_to_be_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    with (
        HubProcess() as hub,
        running_dashboard(tmp_path, hub.address) as url,
        watched_context(browser, url) as desk,
        source(hub.address, "lab6"),
    ):
        page = open_page(desk, "lab6/wave")
        hub.kill()
        expect(panel(page, "lab6/wave").locator(".how")).to_contain_text("The hub is lost")
        hub.start()
        expect(panel(page, "lab6/wave").locator(".how")).to_have_text(re.compile("^2,000 samples/s"))
        columns = int(canvas(page, "lab6/wave").get_attribute("data-columns") or "")
        page.wait_for_function(f"Number(document.querySelector('canvas').dataset.columns) > {columns}")
        desk.is_fine()


def test_a_targets_piezo_is_there_to_be_seen(desk: Watched, hub: HubProcess, tmp_path: Path) -> None:
    targets = Process(tmp_path, "simulate", "--targets", "1", "--hub", hub.address, "--hit-rate", "0")
    try:
        page = open_page(desk, "target_1/piezo")
        expect(panel(page, "target_1/piezo").locator(".how")).to_have_text(
            re.compile(r"^(about )?[1-9][\d,]* samples/s")
        )
    finally:
        targets.end()
    desk.is_fine()

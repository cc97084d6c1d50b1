"""The page of cameras: a real gateway, and a real browser."""

import base64
import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

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
from tests.integration.cameras_harness import CameraGateway, connected
from tests.integration.harness import HOST, free_port

pytestmark = [*needs_browser, pytest.mark.slow]

MARKUP = "<img src=x onerror=window.harmed=1>"


IS_WHOLE = """(all) => all.map((it) => {
    const own = it.offsetWidth, whole = (it.style.width = "max-content", it.offsetWidth);
    it.style.width = "";
    return own >= whole;
})"""  # of fields: as wide as what stands in them


def picture(shade: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (400, 200), (shade, 90, 90)).save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode()


def detection(camera: str, plate: str, at: str = "2026-12-01T10:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "type": "detection_result",
        "camera_id": camera,
        "checkpoint_id": "north",
        "timestamp": at,
        "ocr_results": [plate],
        "vehicles_count": 1,
        "plates_count": 1,
        **more,
    }


def send(gateway: CameraGateway, *detections: dict[str, Any]) -> None:
    for one in detections:
        assert gateway.post("/api/detection", one).json()["success"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CameraGateway]:
    with CameraGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="module")
def url(hub: HubProcess, gateway: CameraGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dashboard")
    with running_dashboard(folder, hub.address, cameras=gateway.url) as address:
        yield address


@pytest.fixture
def page(desk: Watched) -> Iterator[Page]:
    page = desk.context.new_page()
    page.goto("/cameras")
    yield page
    assert page.evaluate("window.harmed ?? null") is None
    desk.is_fine()


def tile(page: Page, name: str) -> Locator:
    return page.locator("article.camera", has=page.get_by_role("heading", name=name, exact=True))


def found(page: Page) -> Locator:
    return page.locator(".found li")


def test_what_comes_is_seen_at_once_and_who_is_gone_turns_grey(
    page: Page, hub: HubProcess, gateway: CameraGateway
) -> None:
    expect(page.locator(".empty")).to_contain_text(f"What cameras send to {gateway.url} is seen here")
    expect(page.locator(".empty code")).to_have_text(f"snyper simulate-cameras -n 4 --hub {hub.address}")
    box = {"bbox": [100, 50, 300, 150], "confidence": 0.9, "class": MARKUP}
    hostile: dict[str, Any] = {
        "vehicle_detections": [box, {"bbox": ["a", None, {}, 2]}, 7],
        "plate_detections": "none",
    }
    with connected(gateway.url) as (camera, events):
        lane = detection("lane", MARKUP, original_image=picture(10), **hostile)
        camera.emit("lpr_data", lane)
        events.wait("lpr_response")
        expect(tile(page, "lane")).to_have_attribute("data-live", "true")
        expect(tile(page, "lane").locator(".plates")).to_have_text(MARKUP)
        boxes = tile(page, "lane").locator("svg rect")
        expect(boxes).to_have_count(1)
        shown = boxes.evaluate(
            "(it) => [it.getBoundingClientRect(), it.closest('.shot').getBoundingClientRect()]"
        )
        inner, outer = shown
        assert inner["width"] == pytest.approx(outer["width"] / 2, abs=4)
        expect(tile(page, "lane")).to_contain_text(
            re.compile(r"its clock is [\d,]+ (d \d+ h|h \d+ min) behind")
        )
        camera.emit("lpr_data", {**lane, "annotated_image": picture(20), "ocr_results": ["XYZ 1"]})
        expect(tile(page, "lane").locator(".plates")).to_have_text("XYZ 1")
        expect(boxes).to_have_count(0)  # which are in the picture already
        expect(tile(page, "lane").locator("img")).to_have_js_property("naturalWidth", 320)
    expect(tile(page, "lane")).to_have_attribute("data-live", "false")
    expect(tile(page, "lane").locator(".state")).to_have_text("offline")
    expect(tile(page, "lane").locator(".age")).to_have_text(re.compile(r"^[2-9] s ago$"))
    expect(page.locator(".cameras > .subtitle")).to_have_text("0 of 1 camera here, 1 with a warning")
    page.keyboard.press("1")
    expect(page.get_by_role("heading", name="Range", level=1)).to_be_visible()
    page.keyboard.press("7")
    tile(page, "lane").get_by_role("button", name="Enlarge").click()
    large = page.get_by_role("dialog")
    expect(large.get_by_role("heading")).to_have_text("XYZ 1")
    page.keyboard.press("Escape")
    expect(large).to_have_count(0)


def test_a_high_picture_has_words_as_large_as_a_wide_one(page: Page, gateway: CameraGateway) -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 400)).save(file, "PNG")
    seen = [{"bbox": [50, 100, 150, 300], "confidence": 0.9, "class": "car"}]
    shots = {"wide": picture(10), "high": base64.b64encode(file.getvalue()).decode()}
    sizes = {}
    for name, shot in shots.items():
        send(gateway, detection(name, "A" * 128, original_image=shot, vehicle_detections=seen))
        tile(page, name).get_by_role("button", name="Enlarge").click()
        words = page.get_by_role("dialog").locator("svg text")
        expect(words).to_have_text("car 90 %")
        sizes[name] = words.evaluate("(it) => it.getBoundingClientRect().height")
        page.keyboard.press("Escape")
    assert sizes["high"] == pytest.approx(sizes["wide"], rel=0.2)
    # However long a neighbour's plate is, records begin at the top of their row, and end soon.
    send(gateway, detection("wide", "B 1", original_image=picture(10)))
    expect(found(page).filter(has_text="B 1")).to_have_count(1)
    tops = found(page).locator(".shot").evaluate_all("(all) => all.map((it) => it.getBoundingClientRect().y)")
    assert tops[0] == pytest.approx(tops[1], abs=1)
    assert found(page).nth(1).locator("strong").evaluate("(it) => it.getBoundingClientRect().height") < 60


def test_records_are_found_enlarged_protected_and_taken_away(
    page: Page, gateway: CameraGateway, tmp_path: Path
) -> None:
    for number in range(30):
        at = f"2026-12-01T11:{number:02}:00Z"
        send(gateway, detection("gate", f"AB {number:04}", at, annotated_image=picture(number)))
    send(gateway, detection("gate", "AB 0029", "2026-12-01T11:29:05Z", cropped_plates=[picture(200)]))
    tile(page, "gate").get_by_role("button", name="Records of gate").click()
    expect(page.get_by_label("Plate")).to_be_focused()
    expect(page.locator(".records").get_by_text("31 records")).to_be_visible()
    expect(found(page)).to_have_count(24)
    page.get_by_role("button", name="Older").click()
    expect(found(page)).to_have_count(7)
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("heading", name="Cameras").click()
    page.keyboard.press("/")
    for plate, count in (("ab-0007", 1), ("AB 001*", 10), ("AB 00?9", 4), ("~1AB OOO7", 12), ("ZZZ", 0)):
        page.keyboard.press("Control+a")
        page.keyboard.type(plate)
        page.keyboard.press("Enter")
        expect(found(page)).to_have_count(count)
    expect(page.get_by_text("No such record.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Until").fill("2026-12-01T00:00")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No such record.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("combobox", name="Camera").fill("gate")
    page.keyboard.press("Enter")
    expect(page.locator(".records").get_by_text("31 records")).to_be_visible()

    page.get_by_role("button", name="Enlarge AB 0029").last.click()
    large = page.get_by_role("dialog")
    expect(large.locator(".shot img")).to_have_js_property("naturalWidth", 400)
    page.keyboard.press("ArrowRight")
    expect(large.get_by_role("heading")).to_have_text("AB 0028")
    large.get_by_role("button", name="Protect").click()
    expect(large.get_by_role("button", name="Protect no more")).to_be_visible()
    large.get_by_role("button", name="Close").click()
    expect(found(page).filter(has_text="AB 0028")).to_contain_text("protected")
    assert [one["ocr_results"] for one in gateway.records() if one["protected"]] == [["AB 0028"]]

    page.get_by_role("button", name="Visits").click()
    expect(found(page).first).to_contain_text("AB 0029")
    expect(found(page).first).to_contain_text("2 times")
    expect(page.locator(".detections canvas")).to_be_visible()
    page.get_by_role("button", name="Days").click()
    expect(page.locator(".detections .plot")).to_have_attribute("aria-label", re.compile("gate: 31"))
    for width in (360, 961, 1_024, 1_121, 1_185, 1_217, 1_313):  # of phones, and where the bar above changes
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == width

    for extension in ("csv", "zip"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download these records as {extension.upper()}").click()
        download.value.save_as(tmp_path / f"seen.{extension}")
    rows = list(csv.DictReader((tmp_path / "seen.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["camera_id"] for row in rows} == {"gate"}
    assert len(rows) == 31
    with zipfile.ZipFile(tmp_path / "seen.zip") as archive:
        assert {"records.csv", "MANIFEST.sha256"} <= set(archive.namelist())


def test_who_is_asleep_is_so_on_a_phone_too_and_no_counter_is_cut(page: Page, gateway: CameraGateway) -> None:
    with connected(gateway.url) as (camera, _):
        camera.call("lpr_data", detection("sleeper", "S 1"))
        settings = f"{gateway.url}/api/cameras/sleeper/settings"
        assert httpx.put(settings, json={"asleep_until": "2099-12-30T22:00:00Z"}).status_code == 200
    expect(tile(page, "sleeper").locator(".state")).to_contain_text("asleep until")
    page.set_viewport_size({"width": 390, "height": 844})
    assert tile(page, "sleeper").evaluate("(it) => it.scrollWidth <= it.clientWidth")
    lines = (
        tile(page, "sleeper").locator(".about > *").evaluate_all("(all) => all.map((it) => it.offsetLeft)")
    )
    assert lines[0] == lines[1], "its age has a line of its own, however long it is"
    counters = page.locator(".stats dt, .stats dd")
    expect(counters).to_have_count(12)
    assert counters.evaluate_all("(all) => all.filter((it) => it.scrollWidth > it.clientWidth).length") == 0


def test_many_are_found_and_times_are_typed_by_keyboard(page: Page, gateway: CameraGateway) -> None:
    """By what a tile says, and by the digits of a time alone."""
    names = [f"gate/ทางเข้า-{number}" for number in range(13)]
    send(
        gateway, *(detection(name, "กข 1234", f"2026-12-01T10:{at:02}:00Z") for at, name in enumerate(names))
    )
    expect(tile(page, names[-1]).locator(".state")).to_have_text("here")
    find = page.get_by_role("searchbox", name="Find a camera or place")
    find.focus()
    for words in ("offline", "ทางเข้า-12", "here"):
        page.keyboard.press("Control+A")
        page.keyboard.type(words)
        expect(tile(page, names[-1])).to_have_count(0 if words == "offline" else 1)
    expect(page.locator("article.camera")).not_to_have_count(1)
    find.blur()
    page.keyboard.press("/")
    page.keyboard.type("กข-1234")
    for _ in ("Camera", "Checkpoint", "From"):
        page.keyboard.press("Tab")
    page.keyboard.type("120120261005AM")
    expect(page.get_by_label("From")).to_have_value("2026-12-01T10:05")
    page.keyboard.press("Enter")
    expect(page.locator(".records .heads .hint")).to_have_text("8 records")
    times = page.locator(".records input[type=datetime-local]")
    for width in (1280, 700, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert times.evaluate_all(IS_WHOLE) == [True, True], width


def test_a_gateway_that_is_lost_is_said_to_be_and_goes_on(
    browser: Browser, hub: HubProcess, tmp_path: Path
) -> None:
    listen = f"{HOST}:{free_port()}"
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nwhen = {class = "person"}\nthen = "cease_fire"\n')
    with_rules = ("--hub", hub.address, "--rules", str(rules))
    with (
        running_dashboard(tmp_path, hub.address, cameras=f"http://{listen}") as url,
        watched_context(browser, url) as desk,
    ):
        page = desk.context.new_page()
        page.goto("/cameras")
        expect(page.locator(".empty")).to_contain_text("Nobody answers there.")
        with CameraGateway(tmp_path / "gateway", "--listen", listen, *with_rules) as gateway:
            send(gateway, detection("yard", "AB 1", vehicle_detections=[{"class": "person"}]))
            expect(tile(page, "yard")).to_have_attribute("data-live", "true")
            expect(page.get_by_role("region", name="Rules")).to_contain_text("rule not applied: late")
        expect(page.locator(".cameras > .alarm")).to_contain_text(f"The gateway at http://{listen} is lost")
        expect(tile(page, "yard")).to_have_attribute("data-live", "false")
        expect(tile(page, "yard").locator(".state")).to_have_text("not known")
        with CameraGateway(tmp_path / "gateway", "--listen", listen):
            expect(tile(page, "yard").locator(".state")).to_have_text("here")
            expect(page.get_by_role("region", name="Rules")).to_contain_text("The gateway has none now.")
        desk.is_fine()

"""The arrays of a gateway on the page of signals: a real gateway, and a real browser."""

from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from tests.integration.arrays_harness import Arrays, ended_gateways
from tests.integration.browsing import (
    Browser,
    Locator,
    Page,
    expect,
    needs_browser,
    running_dashboard,
    watched_context,
)
from tests.integration.calls_harness import HubProcess
from tests.integration.harness import HOST, free_port

pytestmark = [*needs_browser, pytest.mark.slow]

MARKUP = "<img src=x onerror=window.harmed=1>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    with ended_gateways():
        yield Arrays(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def url(hub: HubProcess, gateway: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_dashboard(tmp_path_factory.mktemp("dashboard"), hub.address, gateway.url) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with watched_context(browser, url) as desk:
        page = desk.context.new_page()
        page.goto("/signals")
        yield page
        assert page.evaluate("window.harmed ?? null") is None
        desk.is_fine()


def entry(page: Page, name: str) -> Locator:
    return page.locator(f'.arrays li[aria-label="{name}"]')


def test_arrays_are_seen_downloaded_and_deleted(page: Page, gateway: Arrays, tmp_path: Path) -> None:
    expect(page.locator(".arrays")).to_contain_text(f"0 stored at {gateway.url}")
    spike = numpy.zeros(1_000_000, "<f4")
    spike[123_456] = 60
    gateway.store(spike, "spike.npy")
    gateway.store(numpy.eye(40), f"{MARKUP}.npy")
    expect(entry(page, "spike")).to_contain_text("float32, 1,000,000")
    expect(entry(page, "spike")).to_contain_text("4 MB")
    # Of 64 columns the one with the spike is drawn from the bottom to the top.
    path = entry(page, "spike").locator("svg").first.locator("path").get_attribute("d")
    assert path is not None
    assert [column for column in path.split("z") if "v102" in column] == ["M7 -1h1v102h-1"]
    matrix = page.locator(".arrays li", has_text="40 × 40")
    assert matrix.locator("canvas").get_attribute("width") == "32"
    expect(matrix).to_contain_text("img src=x")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download spike").click()
    assert download.value.suggested_filename == "spike.npy"
    download.value.save_as(tmp_path / "seen.npy")
    assert numpy.array_equal(numpy.load(tmp_path / "seen.npy"), spike)
    for width in (360, 961):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    for answer in ("Keep it", "Delete"):
        page.get_by_role("button", name="Delete spike").click()
        page.get_by_role("dialog").get_by_role("button", name=answer, exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(entry(page, "spike")).to_have_count(1 if answer == "Keep it" else 0)
    assert gateway.get("/array/0").status_code == 404


def test_more_than_a_page_has(page: Page, gateway: Arrays) -> None:
    for number in range(30):
        gateway.store(numpy.arange(3), f"array {number}.npy")
    expect(entry(page, "array 29")).to_be_visible()
    expect(page.locator(".arrays li")).to_have_count(24)
    page.get_by_role("button", name="Older").click()
    expect(entry(page, "array 0")).to_be_visible()
    page.get_by_role("button", name="Newest").click()
    expect(entry(page, "array 29")).to_be_visible()


def test_without_a_gateway_it_says_how_to_have_one(browser: Browser, hub: HubProcess, tmp_path: Path) -> None:
    where = f"http://{HOST}:{free_port()}"
    with (
        running_dashboard(tmp_path, hub.address, where) as url,
        watched_context(browser, url) as desk,
    ):
        page = desk.context.new_page()
        page.goto("/signals")
        expect(page.locator(".arrays")).to_contain_text(
            f"None to be had at {where}: Connection refused: is a server running there? To store some there"
        )
        expect(page.locator(".arrays code")).to_have_text("snyper gateway --arrays FOLDER")
        desk.is_fine()

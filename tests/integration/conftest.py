"""A hub, its dashboard and a browser before it, and databases, for the modules that ask for them. A module
may have a hub, a dashboard or a desk of its own.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx._transports.default as http_transports
import pytest

from tests.integration.calls_harness import HubProcess

if TYPE_CHECKING:
    from tests.integration.browsing import Browser, Watched
    from tools.postgresql import Cluster

# httpx reads all authorities' certificates anew for each request, which takes 27 ms of a processor: whatever
# waits for an answer by asking again would keep one busy.
http_transports.create_ssl_context = cache(http_transports.create_ssl_context)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess() as running:
        yield running


@pytest.fixture(scope="module")
def dashboard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the dashboard is started."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def url(hub: HubProcess, dashboard_folder: Path) -> Iterator[str]:
    from tests.integration.browsing import running_dashboard

    with running_dashboard(dashboard_folder, hub.address) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from tests.integration.browsing import running_browser  # which skips where there is none

    with running_browser() as running:
        yield running


@pytest.fixture
def desk(browser: "Browser", url: str) -> Iterator["Watched"]:
    from tests.integration.browsing import watched_context

    with watched_context(browser, url) as watched:
        yield watched


@pytest.fixture(scope="session")
def postgresql() -> Iterator["Cluster"]:
    from tools.postgresql import Cluster, find_programs

    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt install postgresql)")
    cluster = Cluster(programs)
    yield cluster
    cluster.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """Return the URL of an empty database of the cameras, None for SQLite in their folder."""
    if request.param == "sqlite":
        return None
    cluster: Cluster = request.getfixturevalue("postgresql")
    return cluster.new_database()

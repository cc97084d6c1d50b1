"""Cameras over the link while hub, gateway and cameras are killed: nothing is lost, nothing comes twice."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.calls_harness import HubProcess
from tests.integration.cameras_harness import CameraGateway
from tests.integration.harness import ROOT, WallClock, at_length, wait_until
from tools.postgresql import Cluster

TIMES = at_length(3, 1)  # that somebody is killed


class SimulatedCameras:
    """`snyper simulate-cameras` with an outbox that stays: `told` are the ids that it has said."""

    def __init__(
        self, hub: HubProcess, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self.told: list[str] = []
        self._log = (folder / "cameras.log").open("ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "snyper.cli", "simulate-cameras", "--json", "--hub", hub.address),
                *("--outbox", str(folder / "outbox"), *arguments),  # of which the last counts
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)}
            | dict(variables or {}),
        )
        assert self._process.stdout is not None
        self.names = json.loads(self._process.stdout.readline())["cameras"]
        self._reads = threading.Thread(target=self._read)
        self._reads.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with_end = line.endswith("\n")  # one that was cut off has not been said
            self.told += [json.loads(line)["detection_id"]] if with_end else []

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.told) >= count, f"{count} detections")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self._process.send_signal(number)
        status = self._process.wait(60)
        self._reads.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        return status


class Site:
    """A hub, a gateway and cameras, each of which may be killed."""

    def __init__(self, folder: Path, hub: HubProcess, *options: str) -> None:
        self.folder = folder
        self.hub = hub
        self.told: list[str] = []
        self._options = options  # of the gateway
        self.start_gateway()

    def start_gateway(self) -> None:
        self.gateway = CameraGateway(self.folder / "gateway", "--hub", self.hub.address, *self._options)

    def start_cameras(self, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        self.cameras = SimulatedCameras(self.hub, self.folder, *arguments, variables=variables)

    def end_cameras(self, number: signal.Signals | None = None) -> int:
        status = self.cameras.end(number)
        self.told += self.cameras.told
        return status

    def kept(self) -> list[str]:
        """Return the ids of all that was kept, in the order in which it came."""
        found: list[str] = []
        query, cursor = "", 0
        while True:
            records = self.gateway.records(f"limit=1000&after={cursor}{query}")
            if not records:
                return found
            found += [record["detection_id"] for record in records]
            cursor = max(record["cursor"] for record in records)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with HubProcess() as hub:
        made = Site(tmp_path, hub)
        try:
            yield made
        finally:
            made.gateway.__exit__()


@contextmanager
def running_cameras(site: Site, *arguments: str) -> Iterator[SimulatedCameras]:
    site.start_cameras(*arguments)
    try:
        yield site.cameras
    finally:
        site.end_cameras(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("who", ["hub", "gateway", "camera"])
def test_killed_in_the_middle_of_everything(site: Site, who: str) -> None:
    steady = ("-n", "3", "--interval", "0.02")
    site.start_cameras(*steady)
    for _ in range(TIMES):
        site.cameras.wait_for(len(site.cameras.told) + 40)
        if who == "hub":
            site.hub.kill()
            site.cameras.wait_for(len(site.cameras.told) + 40)
            site.hub.start()
        elif who == "gateway":
            site.gateway.end(signal.SIGKILL)
            site.cameras.wait_for(len(site.cameras.told) + 40)
            site.start_gateway()
        else:
            assert site.end_cameras(signal.SIGKILL) == -signal.SIGKILL
            site.start_cameras(*steady)
    site.cameras.wait_for(40)
    site.end_cameras(signal.SIGKILL)
    site.start_cameras("-n", "3", "--count", "1")
    assert site.end_cameras() == 0, "it ends once all is told"
    kept = site.kept()
    assert len(kept) == len(set(kept)), "twice"
    assert set(site.told) - set(kept) == set(), "lost"
    assert len(kept) <= len(site.told) + 3 * (TIMES + 1), (
        "of each camera that was killed one may not have been said"
    )
    assert site.gateway.statistics()["total_detections"] == len(kept)


@pytest.mark.slow
@pytest.mark.long
def test_a_database_that_is_killed_in_mid_traffic(tmp_path: Path, postgresql: Cluster) -> None:
    with HubProcess() as hub:
        site = Site(tmp_path, hub, "--database", postgresql.new_database())

        def is_above(count: int) -> bool:
            return int(site.gateway.statistics()["total_detections"]) > count

        try:
            with running_cameras(site, "-n", "3", "--interval", "0.02") as cameras:
                for _ in range(TIMES):
                    cameras.wait_for(len(cameras.told) + 40)
                    postgresql.kill()
                    cameras.wait_for(len(cameras.told) + 40)
                    postgresql.start()
                    known = len(site.kept())
                    wait_until(partial(is_above, known + 40), "it goes on")
            site.start_cameras("-n", "3", "--count", "1")
            assert site.end_cameras() == 0, "it ends once all is told"
            kept = site.kept()
            assert len(kept) == len(set(kept)), "twice"
            assert set(site.told) - set(kept) == set(), "lost"
            assert site.gateway.statistics()["total_detections"] == len(kept)
        finally:
            site.gateway.__exit__()


@pytest.mark.slow
def test_the_clock_of_a_camera_that_is_set(site: Site, tmp_path: Path) -> None:
    """By hours, ahead and back, while it runs: all comes once, soon, with the hub's instants."""
    clock = WallClock(tmp_path / "faketime")
    site.start_cameras("-n", "1", "--interval", "0.05", variables=clock.variables)
    wait_until(
        lambda: any("captured_by_hub" in one for one in site.gateway.records("limit=1000")), "it has asked"
    )
    begun = len(site.cameras.told)
    for jump in ("+5h", "-7h", "+0"):
        clock.set(jump)
        site.cameras.wait_for(len(site.cameras.told) + 15)
    assert site.end_cameras(signal.SIGINT) == 0
    site.start_cameras("-n", "1", "--count", "1")
    assert site.end_cameras() == 0
    records = sorted(site.gateway.records("limit=1000"), key=lambda one: int(one["cursor"]))
    assert sorted(one["detection_id"] for one in records) == sorted(site.told)
    offs_s = [_s(one["received_at"]) - _s(one["timestamp"]) for one in records]
    assert min(offs_s) < -4 * 3600
    assert max(offs_s) > 6 * 3600
    for one in records:
        if one["detection_id"] not in site.told[begun:-1]:
            continue
        stamp = one["captured_by_hub"]
        assert abs(_s(one["received_at"]) - stamp["at_s"]) < stamp["within_s"] + 60
    assert "Traceback" not in (site.folder / "cameras.log").read_text()


def _s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


@pytest.mark.slow
def test_a_full_disk_costs_pictures_and_no_record(site: Site, small_disk: Path) -> None:
    site.hub.kill()
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(8_000_000))
    cameras = ("-n", "1", "--outbox", str(small_disk / "outbox"))
    site.start_cameras(*cameras, "--interval", "0.01")
    site.cameras.wait_for(400)
    assert site.end_cameras(signal.SIGINT) == 0
    site.hub.start()
    site.start_cameras(*cameras, "--count", "1")
    assert site.end_cameras() == 0
    assert "Traceback" not in (site.folder / "cameras.log").read_text()
    records = site.gateway.records("limit=1000")
    assert {record["detection_id"] for record in records} == set(site.told)
    without = [record for record in records if record["annotated_image"] is None]
    assert 50 < len(without) < len(records)
    with_picture = [record["detection_id"] for record in records if record["annotated_image"]]
    assert set(with_picture) >= set(site.told[-20:]), "the newest have theirs"


@pytest.mark.slow
def test_a_camera_that_is_silent_is_offline(site: Site) -> None:
    def status() -> Any:
        cameras = site.gateway.get("/api/cameras").json()["cameras"]
        return [camera["status"] for camera in cameras]

    with running_cameras(site, "-n", "1", "--interval", "0.2") as cameras:
        wait_until(lambda: status() == ["active"], "it is there")
        cameras.send(signal.SIGSTOP)
        wait_until(lambda: status() not in ([], ["active"]), "it is silent")
        cameras.send(signal.SIGCONT)
        wait_until(lambda: status() == ["active"], "it is back")
        site.hub.kill()
        wait_until(lambda: status() != ["active"], "nobody hears it")
        site.hub.start()
        wait_until(lambda: status() == ["active"], "it is back once more")


@pytest.mark.slow
def test_ctrl_c_and_a_second_process_with_the_outbox(site: Site) -> None:
    with running_cameras(site, "-n", "2", "--interval", "0.1") as cameras:
        cameras.wait_for(2)
        second = SimulatedCameras(site.hub, site.folder, "-n", "2")
        assert second.end() == 1
        said = (site.folder / "cameras.log").read_text()
        assert f"another process has the outbox {site.folder / 'outbox' / 'camera_00'}" in said
        assert "Traceback" not in said
        cameras.wait_for(len(cameras.told) + 2)
    site.start_cameras("-n", "2")
    site.cameras.wait_for(1)
    assert site.end_cameras(signal.SIGINT) == 0
    assert "Traceback" not in (site.folder / "cameras.log").read_text()


def test_what_is_not_acknowledged_at_ctrl_c_is_said(site: Site) -> None:
    """What was told is what is kept, but for so much in the outbox; and the next run tells that."""
    log = site.folder / "cameras.log"
    site.start_cameras("-n", "2", "--interval", "0.02")
    wait_until(lambda: bool(site.kept()), "it tells")
    os.kill(site.gateway.pid, signal.SIGSTOP)
    site.cameras.wait_for(len(site.cameras.told) + 20)
    assert site.end_cameras(signal.SIGINT) == 0
    os.kill(site.gateway.pid, signal.SIGCONT)
    said = re.search(
        r": (\d+) detections told; not acknowledged, with health checks: (\d+), in .*, for the next run",
        log.read_text(),
    )
    assert said is not None
    assert int(said[1]) == len(site.told)
    assert max(20, len(set(site.told) - set(site.kept()))) <= int(said[2])
    site.start_cameras("-n", "2", "--count", "1")
    assert site.end_cameras() == 0
    assert sorted(site.kept()) == sorted(site.told)
    assert log.read_text().endswith("2 detections told\n")

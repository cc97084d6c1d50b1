"""The same services for `snyper serve`, with one that takes its time."""

import time
from pathlib import Path
from typing import Any

from snyper.services import data_service, file_service


@file_service("/api/process/file")
def process_file(path: Path) -> Path:
    return path


@data_service("/api/process/data")
def process_data(data: Any) -> Any:
    return data


@data_service("/api/busy")
def busy(data: float) -> None:
    until_s = time.monotonic() + data
    while time.monotonic() < until_s:
        pass


@data_service("/api/analyze/sensors", takes="readings", gives="anomalies")
def analyze(readings: Any) -> Any:
    middle = sum(readings) / len(readings)
    return [reading for reading in readings if abs(reading - middle) > middle]

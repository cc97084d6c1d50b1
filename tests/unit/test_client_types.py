"""What type checkers make of a client: of one class without a prefix, an object of that class."""

import shutil
from pathlib import Path

import pytest

from tests.unit.type_checkers import Complaints, each_checker

EXAMPLE = Path(__file__).parents[2] / "examples/powermeter"
# Where a line is wrong, a checker has to say so: an ignored line without an error is one.
SAMPLE = """
from collections.abc import Iterator
from typing import Any, assert_type

import snyper
from snyper import AsyncClient, Client
from snyper.services.locks import AsyncLock, Lock


class Powermeter:
    @property
    def identity(self) -> str:
        return ""

    @property
    def range(self) -> int:
        return 3

    @range.setter
    def range(self, value: int) -> None: ...

    def read_voltage(self, samples: int = 20) -> float:
        return 1.0

    def scan(self, count: int) -> Iterator[float]:
        yield 1.0


class Laser:
    def __init__(self, device: str) -> None: ...

    def fire(self) -> None: ...


def block() -> None:
    pm = Client(Powermeter, address="lab1", port=4440, secret="twelve characters", timeout=5)
    assert_type(pm, Powermeter)
    assert_type(pm.identity, str)
    assert_type(pm.range, int)
    assert_type(pm.read_voltage(samples=3), float)
    assert_type(pm.scan(3), Iterator[float])
    pm.range = 3
    pm.range = "x"  # type: ignore[assignment]
    pm.identity = "x"  # type: ignore[misc]
    pm.rnage  # type: ignore[attr-defined]
    pm.read_voltage("x")  # type: ignore[arg-type]
    pm.read_voltage(smaples=3)  # type: ignore[call-arg]
    assert_type(Client(Laser), Laser)
    assert_type(Client(), Any)
    assert_type(Client((Powermeter, "pump_"), (Powermeter, "signal_")), Any)
    assert_type(Client(Powermeter, Laser), Any)
    Client(Powermeter, adress="lab1")  # type: ignore[call-overload]
    Client(Powermeter, port="4440")  # type: ignore[call-overload]

    with snyper.lock(pm, "pump_", lease=60, why="cooldown") as held:
        assert_type(held, Lock)
    snyper.lock(pm, leese=60)  # type: ignore[call-overload]
    for value in snyper.watch(pm, "range", every=0.1):
        assert_type(value, Any)
    with snyper.watch(pm, "range") as values:
        assert_type(values.missed, int)
    snyper.watch(pm)  # type: ignore[call-overload]
    assert_type(snyper.leases(pm), list[dict[str, Any]])
    assert_type(snyper.break_lock(pm, why="fire"), list[str])
    assert_type(snyper.running(pm), list[dict[str, Any]])
    with snyper.closing(Client(Powermeter, address="lab1")) as closed:
        assert_type(closed, Powermeter)
    assert_type(snyper.close(pm), None)


async def run() -> None:
    pm = AsyncClient(Powermeter, address="lab1", timeout=5)
    assert_type(pm, AsyncClient)
    assert_type(await pm.call("read_voltage", samples=3), Any)
    assert_type(await pm.read_voltage(samples=3), Any)
    pm.range = 3  # type: ignore[attr-defined]
    AsyncClient(Powermeter, adress="lab1")  # type: ignore[call-arg]

    async with snyper.lock(pm, lease=60) as held:
        assert_type(held, AsyncLock)
    with snyper.lock(pm):  # type: ignore[attr-defined]
        pass
    async for value in snyper.watch(pm, "range"):
        assert_type(value, Any)
    for value in snyper.watch(pm, "range"):  # type: ignore[attr-defined]
        pass
    assert_type(await snyper.leases(pm), list[dict[str, Any]])
    assert_type(await snyper.break_lock(pm), list[str])
    assert_type(await snyper.running(pm), list[dict[str, Any]])
    async with pm:
        await snyper.close(pm)
    async with snyper.lock(Client(Powermeter)):  # type: ignore[attr-defined]
        pass
"""


@pytest.mark.slow
@each_checker
def test_a_client_of_one_class_is_one_of_it(complaints_of: Complaints, tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE)
    assert complaints_of(tmp_path) == []


@each_checker
def test_one_of_no_known_type_would_not_pass(complaints_of: Complaints, tmp_path: Path) -> None:
    lines = SAMPLE.replace("pm = Client(", "pm: Any = Client(").splitlines()
    (tmp_path / "sample.py").write_text("\n".join(lines))
    wrong = {complaint.partition(": error")[0] for complaint in complaints_of(tmp_path)}
    for text in ("assert_type(pm, Powermeter)", "pm.rnage  # type: ignore[attr-defined]"):
        assert f"sample.py:{lines.index(f'    {text}') + 1}" in wrong


@pytest.mark.slow
@each_checker
def test_the_example_is_right(complaints_of: Complaints, tmp_path: Path) -> None:
    for source in EXAMPLE.glob("*.py"):
        shutil.copy(source, tmp_path)
    assert complaints_of(tmp_path) == []

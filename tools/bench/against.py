"""Two checkouts against each other, in one run: `python -m tools.bench --against OTHER`.

Everything is measured from outside, over the wire and through the command `snyper` of each checkout's own
environment (`make setup` there), so that names and modules may differ. The other checkout is the one before,
this one the one after.
"""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from snyper.shared.address import parse_address
from snyper.shared.socket_protocol import MAX_HEARTBEAT_MS
from tools.bench.peer import Peer
from tools.bench.processes import (
    ROOT,
    UP_TIMEOUT_S,
    cpu_seconds,
    line_of,
    on_cpython,
    quietly_running,
    running,
)
from tools.bench.rounds import Row, alternate, percentile, row, time_each

BEFORE, AFTER = "before", "after"
AIM = "1.03"
MAX_IDLE_TARGETS = 200  # each is a whole firmware, and all of them share the one CPU with the hub
IDLE_S = 1.0

Exchange = Callable[[], Awaitable[object]]


class Checkout:
    """The runs of one checkout."""

    def __init__(self, folder: Path) -> None:
        """Find the environment of `folder`. Raises FileNotFoundError where `make setup` has not been run."""
        self._snyper = folder.resolve() / ".venv" / "bin" / "snyper"
        if not self._snyper.exists():
            raise FileNotFoundError(f"there is no {self._snyper}: run `make setup` in {folder}")

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[tuple[Process, str]]:
        """Run a hub; give its process and its address."""
        command = (self._snyper, "hub", "--listen", "127.0.0.1:0", "--no-journal", "--json")
        async with running(*command, quiet=True) as process:
            yield process, str(json.loads(await line_of(process))["listen"])

    @asynccontextmanager
    async def targets(self, engine: str, count: int, hub: str) -> AsyncIterator[None]:
        """Run simulated targets."""
        words = ("--targets", str(count), "--engine", engine, "--hub", hub, "--hit-rate", "0")
        async with quietly_running(self._snyper, "simulate", *words):
            yield


async def rows_against(other: Path, rounds: int, pings: int, targets: int) -> list[Row]:
    """Measure `other` and this checkout in alternation. Raises OSError, TimeoutError."""
    sides = {BEFORE: Checkout(other), AFTER: Checkout(ROOT)}
    return [
        await _compare("PING from a console through the hub to a target", sides, _whole_way, rounds, pings),
        await _compare("PING to a target on MicroPython alone", sides, _target_alone, rounds, pings),
        await _compare_fan_out(sides, rounds, targets),
        await _compare_idle(sides, rounds, min(targets, MAX_IDLE_TARGETS)),
    ]


async def _compare(
    what: str,
    sides: Mapping[str, Checkout],
    open_exchange: Callable[[AsyncExitStack, Checkout], Awaitable[Exchange]],
    rounds: int,
    count: int,
) -> Row:
    """Compare the p50 of an exchange that `open_exchange` opens for each side."""
    async with AsyncExitStack() as stack:
        measures = {
            name: partial(time_each, await open_exchange(stack, side), count) for name, side in sides.items()
        }
        times = await alternate(rounds, measures)
    p50 = {name: [percentile(batch, 50) for batch in batches] for name, batches in times.items()}
    return row(f"{what}, p50", p50[AFTER], p50[BEFORE], "µs", 1, AIM)


async def _whole_way(stack: AsyncExitStack, side: Checkout) -> Exchange:
    _, address = await stack.enter_async_context(side.hub())
    await stack.enter_async_context(side.targets("micropython", 1, address))
    console = await _console(address)
    stack.callback(console.transport.close)
    await _until_connected(console, 1)
    return lambda: console.exchange({"type": "ping", "target_id": "target_1"})


async def _target_alone(stack: AsyncExitStack, side: Checkout) -> Exchange:
    hub_end = Peer()
    server = await asyncio.get_running_loop().create_server(lambda: hub_end, "127.0.0.1", 0)
    stack.callback(server.close)
    port = server.sockets[0].getsockname()[1]
    await stack.enter_async_context(side.targets("micropython", 1, f"127.0.0.1:{port}"))
    async with asyncio.timeout(UP_TIMEOUT_S):
        await hub_end.has_registered.wait()
    return lambda: hub_end.exchange({"type": "ping"})


async def _compare_fan_out(sides: Mapping[str, Checkout], rounds: int, targets: int) -> Row:
    """Compare the CPU time that a hub takes for one command to scripted targets."""
    async with AsyncExitStack() as stack:
        measures = {}
        for name, side in sides.items():
            process, address = await stack.enter_async_context(side.hub())
            command = on_cpython("scripted_targets", address, 1, targets, "quiet")
            await line_of(await stack.enter_async_context(running(*command)))
            console = await _console(address)
            stack.callback(console.transport.close)
            call = partial(console.exchange, {"type": "ping", "target_id": "all"})
            measures[name] = partial(_cpu_ms_of, process, call)
        times = await alternate(rounds, measures)
    what = f"hub CPU for one command to {targets} targets, told to a console"
    return row(what, times[AFTER], times[BEFORE], "ms", 1, AIM)


async def _cpu_ms_of(process: Process, work: Callable[[], Awaitable[object]]) -> float:
    began = cpu_seconds(process.pid)
    await work()
    return (cpu_seconds(process.pid) - began) * 1000


async def _compare_idle(sides: Mapping[str, Checkout], rounds: int, targets: int) -> Row:
    """Compare the CPU time a second that a hub takes for the targets of its own checkout, all idle."""
    async with AsyncExitStack() as stack:
        measures = {}
        for name, side in sides.items():
            process, address = await stack.enter_async_context(side.hub())
            await stack.enter_async_context(side.targets("cpython", targets, address))
            console = await _console(address)
            await _until_connected(console, targets)
            console.transport.close()
            measures[name] = partial(_cpu_ms_of, process, partial(asyncio.sleep, IDLE_S))
        await asyncio.sleep(IDLE_S)  # targets ask more often at first
        times = await alternate(rounds, measures)
    seconds = {name: [taken / IDLE_S for taken in each] for name, each in times.items()}
    what = f"hub CPU a second for {targets} idle targets"
    return row(what, seconds[AFTER], seconds[BEFORE], "ms", 1, AIM)


async def _console(address: str) -> Peer:
    """Connect a registered console."""
    _, console = await asyncio.get_running_loop().create_connection(Peer, *parse_address(address))
    # A machine with other work must not cost it its connection: what is measured is the hub's work.
    data = {"role": "console", "heartbeat_ms": MAX_HEARTBEAT_MS}
    reply = await console.exchange({"type": "register", "data": data})
    assert reply["type"] == "registered", reply
    return console


async def _until_connected(console: Peer, count: int) -> None:
    """Return when `count` targets answer a `ping`. Raises TimeoutError."""
    async with asyncio.timeout(UP_TIMEOUT_S):
        while True:
            reply = await console.exchange({"type": "ping", "target_id": "all"})
            if reply["type"] == "pong" and reply.get("data", {}).get("ok") == count:
                return
            await asyncio.sleep(0.1)

"""Readings of what services say of their work: asked in the background, and only while somebody looks."""

import asyncio
import statistics as figures
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from snyper.client import HubClient, ServiceInfo
from snyper.client.labels import natural
from snyper.dashboard.faults import log_fault
from snyper.services.async_client import AsyncClient, limit_answers
from snyper.services.client import call_log, running, statistics
from snyper.services.remote_exceptions import CallError, Refused
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system import steady
from snyper.system.text import one_line

LIST_S = 1.0  # between two lists of the hub's
READ_S = 1.0  # between two readings of a service
AGAIN_S = 10.0  # until a service is asked again that did not answer
ANSWER_S = 2.0  # that a service has for all of its answers
AT_ONCE = 4  # services that are asked
MOST_OPEN = 8  # connections that stay while somebody looks: the hub logs each, and has room for some
UNSEEN_S = 1.5  # after which nobody looks any more
MOST_ANSWER_BYTES = 1 << 18  # of one: 1,000 calls under way, or 200 entries of a log, with room to spare
MOST_SERVICES = 40  # that are asked and shown: those that are here first
MOST_FUNCTIONS = 200  # of a service
MOST_LISTED = 1_000  # in a list of theirs
MOST_COUNT = 10**12  # which a page has room for
MOST_CHARS = 200  # of a text of theirs
LATEST = 5  # calls
_PAGES = 10  # of the log, in one reading
_DURATIONS = 100


@dataclass
class FunctionFigures:
    """The calls of one function of a service."""

    calls: int = 0
    failures: int = 0
    running: int = 0
    median_s: float | None = None
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=_DURATIONS))


@dataclass(frozen=True)
class Call:
    """A call that has ended: `at_s` since the epoch, and what came of it in the service's words."""

    at_s: float
    who: str
    name: str
    seconds: float
    outcome: str
    is_failure: bool


@dataclass
class Workers:
    """The workers of a service that has some."""

    count: int
    ready: int
    busy: int


@dataclass
class ServiceReading:
    """A service, and what it said last of its work. `problem` says why it said nothing this time; what serves
    no calls, such as a camera, has nothing to say.
    """

    info: ServiceInfo
    functions: dict[str, FunctionFigures] = field(default_factory=dict)
    latest: deque[Call] = field(default_factory=lambda: deque(maxlen=LATEST))
    workers: Workers | None = None
    running: int = 0
    waiting: int = 0
    problem: str = ""
    serves_calls: bool = True
    is_read: bool = False
    due_s: float = 0.0
    client: AsyncClient | None = None  # while it is connected
    _last: dict[str, Any] = field(default_factory=dict)  # the entry of its log that was read last

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.functions.values())

    @property
    def failures(self) -> int:
        return sum(one.failures for one in self.functions.values())

    async def read(self, client: AsyncClient) -> None:
        """Ask the service. Raises CallError; LookupError, TypeError, ValueError for answers of no sense."""
        work = await statistics(client)
        calls = await running(client)
        await self._read_log(client)
        if work is None:
            self._take_running(calls)
        else:
            self._take_work(work)
        self.is_read = True

    async def _read_log(self, client: AsyncClient) -> None:
        for _ in range(_PAGES):
            page = await call_log(client, self._last or 0)
            for entry in islice(page, MOST_LISTED):
                run, number = str(entry["run"]), int(entry["number"])
                if run != self._last.get("run", run):
                    self.functions.clear()
                    self.latest.clear()
                self._count(entry)
                self._last = {"run": run, "number": number}
            if not page:
                return

    def _count(self, entry: dict[str, Any]) -> None:
        name, outcome, seconds = short(entry["name"]), short(entry["outcome"]), duration(entry["seconds"])
        if name == "lock":  # what became of a lease: no call
            return
        is_failure = outcome != "returned" and not outcome.startswith("cancelled")
        call = Call(
            duration(entry["at"].timestamp()), short(entry["who"]), name, seconds, outcome, is_failure
        )
        self.latest.append(call)
        one = self._function(name)
        one.calls += 1
        one.failures += is_failure
        one.durations_s.append(seconds)
        one.median_s = figures.median(one.durations_s)

    def _take_work(self, work: dict[str, Any]) -> None:
        self.workers = Workers(count(work["workers"]), count(work["ready"]), count(work["busy"]))
        self.running, self.waiting = count(work["busy"]), count(work["waiting"])
        self.functions.clear()  # these count those too that do not come through the hub
        for said in islice(work["services"], MOST_LISTED):
            one = self._function(short(said["name"]))
            one.calls, one.failures, one.running = (
                count(said[word]) for word in ("calls", "failures", "running")
            )
            one.median_s = None if said["median_s"] is None else duration(said["median_s"])

    def _take_running(self, calls: Iterable[dict[str, Any]]) -> None:
        for one in self.functions.values():
            one.running = 0
        self.running = self.waiting = 0
        for call in islice(calls, MOST_LISTED):
            if call["state"] == "running":
                self._function(short(call["name"])).running += 1
                self.running += 1
            else:
                self.waiting += 1

    def _function(self, name: str) -> FunctionFigures:
        """Return the figures of a function; beyond the most that are kept, those of all others."""
        if name not in self.functions and len(self.functions) >= MOST_FUNCTIONS:
            name = "others"
        return self.functions.setdefault(name, FunctionFigures())


class ServiceReadings:
    """The services of one hub. Whoever shows them calls `refresh` again and again: nothing is asked else."""

    def __init__(self, hub: HubClient, address: str) -> None:
        self.found: dict[str, ServiceReading] = {}
        self.shown: list[ServiceReading] = []
        self.is_listed = False
        self.problem = ""
        self._hub = hub
        self._address = address
        self._listed_s = 0.0
        self._listing: asyncio.Task[None] | None = None
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._seen_s = 0.0
        self._closing: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Have asked, in the background, what is due."""
        now_s = self._seen_s = steady.now_s()
        self._closing = self._closing or asyncio.create_task(self._close_unseen())
        if self._listing is None and now_s - self._listed_s >= LIST_S and not self._hub.is_lost:
            self._listing = asyncio.create_task(self._list())
        if not self._hub.is_lost:
            self._read_due()

    def _read_due(self) -> None:
        now_s = steady.now_s()
        for service in self.shown:
            name = service.info.target_id
            if service.info.connected and name not in self._reading and now_s >= service.due_s:
                self._reading[name] = asyncio.create_task(self._read(service))

    async def _list(self) -> None:
        try:
            listed = await self._hub.services()
            known, self.found = self.found, {}
            for info in listed:
                service = self.found[info.target_id] = known.get(info.target_id) or ServiceReading(info)
                if info.connected and not service.info.connected:
                    service.due_s = 0.0
                service.info = info
            for name in known.keys() - self.found.keys():
                await close(known[name])
            ranked = sorted(
                self.found.values(), key=lambda one: (not one.info.connected, natural(one.info.target_id))
            )
            self.shown = ranked[:MOST_SERVICES]
            self.is_listed, self.problem = True, ""
            self._read_due()
        except ProtocolError as error:
            old = "this hub is older and lists no services: update it"
            self.problem = old if error.code == ErrorCode.UNKNOWN_TYPE else short(error.message or error.code)
        finally:
            self._listed_s, self._listing = steady.now_s(), None

    async def _read(self, service: ServiceReading) -> None:
        name = service.info.target_id
        try:
            async with self._places, asyncio.timeout(ANSWER_S):
                if service.client is None:
                    service.client = AsyncClient(hub=self._address, name=name)
                    limit_answers(service.client, MOST_ANSWER_BYTES)
                await service.read(service.client)
            service.problem, service.serves_calls = "", True
        except TimeoutError:
            service.problem = f"It does not answer within {ANSWER_S:.0f} s"
        except Refused as error:
            service.serves_calls = error.code != ErrorCode.UNKNOWN_TYPE
            said = self._said(error, name)
            service.problem = f"It does not say what it does: {said}" if service.serves_calls else ""
        except (CallError, OSError, ProtocolError) as error:
            service.problem = f"It cannot be asked: {self._said(error, name)}"
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log_fault("what a service says of its work has no sense", error)
            service.problem = "What it says of its work has no sense"
        finally:
            open_count = sum(one.client is not None for one in self.found.values())
            stays = service.serves_calls and not service.problem and open_count <= MOST_OPEN
            service.due_s = steady.now_s() + (READ_S if stays else AGAIN_S)
            self._reading.pop(name, None)
            if not stays:
                await close(service)

    async def _close_unseen(self) -> None:
        """Hang up on all once nobody looks any more."""
        is_seen = True
        while is_seen:
            await asyncio.sleep(UNSEEN_S)
            is_seen = steady.now_s() - self._seen_s < UNSEEN_S or bool(self._reading)
        self._closing = None
        for service in list(self.found.values()):
            await close(service)

    def _said(self, error: Exception, name: str) -> str:
        return short(error).removeprefix(f"{name} through {self._address}: ")


def count(value: Any) -> int:
    """Return a count of theirs as one that a page can show. Raises TypeError, ValueError for none."""
    return min(max(int(value), 0), MOST_COUNT)


def duration(value: Any) -> float:
    """Return seconds of theirs as those that a page can show. Raises TypeError, ValueError for none."""
    return min(max(float(value), 0.0), float(MOST_COUNT))


async def close(service: ServiceReading) -> None:
    """Hang up on a service."""
    client, service.client = service.client, None
    if client is not None:
        await client.close()


def short(value: object) -> str:
    """Return what a service says as one line of a length that a page can show."""
    words = one_line(str(value))
    return words if len(words) <= MOST_CHARS else f"{words[: MOST_CHARS - 1]}…"

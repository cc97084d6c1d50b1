"""Workers on other computers: those of a Dask cluster. Loaded where there is Dask, the extra `dask`.

Functions go by their names and values as JSON, files as bytes; nothing is pickled for them. What is scheduled
is scheduled here, as on one computer, and not by Dask: it would begin work again whose worker was lost.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import distributed

from snyper.offload.declarations import Kind, Service
from snyper.offload.guard import Guard
from snyper.offload.loading import ServicesError
from snyper.offload.pool import START_LIMIT_S
from snyper.offload.results import fresh_file
from snyper.offload.work import Died, Done, Lost, Malformed, Raised, Rejected, TimedOut, Work, WorkError
from snyper.offload.work_queue import NotStarted, WorkQueue
from snyper.offload.worker_process import WorkerProcess
from snyper.shared.backoff import Backoff

_log = logging.getLogger("snyper")

SCHEME = "dask+tls://"
_CHUNK_BYTES = 4 * 2**20
_CONNECT_LIMIT_S = 10.0
_CALL_LIMIT_S = 30.0  # for what takes no time at all where there is anybody
_POLL_S = 1.0
_AGAIN_FIRST_MS = 1_000
_AGAIN_CAP_MS = 15_000
_ERRORS = {one.__name__.lower(): one for one in (Raised, Rejected, Malformed, TimedOut, Died)}
_TLS = "DASK_DISTRIBUTED__COMM__TLS__"


_Client: Any = distributed.Client  # whose types say less than what it does
_Security: Any = distributed.Security


class _Gone(Exception):
    """Nobody answered at the worker's address."""


class _Node:
    """One worker of the cluster."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self.address = address
        self.ended = asyncio.Event()
        self.slots: list[_Slot] = []

    async def call(self, word: str, **fields: Any) -> Any:
        """Ask it something; return its answer, None from one without services. Raises _Gone."""
        message = {"op": f"snyper_{word}", **fields}
        answer = asyncio.ensure_future(
            self._client.scheduler.broadcast(msg=message, workers=[self.address], on_error="ignore")
        )
        end = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({answer, end}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _Gone
            return answer.result()[self.address]
        except (OSError, KeyError):  # the scheduler is gone, the worker is
            raise _Gone from None
        finally:
            answer.cancel()
            end.cancel()

    async def call_soon(self, word: str, **fields: Any) -> Any:
        """Do the same with what is answered at once."""
        try:
            async with asyncio.timeout(_CALL_LIMIT_S):
                return await self.call(word, **fields)
        except TimeoutError:
            raise _Gone from None


class _Slot:
    """A place for one piece of work at a node."""

    def __init__(self, node: _Node, topic: str, listeners: dict[str, Callable[[float | None], None]]) -> None:
        self._node = node
        self._topic = topic
        self._listeners = listeners

    @property
    def is_alive(self) -> bool:
        return not self._node.ended.is_set()

    async def answers(self, limit_s: float) -> bool:
        with suppress(TimeoutError, _Gone):
            async with asyncio.timeout(limit_s):
                return await self._node.call("describe") is not None
        return False

    async def run(self, work: Work, on_progress: Callable[[float], None]) -> Done:
        work_id = secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        is_started = False

        def listen(share: float | None) -> None:
            nonlocal is_started
            if share is not None:
                on_progress(share)
            elif not is_started:
                is_started = True
                limit.reschedule(loop.time() + work.service.limit_s + _CALL_LIMIT_S)

        self._listeners[work_id] = listen
        try:
            async with limit:
                done = await self._run(work, work_id)
                listen(None)  # the result may have overtaken it
                return done
        except _Gone:
            self._node.ended.set()
            raise Lost("the worker was lost, with its computer or its network") from None
        except TimeoutError:  # which the worker itself would have said
            self._node.ended.set()
            raise TimedOut(f"the worker does not answer since it began with {work.service.name}") from None
        finally:
            del self._listeners[work_id]
            with suppress(_Gone):
                await self._node.call_soon("end", work_id=work_id)

    async def _run(self, work: Work, work_id: str) -> Done:
        value, options = json.dumps(work.value).encode(), json.dumps(work.options).encode()
        try:
            if work.input is not None:
                await self._put(work_id, work.input)
            else:  # what is lost later may have been done
                await self._node.call_soon("describe")
        except _Gone:
            self._node.ended.set()
            raise NotStarted from None
        outcome = await self._node.call(
            "work",
            work_id=work_id,
            topic=self._topic,
            service=work.service.name,
            filename=work.filename,
            value=value,
            options=options,
        )
        _raise_error(outcome)
        if "json" in outcome:
            return Done(json=outcome["json"])
        return Done(file=await self._get(work_id, outcome, work.folder))

    async def _put(self, work_id: str, path: Path) -> None:
        with path.open("rb") as file:
            while True:
                data = await asyncio.to_thread(file.read, _CHUNK_BYTES)
                _raise_error(
                    await self._node.call_soon("put", work_id=work_id, suffix=path.suffix, data=data)
                )
                if len(data) < _CHUNK_BYTES:
                    return

    async def _get(self, work_id: str, outcome: dict[str, Any], folder: Path) -> Path:
        path = fresh_file(folder, outcome["suffix"])
        with path.open("xb") as file:
            while (offset := file.tell()) < outcome["size"]:
                answer = await self._node.call_soon("get", work_id=work_id, offset=offset, size=_CHUNK_BYTES)
                _raise_error(answer)
                if not answer["data"]:
                    raise Died("the result became shorter while it was fetched")
                await asyncio.to_thread(file.write, answer["data"])
        return path


class DaskPool(WorkQueue):
    """Workers of the Dask cluster whose scheduler is at `dask+tls://HOST:PORT`. As `Pool` otherwise.

    The file of services is imported here for what it declares; a worker of the cluster is used if it declares
    the same. Certificates are those of Dask's configuration. Entering it waits for a first worker. Raises
    ServicesError.
    """

    def __init__(self, services: Path, address: str) -> None:
        super().__init__(0)
        if not address.startswith(SCHEME):
            raise ServicesError(f"a cluster of workers is reached by {SCHEME}HOST:PORT, not by {address}")
        self._path = services
        self._address = address.removeprefix("dask+")
        self._topic = f"snyper-{secrets.token_hex(8)}"
        self._listeners: dict[str, Callable[[float | None], None]] = {}
        self._nodes: dict[str, _Node] = {}
        self._refused: set[str] = set()
        self._joined = asyncio.Event()

    async def __aenter__(self) -> Self:
        security = _security()
        self.serve(await _declared(self._path))
        self._follower = asyncio.create_task(self._follow_cluster(security))
        joined = asyncio.create_task(self._joined.wait())
        try:
            async with asyncio.timeout(_CONNECT_LIMIT_S):
                await asyncio.wait({joined, self._follower}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self._stop()
            raise ServicesError(
                f"no worker at {self._address} has these services: start one with `dask worker "
                f"{self._address} --preload snyper.offload.dask_node --services {self._path.name}`"
            ) from None
        except BaseException:
            await self._stop()
            raise
        finally:
            joined.cancel()
        if self._follower.done():
            self._follower.result()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        await self._stop()

    async def _stop(self) -> None:
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)

    async def _follow_cluster(self, security: Any) -> None:
        """Know which workers there are, from one connection to the scheduler to the next."""
        backoff = Backoff(_AGAIN_FIRST_MS, _AGAIN_CAP_MS)
        is_said = False
        while True:
            client = _Client(
                self._address,
                security=security,
                asynchronous=True,
                set_as_default=False,
                timeout=_CONNECT_LIMIT_S,
            )
            try:
                await client
                is_said = False
                backoff.reset()
                await self._follow_workers(client)
            except OSError as error:
                if not is_said:
                    _log.error("no Dask scheduler at %s: %s. It is tried again", self._address, error)
                    is_said = True
            finally:
                for address in list(self._nodes):
                    self._part_with(address)
                await client.close()
            await asyncio.sleep(backoff.next_ms() / 1000)

    async def _follow_workers(self, client: Any) -> None:
        client.subscribe_topic(self._topic, self._on_event)
        while True:
            async with asyncio.timeout(_CALL_LIMIT_S):
                cluster = await client.scheduler.identity(n_workers=-1)
            present = set(cluster["workers"])
            for address in set(self._nodes) - present:
                self._part_with(address)
            for address, node in list(self._nodes.items()):
                if node.ended.is_set():  # it did not answer, and is asked anew
                    self._part_with(address)
            self._refused &= present
            new = present - set(self._nodes) - self._refused
            await asyncio.gather(*(self._meet(_Node(client, address)) for address in new))
            await asyncio.sleep(_POLL_S)

    async def _meet(self, node: _Node) -> None:
        try:
            described = await node.call_soon("describe")
        except _Gone:
            return
        if described is None or _services_of(described) != self.services:
            self._refused.add(node.address)
            has = "no services" if described is None else f"other services than {self._path.name}"
            _log.warning("the worker at %s has %s, and is not used", node.address, has)
            return
        self._nodes[node.address] = node
        for _ in range(described["workers"]):
            slot = _Slot(node, self._topic, self._listeners)
            node.slots.append(slot)
            self.workers += 1
            self.join(slot)
        self._joined.set()

    def _part_with(self, address: str) -> None:
        node = self._nodes.pop(address)
        node.ended.set()
        for slot in node.slots:
            self.workers -= 1
            self.leave(slot)

    def _on_event(self, event: tuple[float, Any]) -> None:
        work_id, share = event[1]
        listener = self._listeners.get(work_id)
        if listener is not None:
            listener(share)


def _security() -> Any:
    """Return Dask's own configuration of TLS. Raises ServicesError where there is none."""
    security = _Security(require_encryption=True)
    if not (security.tls_ca_file and security.tls_client_cert):
        raise ServicesError(
            f"{SCHEME} needs certificates, in Dask's configuration or as {_TLS}CA_FILE, {_TLS}CLIENT__CERT "
            f"and {_TLS}CLIENT__KEY"
        )
    return security


async def _declared(path: Path) -> tuple[Service, ...]:
    """Return what a file of services declares. It is imported by a process that then ends."""
    guard = Guard()
    try:
        worker = WorkerProcess(path, guard)
        services = await worker.start(START_LIMIT_S)
        await worker.kill()
        return services
    finally:
        guard.close()


def _services_of(described: dict[str, Any]) -> tuple[Service, ...]:
    services = json.loads(described["services"])
    return tuple(Service(**{**one, "kind": Kind(one["kind"])}) for one in services)


def _raise_error(outcome: dict[str, Any]) -> None:
    if "error" in outcome:
        raise _ERRORS.get(outcome["error"], WorkError)(outcome["detail"])

"""A bad network on loopback: a TCP proxy with seeded delays that can be cut, held and made to repeat."""

import asyncio
import random
import socket
from collections.abc import Callable
from contextlib import suppress

Delay = tuple[float, float]  # the least and the greatest, in ms; between them every one is as likely

_MAX_LINE_BYTES = 1 << 20  # far more than either side takes: the proxy is not the judge of that


class ImpairedLink:
    """Passes what comes to its `port` on to a hub at `host`:`hub_port`, line by line and in order, and back.

    Each line is late by a random `to_hub_ms` or `from_hub_ms` and never overtakes the one before, as in TCP.
    `on_line(to_hub, line)` is called when a line comes in and says how often it is passed on: 0 loses it, 2
    doubles it; it may call `cut`. Without it every line passes once. Every connection and direction has
    random numbers of its own, so that the same `seed` gives the same delays. All may be changed at any time.
    """

    def __init__(
        self,
        hub_port: int,
        host: str = "127.0.0.1",
        *,
        seed: int = 0,
        to_hub_ms: Delay = (0, 0),
        from_hub_ms: Delay = (0, 0),
        on_line: Callable[[bool, bytes], int] | None = None,
    ) -> None:
        self.port = 0
        self.to_hub_ms = to_hub_ms
        self.from_hub_ms = from_hub_ms
        self.on_line = on_line
        self.is_refusing = False  # new connections are closed at once
        self.connections = 0  # so far
        self._host = host
        self.hub_port = hub_port
        self._seed = seed
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._latest: tuple[asyncio.StreamWriter, asyncio.StreamWriter] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ImpairedLink":
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=_MAX_LINE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def is_held(self) -> bool:
        """Return whether nothing passes, either way, while the connections stay: a radio that is out of
        reach. What was sent meanwhile passes afterwards, as TCP has it.
        """
        return not self._open.is_set()

    @is_held.setter
    def is_held(self, held: bool) -> None:
        if held:
            self._open.clear()
        else:
            self._open.set()

    def cut(self) -> None:
        """Break every connection, with all that is on its way."""
        for writer in list(self._writers):
            writer.transport.abort()

    def inject(self, to_hub: bool, line: bytes) -> bool:
        """Say a line in the name of the other side, over the latest connection; return whether there is
        one.
        """
        if self._latest is None or not self._writers.issuperset(self._latest):
            return False
        self._latest[to_hub].write(line)
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        writers = [writer]
        try:
            if self.is_refusing:
                return
            self._writers.add(writer)
            hub_reader, hub_writer = await asyncio.open_connection(
                self._host, self.hub_port, limit=_MAX_LINE_BYTES
            )
            writers.append(hub_writer)
            if writer.transport.is_closing():  # cut meanwhile
                return
            self._writers.add(hub_writer)
            self._latest = (writer, hub_writer)
            for one in writers:
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(number, True, reader, hub_writer))
                group.create_task(self._pass(number, False, hub_reader, writer))
        except* OSError:
            pass  # one side is gone: the other is told by the close below
        except* asyncio.CancelledError:
            pass  # by `__aexit__`, which waits; asyncio's server complains of a task that was cancelled
        finally:
            for one in writers:
                one.transport.abort()
                self._writers.discard(one)
            self._tasks.discard(task)

    async def _pass(
        self, number: int, to_hub: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass one direction on to its end. Raises OSError when a side is lost."""
        rng = random.Random(f"{self._seed}/{number}/{to_hub}")
        lines: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(lines, writer))
        loop = asyncio.get_running_loop()
        try:
            while line := await reader.readline():
                delay_ms = rng.uniform(*(self.to_hub_ms if to_hub else self.from_hub_ms))
                copies = 1 if self.on_line is None else self.on_line(to_hub, line)
                for _ in range(copies):
                    lines.put_nowait((loop.time() + delay_ms / 1000, line))
            lines.put_nowait((loop.time(), b""))
            await sender
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sender

    async def _send(self, lines: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, line = await lines.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._open.wait()
            if not line:
                writer.write_eof()
                return
            writer.write(line)
            await writer.drain()

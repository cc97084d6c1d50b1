"""Coroutines that are served: by `AsyncServer` in its event loop, by `Server` on one of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from snyper.services.async_client import AsyncClient
from snyper.services.async_server import AsyncServer
from snyper.services.client import running
from snyper.services.context import cancelled
from snyper.services.remote_exceptions import RemoteError
from snyper.services.window import MAX_ITEMS
from tests.integration.calls_harness import HOST, becomes, served

each_server = pytest.mark.parametrize("is_async", [True, False], ids=["AsyncServer", "Server"])


@asynccontextmanager
async def serving(is_async: bool, *items: Any, **options: Any) -> AsyncIterator[AsyncClient]:
    """A server, in this event loop or in threads, and a client of it."""
    if is_async:
        async with (
            AsyncServer(*items, address=HOST, port=0, **options) as server,
            AsyncClient(address=HOST, port=server.port) as client,
        ):
            yield client
    else:
        with served(*items, **options) as blocking:
            async with AsyncClient(address=HOST, port=blocking.port) as client:
                yield client


class Stage:
    """A stage that moves while others have the loop."""

    def __init__(self) -> None:
        self.position = 0
        self.inside = 0
        self.most = 0
        self.began = asyncio.Event()
        self.ends = asyncio.Event()
        self.left: list[str] = []

    def _enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    async def move(self, by: int) -> int:
        """Move by so many steps."""
        self._enter()
        position = self.position
        await asyncio.sleep(0.001)
        self.position = position + by
        self.inside -= 1
        return self.position

    def step(self) -> int:
        self._enter()
        self.position += 1
        self.inside -= 1
        return self.position

    @property
    async def place(self) -> str:
        await asyncio.sleep(0)
        return f"place {self.position}"

    async def hang(self) -> None:
        self.began.set()
        try:
            await self.ends.wait()
        finally:
            self.left.append(f"cancelled: {cancelled()}")

    async def stubborn(self) -> str:
        self.began.set()
        try:
            await self.ends.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            self.left.append("put away")
        return "done"


@each_server
async def test_coroutines_and_ordinary_functions(is_async: bool) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("range 9 is not 1 to 5")

    def later(value: int) -> Awaitable[int]:
        async def give() -> int:
            return value

        return give()

    async with serving(is_async, Stage(), fail, later) as c:
        assert await c.move(3) == await c.move(by=0) == 3
        assert await c.step() == 4
        assert await c.get_place() == "place 4"
        assert await c.later(24601) == 24601
        with pytest.raises(ValueError, match="range 9 is not 1 to 5"):
            await c.fail()
        with pytest.raises(TypeError, match="unexpected keyword argument 'steps'"):
            await c.move(steps=3)


async def test_coroutines_run_in_the_loop_and_ordinary_functions_beside_it() -> None:
    async def on_loop() -> bool:
        return asyncio.get_running_loop() is loop and threading.current_thread() is thread

    def beside() -> bool:
        return threading.current_thread() is not thread

    loop, thread = asyncio.get_running_loop(), threading.current_thread()
    async with serving(True, on_loop, beside) as c:
        assert await c.on_loop()
        assert await c.beside()


@each_server
async def test_calls_to_one_instance_never_overlap_across_awaits(is_async: bool) -> None:
    stage = Stage()
    async with serving(is_async, stage) as c:
        await asyncio.gather(*(c.move(1) if number % 3 else c.step() for number in range(40)))
    assert (stage.most, stage.position) == (1, 40)


@each_server
async def test_coroutines_of_several_instances_run_side_by_side(is_async: bool) -> None:
    meeting = asyncio.Barrier(16)

    class Guest:
        async def meet(self) -> None:
            async with meeting:
                pass

    async with serving(is_async, *((Guest(), f"guest{number}_") for number in range(16))) as c:
        async with asyncio.timeout(30):
            await asyncio.gather(*(c.call(f"guest{number}_meet") for number in range(16)))


@each_server
async def test_a_coroutine_that_is_given_up_is_cancelled(is_async: bool) -> None:
    stage = Stage()
    async with serving(is_async, stage) as c:
        for call, left in ((c.hang, "cancelled: True"), (c.stubborn, "put away")):
            task = asyncio.create_task(call())
            while [row["state"] for row in await running(c)] != ["running"]:
                pass
            task.cancel()
            assert await c.move(1)  # whose turn comes when it has ended
            assert stage.left.pop() == left
            assert task.cancelled()


@each_server
async def test_a_coroutine_that_calls_its_own_object_is_told_so(is_async: bool) -> None:
    class Recursive:
        async def outer(self) -> str:
            return str(await c.inner())

        async def inner(self) -> str:
            return "inner"

    async with serving(is_async, Recursive()) as c:
        with pytest.raises(RemoteError, match="would wait for ever"):
            await c.outer()
        assert await c.inner() == "inner"


async def test_run_serves_until_it_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage()
    server = AsyncServer(stage, address=HOST, port=0, secret="waktu")
    run = asyncio.create_task(server.run())
    said = [""]

    def has_said() -> bool:
        said.append(said[-1] + capsys.readouterr().out)
        return "Auxiliary calls" in said[-1]

    await becomes(has_said)
    assert "Registered calls: ['move', 'step', 'hang', 'stubborn']" in said[-1]

    async with AsyncClient(address=HOST, port=server.port, secret="waktu", timeout=30) as c:
        assert await c.move(2) == 2
        hanging = asyncio.create_task(c.hang())
        await stage.began.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        hanging.cancel()
        await asyncio.wait([hanging])
    assert stage.left == ["cancelled: False"]


async def test_close_ends_run() -> None:
    server = AsyncServer(Stage(), address=HOST, port=0)
    run = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    await server.close()
    await run


async def test_the_end_of_a_server_cancels_its_coroutines() -> None:
    left = threading.Event()

    class Slow:
        async def wait(self) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

    began = threading.Event()
    with served(Slow()) as server:
        c: Any = AsyncClient(address=HOST, port=server.port)
        call = asyncio.create_task(c.wait())
        assert await asyncio.to_thread(began.wait, 30)
    assert await asyncio.to_thread(left.wait, 30)
    call.cancel()
    await asyncio.wait([call])
    await c.close()


class Scanner:
    """A device that scans while others have the loop."""

    def __init__(self) -> None:
        self.made = 0
        self.waits = threading.Event()
        self.left: list[str] = []

    async def scan(self, count: int = 1 << 60) -> AsyncIterator[int]:
        """Scan so many points."""
        try:
            for at in range(count):
                await asyncio.sleep(0)
                self.made += 1
                yield at
            if count == 3:
                raise ValueError("the lamp is out")
        except BaseException as error:
            self.left.append(type(error).__name__)
            raise

    async def wait(self) -> AsyncIterator[int]:
        yield 1
        try:
            self.waits.set()
            await asyncio.Event().wait()
        except BaseException as error:
            self.left.append(type(error).__name__)
            raise

    def rest(self) -> int:
        return self.made


@each_server
async def test_an_asynchronous_generator_streams(is_async: bool) -> None:
    async with serving(is_async, Scanner()) as c:
        assert [item async for item in await c.scan(100)] == list(range(100))
        stream = await c.scan(3)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="the lamp is out"):
            await anext(stream)


@each_server
async def test_an_asynchronous_generator_waits_for_its_reader_and_ends_with_it(is_async: bool) -> None:
    scanner = Scanner()
    async with serving(is_async, scanner) as c:
        async with await c.scan() as stream:
            for at in range(100):
                assert await anext(stream) == at
        assert await c.rest() <= 100 + 2 * MAX_ITEMS  # once it has ended
        async with await c.wait() as stream:
            assert await anext(stream) == 1
            assert await asyncio.to_thread(scanner.waits.wait, 30)
        await c.rest()
    assert scanner.left[0] in ("GeneratorExit", "CancelledError")
    assert scanner.left[1] == "CancelledError"


@each_server
async def test_an_asynchronous_generator_whose_client_is_gone_ends(is_async: bool) -> None:
    """Also where it waits for something that never comes."""
    scanner = Scanner()
    async with serving(is_async, scanner) as c:
        stream = await c.wait()
        assert await anext(stream) == 1
        assert await asyncio.to_thread(scanner.waits.wait, 30)
        await c.close()
        await c.rest()  # whose turn is after its end
        assert scanner.left == ["CancelledError"]


class Gate:
    """A gate that knows whether who called it is still there."""

    def __init__(self) -> None:
        self.server: AsyncServer | None = None
        self.began = asyncio.Event()
        self.away = asyncio.Event()
        self.found: list[bool] = []

    async def wait(self) -> None:
        """Wait until the caller is away."""
        assert self.server is not None
        self.found.append(self.server.is_caller_away())
        self.server.when_caller_away(self.away.set)
        self.began.set()
        await self.away.wait()
        self.found.append(self.server.is_caller_away())


async def test_a_function_sees_whether_its_caller_is_there() -> None:
    gate = Gate()
    async with AsyncServer(gate, address=HOST, port=0) as server:
        gate.server = server
        async with AsyncClient(address=HOST, port=server.port) as client:
            call = asyncio.create_task(client.wait())
            await gate.began.wait()
        await asyncio.gather(call, return_exceptions=True)
        await gate.away.wait()
        await becomes(lambda: len(gate.found) == 2)
    assert gate.found == [False, True]

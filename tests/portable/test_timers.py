"""Callbacks that come later: in order, in time, and not after they were cancelled."""

import asyncio

from snyper.shared.clock import now_ms
from snyper.shared.runtime import MICROPYTHON, Waiter, call_later, sleep_ms
from tests.portable.support import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snyper.shared.runtime import Timer


class _Calls:
    """What was called, in order, and when."""

    def __init__(self, wanted: int) -> None:
        self.names: "list[str]" = []
        self.at_ms: "list[int]" = []
        self._wanted = wanted
        self._all = asyncio.Event()

    def note(self, name: str) -> "Callable[[], None]":
        def call() -> None:
            self.names.append(name)
            self.at_ms.append(now_ms())
            if len(self.names) >= self._wanted:
                self._all.set()

        return call

    async def have_come(self) -> "list[str]":
        await within(self._all.wait())
        return self.names


async def test_they_come_in_the_order_of_their_times() -> None:
    calls = _Calls(5)
    for name, delay_ms in (("c", 40), ("a", 0), ("d", 60), ("b", 20), ("e", 60)):
        call_later(delay_ms, calls.note(name))
    assert await calls.have_come() == ["a", "b", "c", "d", "e"]


async def test_none_comes_early_and_an_earlier_one_does_not_wait_for_a_later_one() -> None:
    calls = _Calls(2)
    began_ms = now_ms()
    last = call_later(60_000, calls.note("last"))
    await sleep_ms(1)
    call_later(80, calls.note("second"))
    await sleep_ms(1)
    call_later(30, calls.note("first"))
    assert await calls.have_come() == ["first", "second"]
    last.cancel()
    for at_ms, least_ms in zip(calls.at_ms, (30, 80)):
        assert at_ms - began_ms >= least_ms, calls.at_ms


async def test_a_cancelled_one_does_not_come() -> None:
    calls = _Calls(2)
    first, second = call_later(10, calls.note("first")), call_later(20, calls.note("second"))
    call_later(30, calls.note("third"))
    first.cancel()
    first.cancel()
    assert await calls.have_come() == ["second", "third"]
    second.cancel()  # it has come


async def test_the_next_one_is_cancelled_before_its_time() -> None:
    calls = _Calls(1)
    first = call_later(300, calls.note("first"))  # far off, for a computer that stands still in between
    call_later(320, calls.note("second"))
    await sleep_ms(1)
    first.cancel()
    assert await calls.have_come() == ["second"]


async def test_all_are_cancelled_and_a_new_one_comes() -> None:
    calls = _Calls(1)
    for timer in [call_later(delay_ms, calls.note("never")) for delay_ms in (60_000, 50_000)]:
        timer.cancel()
    call_later(10, calls.note("new"))
    assert await calls.have_come() == ["new"]


async def test_one_may_begin_another() -> None:
    calls = _Calls(3)

    def again() -> None:
        calls.note("again")()
        if len(calls.names) < 3:
            call_later(0, again)

    call_later(0, again)
    turns = 0
    while len(calls.names) < 3:
        await sleep_ms(0)
        turns += 1
        assert turns < 10_000
    assert turns > 1  # others get their turn between two
    assert await calls.have_come() == ["again"] * 3


async def test_one_may_cancel_another() -> None:
    calls = _Calls(2)
    timers: "list[Timer]" = []
    call_later(10, lambda: timers[0].cancel())
    timers.append(call_later(10, calls.note("never")))
    call_later(10, calls.note("a"))
    call_later(20, calls.note("b"))
    assert await calls.have_come() == ["a", "b"]


async def test_one_that_raises_is_told_and_stops_no_other() -> None:
    told: "list[object]" = []
    loop = asyncio.get_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    calls = _Calls(2)

    def fail() -> None:
        raise ValueError("as it should")

    call_later(10, fail)
    call_later(10, calls.note("a"))
    call_later(20, calls.note("b"))
    assert await calls.have_come() == ["a", "b"]
    assert [str(error) for error in told] == ["as it should"]


async def test_a_waiter_gets_its_value_or_none_in_time() -> None:
    late = Waiter()
    assert await within(late.wait(10)) is None
    late.set("too late")
    waiter = Waiter()
    call_later(10, lambda: waiter.set("value"))
    call_later(20, lambda: waiter.set("second"))
    assert await within(waiter.wait(60_000)) == "value"


if MICROPYTHON:

    def _find_no_memory(coroutine: object) -> object:
        raise MemoryError

    async def test_without_memory_for_its_task_none_is_left_to_come() -> None:
        calls = _Calls(1)
        create_task = asyncio.create_task
        asyncio.create_task = _find_no_memory  # type: ignore[assignment]
        try:
            call_later(0, calls.note("never"))
            raise AssertionError("it should find no memory")
        except MemoryError:
            pass
        finally:
            asyncio.create_task = create_task
        call_later(10, calls.note("new"))
        assert await calls.have_come() == ["new"]

    async def test_without_memory_for_another_task_the_others_come_with_the_next_one() -> None:
        told: "list[object]" = []
        loop = asyncio.get_event_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        calls = _Calls(2)
        create_task = asyncio.create_task

        def fail() -> None:
            asyncio.create_task = _find_no_memory  # type: ignore[assignment]
            raise MemoryError

        call_later(0, fail)
        call_later(10, calls.note("a"))
        while not told:
            await sleep_ms(1)
        asyncio.create_task = create_task
        call_later(20, calls.note("b"))
        assert await calls.have_come() == ["a", "b"]

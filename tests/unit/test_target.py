"""A target on a virtual board, with a hub at the far end of its link."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from snyper.firmware.target.target import MOTION_STUCK_MS, Target
from snyper.shared.clock import now_ms
from snyper.shared.link import Link
from snyper.shared.socket_protocol import SocketMessage, integer_field
from tests.portable.loopback import LinkPair
from tests.portable.support import raises_async, within
from tests.portable.virtual_hardware import Board, is_between, make_piezo, make_servo, peripherals, same_pulse

TRAVEL_MS = 200
DOWN_NS = 500_000
UP_NS = 1_500_000
REQUEST_MS = 5_000


class _Grounds:
    """A shooting range of one: a board, its target and a hub. For `async with`; the target then lies."""

    def __init__(self) -> None:
        self.board = Board()
        self.states: list[str] = []
        self.hits = 0
        self.target = Target(make_servo(TRAVEL_MS), make_piezo(), self._record_state, self._record_hit)
        self.reports: list[SocketMessage] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "_Grounds":
        self._running = asyncio.create_task(self.target.run())
        self._pair = LinkPair({"hit": self._report, "miss": self._report}, self.target.handlers)
        await self._pair.__aenter__()
        self.target.connect(self._pair.near)
        await self.reach("down")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pair.__aexit__(*error)
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    def _record_state(self, state: str) -> None:
        self.states.append(state)
        self._changed.set()

    def _record_hit(self) -> None:
        self.hits += 1

    async def _report(self, link: Link, message: SocketMessage) -> SocketMessage:
        self.reports.append(message)
        self._changed.set()
        return message.reply("ack", "ok")

    def ask(self, message_type: str, **data: object) -> Any:
        """The answer to a command, to be awaited."""
        link = self._pair.far
        return link.request(SocketMessage(message_type, link.new_id(), "t_1", data=data), REQUEST_MS)

    @property
    def link(self) -> Link:
        """The target's."""
        return self._pair.near

    async def reach(self, state: str) -> None:
        while self.states[-1:] != [state]:
            await self._wait()

    async def report(self) -> SocketMessage:
        while not self.reports:
            await self._wait()
        return self.reports.pop(0)

    async def _wait(self) -> None:
        self._changed.clear()
        await within(self._changed.wait())


def after_the_rest(sample: Callable[[], int]) -> Callable[[], int]:
    """What a piezo gives that is quiet when it is armed, and then as `sample` has it."""
    quiet = [0] * 4
    return lambda: quiet.pop() if quiet else sample()


async def test_whoever_wants_to_know_is_told_each_state_and_each_hit() -> None:
    async with _Grounds() as grounds:
        assert grounds.states == ["falling", "down"]
        await grounds.ask("stand_up")
        grounds.board.on_sample = after_the_rest(lambda: 30_000)
        await grounds.ask("activate")
        hit = await grounds.report()
        await grounds.reach("down")
        assert grounds.states[2:] == ["rising", "standing", "armed", "falling", "down"]
        assert grounds.hits == 1
        assert hit.type == "hit"
        assert hit.data is not None
        assert sorted(hit.data) == ["gap_us", "peak", "reaction_ms"]
        assert hit.data["peak"] == 30_000 >> 4 << 4 | 30_000 >> 12
        assert all(type(value) is int for value in hit.data.values())


async def test_a_miss_says_how_long_nothing_was_sampled() -> None:
    async with _Grounds() as grounds:
        await grounds.ask("activate", duration_ms=100)
        miss = await grounds.report()
        assert miss.data is not None
        assert sorted(miss.data) == ["gap_us", "reason"]
        assert miss.data["reason"] == "time_up"
        assert integer_field(miss.data, "gap_us", 0, 2_000, 10_000_000)
        assert grounds.hits == 0
        await grounds.reach("down")
        await grounds.ask("activate")
        await grounds.ask("lay_down")
        miss = await grounds.report()
        assert miss.data is not None
        assert sorted(miss.data) == ["gap_us", "reason"]
        assert miss.data["reason"] == "lay_down"


@pytest.mark.parametrize("end", ["lay_down", "link_lost"])
async def test_what_comes_while_a_peak_is_followed_makes_no_miss_of_a_hit(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peripherals, "_PEAK_MS", 60_000)
    async with _Grounds() as grounds:
        struck = asyncio.Event()

        def strike() -> int:
            struck.set()
            return 30_000

        grounds.board.on_sample = after_the_rest(strike)
        await grounds.ask("activate")
        await within(struck.wait())
        assert grounds.target.state == "armed"
        if end == "lay_down":
            await grounds.ask("lay_down")
        else:
            grounds.target.disconnect("down")
            grounds.target.connect(grounds.link)
        assert (await grounds.report()).type == "hit"
        assert grounds.hits == 1
        await grounds.reach("down")


async def test_a_reversal_keeps_within_the_limits_and_turns_at_once() -> None:
    async with _Grounds() as grounds:
        half_way = asyncio.Event()

        def on_pulse(pulse_ns: int) -> None:
            if pulse_ns > DOWN_NS + 300_000:
                half_way.set()

        grounds.board.on_pulse = on_pulse
        standing = asyncio.create_task(raises_async("superseded", grounds.ask("stand_up")))
        await within(half_way.wait())
        await grounds.ask("lay_down")
        await within(standing)
        pulses_ns = grounds.board.pulses_ns[1:]  # without that of no length, before the first motion
        top = pulses_ns.index(max(pulses_ns))
        assert is_between(pulses_ns, DOWN_NS, UP_NS)
        assert all(pulses_ns[at] > pulses_ns[at - 1] for at in range(1, top + 1))
        assert all(pulses_ns[at] < pulses_ns[at - 1] for at in range(top + 1, len(pulses_ns)))
        assert same_pulse(pulses_ns[-1], DOWN_NS)


@pytest.mark.parametrize("error", [OSError(5), ValueError("no such duty")])
async def test_a_servo_that_fails_on_its_way_is_a_fault_that_lay_down_tries_to_mend(error: Exception) -> None:
    def fail(pulse_ns: int) -> None:
        if pulse_ns > DOWN_NS + 100_000:
            raise error

    async with _Grounds() as grounds:
        grounds.board.on_pulse = fail
        await raises_async("fault", grounds.ask("stand_up"))
        assert grounds.states[-1] == "fault"
        assert not grounds.target.is_stuck(now_ms() + 60_000)
        grounds.board.on_pulse = lambda pulse_ns: None
        await grounds.ask("lay_down")
        assert grounds.states[-1] == "down"


async def test_a_motion_without_an_end_is_stuck() -> None:
    async with _Grounds() as grounds:
        assert not grounds.target.is_stuck(now_ms() + 60_000)
        rising = asyncio.create_task(grounds.ask("stand_up"))
        await grounds.reach("rising")
        limit_ms = TRAVEL_MS + MOTION_STUCK_MS
        assert not grounds.target.is_stuck(now_ms() + limit_ms - 1_000)
        assert grounds.target.is_stuck(now_ms() + limit_ms + 1)
        await within(rising)
        assert not grounds.target.is_stuck(now_ms() + limit_ms + 1)


@pytest.mark.parametrize(("where", "command"), [("on_pulse", "stand_up"), ("on_sample", "activate")])
async def test_a_task_that_dies_is_stuck(
    where: str, command: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    died = asyncio.Event()

    def die(*_: object) -> int:
        died.set()
        raise RuntimeError("a defect")

    async with _Grounds() as grounds:
        if where == "on_sample":
            await grounds.ask("stand_up")
        monkeypatch.setattr(grounds.board, where, die)
        asked = asyncio.create_task(grounds.ask(command))
        assert not grounds.target.is_stuck(now_ms())
        await within(died.wait())
        await asyncio.sleep(0)
        assert grounds.target.is_stuck(now_ms())
        assert "a defect" in caplog.text
        asked.cancel()

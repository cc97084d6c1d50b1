"""What the light shows, and when."""

import asyncio

from snyper.firmware.board.led import PATTERNS, Led, Pattern
from tests.portable.support import within


class _Light:
    """A light that keeps how it was switched, and says when that was often enough."""

    def __init__(self) -> None:
        self.switched: "list[bool]" = []
        self._wanted = 0
        self._enough = asyncio.Event()

    def switch(self, on: bool) -> None:
        self.switched.append(on)
        if len(self.switched) >= self._wanted:
            self._enough.set()

    async def more(self, times: int) -> None:
        """Returns once it was switched so many times more."""
        self._wanted = len(self.switched) + times
        self._enough.clear()
        await within(self._enough.wait())


async def test_a_pattern_begins_with_light_and_goes_on_and_off() -> None:
    light = _Light()
    led = Led(light.switch)
    led.show(Pattern.JOINING)
    await light.more(4)
    assert light.switched[:5] == [True, False, True, False, True]
    led.stop()
    assert not light.switched[-1]


async def test_a_flash_ends_and_what_was_shown_comes_back() -> None:
    light = _Light()
    led = Led(light.switch)
    led.show(Pattern.STANDING)
    led.flash(Pattern.IDENTIFY, 60_000)
    await light.more(3)
    led.show(Pattern.JOINING)  # not before the flash has ended
    assert led.shown == Pattern.IDENTIFY
    led.flash(Pattern.IDENTIFY, 60)
    while led.shown != Pattern.JOINING:
        await light.more(1)
    led.stop()


async def test_a_second_flash_takes_over_from_the_first() -> None:
    light = _Light()
    led = Led(light.switch)
    led.flash(Pattern.HIT, 60_000)
    led.flash(Pattern.IDENTIFY, 60)
    while led.shown == Pattern.IDENTIFY:
        await light.more(1)
    assert led.shown == Pattern.BOOTING
    led.stop()


async def test_what_is_fixed_stays() -> None:
    light = _Light()
    led = Led(light.switch)
    led.show(Pattern.SAFE_MODE, fixed=True)
    led.show(Pattern.REGISTERED)
    assert led.shown == Pattern.SAFE_MODE
    led.stop()


def test_no_two_patterns_look_the_same() -> None:
    words = [getattr(Pattern, name) for name in dir(Pattern) if not name.startswith("_")]
    assert sorted(words) == sorted(PATTERNS)
    assert len({PATTERNS[word] for word in words}) == len(words)
    for steps in PATTERNS.values():
        assert len(steps) % 2 == 0
        assert min(steps) > 0

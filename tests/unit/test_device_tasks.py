"""Limits of time as Python 3.7 has none, and text that is harmless as everywhere here."""

import asyncio
import sys
from contextlib import AsyncExitStack

import pytest

from snyper.device import strict_json, text as device_text
from snyper.device.tasks import Timeout
from snyper.system import text


async def forever(*limits: Timeout) -> None:
    async with AsyncExitStack() as stack:
        for limit in limits:
            await stack.enter_async_context(limit)
        await asyncio.Event().wait()


async def test_a_block_that_takes_too_long() -> None:
    limit, task = Timeout(0.001), asyncio.current_task()
    with pytest.raises(TimeoutError):
        await forever(limit)
    assert limit.has_expired
    assert task is not None
    assert not task.cancelling()
    async with Timeout(0):
        pass  # without a wait nothing of it is too long


async def test_what_raises_by_itself_has_not_expired() -> None:
    limit = Timeout(60)
    with pytest.raises(TimeoutError, match="its own"):
        async with limit:
            raise TimeoutError("its own")
    assert not limit.has_expired


async def test_one_within_another() -> None:
    outer, inner = Timeout(0.001), Timeout(60)
    with pytest.raises(TimeoutError):
        await forever(outer, inner)
    assert outer.has_expired
    assert not inner.has_expired


async def test_a_cancellation_stays_one() -> None:
    """Also where the time is over in the same step of the loop."""

    for seconds in (60, 0):
        task = asyncio.create_task(forever(Timeout(seconds)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def test_what_is_harmless_is_so_in_both() -> None:
    """A device has a table of its own, as it has nothing else of ours."""
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assert [one for one in every if device_text.harmless(one) != text.harmless(one)] == []


def test_a_python_without_a_limit_of_digits_has_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for parse_int in (None, strict_json._short_integer):
        monkeypatch.setattr(strict_json, "_PARSE_INT", parse_int)
        assert strict_json.parse_strictly("[-12]") == [-12]
        with pytest.raises(ValueError, match="digits") as raised:
            strict_json.parse_strictly("1" * 4_301)
        said.append(str(raised.value))
    assert said[0] == said[1]

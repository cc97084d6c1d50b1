"""What the dashboard reads and keeps of streams, without a browser: a real hub and real sources."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy
import pytest

from snyper.client import ReconnectingClient
from snyper.dashboard import signal_feed
from snyper.dashboard.model import Model
from snyper.dashboard.recorded_past import MOST_CHANNELS, RecordedPast, Window
from snyper.dashboard.signal_feed import Signal, SignalFeed
from snyper.dashboard.signal_lines import Said, SignalLines, View
from snyper.dashboard.signal_recorders import SignalRecorders
from snyper.hub import stream_fan
from snyper.hub.stream_hub import StreamHub
from snyper.recordings import Recorder
from snyper.shared.clock import now_us
from snyper.streams import Block, StreamSpec
from tests.integration.harness import HOST, until
from tests.integration.stream_harness import Counter, counter_of, source_of, stream_hub

NAME = "lab1/count"


@asynccontextmanager
async def feed_of(hub: StreamHub) -> AsyncIterator[SignalFeed]:
    """Connect to the hub as the dashboard does, and wait for what is still read."""
    async with ReconnectingClient(f"{HOST}:{hub.port}") as console:
        model = Model(f"{HOST}:{hub.port}")
        await until(lambda: not console.is_lost, "the hub should be there")
        model.hub_found("", 0.0)
        feed = SignalFeed(console, model)
        yield feed
        await until(lambda: feed._closing is None, "nothing should be read any more")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_feed, "UNSEEN_S", 0.2)
    monkeypatch.setattr(signal_feed, "AGAIN_S", 0.05)
    monkeypatch.setattr(signal_feed, "NAMES_S", 0.0)
    monkeypatch.setattr(signal_feed, "LIST_S", 0.0)
    monkeypatch.setattr(stream_fan, "LINGER_S", 0.05)


def wanted(feed: SignalFeed, name: str = NAME) -> Signal:
    signal = feed.want(name)
    assert signal is not None
    return signal


async def came(feed: SignalFeed, signal: Signal, count: int) -> None:
    """Wait until so many blocks have come."""
    await until(lambda: signal.next == count and wanted(feed) is signal, "it should come")


BEGAN_US = now_us()


async def send(counter: Counter, count: int) -> None:
    """Send samples, each a millisecond after the one before."""
    seq = counter.stream.seq
    samples = numpy.arange(seq, seq + count, dtype="<u4")
    await counter.stream.send(samples, source_us=BEGAN_US + seq * 1_000)


def columns_of(said: Said) -> dict[int, tuple[float, float]]:
    """Return what a browser is sent of the first channel, by the column's number."""
    values = zip(said["numbers"], said["low"], said["high"], strict=True)
    return {number: (low[0], high[0]) for number, low, high in values}


async def test_it_is_listed_read_once_and_given_up_when_nobody_wants_it() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        feed_of(hub) as feed,
    ):

        def listed() -> bool:
            feed.refresh()
            return feed.names() == {NAME: True}

        await until(listed, "it should be listed")
        signal = wanted(feed)
        assert wanted(feed) is signal
        await until(lambda: counter.stream.is_read and wanted(feed) is signal, "it should be read")
        assert len(counter.stream.readers) == 1
        await send(counter, 100)
        await came(feed, signal, 1)
        await until(lambda: not counter.stream.is_read, "it should be read no more")
        assert feed.find(NAME) is None
        again = wanted(feed)
        assert again is not signal
        await until(lambda: again.next == 1 and wanted(feed) is again, "the hub still has it")


async def test_a_stream_that_nobody_sends_is_said_to_be_and_read_when_it_comes() -> None:
    async with stream_hub() as hub, feed_of(hub) as feed:
        signal = wanted(feed)
        await until(lambda: wanted(feed).problem == "Nobody sends it", "that should be said")
        async with source_of(hub.port) as device, counter_of(device, rate_hz=1_000) as counter:
            await until(lambda: wanted(feed) is signal and counter.stream.is_read, "it should be read")
            await counter.send(10)
            await until(lambda: wanted(feed).next == 1, "it should come")
            assert wanted(feed).problem == ""
        await until(lambda: wanted(feed).is_gone or bool(wanted(feed).problem), "that should be said")


async def test_a_tab_is_sent_the_columns_that_have_changed() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        feed_of(hub) as feed,
    ):
        signal = wanted(feed)
        lines = SignalLines(signal, View(10_000_000), 1_000)
        await until(lambda: counter.stream.is_read and wanted(feed) is signal, "it should be read")
        seen: dict[int, tuple[float, float]] = {}
        for round_ in range(5):
            await counter.send(200)
            await came(feed, signal, round_ + 1)
            await lines.take()
            said = lines.news(is_rolling=round_ == 4)
            assert said is not None
            assert ("whole" in said) == (round_ == 0)
            assert ("mean" in said) == (round_ == 4)
            assert (
                len(said["numbers"]) <= 22
            )  # of 10 ms, though blocks overlap that come faster than they say
            seen |= columns_of(said)
            assert lines.news(is_rolling=False) is None
        assert min(low for low, _ in seen.values()) == 0
        assert max(high for _, high in seen.values()) == 999
        lines.begin_anew()
        whole = lines.news(is_rolling=False)
        assert whole is not None
        assert columns_of(whole) == seen


async def test_who_is_paused_sees_nothing_that_came_since_and_zooms_in_what_there_was() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        feed_of(hub) as feed,
    ):
        signal = wanted(feed)
        lines = SignalLines(signal, View(10_000_000), 1_000)
        await until(lambda: counter.stream.is_read and wanted(feed) is signal, "it should be read")
        await send(counter, 100)
        await came(feed, signal, 1)
        await lines.take()
        assert lines.news(is_rolling=False)
        end_us = lines.newest_us
        assert end_us is not None
        lines.hold(end_us)
        await send(counter, 100)
        await came(feed, signal, 2)
        zoomed = SignalLines(signal, View(1_000_000, end_us), 1_000)
        for paused in (lines, zoomed):
            await paused.take()
            said = paused.news(is_rolling=False)
            assert said is not None
            assert said["high"][-1] == [99]
            assert paused.news(is_rolling=False) is None
        lines.release()
        await lines.take()
        said = lines.news(is_rolling=False)
        assert said is not None
        assert said["high"][-1] == [199]
        assert not any(row[0] for row in said["broken"])


async def test_who_slept_finds_a_gap_where_blocks_are_kept_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_feed, "KEPT_BLOCKS", 2)
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        feed_of(hub) as feed,
    ):
        signal = wanted(feed)
        lines = SignalLines(signal, View(10_000_000), 1_000)
        await until(lambda: counter.stream.is_read and wanted(feed) is signal, "it should be read")
        for count in range(1, 6):
            await send(counter, 100)
            await came(feed, signal, count)
            if count == 1:
                await lines.take()
        assert signal.first == 3
        await lines.take()
        said = lines.news(is_rolling=False)
        assert said is not None
        assert sum(row[0] for row in said["broken"]) == 1
        assert said["high"][-1] == [499]
        last = signal.last
        assert last is not None
        [(spec, kept)] = signal.samples(last[1].at_us, last[1].at_us + 50_000)
        assert spec == last[0]
        assert kept.tolist() == list(range(400, 450))
        assert list(signal.samples(0, 1)) == []


async def test_what_was_recorded_and_what_came_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(signal_feed, "KEPT_BLOCKS", 2)
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        counter_of(device, rate_hz=1_000) as counter,
        feed_of(hub) as feed,
    ):
        recorders = SignalRecorders(feed._hub, tmp_path)
        await recorders.begin(NAME)
        signal = wanted(feed)
        await until(lambda: counter.stream.is_read and wanted(feed) is signal, "it should be read")
        await send(counter, 100)
        await until(lambda: recorders.running[NAME].recorder is not None, "it should be recorded")
        for count in range(signal.next + 1, signal.next + 6):
            counter.stream.mark(f"block {count}", BEGAN_US + counter.stream.seq * 1_000)
            await send(counter, 100)
            await came(feed, signal, count)
        recording = await recorders.end(NAME)
        assert recording is not None
        assert recording.figures().endswith("none missing")
        past = RecordedPast(tmp_path)
        for span_us in (10_000_000, 100_000_000):  # the latter has all in one column
            lines = SignalLines(signal, View(span_us), 50)
            await lines.take()
            window = lines.past_window(feed._hub.boot_id)
            assert window is not None
            lines.set_past(await past.of_stream(NAME, window, None))
            said = lines.news(is_rolling=True)
            assert said is not None
            assert min(low for [low] in said["low"]) < 400  # the first that is kept
            assert max(high for [high] in said["high"]) == 599
            assert [row[0] for row in said["broken"]] == [1] + [0] * (len(said["broken"]) - 1)
            assert [name for _, name in said["marks"]] == [f"block {count - 4 + at}" for at in range(5)]
            first = min(low for [low] in said["low"])
            if span_us == 100_000_000:  # mean and deviation are of each sample once, though most are in both
                every = numpy.arange(first, 600)
                assert said["mean"][-1] == [pytest.approx(every.mean())]
                assert said["deviation"][-1] == [pytest.approx(every.std())]
            assert None not in [mean for [mean] in said["mean"]]
        past.close()


async def test_what_is_no_recording_is_left_out_and_of_another_hub_by_the_time_of_day(tmp_path: Path) -> None:
    hour_us = 3_600_000_000
    for number, text in enumerate(
        (b"", b"{", b'{"format": 1}', b'{"format": 1, "source": 5, "stream": "x"}')
    ):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "recording.json").write_bytes(text)
    spec = StreamSpec("<f4", (), 1_000.0)
    async with Recorder(tmp_path / "old", "lab1", "count", tmp_path / "spill") as recorder:
        samples = numpy.arange(100, dtype="<f4")
        await recorder.put(Block("e", 0, samples, hour_us, 0, 0, lag_us=1), spec, "another")
    past = RecordedPast(tmp_path)
    past.refresh()
    assert past._listing is not None
    await past._listing
    [one] = past.shelf
    assert (one.folder, one.stream, one.samples) == ("old", NAME, 100)
    assert one.utc_ahead_us is not None
    window = Window(0, 9, 1_000_000, "this")
    assert await past.of_stream(NAME, window, None) is None  # when it was nobody knows
    # The hub's clock of now began an hour and five seconds after that of then, less what is in between.
    found = await past.of_stream(NAME, window, one.utc_ahead_us + hour_us - 5_000_000)
    assert found is not None
    assert found.numbers.tolist() == [5]
    low, high, _, means, _, _ = found.columns
    assert (low.tolist(), high.tolist(), means.tolist()) == ([[0]], [[99]], [[49.5]])
    past.close()


async def test_of_bursts_far_apart_and_a_recording_that_goes_meanwhile_the_rest_is_downloaded(
    tmp_path: Path,
) -> None:
    month_us = 30 * 86_400_000_000
    spec = StreamSpec("<i2", (), 1e9)
    for at, name in enumerate("abc"):
        async with Recorder(tmp_path / name, "lab1", "count", tmp_path / "spill") as recorder:
            for seq in (0, 10):
                at_us = at * 2 * month_us + seq * month_us // 10
                samples = numpy.arange(at * 100 + seq, at * 100 + seq + 10, dtype="<i2")
                await recorder.put(Block("e", seq, samples, at_us, 0, 0), spec, "hub")
    past = RecordedPast(tmp_path)
    parts = past.samples_of(NAME, 0, 12 * month_us, None, "hub")
    found = [next(parts)[1].tolist()]
    shutil.rmtree(tmp_path / "b")
    found += [samples.tolist() for _, samples in parts]
    assert found == [list(range(first, first + 10)) for first in (0, 10, 200, 210)]
    past.close()


async def test_many_channels_and_numbers_that_have_no_place_on_an_axis() -> None:
    async with (
        stream_hub() as hub,
        source_of(hub.port) as device,
        device.stream("wide", dtype="<f8", shape=(3, 40), rate_hz=1_000) as stream,
        feed_of(hub) as feed,
    ):
        signal = wanted(feed, "lab1/wide")
        lines = SignalLines(signal, View(10_000_000), 1_000)
        await until(lambda: stream.is_read and wanted(feed, "lab1/wide") is signal, "it should be read")
        samples = numpy.zeros((1, 3, 40))
        samples[0, 0, :3] = 1.7e308, numpy.nan, -numpy.inf
        stream.mark("door opened")
        await stream.send(samples)
        await until(lambda: signal.next == 1 and wanted(feed, "lab1/wide") is signal, "it should come")
        await lines.take()
        said = lines.news(is_rolling=True)
        assert said is not None
        assert said["whole"]["more"] == 120 - MOST_CHANNELS
        assert said["low"] == said["high"] == [[None, None, None, *[0.0] * 5]]
        assert [name for _, name in said["marks"]] == ["door opened"]
        assert said["broken"] == [[0, 1, 1, *[0] * 5]]
        lines.begin_anew()  # as when mean and deviation are asked for
        again = lines.news(is_rolling=False)
        assert again is not None
        assert again["marks"] == said["marks"]


async def test_no_more_streams_are_read_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_feed, "MOST_READ", 2)
    async with stream_hub() as hub, feed_of(hub) as feed:
        assert [feed.want(f"lab{number}/count") is None for number in range(3)] == [False, False, True]
        await asyncio.sleep(0)


async def test_of_a_source_that_has_other_channels_now_those_are_seen(tmp_path: Path) -> None:
    """And what it had before where that is looked at."""
    async with Recorder(tmp_path / "one", "lab1", "wave", tmp_path / "spill") as recorder:
        for second, shape in enumerate(((2,), (), (3,))):
            spec = StreamSpec("<f4", shape, 1_000.0)
            samples = numpy.full((1_000, *shape), second, "<f4")
            block = Block(f"run {second}", 0, samples, second * 1_000_000, 0, second * 1_000_000)
            await recorder.put(block, spec, "hub")
    past = RecordedPast(tmp_path)
    for until_s, shape in ((3, (3,)), (2, ()), (1, (2,))):
        found = await past.of_recording("one", Window(0, until_s * 10 - 1, 100_000))
        assert found is not None
        low, high = found.columns[:2]
        assert (found.spec.shape, low.shape[1:]) == (shape, (max(1, *shape, 0),))
        assert (low.min(), high.max()) == (until_s - 1, until_s - 1)
    past.close()

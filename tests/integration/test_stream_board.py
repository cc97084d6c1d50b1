"""A source on MicroPython, with a board's heap, that is rebooted and whose network is cut."""

import asyncio
from pathlib import Path
from typing import Any

import numpy
import pytest

import snyper
from snyper.boards.board import BoardProcess
from snyper.hub.stream_hub import StreamHub
from snyper.streams import Block
from tests.integration.harness import HOST, at_length, needs_micropython, until
from tests.integration.stream_harness import stream_hub

pytestmark = [needs_micropython, pytest.mark.long]

REBOOTS = at_length(100, 3)
CUT_S = at_length(3.0, 0.5)
BLOCK = 1_024

SOURCE = """
import asyncio, gc
from array import array
from snyper.shared.device import Device

async def main():
    hub = Device({address!r}, "lab1")
    asyncio.create_task(hub.run())
    values = array("H", bytes(2 * 1024))
    async with hub.stream("count", "<u2", max_queued_bytes=8192) as stream:
        while True:
            seq = stream.seq
            for at in range(1024):
                values[at] = (seq + at) & 0xFFFF
            await stream.send(values)
            if stream.seq % 65536 == 0:
                gc.collect()
                print("heap", gc.mem_free())
            await asyncio.sleep_ms(20)

asyncio.run(main())
"""


class Check:
    """The check of what comes: the samples of each block are their numbers, and numbers only go up."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}  # what comes next in each
        self.received = self.lost = 0
        self.first: int | None = None

    def take(self, block: Block) -> None:
        samples: Any = block.samples
        numbers = numpy.arange(block.seq, block.next_seq) & 0xFFFF
        assert (samples == numbers).all(), f"samples of others at {block.seq}"
        if self.first is None:
            self.first = block.seq
        elif block.epoch in self.epochs:
            assert block.epoch == list(self.epochs)[-1], "an epoch that was over"
            assert block.seq == self.epochs[block.epoch] + block.lost
        else:
            assert block.lost == block.seq, "what a new epoch had before is lost"
        self.epochs[block.epoch] = block.next_seq
        self.received += len(samples)
        self.lost += block.lost


async def test_a_board_that_is_rebooted_and_cut_off_goes_on(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    async with stream_hub() as hub, snyper.connect(f"{HOST}:{hub.port}", "", reconnect=True) as client:
        main.write_text(SOURCE.format(address=f"{HOST}:{hub.port}"))
        board = BoardProcess(tmp_path / "board", "target", main=main)
        reader = client.read_stream("lab1/count", wait=True)
        check = Check()

        async def read() -> None:
            async for block in reader:
                check.take(block)

        reading = asyncio.create_task(read())
        cutting = asyncio.create_task(_cut(hub))
        try:
            for reboot in range(REBOOTS):
                board.start()
                await until(lambda: len(check.epochs) > reboot or reading.done(), "it should be read")  # noqa: B023
                came = check.received
                await until(lambda: check.received > came + 20 * BLOCK or reading.done(), "it should go on")  # noqa: B023
                assert not reading.done(), reading.exception()
                board.kill()
            cutting.cancel()
            board.start()
            await until(lambda: len(check.epochs) > REBOOTS, "it should be read")
            await until(lambda: board.log.count("heap") > 2, "its heap should be said")
            assert not reading.done(), reading.exception()
            assert len(check.epochs) == REBOOTS + 1
            # Each epoch from its first sample on, the very first from where the reader began.
            assert check.first is not None
            assert check.received + check.lost == sum(check.epochs.values()) - check.first
            assert int(board.log.rpartition("heap ")[2].split()[0]) > 60_000
            assert "Traceback" not in board.log
        finally:
            cutting.cancel()
            reading.cancel()
            await asyncio.wait([reading, cutting])
            board.kill()


async def _cut(hub: StreamHub) -> None:
    """Cut the source's connection again and again."""
    while True:
        await asyncio.sleep(CUT_S)
        for link in hub.links:
            if link.name == "lab1":
                link.end()

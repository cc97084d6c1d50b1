"""`snyper simulate-signal`: the demonstration signal as a stream of a hub."""

import numpy
import pytest

from tests.integration.harness import HOST, free_port, run_snyper, snyper, until
from tests.integration.stream_harness import console, stream_hub, take


async def test_the_signal_is_a_stream() -> None:
    port = free_port()
    arguments = ("--hub", f"{HOST}:{port}", "--name", "lab1", "--seed", "7", "--json")
    async with snyper("simulate-signal", *arguments, SNYPER_KEY="") as command:
        assert await command.says_json() == {"hub": f"{HOST}:{port}", "stream": "lab1/signal"}
        await command.says(f"no hub at {HOST}:{port} (nothing listens there): this goes on")
        for _ in range(2):  # over the hub's restart
            async with stream_hub(port), console(port) as client:
                reader = client.read_stream("lab1/signal", wait=True)
                blocks = await take(aiter(reader), 5)
                samples = numpy.concatenate([block.samples for block in blocks])
                assert reader.spec is not None
                assert (reader.spec.dtype, reader.spec.shape, reader.spec.rate_hz) == ("<f8", (), 2_000)
                assert reader.lost == 0
                x = numpy.arange(blocks[0].seq, blocks[0].seq + len(samples)) / 1_000
                assert (samples - numpy.sin(x)).std() == pytest.approx(0.1, rel=0.2)
                is_here = f"the hub at {HOST}:{port} is there"
                await until(lambda: is_here in command.err, "it should say so")  # noqa: B023
        async with stream_hub(port):
            await until(lambda: command.err.count(is_here) == 3, "it should say so")
            assert await command.interrupt() == 0
        assert command.err.count(f"no hub at {HOST}:{port}") == 3


@pytest.mark.parametrize("arguments", [("--name", "a b"), ("--name", "all"), ("--stream", "a/b")])
async def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    status, said, complained = await run_snyper("simulate-signal", *arguments, SNYPER_KEY="")
    assert (status, said) == (2, "")
    assert "name" in complained

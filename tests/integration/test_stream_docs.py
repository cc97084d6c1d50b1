"""docs/streams.md and the streams of docs/protocol.md do what they say."""

import asyncio
import json
import re
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import numpy

from tests.integration.harness import DEADLINE_S, HOST, ROOT, free_port, until
from tests.integration.stream_harness import source_of, stream_hub
from tests.integration.test_docs import PROTOCOL, fits


def talk(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a fenced block: `>` or `<`, and what is said."""
    [text] = re.findall(rf"^```{kind}\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\n +", "", text).splitlines()
    return [(line[0], json.loads(line[2:])) for line in lines]


async def test_the_talk_of_the_protocol_happens() -> None:
    async with stream_hub() as hub, source_of(hub.port) as device:
        reader, writer = await asyncio.open_connection(HOST, hub.port)
        register = {"type": "register", "id": 1, "data": {"role": "console", "max_chunk_bytes": 1_024}}
        writer.write(json.dumps(register).encode() + b"\n")
        await reader.readline()
        spec: dict[str, Any] = {"dtype": "<f4", "shape": (3,), "rate_hz": 400}
        async with device.stream("acc", **spec, names=("x", "y", "z"), units=("g",) * 3) as stream:
            for mark, said in talk("stream"):
                if mark == ">":
                    writer.write(json.dumps(said).encode() + b"\n")
                    continue
                if "bytes" in said:
                    await stream.send(numpy.zeros((20, 3), "<f4"))
                line = json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))
                assert fits(line, said), (line, said)
                await reader.readexactly(line.get("bytes", 0))
        writer.close()


async def test_the_talk_of_a_source_happens() -> None:
    async with stream_hub() as hub:
        reader, writer = await asyncio.open_connection(HOST, hub.port)
        register = {"type": "register", "id": 1, "target_id": "lab1", "data": {"role": "service"}}
        writer.write(json.dumps(register).encode() + b"\n")
        await reader.readline()
        for mark, said in talk("stream-source"):
            if mark == ">":
                writer.write(json.dumps(said).encode() + b"\n")
            else:
                assert json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S)) == said
        writer.close()


async def test_the_programs_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "streams.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    programs, direct = programs[:2], programs[2:]
    assert len(direct) == 1
    async with stream_hub() as hub:
        running = []
        try:
            for program in programs:
                text = program.replace("127.0.0.1:8081", f"{HOST}:{hub.port}")
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-u", "-c", text, stdout=asyncio.subprocess.PIPE
                )
                running.append(process)
                if len(running) == 1:
                    await until(lambda: hub.fan.list(), "the source should announce itself")
            output = running[1].stdout
            assert output is not None
            async with asyncio.timeout(DEADLINE_S):
                first, second = [(await output.readline()).decode().split() for _ in range(2)]
            assert int(second[0]) == int(first[0]) + 20
            assert second[-1] == "0"
        finally:
            for process in running:
                process.kill()
                await process.communicate()


async def test_the_program_without_a_hub_runs() -> None:
    page = (ROOT / "docs" / "streams.md").read_text(encoding="utf-8")
    program = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[2]
    port = free_port()
    text = program.replace("127.0.0.1:8082", f"{HOST}:{port}")

    async def listens() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return True
        return False

    async with AsyncExitStack() as stack:

        async def start(name: str) -> asyncio.subprocess.Process:
            command = (sys.executable, "-u", "-c", f"{text}\n\nasyncio.run({name}())")
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            stack.push_async_callback(process.communicate)
            stack.callback(process.kill)
            return process

        await start("main")
        await until(listens, "it should listen")
        output = (await start("read")).stdout
        assert output is not None
        async with asyncio.timeout(DEADLINE_S):
            first, second = [(await output.readline()).decode().split() for _ in range(2)]
        assert int(second[0]) == int(first[0]) + 20

"""A stranger adds a command, as CONTRIBUTING.md says: its handler where it is served, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from snyper import connect
from snyper.boards import image
from snyper.boards.board import WIFI, BoardProcess
from snyper.client import TargetResult
from snyper.shared.socket_protocol import ProtocolError
from tests.integration.harness import (
    ROOT,
    TRAVEL_MS,
    HubUnderTest,
    each_engine,
    needs_micropython,
    run_snyper,
    running_hub,
    scripted_target,
    until,
)

SOURCE = ROOT / "firmware" / "target" / "target.py"
ROW_BEFORE = "            MessageType.ACTIVATE: command,\n"
ROW = '            "dance": self._dance,\n'
NEXT = "    async def _command("
HANDLER = '''    async def _dance(self, link: Link, message: SocketMessage) -> SocketMessage:
        """Dance so many `steps`, and tell of each."""
        from snyper.shared.socket_protocol import integer_field

        steps = integer_field(message.data or {}, "steps", 1, 1, 8)
        for step in range(1, steps + 1):
            await link.send(SocketMessage("item", message.id, data={"step": step}))
        return message.reply("reply", "tired", {"steps": steps, "code": "waltz"})

'''


@asynccontextmanager
async def dancing_target(directory: Path, hub: HubUnderTest) -> AsyncIterator[None]:
    """A MicroPython target whose firmware has the command; it is registered."""
    source = SOURCE.read_text(encoding="utf-8")
    for before, added in (
        (ROW_BEFORE, ROW_BEFORE + ROW),
        (NEXT, HANDLER + NEXT),
    ):
        assert source.count(before) == 1
        source = source.replace(before, added)
    changed = directory / "target.py"
    changed.write_text(source, encoding="utf-8")
    config = {
        "target_id": "dancer",
        "hub": [hub.address],
        "wifi": WIFI,
        "servo": {"travel_ms": TRAVEL_MS},
        "groups": ["g"],
    }
    board = BoardProcess(directory / "dancer", "target", config, name="dancer")
    (flashed,) = [
        board.flash / name for name in image.contents("target") if name.endswith("target/target.mpy")
    ]
    assert flashed.exists()
    flashed.write_bytes(image.compile_module(changed))
    board.start()
    try:
        async with connect(hub.address) as console:

            async def is_there() -> bool:
                return any(
                    target.connected for target in await console.targets() if target.target_id == "dancer"
                )

            await until(is_there, "it should register")
        yield
        assert "Traceback" not in board.log, board.log
    finally:
        board.kill()


@pytest.mark.slow
@needs_micropython
@each_engine
async def test_a_command_is_its_handler(engine: str, tmp_path: Path) -> None:
    """No line about it is in the hub, in the client library or in the command line."""
    async with (
        running_hub(engine, tmp_path) as hub,
        dancing_target(tmp_path, hub),
        scripted_target(hub, "plain", {"ping": ("pong", "alive")}, groups=["g"]) as plain,
    ):
        status, said, _ = await run_snyper("send", "dancer", "dance", "steps=2", "--hub", hub.address)
        assert status == 0
        assert said.splitlines()[:2] == ['dancer {"step": 1}', 'dancer {"step": 2}']
        assert "tired" in said
        assert '"steps": 2' in said

        status, said, _ = await run_snyper("send", "dancer", "dance", "--json", "--hub", hub.address)
        (result,) = json.loads(said)
        assert result.pop("round_trip_us") > 0
        assert (status, result) == (
            0,
            {
                "target_id": "dancer",
                "ok": True,
                "status": "tired",
                "code": "",
                "message": "",
                "data": {"steps": 1, "code": "waltz"},
                "items": [{"step": 1}],
            },
        )

        # What it refuses is its own refusal.
        status, said, _ = await run_snyper(
            "send", "dancer", "dance", "steps=x", "--json", "--hub", hub.address
        )
        (result,) = json.loads(said)
        assert (status, result["code"], result["items"]) == (1, "bad_message", [])
        assert "`steps`" in result["message"]

        # Many at once, of whom one knows no such word.
        unknown = {"code": "unknown_type", "message": "nobody here answers `dance`"}
        for selectors in (["all"], ["group:g"], ["dancer", "plain"]):
            taken = len(plain.received)
            sending = asyncio.create_task(
                run_snyper("send", *selectors, "dance", "steps=1", "--json", "--hub", hub.address)
            )
            command = await plain.expect("dance")
            assert command["data"]["steps"] == 1
            await plain.send({"type": "error", "id": command["id"], "status": "error", "data": unknown})
            status, said, _ = await sending
            assert status == 1
            told = [(result["target_id"], result["status"], result["code"]) for result in json.loads(said)]
            assert told == [("dancer", "tired", ""), ("plain", "error", "unknown_type")]
            assert len(plain.received) == taken + 1

        # Its deadline is the sender's.
        sending = asyncio.create_task(
            run_snyper("send", "plain", "dance", "--timeout", "0.3", "--json", "--hub", hub.address)
        )
        await plain.expect("dance")
        status, said, _ = await sending
        (result,) = json.loads(said)
        assert (status, result["status"], result["code"]) == (1, "unknown", "timeout")
        assert 290_000 <= result["round_trip_us"] < 3_000_000

        # The same from a script.
        async with connect(hub.address) as console:
            items: list[tuple[str, dict[str, object]]] = []
            seen: list[TargetResult] = []
            results = await console.command(
                "dancer", "dance", seen.append, lambda name, item: items.append((name, item)), steps=3
            )
            assert results == seen
            assert (results[0].status, results[0].data["steps"]) == ("tired", 3)
            assert items == [("dancer", {"step": step}) for step in (1, 2, 3)]
            with pytest.raises(ProtocolError) as nobody:
                await console.command("nobody", "dance")
            assert nobody.value.code == "unknown_target"

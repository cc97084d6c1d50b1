"""A stranger adds a kind of event, as CONTRIBUTING.md says: the `add` where it happens, and a row."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from snyper import connect
from snyper.cli.screens import event_line
from snyper.client import TargetInfo, events
from snyper.client.events import EventKind, Field
from snyper.client.range_model import RangeModel, TargetModel
from snyper.firmware.master.server import Hub
from snyper.history.reader import History
from snyper.hub.journaled_events import JournaledEvents
from tests.integration.harness import DEADLINE_S, HOST, HubUnderTest, run_snyper, scripted_target
from tools import event_tables

OILED = EventKind(
    "oiled",
    "somebody has oiled its hinge",
    {"drops": Field("how many", int)},
    line=lambda data: f"{data['drops']} drops of oil",
    style="magenta",
    sound="hit",
    changes=(events.TARGETS,),
    fold_target=lambda target, data, now_s: setattr(
        target, "info", replace(target.info, groups=[*target.info.groups, "oiled"])
    ),
)


async def test_an_event_is_the_add_where_it_happens_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.sqlite3"
    log = JournaledEvents(100, journal)
    hub = Hub(HOST, 0, 4, 2, events=log)
    await hub.start()
    try:
        async with (
            scripted_target(HubUnderTest(hub.port, hub=hub), "target_1"),
            connect(f"{HOST}:{hub.port}") as console,
        ):
            hub.router.events.add("oiled", "target_1", {"drops": 3})
            async with asyncio.timeout(DEADLINE_S):
                async for event in console.events(after=0):
                    if event.event != "registered":
                        break
            assert (event.event, event.target_id, event.data) == ("oiled", "target_1", {"drops": 3})
            assert event_line(event).plain.endswith("drops 3")  # without the row

            monkeypatch.setitem(events.KINDS, "oiled", OILED)
            line = event_line(event)
            assert line.plain.endswith("3 drops of oil")
            assert "magenta" in [str(span.style) for span in line.spans]
            assert events.sound_of(event) == "hit"
            target = TargetModel(TargetInfo("target_1", True, "down", ["left"], "", 0, None))
            events.fold(RangeModel({"target_1": target}), event)
            assert target.info.groups == ["left", "oiled"]
            events.fold(RangeModel({"target_1": target}), replace(event, data={"drops": "some"}))
            assert target.info.groups == ["left", "oiled"]
            row = "| `oiled` | somebody has oiled its hinge | `drops`: how many |"
            assert row in event_tables.written(event_tables.PAGE.read_text(encoding="utf-8"))
        await log.flush()
        with History(journal) as history:
            assert [one.data for one in history.events(["oiled"])] == [{"drops": 3}]
    finally:
        await hub.shut_down()
        await log.close()
    status, exported, _ = await run_snyper("export", "--json", "--events", "--journal", str(journal))
    assert status == 0
    assert [json.loads(line)["event"] for line in exported.splitlines()] == ["registered", "oiled", "lost"]

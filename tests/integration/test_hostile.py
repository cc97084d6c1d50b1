"""What a hub, and whoever speaks through it, says to commands is only ever shown: each kind of wrong."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snyper.client import hub_client
from tests.integration.harness import HubUnderTest, console_of, scripted_target, snyper
from tools.faults.broken_journal import READING, make_journal, read_broken
from tools.faults.liar import ASKING, FORGED, WRONG, LyingHub, carry_out, hurried
from tools.faults.lied_to import SEED, distorted, lied_to
from tools.loopback import HOST


@pytest.fixture
def hub() -> Iterator[LyingHub]:
    with hurried(), LyingHub().running() as hub:
        yield hub


def asked(hub: LyingHub, *arguments: str, is_terminal: bool = False) -> str:
    """What the command prints; it ends by itself, and with no traceback."""
    outcome = carry_out([*arguments, "--hub", f"{HOST}:{hub.port}"], is_terminal)
    assert not outcome.wrong(is_terminal), outcome
    return outcome.printed


@pytest.mark.parametrize("is_terminal", [False, True])
def test_every_command_shows_what_an_honest_hub_says(hub: LyingHub, is_terminal: bool) -> None:
    for arguments, _ in ASKING:
        assert asked(hub, *arguments, is_terminal=is_terminal)


@pytest.mark.slow
def test_no_field_of_a_wrong_kind_ends_a_command(hub: LyingHub) -> None:
    for what, outcome, wrong in lied_to(hub, 100):
        assert not wrong, (what, outcome)


def test_no_error_of_a_target_forges_a_line_of_a_calibration(hub: LyingHub) -> None:
    for said in WRONG:
        data = {"code": "fault", "message": said}
        hub.answers["lay_down"] = [
            {"type": "error", "target_id": "target_1", "status": "error", "data": data}
        ]
        asked(hub, "calibrate", "target_1", "--yes", "--hits", "1")


def test_no_line_with_changed_bytes_ends_a_command(hub: LyingHub) -> None:
    for what, outcome, wrong in distorted(hub, 60):
        assert not wrong, (what, outcome)


def test_no_broken_journal_ends_a_command_or_the_writer_of_a_hub(tmp_path: Path) -> None:
    for what, wrong in read_broken(tmp_path, 60, SEED):
        assert not wrong, what


def test_an_export_that_breaks_off_leaves_stdout_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    make_journal(path)
    content = bytearray(path.read_bytes())
    for at in range(4_096, len(content), 100):
        content[at] ^= 0xFF
    path.write_bytes(content)
    outcome = carry_out(["export", "--json", "--events", "--journal", str(path)])
    assert (outcome.status, outcome.defect) == (1, None)
    assert "the file is broken" in outcome.printed


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_hit_with_markup_is_shown_without_it(hub: LyingHub, is_terminal: bool) -> None:
    """`"reaction_ms":"[/]"` ended `snyper watch`."""
    data: dict[str, Any] = {"event": "hit", "seq": 10, "reaction_ms": "[/]", "peak": 9_000}
    event = {"type": "event", "id": 10, "target_id": "target_1", "data": data}
    strange = {**event, "data": {"event": f"x\n{FORGED}", "seq": 11, "text": "[/] [red]"}}
    hub.answers["subscribe"] = [hub.answers["subscribe"][0], event, strange]
    printed = asked(hub, "watch", "--timeout", "2", is_terminal=is_terminal)
    assert "peak 9000" in printed
    assert "[/] [red]" in printed


def test_a_name_with_markup_is_shown_as_it_is(hub: LyingHub) -> None:
    for state in (*hub.answers["get_game"], *hub.answers["stop_game"]):
        state["data"] = {**state["data"], "game": "[/red]", "players": ["[/]", "Bob"]}
    assert "[/red], 2 targets" in asked(hub, "game", "stop")


def endless(hub: LyingHub, word: str, page: dict[str, object], grows: bool) -> None:
    """From now on each page says that there is another."""
    said = hub.answers[word][0]
    hub.silence_s = 5.0
    pages = 0

    def distort(line: bytes) -> bytes:
        nonlocal pages
        message = json.loads(line)
        if message["type"] == said["type"]:
            pages += 1
            message["data"] = {**message["data"], **page, "next": pages if grows else 1}
        return json.dumps(message).encode()

    hub.distort = distort


@pytest.mark.parametrize(
    ("command", "word", "page"),
    [
        (("logs", "--target", "target_1"), "read_log", {"text": "x" * 500}),
        (("trace", "target_1"), "read_trace", {"times_us": [5] * 40, "values": [7] * 40}),
    ],
)
@pytest.mark.parametrize("kind", ["without end", "in no order", "empty"])
def test_a_log_and_a_trace_end(
    hub: LyingHub, command: tuple[str, ...], word: str, page: dict[str, Any], kind: str
) -> None:
    if kind == "empty":
        page = {name: value[:0] for name, value in page.items()}
    endless(hub, word, page, kind != "in no order")
    printed = asked(hub, *command)
    expected = "without end" if kind == "without end" else "in no order"
    assert expected in printed
    assert len(printed) < 2 * hub_client.MAX_LOG_CHARS


def test_a_log_that_comes_too_slowly_ends(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "MAX_READ_S", 0.05)
    endless(hub, "read_log", {"text": "x"}, True)
    assert "its log without end" in asked(hub, "logs", "--target", "target_1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"times_us": "abc"},
        {"times_us": [5, 3, 4]},
        {"times_us": [5]},
        {"values": [1, "a", 3]},
        {"values": [70_000, 1, 1]},
        {"threshold": -1},
        {"peak": 1.5},
    ],
    ids=repr,
)
def test_a_trace_that_is_none(hub: LyingHub, wrong: dict[str, object]) -> None:
    hub.answers["read_trace"][0]["data"].update(wrong)
    assert "bad_message: it answers" in asked(hub, "trace", "target_1")


@pytest.mark.parametrize(
    "wrong", [{"bins": [1, "a"]}, {"bins": []}, {"bins": [9] * 1_001}, {"threshold": 0}], ids=str
)
def test_peaks_that_are_none(hub: LyingHub, wrong: dict[str, object]) -> None:
    hub.answers["listen"][0]["data"].update(wrong)
    assert "bad_message: it answers no" in asked(hub, "calibrate", "target_1", "--yes")


REPORTS: tuple[dict[str, Any], ...] = (
    {
        "type": "hit",
        "data": {"reaction_ms": 400, "peak": 9_000, "at_us": 5, "uncertainty_us": 3, "dropped": 1},
    },
    {"type": "miss", "data": {"reason": "time_up", "rests_at": 900, "at_us": 5, "uncertainty_us": 3}},
)


async def test_no_report_of_a_wrong_kind_harms_a_hub_its_game_or_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with snyper("hub", "--listen", f"{HOST}:0", "--journal", str(path), "--json") as command:
        port = int((await command.listens()).rpartition(":")[2])
        hub = HubUnderTest(port)
        about: dict[str, Any] = {"hardware_id": "h", "boot_id": "b", "heartbeat_ms": 60_000}
        async with scripted_target(hub, "a", **about) as target, console_of(hub) as console:
            started = asyncio.create_task(console.ask("start_game", game="quick", players=["Ann"]))
            wrong = [
                {"type": report["type"], "id": f"{name} {at}", "data": {**report["data"], name: value}}
                for report in REPORTS
                for name in report["data"]
                for at, value in enumerate(WRONG[::2])
            ]
            for report in wrong:
                await target.send(report)
                while (message := await target.next())["id"] != report["id"]:
                    if message["type"] == "lay_down":
                        await target.send({"type": "down", "id": message["id"], "status": "down"})
                assert message["type"] == "ack" or len(str(report)) > 512, message
            assert (await started)["type"] == "game_started"
            assert (await console.ask("ping"))["data"]["journal"] == "ok"
        assert await command.interrupt() == 0
        assert "Traceback" not in command.err
    for arguments in READING:
        outcome = carry_out([*arguments, "--journal", str(path)])
        assert (outcome.status, outcome.wrong(False)) == (0, ""), outcome

"""docs/protocol.md says what is so.

Its samples are messages, its tables agree with the code, and its talks by hand happen, word for word.
"""

import asyncio
import importlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from snyper.boards import simulator
from snyper.cli import calibrate, dashboard_command
from snyper.cli.main import app_with
from snyper.dashboard import health_page, limits as dashboard_limits, model, range_page
from snyper.firmware.master import (
    config as master_config,
    crosstalk,
    registry,
    router,
    server,
)
from snyper.firmware.master.games import game, lineup
from snyper.firmware.master.roles.target import HEALTH, Target
from snyper.firmware.master.server import Hub
from snyper.firmware.target import config as target_config, controller, maintenance, outbox, trace
from snyper.firmware.target.controller import ANSWERS, TRANSITIONS, State, Trigger
from snyper.hub import journal, journaled_events, limits
from snyper.shared import link, link_core, socket_protocol
from snyper.shared.link import Link
from snyper.shared.socket_protocol import (
    ErrorCode,
    MessageLineParser,
    MessageType,
    SocketMessage,
)
from tests.portable.virtual_hardware import peripherals

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

HOST = "127.0.0.1"
DEADLINE_S = 60.0
ANY = "…"  # in the document: a value that differs each time
HANG_UP = "(hang up)"
CLOSED = "(closed)"


def blocks(kind: str) -> list[list[str]]:
    """The lines of every fenced block of that kind; an indented line is joined to the one before it."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\n +", "", text).splitlines() for text in found]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    section = re.split(r"^## ", PROTOCOL.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    rows = re.search(r"^\|.*?(?=\n\n)", section, re.MULTILINE | re.DOTALL)
    assert rows is not None, heading
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].splitlines()[2:]]


def code_words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def words_of(namespace: type) -> set[str]:
    return {value for name, value in vars(namespace).items() if not name.startswith("_")}


# --- samples and tables


SAMPLES = [line for block in blocks("json") for line in block]
SPOKEN = [line.partition(" ")[2] for block in blocks("wire") for line in block]


def test_every_sample_is_a_message() -> None:
    known = words_of(MessageType)
    assert len(SAMPLES) > 15
    for line in SAMPLES:
        [item] = MessageLineParser().feed(line.encode() + b"\n")
        assert isinstance(item, SocketMessage), (line, item)
        assert item.type in known, line
        if item.type == MessageType.ERROR:
            assert item.data is not None
            assert item.data["code"] in words_of(ErrorCode), line


def test_what_is_seen_by_hand_is_a_message() -> None:
    seen = [line.partition(" ")[2] for block in blocks("wire") for line in block if "< " in line[:10]]
    assert len(seen) > 20
    for line in seen:
        if line != CLOSED:
            [item] = MessageLineParser().feed(line.encode() + b"\n")
            assert isinstance(item, SocketMessage), (line, item)


def test_every_type_and_error_code_is_in_the_tables() -> None:
    requests = {word for row in table("Types") for word in code_words(row[0] + row[1])}
    streams = {MessageType.TARGET, MessageType.RESULT, MessageType.EVENT, MessageType.GAME, MessageType.ITEM}
    assert requests >= words_of(MessageType) - streams
    served = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "firmware").rglob("*.py"))
    for word in requests - words_of(MessageType):  # a word that one file alone names
        assert f'"{word}"' in served, word
    for word in streams:
        assert f"\n| `{word}` |" in PROTOCOL
    assert [row[0] for row in table("Error codes")] == [
        f"`{code}`" for name, code in vars(ErrorCode).items() if not name.startswith("_")
    ]


def test_replies_in_the_table_are_those_of_the_code() -> None:
    replies = {code_words(row[0])[0]: code_words(row[1])[0] for row in table("Types") if code_words(row[0])}
    for command, reply in ANSWERS.items():
        assert replies[command] == reply


def test_limits_are_the_constants() -> None:
    rows = table("Limits")
    assert len(rows) > 30
    for _, limit, constant, _ in rows:
        module, _, name = constant.strip("`").rpartition(".")
        assert getattr(importlib.import_module(module), name) == int(limit.replace(",", "")), constant


# Numbers in the text: the page, the words around them, and the constants.
NUMBERS: list[tuple[str, str, list[float]]] = [
    ("architecture.md", "So lines queue up, at most {} |", [link.MAX_QUEUED_LINES]),
    (
        "architecture.md",
        "must not hold up a fast one, nor the heartbeat. At most {} |",
        [link_core.MAX_HANDLERS],
    ),
    ("architecture.md", "Outbox.add: queue of {},", [outbox.MAX_REPORTS]),
    ("build-a-target.md", "listens to the quiet for {} s:", [calibrate.QUIET_S]),
    ("build-a-target.md", "Noise below {} counts as {},", [calibrate.NOISE_FLOOR] * 2),
    ("dashboard.md", "Range shows {} (`cards`)", [dashboard_limits.LIMITS["cards"].default]),
    ("dashboard.md", "| open tabs | {} (`tabs`) |", [dashboard_limits.LIMITS["tabs"].default]),
    ("dashboard.md", "from {} on there is a field", [range_page.FILTER_FROM]),
    ("dashboard.md", "Health shows {},", [health_page.MAX_CARDS]),
    ("dashboard.md", "the last {} outages of each target", [model.OUTAGES]),
    ("dashboard.md", "The password has at least {} characters", [dashboard_command.MIN_PASSWORD_CHARS]),
    ("games.md", "held back for {} ms", [lineup.ORDER_MS]),
    ("games.md", "**at most {} ms** before or after it", [crosstalk.CROSSTALK_MS]),
    (
        "games.md",
        "as many as it takes targets ({} on a board), at most {}.",
        [master_config.DEFAULTS["max_targets"], crosstalk.MAX_HITS],
    ),
    ("../README.md", "`--crosstalk-ms {}`", [crosstalk.CROSSTALK_MS]),
    ("games.md", "targets are told {} ms", [game.LEAD_MS]),
    ("games.md", "if it is back within {} s", [lineup.LATE_MS / 1000]),
    ("games.md", "names have 1 to {} characters", [socket_protocol.MAX_PLAYER_CHARS]),
    ("games.md", "the fewest and the most, up to {} |", [socket_protocol.MAX_PLAYERS]),
    ("history.md", "`--keep-days` ({})", [journal.KEEP_DAYS]),
    (
        "history.md",
        "the last {} events in memory, like a hub board its {}",
        [limits.MAX_EVENTS, server.MAX_EVENTS],
    ),
    ("history.md", "They wait for it, up to {}.", [journal.MAX_BACKLOG]),
    ("history.md", "if there were more than {}:", [journal.MAX_BACKLOG]),
    ("history.md", "when the disk takes nothing for {} s", [journaled_events.STUCK_S]),
    ("history.md", "A target that holds {} reports drops the", [outbox.MAX_REPORTS]),
    ("hub-board.md", "| targets | {} |", [master_config.DEFAULTS["max_targets"]]),
    ("hub-board.md", "| events that it remembers | {} | memory |", [server.MAX_EVENTS]),
    ("memory.md", "| {} events, some 100 bytes each |", [server.MAX_EVENTS]),
    (
        "protocol.md",
        "its last events: {} on a computer, {} on a board",
        [limits.MAX_EVENTS, server.MAX_EVENTS],
    ),
    ("protocol.md", "It holds {}. When a {}th comes", [outbox.MAX_REPORTS, outbox.MAX_REPORTS + 1]),
    ("protocol.md", "It remembers the last {} report ids", [registry.MAX_REPORT_IDS]),
    ("protocol.md", "A target remembers the last {} command ids", [controller.MAX_ANSWERED]),
    ("protocol.md", "A console may have {} requests under way", [link_core.MAX_HANDLERS]),
    ("protocol.md", "A report has at most {} bytes", [router.MAX_REPORT_BYTES]),
    ("protocol.md", "A trace has at most {} samples", [trace.TRACE_SAMPLES]),
    ("protocol.md", "stayed below for {} ms", [peripherals._CALM_MS]),
    ("protocol.md", "ends {} ms after the first sample", [maintenance.RING_MS]),
    ("protocol.md", "For {} ms (`debounce_ms`)", [target_config.DEFAULTS["piezo"]["debounce_ms"]]),
    ("timing.md", "reads its piezo every {} ms", [target_config.DEFAULTS["piezo"]["sample_ms"]]),
    ("timing.md", "most {} s ahead are possible", [socket_protocol.MAX_AHEAD_MS / 1000]),
    ("configuration.md", "are looked at every {} ms", [server.SWEEP_MS]),
    ("../README.md", "so it does for more than {} targets", [simulator.MAX_PROCESSES]),
]


@pytest.mark.parametrize(("page", "words", "numbers"), NUMBERS, ids=lambda value: str(value)[:40])
def test_numbers_in_the_text_are_the_constants(page: str, words: str, numbers: list[float]) -> None:
    text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
    pattern = re.escape(words).replace(r"\{\}", r"(\d[\d,]*)")
    said = re.search(pattern, text, re.IGNORECASE)
    assert said is not None, f"{page} does not say `{words}` any more"
    assert [int(number.replace(",", "")) for number in said.groups()] == numbers


def test_the_readme_says_which_commands_have_no_json() -> None:
    def without(command: Any, name: str) -> Iterator[str]:
        for word, part in getattr(command, "commands", {}).items():
            yield from without(part, f"{name} {word}".strip())
        if not hasattr(command, "commands") and not any("--json" in option.opts for option in command.params):
            yield name

    row = re.search(
        r"^\| `--json` \| all but (.*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert row is not None
    assert set(code_words(row[1])) == set(without(get_command(app_with()), ""))


def test_the_longest_target_is_as_long_as_is_said() -> None:
    entry = Target("t" * socket_protocol.MAX_TARGET_ID_CHARS)
    entry.link = Link.__new__(Link)
    entry.link.round_trip_us = 0
    entry.groups = ["g" * socket_protocol.MAX_TARGET_ID_CHARS] * socket_protocol.MAX_GROUPS
    entry.firmware = "f" * socket_protocol.MAX_ID_CHARS
    entry.state = "s" * socket_protocol.MAX_WORD_CHARS
    entry.health = dict.fromkeys(HEALTH, socket_protocol.MAX_INTEGER)
    entry.refused_ms = 0
    longest_id = "i" * socket_protocol.MAX_ID_CHARS
    line = SocketMessage(MessageType.TARGET, longest_id, entry.target_id, data=entry.describe(0)).to_line()
    assert len(line) < socket_protocol.MIN_LINE_BYTES
    for text in (PROTOCOL, (ROOT / "shared" / "socket_protocol.py").read_text(encoding="utf-8")):
        assert f"the longest `target` has {len(line)} " in text


def test_the_state_table_is_that_of_the_controller() -> None:
    triggers: list[tuple[str, ...]] = [
        (Trigger.STAND_UP,),
        (Trigger.ACTIVATE,),
        (Trigger.LAY_DOWN,),
        (Trigger.ARRIVED,),
        (Trigger.HIT, Trigger.TIME_UP),
        (Trigger.LINK_LOST,),
        (Trigger.SERVO_LOST,),
    ]
    rows = table("The target's states")
    assert [code_words(row[0])[0] for row in rows] == [
        value for name, value in vars(State).items() if not name.startswith("_")
    ]
    for row in rows:
        state = code_words(row[0])[0]
        for cell, names in zip(row[1:], triggers, strict=True):
            for name in names:
                if (state, name) in TRANSITIONS:
                    assert code_words(cell) == [TRANSITIONS[(state, name)][0]], (state, name)
                elif name in ANSWERS:
                    assert cell == ("fault" if state == State.FAULT else "busy"), (state, name)
                else:
                    assert cell == "", (state, name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        assert (document.parent / path).exists(), target
        if anchor:
            there = (document.parent / path).read_text(encoding="utf-8") if path else text
            assert anchor in anchors(there), target


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- by hand


class Terminal:
    """A raw connection, as `nc` makes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last_id: object = None

    async def type(self, text: str) -> None:
        """Types one line; "…" as its id is that of the line last seen."""
        if f'"id":"{ANY}"' in text:
            text = text.replace(f'"id":"{ANY}"', f'"id":{json.dumps(self._last_id)}')
        self._writer.write(text.encode() + b"\n")
        await self._writer.drain()

    async def see(self, expected: list[str]) -> None:
        """The next lines are these, in any order."""
        left = list(expected)
        while left:
            line = (await asyncio.wait_for(self._reader.readline(), DEADLINE_S)).decode()
            match = next((text for text in left if is_like(line, text)), None)
            assert match is not None, f"saw {line!r}, where the document says {left}"
            left.remove(match)
            if line:
                self._last_id = json.loads(line).get("id")

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def is_like(line: str, text: str) -> bool:
    """Whether the line is what the document says: the same JSON but for "…", or the end."""
    if text == CLOSED or not line:
        return text == CLOSED and not line
    return fits(json.loads(line), json.loads(text))


def fits(value: Any, pattern: Any) -> bool:
    if pattern == ANY:
        return type(value) in (str, int)
    if type(value) is not type(pattern):
        return False
    if isinstance(pattern, dict):
        return set(value) == set(pattern) and all(fits(value[key], pattern[key]) for key in pattern)
    if isinstance(pattern, list):
        return len(value) == len(pattern) and all(map(fits, value, pattern))
    return bool(value == pattern)


def steps() -> Iterator[tuple[str, str, list[str]]]:
    """The talks by hand, all in one: who, `<` or `>`, and the lines; seen lines in a row are one step."""
    pending: tuple[str, str, list[str]] | None = None
    for line in (line for block in blocks("wire") for line in block):
        head, _, text = line.partition(" ")
        who, mark = head[:-1], head[-1]
        assert who in ("target", "console"), line
        assert mark in "<>", line
        if pending is not None and mark == "<" and pending[:2] == (who, mark) and text != CLOSED:
            pending[2].append(text)
            continue
        if pending is not None:
            yield pending
        pending = (who, mark, [text])
    assert pending is not None
    yield pending


@asynccontextmanager
async def fresh_hub() -> AsyncIterator[Hub]:
    hub = Hub(HOST, 0, max_targets=4, max_consoles=1)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.shut_down()


async def test_by_hand() -> None:
    terminals: dict[str, Terminal] = {}
    spoken = 0
    async with fresh_hub() as hub, AsyncExitStack() as stack:
        for who, mark, lines in steps():
            if who not in terminals:
                terminals[who] = Terminal(*await asyncio.open_connection(HOST, hub.port))
                stack.push_async_callback(terminals[who].hang_up)
            if mark == "<":
                await terminals[who].see(lines)
                if lines == [CLOSED]:
                    del terminals[who]
            elif lines == [HANG_UP]:
                await terminals.pop(who).hang_up()
            else:
                await terminals[who].type(lines[0])
            spoken += len(lines)
    assert spoken == len(SPOKEN)
    assert spoken > 40

"""What holds for every message, every stream and every piece of rubbish; and that both runtimes agree."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings, strategies as st

from snyper.shared.socket_protocol import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_LINE_BYTES,
    ErrorCode,
    MessageLineParser,
    ProtocolError,
    SocketMessage,
)
from tests.portable.corpus import CORPUS
from tests.portable.support import equal, fields_of, verdicts

ROOT = Path(__file__).parents[2]

# --- what there is to say

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=32)
NAMES = st.text("ABCXYZabcxyz0189_-.", min_size=1, max_size=32)
TEXTS = st.text(max_size=20) | st.text(' :"\\/{}[], u003a\n\x00\u00e9\u4e2d\U0001f3af', max_size=20)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
IDS = TEXTS.filter(bool) | INTEGERS
TARGET_IDS = st.just("all") | NAMES | NAMES.map("group:".__add__)
# No more than a board's 32 bits hold.
FLOATS = st.floats(1e-30, 1e30) | st.floats(-1e30, -1e-30) | st.just(0.0)
LEAVES = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS


def values(levels: int) -> st.SearchStrategy[Any]:
    """JSON values that nest at most `levels` arrays or objects."""
    if levels == 0:
        return LEAVES
    inner = values(levels - 1)
    return LEAVES | st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)


# The message is level 1, its data level 2.
DATA = st.dictionaries(TEXTS, values(2) | values(MAX_DEPTH - 2), max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> SocketMessage:
    message = SocketMessage(
        draw(WORDS),
        draw(IDS),
        draw(st.none() | TARGET_IDS),
        draw(st.none() | WORDS),
        draw(st.none() | DATA),
    )
    assume(len(json.dumps(fields_of(message))) < MAX_LINE_BYTES)
    return message


def spaced(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, indent=1).replace("\n", " ").encode()


def escaped(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


ENCODERS: list[Callable[[dict[str, Any]], bytes]] = [
    lambda fields: json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(),
    spaced,
    escaped,
]
VALID_LINES = st.builds(
    lambda message, encode: encode(fields_of(message)), messages(), st.sampled_from(ENCODERS)
)
CORPUS_LINES = st.sampled_from([case.line for case in CORPUS])


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """A line of which some bytes are gone, doubled or others."""
    line = bytearray(draw(VALID_LINES | CORPUS_LINES))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        piece = draw(
            st.sampled_from(
                [b"", b",", b":", b"}", b"]", b"\\", b'"', b"0", b".", b"\xed\xa0\x80", b"\\ud800", b"\x00"]
            )
        )
        line[at : at + draw(st.integers(0, 2))] = piece
    return bytes(line)


RUBBISH = st.binary(max_size=80)
LINES = VALID_LINES | CORPUS_LINES | damaged_lines() | RUBBISH
STREAMS = st.lists(LINES | st.just(b"") | st.just(b"x" * 200), max_size=8).map(b"\n".join)

# --- messages


@given(messages())
def test_every_message_comes_back_as_it_was_sent(message: SocketMessage) -> None:
    line = message.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES
    assert equal(fields_of(SocketMessage.from_line(line)), fields_of(message))


@given(messages(), st.sampled_from(ENCODERS), st.dictionaries(TEXTS.map("x-".__add__), values(2), max_size=2))
def test_it_does_not_matter_how_the_peer_writes_json(
    message: SocketMessage, encode: Callable[[dict[str, Any]], bytes], unknown: dict[str, Any]
) -> None:
    line = encode({**unknown, **fields_of(message)})
    assume(len(line) < MAX_LINE_BYTES)
    assert equal(fields_of(SocketMessage.from_line(line)), fields_of(message))


@given(messages(), st.data())
def test_a_key_that_stands_twice_is_refused(message: SocketMessage, data: st.DataObject) -> None:
    fields = fields_of(message)
    in_data = isinstance(message.data, dict) and bool(message.data) and data.draw(st.booleans())
    pairs = list((message.data if in_data else fields).items())  # type: ignore[union-attr]
    key, value = data.draw(st.sampled_from(pairs))
    pairs.insert(data.draw(st.integers(0, len(pairs))), (key, value))
    text = "{" + ",".join(f"{_compact(key)}:{_compact(value)}" for key, value in pairs) + "}"
    if in_data:
        del fields["data"]
        text = _compact(fields)[:-1] + ',"data":' + text + "}"
    try:
        SocketMessage.from_line(text.encode())
    except ProtocolError as error:
        refused = error.code
    else:
        refused = ""
    assert refused == ErrorCode.BAD_MESSAGE


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(LINES)
def test_what_was_taken_can_be_sent_on_and_what_was_refused_be_told(line: bytes) -> None:
    for item in MessageLineParser().feed(line + b"\n"):
        message = item.to_message() if isinstance(item, ProtocolError) else item
        assert equal(fields_of(SocketMessage.from_line(message.to_line())), fields_of(message))


# --- streams


@given(STREAMS, st.lists(st.integers(0, 2_000), max_size=12), st.sampled_from([40, 150, MAX_LINE_BYTES]))
def test_it_does_not_matter_how_a_stream_is_cut(stream: bytes, cuts: list[int], limit: int) -> None:
    whole = MessageLineParser(limit)
    due = verdicts(whole.feed(stream)) + verdicts(whole.feed(b"\n"))
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    parser = MessageLineParser(limit)
    found = []
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        found += verdicts(parser.feed(memoryview(stream)[start:end]))
    found += verdicts(parser.feed(b"\n"))
    assert equal(found, due)
    assert parser.overrun == whole.overrun


ATTACHMENTS = st.binary(max_size=80) | st.text("\n\x00{}", max_size=80).map(str.encode)


@st.composite
def attached_messages(draw: st.DrawFn) -> SocketMessage:
    message: SocketMessage = draw(messages())
    message.attachment = draw(st.none() | ATTACHMENTS)
    return message


@given(st.lists(attached_messages(), max_size=5), st.lists(st.integers(0, 2_000), max_size=12))
def test_bytes_come_with_their_message_however_a_stream_is_cut(
    sent: list[SocketMessage], cuts: list[int]
) -> None:
    stream = b"".join(message.to_line() for message in sent)
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    parser = MessageLineParser(max_chunk_bytes=80)
    found = []
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        found += parser.feed(memoryview(stream)[start:end])
    assert found == sent
    assert not parser.overrun


@given(st.lists(attached_messages(), max_size=5), st.lists(st.integers(0, 2_000), max_size=12))
def test_bytes_may_be_put_where_they_belong(sent: list[SocketMessage], cuts: list[int]) -> None:
    stream = b"".join(message.to_line() for message in sent)
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    parser = MessageLineParser(max_chunk_bytes=80)
    found: list[SocketMessage | ProtocolError] = []
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        piece = stream[start:end]
        while piece:
            buffer = parser.buffer
            if buffer is None:
                found += parser.feed(piece)
                break
            count = min(len(buffer), len(piece))
            buffer[:count] = piece[:count]
            found += parser.feed(buffer[:count])
            piece = piece[count:]
    assert found == sent
    assert parser.buffer is None


@given(st.lists(STREAMS | RUBBISH, max_size=6), st.sampled_from([1, 2, 40, 150, MAX_LINE_BYTES]))
def test_whatever_comes_in_costs_bounded_memory_and_no_exception(pieces: list[bytes], limit: int) -> None:
    parser = MessageLineParser(limit)
    for piece in pieces:
        was_overrun = parser.overrun
        found = parser.feed(piece)
        assert all(type(item) in (SocketMessage, ProtocolError) for item in found)
        assert len(found) <= piece.count(b"\n") + 1
        assert sum(len(piece) for piece in parser._pieces) < limit
        assert not (was_overrun and found)
        too_long = [
            item for item in found if isinstance(item, ProtocolError) and item.code == ErrorCode.LINE_TOO_LONG
        ]
        assert len(too_long) == (parser.overrun and not was_overrun)
        for item in found:
            if isinstance(item, ProtocolError):
                assert item.to_message().to_line()  # it can be told to the peer


# --- the other runtime


def sample(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """The same `count` examples at each run."""
    found: list[bytes] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(line: bytes) -> None:
        found.append(line)

    collect()
    return found


def on_micropython(micropython: Path, lines: list[bytes]) -> list[str]:
    """For each line the message as it would be sent on, or the error code."""
    process = subprocess.run(
        [str(micropython), "-X", "heapsize=180K", str(ROOT / "tests" / "portable" / "verdicts.py")],
        input="".join(line.hex() + "\n" for line in lines).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
    found = process.stdout.decode().split("\n")[:-1]
    assert len(found) == len(lines)
    return found


def alike(a: object, b: object) -> bool:
    """Equal but for the last digits of a float."""
    if isinstance(a, float) and isinstance(b, float | int):
        return math.isclose(a, b, rel_tol=1e-6)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return equal(a, b)


def test_both_runtimes_agree(micropython: Path) -> None:
    sampled = sample(VALID_LINES, 150) + sample(damaged_lines(), 400) + sample(RUBBISH, 50)
    lines = [line for line in sampled + [case.line for case in CORPUS] if line and b"\n" not in line]
    wrong: list[tuple[bytes, object, str]] = []
    accepted = refused = 0
    for line, there in zip(lines, on_micropython(micropython, lines), strict=True):
        try:
            here: SocketMessage | str = SocketMessage.from_line(line)
        except ProtocolError as error:
            here = error.code
        if there.startswith("{"):
            message = fields_of(SocketMessage.from_line(there.encode()))  # what it takes fits the schema
            if isinstance(here, SocketMessage):
                accepted += 1
                if not alike(fields_of(here), message):
                    wrong.append((line, here, there))
            elif here != ErrorCode.BAD_JSON:  # its parser is lax, its schema is not
                wrong.append((line, here, there))
        elif isinstance(here, SocketMessage):
            # It makes no character of two escapes: the corpus has an example.
            if not re.search(rb"\\u[dD][89a-fA-F]", line):
                wrong.append((line, here, there))
        else:
            refused += 1
    assert not wrong
    assert accepted > 100, "the sample says something"
    assert refused > 100


# --- no memory

ATTACHED = b'{"type":"chunk","id":1,"bytes":30}\n' + b'x\n{"type":"stand_up","id":2}\n\n\n'


@pytest.mark.parametrize("cut", [1, 20, len(ATTACHED)])
@pytest.mark.parametrize("lacking", ["a message", "what takes bytes"])
def test_bytes_are_no_lines_when_there_is_no_memory(
    cut: int, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*arguments: object) -> None:
        raise MemoryError

    if lacking == "a message":
        monkeypatch.setattr(MessageLineParser, "from_line", no_memory)
    else:
        monkeypatch.setitem(sys.modules, "snyper.shared.attachment_bytes", NoModule("attachment_bytes"))
    parser = MessageLineParser(max_chunk_bytes=64)
    found = [item for at in range(0, len(ATTACHED), cut) for item in parser.feed(ATTACHED[at : at + cut])]
    [error] = found
    assert isinstance(error, ProtocolError)
    assert error.code == ErrorCode.LINE_TOO_LONG
    assert parser.overrun
    monkeypatch.undo()
    assert parser.feed(b'{"type":"ping","id":1}\n') == []


class NoModule(ModuleType):
    """A module that there is no memory to load."""

    def __getattr__(self, name: str) -> object:
        raise MemoryError

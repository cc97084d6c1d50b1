"""What a terminal is told of what others say."""

import json
import logging
import unicodedata
from io import StringIO

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text

from snyper.cli import output
from snyper.device import logs
from snyper.system import streams

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31mr\u202ee\u2066d\x7f\x00\r\u200b\ufeff\u2028\U000e0041"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    stream = StringIO()
    monkeypatch.setattr(
        output.out, "_file", stream
    )  # `file` would be put back as this test's stdout for good
    return stream


def controls_in(text: str) -> set[str]:
    """Control characters, and those that turn or hide what is around them."""
    return {sign for sign in text if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp")}


def test_no_text_moves_the_cursor(said: StringIO) -> None:
    table = Table()
    table.add_column(HOSTILE)
    table.add_row(Text(HOSTILE, "bold"))
    output.out.print(Group(table, HOSTILE))
    output.out.print(HOSTILE, markup=False, soft_wrap=True)
    assert not controls_in(said.getvalue())
    assert said.getvalue().count("[2J]0;owned31mred") == 4
    assert len({len(line) for line in said.getvalue().splitlines()[:-2]}) == 1  # a table is still one


def test_ends_of_lines_and_all_of_unicode_stay(said: StringIO) -> None:
    output.out.print("a\n\tµ ½ 靶\u00a0🎯", markup=False, soft_wrap=True)
    assert said.getvalue().split() == ["a", "µ", "½", "靶", "🎯"]
    assert said.getvalue().count("\n") == 2


def test_its_own_colours_stay() -> None:
    stream = StringIO()
    console = type(output.out)(file=stream, force_terminal=True, color_system="standard")
    console.print(Text("red" + HOSTILE, "red"))
    assert stream.getvalue().startswith("\x1b[31mred[2J")
    assert stream.getvalue().count("\x1b") == 2


def test_a_line_of_json_holds_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    streams.print_json({"firmware": HOSTILE + "µ"})
    said = capsys.readouterr().out
    assert not controls_in(said)
    assert "µ" in said
    assert json.loads(said) == {"firmware": HOSTILE + "µ"}


def test_a_log_line_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    stream = StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.log_to_stderr(logging.WARNING)
    root.warning("the peer reports %s", HOSTILE)
    root.info("nothing")
    assert not controls_in(stream.getvalue())
    assert stream.getvalue().endswith("31mred\n")
    before = stream.getvalue().count("\n")
    root.error("lost: %s", "x\n12:00:00 hub: all is well\u2028so it is\x85")
    assert stream.getvalue().count("\n") == before + 1

"""The table of events: complete, and the one place from which others are made."""

import ast
import re

import pytest

from snyper.cli.screens import event_line
from snyper.client import Event, GameState, TargetInfo
from snyper.client.events import HISTORY, KINDS, TARGETS, fold, sound_of
from snyper.client.range_model import RangeModel, TargetModel
from snyper.history import schema
from tests.unit.test_architecture import ROOT, sources
from tools import event_tables

PRODUCERS = ("firmware/master", "host/snyper/hub")


def added_in(source: str) -> set[str]:
    """The kinds of events that a module adds, or that a role in it reports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reports":
            assert isinstance(node.value, ast.Tuple)
            found |= {word_of(word) for word in node.value.elts}
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        is_word = ast.unparse(node.args[0]).startswith(("'", "MessageType."))
        if is_word and (called.endswith(("events.add", "add_event")) or called == "self.add"):
            found.add(word_of(node.args[0]))
    return found


def word_of(node: ast.expr) -> str:
    """Return the word that a string or a MessageType stands for."""
    return ast.unparse(node).strip("'").removeprefix("MessageType.").lower()


def test_what_adds_an_event_is_found() -> None:
    calls = (
        "self.events.add('a', t)",
        "state.add_event('game_b')",
        "self._add_event('d')",
        "events.add(MessageType.HIT)",
    )
    source = "; ".join([*calls, "x.add('c')"])
    assert added_in(source) == {"a", "d", "game_b", "hit"}
    assert added_in("class Gate:\n    reports = (MessageType.HIT, 'passage')") == {"hit", "passage"}


def test_every_kind_that_is_added_has_a_row_and_every_row_is_added() -> None:
    added = set()
    for path in sources(*PRODUCERS):
        added |= added_in((ROOT / path).read_text(encoding="utf-8"))
    assert added == set(KINDS)


def test_the_tables_of_the_wire_are_made_from_it() -> None:
    page = event_tables.PAGE.read_text(encoding="utf-8")
    assert page == event_tables.written(page), "make docs"
    assert page != event_tables.written(page.replace("| `lost` |", "| `last` |").replace("| `hit` |", ""))
    with pytest.raises(ValueError, match="no <!-- events of games"):
        event_tables.written(page.replace("events of games", "events of some"))


def test_a_row_names_only_what_there_is() -> None:
    script = (ROOT / "host" / "snyper" / "dashboard" / "page.js").read_text(encoding="utf-8")
    [tunes] = re.findall(r"const TUNES = {(.*?)^  };", script, re.DOTALL | re.MULTILINE)
    for kind in KINDS.values():
        assert not kind.sound or f" {kind.sound}: " in tunes, kind.name
        assert set(kind.changes) <= {TARGETS, HISTORY}
        assert kind.name.islower()
        assert kind.when
    assert set(schema.COUNTING) <= set(KINDS)


def test_an_event_of_an_unknown_kind_is_shown_as_what_it_says() -> None:
    told: list[tuple[dict[str, object], str]] = [
        ({"litres": 3, "of": "paint"}, "litres 3, of paint"),
        ({"message": "it leaks", "litres": 3}, "it leaks"),
        ({}, ""),
    ]
    for data, line in told:
        event = Event(1, "spilt", "target_1", data)
        assert (
            event_line(event, "12:00:00").plain.rstrip()
            == f"12:00:00 target_1     spilt           {line}".rstrip()
        )
        assert sound_of(event) == ""
        model = RangeModel(game=GameState("running", "g1"))
        fold(model, event)
        fold(model, Event(1, "game_spilt", "target_1", {"game_id": "g1"}))
        assert model.game == GameState("running", "g1")


def test_a_hit_that_does_not_count_is_not_heard_and_is_no_last_hit() -> None:
    target = TargetModel(TargetInfo("t", True, "armed", [], "", 0, None))
    model = RangeModel({"t": target})
    fold(model, Event(1, "hit", "t", {"reaction_ms": 300, "peak": 9}), 7.0)
    assert (target.last_hit_s, target.last_hit_ms, sound_of(Event(1, "hit", "t", {}))) == (7.0, 300, "hit")
    echo = Event(2, "hit", "t", {"reaction_ms": 500, "crosstalk_of": "u"})
    fold(model, echo, 8.0)
    assert (target.last_shot, target.last_hit_ms, sound_of(echo)) == ("crosstalk", 300, "")
    fold(model, Event(3, "crosstalk", "t", {"hit_seq": 1, "crosstalk_of": "u"}), 9.0)
    assert (target.last_hit_s, target.last_hit_ms, target.shots) == (None, None, 3)

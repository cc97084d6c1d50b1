"""One word for one state, in code and documents."""

from pathlib import Path

from snyper.boards.image import ROLES
from snyper.client.labels import AWAY, ROLE_WORDS, STATE_WORDS, result_word, role_of, role_word, state_word
from snyper.firmware.target.controller import ANSWERS, State

ROOT = Path(__file__).parents[2]
SHOWN = {"down", "rising", "up", "armed", "falling", "fault", "away", "unknown"}


def test_every_state_of_the_wire_has_a_word() -> None:
    states = {value for name, value in vars(State).items() if not name.startswith("_")}
    assert set(STATE_WORDS) == states | {AWAY, ""}
    assert set(STATE_WORDS.values()) == SHOWN


def test_the_words_in_the_document() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = text.partition("| state | people see |\n| --- | --- |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    said = {"not connected": AWAY, "none said yet": ""}
    written = {
        said.get(state, state.strip("`")): word for states, word in rows for state in states.split(", ")
    }
    assert written == STATE_WORDS


def test_a_motion_that_is_done_is_called_as_the_state_it_ends_in() -> None:
    assert [result_word(ANSWERS[name]) for name in ("stand_up", "lay_down", "activate")] == [
        *("up", "down", "armed"),
    ]
    assert result_word("alive") == "alive"


def test_every_role_has_a_word_and_is_meant_by_it() -> None:
    assert set(ROLE_WORDS) == set(ROLES)
    assert [role_word(role) for role in ("target", "master", "gun")] == ["target", "hub", "gun"]
    assert [role_of(word) for word in ("target", "hub", "master", "gun", "")] == [
        *("target", "master", "master", "", ""),
    ]


def test_a_word_that_is_new_stays_as_it_is() -> None:
    assert state_word("dancing") == "dancing"

"""docs/reliability.md says what the cases of `make faults` do, and their figures replace older ones."""

from pathlib import Path

import pytest

from tools.faults import page
from tools.faults.case import QUICK, all_of, at_most, none_of
from tools.faults.catalogue import CASES
from tools.faults.page import Row


def test_the_page_has_every_case() -> None:
    assert page.is_current(), "make docs"
    assert [case.number for case in CASES] == sorted({case.number for case in CASES})


def test_a_run_replaces_the_figures_of_its_cases_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "reliability.md")
    page.PAGE.write_text(f"before\n{page.BEGIN}\n{page.END}\nafter\n")
    first, second = CASES[:2]
    page.write([Row(first, "old", "1", "2", "holds"), Row(second, "kept | so", "3", "", "holds")], QUICK)
    page.write([Row(first, "new", "1", "2", "holds")], QUICK)
    text = page.PAGE.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| old |" not in text
    assert text.index("| new |") < text.index("| kept \\| so |")


def test_a_bound_that_is_missed_fails() -> None:
    assert at_most("x", 2, 2, "s").holds
    assert not at_most("x", 2.01, 2, "s").holds
    assert not none_of("x", 1, 100).holds
    assert not none_of("x", 0, 0).holds  # nothing was tried
    assert not all_of("x", 99, 100).holds
    assert not all_of("x", 0, 0).holds

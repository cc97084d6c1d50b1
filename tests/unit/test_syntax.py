"""Parse Python in several threads at once."""

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snyper.boards.syntax import literal, parse

SOURCE = (Path(__file__).parents[2] / "shared" / "socket_protocol.py").read_text(encoding="utf-8")
VALUE = [{"path": path, "sizes": list(range(20))} for path in "abcdefgh"]


@pytest.fixture(autouse=True)
def others_are_let_in() -> Iterator[None]:
    """Let another thread in whenever garbage is collected, which happens in the middle of a tree."""
    before = gc.get_threshold()

    def let_others_in(*_: object) -> None:
        time.sleep(0)

    gc.callbacks.append(let_others_in)
    gc.set_threshold(10)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(let_others_in)


def work(job: int) -> object:
    return literal(repr(VALUE)) if job % 2 else len(parse(SOURCE).body)


def test_modules_and_literals() -> None:
    expected = [work(0), VALUE]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(120))) == expected * 60


@pytest.mark.parametrize(("source", "error"), [("f(", SyntaxError), ("f()", ValueError)])
def test_what_is_no_literal(source: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        literal(source)

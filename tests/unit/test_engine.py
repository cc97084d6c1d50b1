"""What waits for sockets: whoever posts to it is heard at once."""

import threading
from collections.abc import Callable

import pytest

from snyper.services import engine as engine_module
from snyper.services.engine import Engine

PATIENCE_S = 30.0


class PostedTo:
    """A socket that somebody posts beside, at the worst moment: just before it is read."""

    def __init__(self, engine: Engine, post: Callable[[], None]) -> None:
        self._sock, self._post = engine._wakes, post

    def recv(self, size: int) -> bytes:
        """Read it, once that is done."""
        self._post()
        return self._sock.recv(size)


def test_what_is_posted_while_another_is_heard_silences_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_TICK_S", 10 * PATIENCE_S)  # in which all that was lost is found
    engine = Engine(lambda: None, lambda: None)
    first, meanwhile, later = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(engine, "_wakes", PostedTo(engine, lambda: engine.post(meanwhile.set)))
    engine.start()
    try:
        engine.post(first.set)
        assert first.wait(PATIENCE_S)
        assert meanwhile.wait(PATIENCE_S)
        engine.post(later.set)
        assert later.wait(PATIENCE_S)
    finally:
        engine.end()

"""The tries of a client to reach its server."""

import time

import pytest

from snyper.services.dialling import Dialling
from snyper.services.remote_exceptions import Unreachable


def test_no_pause_outlasts_the_deadline() -> None:
    dialling = Dialling("lab1", time.monotonic() + 0.2)
    for _ in range(10):  # the last of which would be of 1 s
        assert dialling.pause_s(ConnectionRefusedError()) <= 0.2
    over = Dialling("lab1", time.monotonic())
    with pytest.raises(Unreachable):
        over.pause_s(ConnectionRefusedError())

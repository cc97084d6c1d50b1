"""Accepting connections: what is said where the system gives none."""

import asyncio
import socket

import pytest

from snyper.device.serving import accepting
from snyper.device.serving.accepting import Acceptor
from tests.integration.harness import until

LIMITS = {"connections": 8, "per_address": 8, "handshake_ms": 1_000}


async def test_a_socket_that_gives_no_connection_fills_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tries = 0

    class Closed(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            nonlocal tries
            tries += 1
            return super().accept()

    monkeypatch.setattr(accepting, "_RETRY_S", 0)
    acceptor = Acceptor(
        lambda connection: asyncio.Protocol(), None, LIMITS, lambda what, _: said.append(what)
    )
    with Closed() as sock:
        acceptor.start([sock])
    await until(lambda: tries >= 100, "it should go on trying")
    assert said == ["cannot take a connection, and goes on trying"]
    monkeypatch.setattr(accepting, "_LOG_S", 0)
    await until(lambda: len(said) > 1, "it should be told again")
    await acceptor.stop()
